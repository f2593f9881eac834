"""How the worker is started: which Python, and where it finds NISFCore. Standard library only.

NISFCore lies beside the module in an installed extension, and beside the folder `NISFExtension` in
a checkout; a copy that was installed by pip serves as well. The worker is told through PYTHONPATH,
so that it runs the very code that the extension came with.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from NISFLib.job import WorkerCommand

PACKAGE = "NISFCore"
SLICER_PYTHON = "PythonSlicer"


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


def worker_python() -> Path:
    """PythonSlicer inside Slicer; elsewhere the interpreter that runs this."""
    return Path(shutil.which(SLICER_PYTHON) or sys.executable)


def worker_environment() -> dict[str, str]:
    """Variables for the worker, beyond those of this process."""
    root = core_root()
    paths = [] if root is None else [str(root)]
    if inherited := os.environ.get("PYTHONPATH"):
        paths.append(inherited)
    return {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}


def nisf_command(*arguments: str | Path) -> WorkerCommand:
    """`nisf ARGUMENTS...` as a command for a `Job`."""
    words = tuple(str(a) for a in arguments)
    return WorkerCommand(worker_python(), words, PACKAGE, worker_environment())
