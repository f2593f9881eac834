"""Atomic output: a killed or failing run leaves no half-written file or folder that looks whole."""

import shutil
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
    """As `write_bytes_atomically`, in UTF-8."""
    write_bytes_atomically(path, text.encode("utf-8"))


@contextmanager
def new_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary sibling folder to fill; it becomes `path` when the block ends well.

    Raises:
        OutputError: if `path` exists and is not empty (unless `overwrite`), or on any OSError.
    """
    check_new_folder(path, overwrite)
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


def check_new_folder(path: Path, overwrite: bool = False) -> None:
    """Refuse early what `new_folder` would refuse at the end of a long job.

    Raises:
        OutputError: if `path` is a file, holds something, or its parent cannot be written.
    """
    try:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file; give a folder")
        if not overwrite and path.is_dir() and any(path.iterdir()):
            raise OutputError(
                f"{path} is not empty; choose another folder or allow to overwrite it"
            )
        _probe(path.resolve())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


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
