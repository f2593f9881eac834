"""Which nodes of a scene are ours, and the small things that every part does with them.

A node of ours carries the attribute `NISF.role`, and `NISF.slice` where it belongs to one slice.
Attributes are saved with a scene, so that nothing needs to be remembered in Python.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from NISFCore.errors import NISFError

ROLE, SLICE, RECORD = "NISF.role", "NISF.slice", "NISF.record"


class SceneError(NISFError):
    """What is asked for cannot be shown or written; the message is for the user."""


class Role(str, Enum):
    """What a node of ours is for. Sequences hold all phases, `..._NOW` is what a view shows."""

    BROWSER = "browser"
    CYCLE = "cycle"
    CYCLE_NOW = "cycle now"
    SLICE_IMAGES = "slice images"
    SLICE_NOW = "slice now"
    SLICE_MOTION = "slice motion"
    SLICE_PLANE = "slice plane"
    INTENSITY = "intensity"
    INTENSITY_NOW = "intensity now"
    LABELS = "labels"
    LABELS_NOW = "labels now"
    SEGMENTATION = "segmentation"
    SEGMENTATION_NOW = "segmentation now"
    MODEL = "model"
    MODEL_NOW = "model now"
    ANNOTATION = "annotation"
    CERTAINTY = "certainty"
    CERTAINTY_COLORS = "certainty colours"
    VOLUME_TABLE = "volume table"
    MARK_TABLE = "mark table"
    FUNCTION_TABLE = "function table"
    MOTION_TABLE = "motion table"
    CURVE_SERIES = "curve series"
    CURVE_CHART = "curve chart"
    PROFILES = "profiles"
    PROFILE_TABLE = "profile table"
    PROFILE_NOW = "profile table now"
    PROFILE_SERIES = "profile series"
    PROFILE_CHART = "profile chart"
    WALL = "strain wall"
    WALL_NOW = "strain wall now"
    ARROWS = "displacement arrows"
    ARROWS_NOW = "displacement arrows now"
    STRAIN_COLORS = "strain colours"
    STRAIN_LEGEND = "strain legend"
    STRAIN_TABLE = "strain table"
    PEAK_TABLE = "peak strain table"
    SEGMENT_TABLE = "segment strain table"
    STRAIN_CURSOR = "strain cursor"
    STRAIN_CURSOR_NOW = "strain cursor now"
    STRAIN_SERIES = "strain series"
    STRAIN_CHART = "strain chart"
    SEGMENT_SERIES = "segment strain series"
    SEGMENT_CHART = "segment strain chart"
    BULLSEYE = "bullseye"


NOW = {
    Role.CYCLE: Role.CYCLE_NOW,
    Role.SLICE_IMAGES: Role.SLICE_NOW,
    Role.INTENSITY: Role.INTENSITY_NOW,
    Role.LABELS: Role.LABELS_NOW,
    Role.SEGMENTATION: Role.SEGMENTATION_NOW,
    Role.MODEL: Role.MODEL_NOW,
    Role.PROFILE_TABLE: Role.PROFILE_NOW,
    Role.WALL: Role.WALL_NOW,
    Role.ARROWS: Role.ARROWS_NOW,
    Role.STRAIN_CURSOR: Role.STRAIN_CURSOR_NOW,
}
"""Role of a sequence → role of its current phase."""


class Nodes:
    """The nodes of ours in one scene."""

    def __init__(self, scene: Any) -> None:
        self.scene = scene

    def all(self, role: Role | None = None) -> list[Any]:
        """Every node of this role (of any role), in the order of the scene."""
        found = []
        for node in self.scene.GetNodes():  # by index, each would be sought from the first one
            value = node.GetAttribute(ROLE)
            if value is not None and (role is None or value == role.value):
                found.append(node)
        return found

    def one(self, role: Role, slice_name: str | None = None) -> Any:
        """The node of this role (and slice), or None."""
        for node in self.all(role):
            if slice_name is None or node.GetAttribute(SLICE) == slice_name:
                return node
        return None

    def add(self, class_name: str, role: Role, name: str, slice_name: str | None = None) -> Any:
        """A new node of ours."""
        node = self.scene.AddNewNodeByClass(class_name, name)
        mark(node, role, slice_name)
        return node

    def one_or_new(self, class_name: str, role: Role, name: str) -> Any:
        """The node of this role, made if there is none: what shows it goes on showing it."""
        return self.one(role) or self.add(class_name, role, name)

    def remove(self, *roles: Role) -> None:
        """Remove every node of these roles; if none is given of all, but for annotations, which
        are the user's data."""
        wanted = set(roles) or set(Role) - {Role.ANNOTATION}
        doomed = [n for n in self.all() if Role(n.GetAttribute(ROLE)) in wanted]
        # the browser first: it makes current-phase nodes again as long as it has sequences
        doomed.sort(key=lambda n: n.GetAttribute(ROLE) != Role.BROWSER.value)
        for node in doomed:
            self.remove_node(node)

    def remove_node(self, node: Any) -> None:
        """Remove a node with its display and storage nodes, as 3D Slicer's own modules do."""
        if not self.scene.IsNodePresent(node):
            return
        helpers = []
        if node.IsA("vtkMRMLDisplayableNode"):
            n_displays = node.GetNumberOfDisplayNodes()
            helpers += [node.GetNthDisplayNode(k) for k in range(n_displays)]
        if node.IsA("vtkMRMLStorableNode"):
            n_storages = node.GetNumberOfStorageNodes()
            helpers += [node.GetNthStorageNode(k) for k in range(n_storages)]
        self.scene.RemoveNode(node)
        for helper in helpers:
            if helper is not None and self.scene.IsNodePresent(helper):
                self.scene.RemoveNode(helper)


def mark(node: Any, role: Role, slice_name: str | None = None) -> None:
    """Make a node ours."""
    node.SetAttribute(ROLE, role.value)
    if slice_name is not None:
        node.SetAttribute(SLICE, slice_name)


def put_json(node: Any, key: str, values: Any) -> None:
    """Keep plain JSON values with a node, in the scene's file too."""
    node.SetAttribute(key, json.dumps(values))


def get_json(node: Any, key: str, default: Any = None) -> Any:
    """What `put_json` kept; the default where the node or the value is missing or damaged."""
    text = None if node is None else node.GetAttribute(key)
    if text is None:
        return default
    try:
        return json.loads(text)
    except ValueError:
        return default


@contextmanager
def modified_once(node: Any) -> Iterator[None]:
    """Observers hear of the changes within the block at its end, once."""
    was_modifying = node.StartModify()
    try:
        yield
    finally:
        node.EndModify(was_modifying)


def vtk_matrix(matrix: npt.ArrayLike) -> Any:
    """A 4 x 4 array as vtkMatrix4x4."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=np.float64).ravel().tolist())
    return result


def array_of(matrix: Any) -> npt.NDArray[np.float64]:
    """A vtkMatrix4x4 as `(4, 4)` array."""
    return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def volume_affine(volume: Any) -> npt.NDArray[np.float64]:
    """ras_from_ijk `(4, 4)` of a volume node, without its transform."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return array_of(matrix)


def default_scene() -> Any:
    """The application's scene."""
    return slicer.mrmlScene
