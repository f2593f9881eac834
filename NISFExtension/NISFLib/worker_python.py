"""How the worker is started: which Python, and where it finds NISFCore (`core_path`). Standard
library only.

The worker is told through PYTHONPATH, so that it runs the very code that the extension came with.
"""

import os
import shutil
import sys
from pathlib import Path

from NISFLib.core_path import PACKAGE, core_root
from NISFLib.job import WorkerCommand

SLICER_PYTHON = "PythonSlicer"


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
