"""Files written by MRML storage nodes: beside their place, moved there when they are whole."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from NISFLib.scene.nodes import SceneError

Writer = Callable[[Path], bool]
"""Writes a file and tells whether it succeeded."""


@contextmanager
def storage(node: Any, path: Path, *nodes: Any) -> Iterator[Any]:
    """A storage node for a file, in a scene of its own: the user's scene is left as it is."""
    scene = slicer.vtkMRMLScene()
    for each in (node, *nodes):
        scene.AddNode(each)
    node.SetFileName(str(path))
    node.SetUseCompression(True)
    yield node
    scene.Clear(True)


def write_whole(path: Path, write: Writer) -> Path:
    """Write beside the place under a short name with the same ending, then move it there.

    Raises:
        SceneError: if that fails.
    """
    ending = "".join(path.suffixes[-2:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".nisf-", dir=path.parent) as folder:
            temporary = Path(folder) / f"{path.name.removesuffix(ending)}{ending}"
            if not write(temporary) or not temporary.is_file():
                raise SceneError(f"cannot write {path}: 3D Slicer's writer failed")
            temporary.replace(path)
    except OSError as error:
        raise SceneError(f"cannot write {path}: {error.strerror or error}") from error
    return path
