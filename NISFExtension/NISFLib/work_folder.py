"""A place for what the worker writes, gone with the module unless the user chose another one."""

import shutil
import tempfile
from pathlib import Path

from NISFCore.errors import OutputError

PREFIX = "NISF-"


class WorkFolder:
    """A temporary folder, made when it is first needed."""

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent
        self._root: Path | None = None
        self._n = 0

    def new(self, name: str) -> Path:
        """The path of a new file or folder, which is not made.

        Raises:
            OutputError: if the temporary folder cannot be made.
        """
        self._n += 1
        return self._made() / f"{name}_{self._n:03d}"

    def holds(self, path: Path) -> bool:
        """Whether a path is inside, and will go with this folder."""
        return self._root is not None and self._root in path.parents

    def discard(self, path: Path | None) -> None:
        """Remove something inside that is not needed any more; anything else stays."""
        if path is not None and self.holds(path):
            shutil.rmtree(path, ignore_errors=True)

    def remove(self) -> None:
        """Remove it all."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None

    def _made(self) -> Path:
        if self._root is None or not self._root.is_dir():
            try:
                self._root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
            except OSError as error:
                raise OutputError(
                    f"cannot write temporary files in {self._parent or tempfile.gettempdir()}: "
                    f"{error.strerror or error}; choose another temporary folder in Slicer's "
                    "settings"
                ) from error
        return self._root
