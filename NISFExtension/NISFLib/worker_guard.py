"""Runs a module in this process, and ends the process when the one that asked for it is gone.

    python worker_guard.py PARENT_PID CANCEL_FILE MODULE [ARGUMENT ...]

A worker would otherwise go on for minutes after a crash of the application that started it. Once
the parent is gone the worker is asked to stop through its cancel file, so that it can tidy up;
what still runs after a grace time is killed, with all processes that it started.
Standard library only: this file runs in the worker, where nothing else is known to be importable.
"""

import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.25
GRACE_SECONDS = 2.0


def main(arguments: list[str]) -> None:
    """Watch the parent and run the module as `python -m` does."""
    parent_pid, cancel_file, module, *rest = arguments
    watch = threading.Thread(
        target=_end_with_parent,
        args=(parent_watch(int(parent_pid)), Path(cancel_file)),
        daemon=True,
    )
    watch.start()
    # this script's own folder is no place to import from
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).parent]
    sys.argv = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        shutil.rmtree(Path(cancel_file).parent, ignore_errors=True)


def parent_watch(pid: int) -> Callable[[], bool]:
    """A function that tells whether process `pid` is gone."""
    if sys.platform == "win32":
        return _windows_watch(pid)
    # a launcher may stand between the two: then its end shows as a new parent of this process
    direct_parent = os.getppid()
    return lambda: os.getppid() != direct_parent or not _exists(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # POSIX only: on Windows this would end the process
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _windows_watch(pid: int) -> Callable[[], bool]:
    """A handle keeps the process id from being given to another process while it is watched."""
    import ctypes

    kernel32 = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    kernel32.OpenProcess.restype = ctypes.c_void_p
    kernel32.WaitForSingleObject.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    synchronize, signalled = 0x00100000, 0
    handle = kernel32.OpenProcess(synchronize, False, pid)
    if not handle:
        return lambda: True
    return lambda: bool(kernel32.WaitForSingleObject(handle, 0) == signalled)


def _end_with_parent(is_gone: Callable[[], bool], cancel_file: Path) -> None:
    while not is_gone():
        time.sleep(POLL_SECONDS)
    with suppress(FileNotFoundError):  # the worker is just ending
        cancel_file.touch()
    time.sleep(GRACE_SECONDS)
    shutil.rmtree(cancel_file.parent, ignore_errors=True)
    _kill_own_tree()


def _kill_own_tree() -> None:
    if sys.platform == "win32":
        command = ["taskkill", "/T", "/F", "/PID", str(os.getpid())]
        subprocess.run(command, capture_output=True, check=False)
        os._exit(1)
    else:
        os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
