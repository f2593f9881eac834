"""Where the package NISFCore is, and how this process finds it. Standard library only, and nothing
else of ours: this is imported before anything that needs NISFCore can be.

NISFCore lies beside the module in an installed extension, and beside the folder `NISFExtension` in
a checkout; a copy that was installed by pip serves as well.
"""

import importlib.util
import sys
from pathlib import Path

PACKAGE = "NISFCore"


def core_root(extension: Path | None = None) -> Path | None:
    """The folder that holds the package NISFCore; None where it is nowhere.

    Args:
        extension: the folder of `NISF.py`; by default the one that this file belongs to.
    """
    extension = Path(__file__).resolve().parent.parent if extension is None else extension
    for folder in (extension, extension.parent):
        if (folder / PACKAGE / "__init__.py").is_file():
            return folder
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).resolve().parent.parent


def make_core_importable(extension: Path | None = None) -> None:
    """Let `import NISFCore` find the package in this process, too.

    Raises:
        ImportError: if it is nowhere.
    """
    root = core_root(extension)
    if root is None:
        raise ImportError(
            "NISFCore is missing: it belongs beside the NISF module. Install the extension again"
        )
    if str(root) not in sys.path:
        sys.path.append(str(root))
