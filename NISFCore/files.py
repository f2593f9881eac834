"""Atomic output: a killed or failing run leaves no half-written file or folder that looks whole."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from NISFCore.errors import OutputError


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write a file so that `path` holds either all of `data` or what it held before.

    Raises:
        OutputError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        _remove_quietly(temporary)


def write_text_atomically(path: Path, text: str) -> None:
    """As `write_bytes_atomically`, in UTF-8.

    A file name that is no UTF-8 (a folder of an old CD) reaches us in characters that cannot be
    written; they become "?": no job is to fail in its last step for that.
    """
    write_bytes_atomically(path, text.encode("utf-8", errors="replace"))


@contextmanager
def new_folder(path: Path, overwrite: bool = False, marker: str | None = None) -> Iterator[Path]:
    """Give a temporary sibling folder to fill; it becomes `path` when the block ends well.

    Args:
        overwrite, marker: see `check_new_folder`.

    Raises:
        OutputError: if `path` may not be replaced, or on any OSError.
    """
    check_new_folder(path, overwrite, marker)
    target = path.resolve()  # "." has no name to make siblings of
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    before = temporary.with_suffix(".before")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _replace_folder(target, temporary, before)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`; the system frees it when this process ends, however that happens.

    Where a file system knows no locks, nothing is held.

    Args:
        what: what is going on while it is held, for the message.

    Raises:
        OutputError: if another process holds it, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    with file:
        try:
            _lock(file.fileno())
        except (BlockingIOError, PermissionError) as error:
            raise OutputError(f"{path.parent}: {what}; wait for its end or stop it") from error
        except OSError:
            pass
        yield


def _lock(descriptor: int) -> None:
    """At once or not at all."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_new_folder(path: Path, overwrite: bool = False, marker: str | None = None) -> None:
    """Refuse early what `new_folder` would refuse at the end of a long job.

    Args:
        overwrite: whether a folder that holds something may be replaced.
        marker: the file by which a folder that this program made is known; only such a folder is
            replaced, never one with other people's files.

    Raises:
        OutputError: if `path` is a file, may not be replaced, or its parent cannot be written.
    """
    try:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file; give a folder")
        if path.is_dir() and any(path.iterdir()):
            _check_replacing(path, overwrite, marker)
        _probe(path.resolve())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def check_new_file(path: Path, overwrite: bool = False) -> None:
    """Refuse early what cannot be written at the end of a long job.

    Raises:
        OutputError: if `path` is a folder, exists (unless `overwrite`), or cannot be written.
    """
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give a file")
        if not overwrite and path.exists():
            raise OutputError(f"{path} exists; choose another file or allow to overwrite it")
        _probe(path.resolve())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _check_replacing(path: Path, overwrite: bool, marker: str | None) -> None:
    if not overwrite:
        raise OutputError(f"{path} is not empty; choose another folder or allow to overwrite it")
    if marker is not None and not (path / marker).is_file():
        raise OutputError(
            f"{path} holds files that are not ours to delete (it has no {marker}); choose another "
            "folder, or empty it yourself"
        )


def _probe(target: Path) -> None:
    """Try to make a sibling of `target`."""
    probe = target.with_name(f".{target.name}.{uuid4().hex[:8]}.probe")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
    finally:
        _remove_quietly(probe)


def _replace_folder(target: Path, new: Path, aside: Path) -> None:
    """Move `new` to `target`. What stood there is moved aside whole before it is deleted: a kill
    must not leave half of it at `target`, and a failure puts it back."""
    if not target.exists():
        new.replace(target)
        return
    target.replace(aside)
    try:
        new.replace(target)
    except OSError:
        aside.replace(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _remove_quietly(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
