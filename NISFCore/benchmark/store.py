"""Finished parts of a benchmark, on disk: a run that was killed continues where it stopped.

A part is one experiment on one subject: a JSON file, and an NPZ file for pictures where it has
arrays. Parts of another plan, prior or version of the computing code are not used.
"""

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import NISFCore
from NISFCore.files import write_bytes_atomically, write_text_atomically

Arrays = dict[str, npt.NDArray[Any]]
COMPUTING_LAYERS = ("geometry", "data", "phantom", "model", "fitting", "analysis")


class PartStore:
    """Parts in one folder that belong to one key."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key

    def load(self, name: str) -> dict[str, Any] | None:
        """The values of a part; None if it is not there, unreadable or of another key."""
        try:
            part = json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        is_ours = isinstance(part, dict) and part.get("key") == self._key
        return part["values"] if is_ours else None

    def save(
        self,
        name: str,
        values: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        """Write a part; it counts as finished only when all of it is there.

        Raises:
            OutputError: if it cannot be written.
        """
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type,unused-ignore]
            write_bytes_atomically(self._folder / f"{name}.npz", buffer.getvalue())
        content = {"key": self._key, "values": plain(values)}
        write_text_atomically(self._folder / f"{name}.json", json.dumps(content, indent=1))

    def arrays(self, name: str) -> Arrays:
        """The arrays of a part; empty if it has none."""
        path = self._folder / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return {}


def plain(value: Any) -> Any:
    """As JSON types; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def code_hash(layers: Sequence[str] = COMPUTING_LAYERS) -> str:
    """Hash of the sources that decide what the numbers are."""
    root = Path(NISFCore.__file__).parent
    digest = hashlib.sha256()
    for layer in layers:
        for path in sorted((root / layer).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def text_hash(*parts: str | bytes) -> str:
    """A short hash of texts and bytes."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]
