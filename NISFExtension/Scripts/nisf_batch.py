"""`nisf batch` through Slicer's own Python, for machines where nothing but Slicer is installed.

    Slicer --no-splash --no-main-window --python-script NISFExtension/Scripts/nisf_batch.py -- \
        INPUT_ROOT OUT_ROOT [--workers N] [--formats all] ...

Everything after `--` is for `nisf batch` (see `nisf batch --help`). The batch runs in a process of
its own; Slicer ends with that process's exit code: 0 all done, 1 some subjects failed, 2 wrong
input or settings, or NISF's packages are missing, 130 cancelled.
"""

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from NISFLib.core_path import make_core_importable

EXIT_USAGE = 2


def batch_arguments(argv: list[str]) -> list[str]:
    """The words for `nisf batch`: what follows `--`, or all where Slicer took that away."""
    words = argv[1:]
    return words[words.index("--") + 1 :] if "--" in words else words


def run_batch_process(arguments: list[str]) -> int:
    """Run the batch with this process's output; its exit code."""
    make_core_importable()
    from NISFLib.dependencies import missing_requirements, missing_text
    from NISFLib.worker_python import nisf_command

    missing = missing_requirements()
    if missing:
        sys.stderr.write(
            f"{missing_text(missing)}\nInstall: open the NISF module once in Slicer.\n"
        )
        return EXIT_USAGE
    command = nisf_command("batch", *arguments)
    words = [str(command.python), "-m", command.module, *command.arguments]
    process = subprocess.Popen(words, env={**os.environ, "PYTHONUTF8": "1", **command.environment})
    try:
        return process.wait()
    except KeyboardInterrupt:  # the batch got it as well, and keeps what is complete
        return process.wait()
    finally:
        process.kill()


def leave(code: int) -> None:
    """End Slicer, or this interpreter, with an exit code."""
    if importlib.util.find_spec("slicer") is not None:
        import slicer

        if hasattr(slicer, "app"):
            slicer.util.exit(code)
            return
    sys.exit(code)


def batch_exit_code(argv: list[str]) -> int:
    """The exit code, whatever happens: a script that ends by an exception leaves Slicer running,
    for ever and without a window."""
    try:
        return run_batch_process(batch_arguments(argv))
    except Exception:
        logging.exception("the batch could not begin")
        return EXIT_USAGE


if __name__ == "__main__":
    leave(batch_exit_code(sys.argv))
