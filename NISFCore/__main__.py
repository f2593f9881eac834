"""`python -m NISFCore`: the same program as `nisf`."""

import sys

from NISFCore.cli import main

sys.exit(main())
