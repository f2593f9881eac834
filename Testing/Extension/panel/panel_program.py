"""A program with the panel in the midst of a fit, waiting to be killed: what Slicer is to a worker.

    python -m Testing.Extension.panel.panel_program STUDY MADE HEART

The worker writes the file HEART anew at every step, as long as it lives.
"""

import os
import sys
from pathlib import Path

from Testing.Extension.panel.conftest import Files, Quick


def main() -> None:
    study, made, heart = (Path(word) for word in sys.argv[1:])
    os.environ["NISF_REPLAY_HEART"] = str(heart)
    quick = Quick(Files(study, study, study, made))
    quick.read_study()
    quick.mode = "fit=endless"
    quick.fit()


if __name__ == "__main__":
    main()
