"""What a user draws on scanned slices, to guide a refit: one segmentation per slice and frame, and
one line between the hinges of a valve.

Annotations are data: no load and no fit changes or removes them, they are saved with the scene, and
they stand as scanned under their slice's transform, so that they move with it. Labels of an
annotation are those of its slice's own pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from NISFCore.data.valve_points import SUFFIX, valve_pixels
from NISFCore.geometry.spaces import apply_affine
from NISFCore.views import View
from NISFLib.scene import editor, valves
from NISFLib.scene.cycle import FRACTIONS, description, now_of
from NISFLib.scene.folders import COPLANAR_MM
from NISFLib.scene.heart import label_volume, labelled_segmentation
from NISFLib.scene.images import array_of_image, oriented_image
from NISFLib.scene.nodes import (
    RECORD,
    SLICE,
    Nodes,
    Role,
    SceneError,
    get_json,
    mark,
    put_json,
)
from NISFLib.scene.slice_labels import fitted_labels
from NISFLib.scene.storage import storage, write_whole

FILL_OPACITY, LINE_WIDTH = 0.3, 2
BACKGROUND_NAME, BACKGROUND_COLOR = "background", (0.6, 0.6, 0.6)
"""A segment of partial annotations: what is painted with it is none of the heart."""


@dataclass(frozen=True)
class SceneAnnotation:
    """An annotation in the scene.

    Attributes:
        node_id: of its vtkMRMLSegmentationNode, or a valve's vtkMRMLMarkupsLineNode.
        frame: of the slice, from 0.
        n_frames: of the slice.
        origin: what it began with, "fit" or "empty"; "valve" is a line from the fit's hinges.
        changed: when it was made or last used with other labels, local time to the minute.
        included: whether refits use it.
        complete: what is not painted is background; else it is unknown.
        problem: why refits cannot use it; empty if they can.
    """

    node_id: str
    slice_name: str
    frame: int
    n_frames: int
    origin: str
    changed: str
    included: bool
    complete: bool
    problem: str

    @property
    def has_labels(self) -> bool:
        """Whether it is painted, not a line."""
        return self.origin != valves.ORIGIN

    @property
    def is_used(self) -> bool:
        return self.included and not self.problem


def annotations(nodes: Nodes) -> tuple[SceneAnnotation, ...]:
    """All annotations of the scene, in the order in which they were made."""
    return tuple(_described(nodes, node) for node in nodes.all(Role.ANNOTATION))


def _described(nodes: Nodes, node: Any) -> SceneAnnotation:
    record = get_json(node, RECORD, {})
    return SceneAnnotation(
        node_id=node.GetID(),
        slice_name=node.GetAttribute(SLICE) or "?",
        frame=int(record.get("frame", 0)),
        n_frames=int(record.get("n_frames", 0)),
        origin=str(record.get("origin", "empty")),
        changed=str(record.get("changed", "")),
        included=bool(record.get("included", True)),
        complete=bool(record.get("complete", True)),
        problem=_problem(nodes, node),
    )


def _problem(nodes: Nodes, node: Any) -> str:
    if _slice_record_of(nodes, node) is None:
        return "its slice is not in the scene"
    if valves.is_valve(node):
        return valves.problem(node)
    return "" if labels_of_annotation(node).any() else "nothing is painted"


def frame_shown(nodes: Nodes, slice_name: str) -> tuple[int, int]:
    """Which frame of a slice the present phase shows, and of how many.

    Raises:
        SceneError: if there is no such slice.
    """
    record = get_json(nodes.one(Role.SLICE_IMAGES, slice_name), RECORD)
    if record is None:
        raise SceneError(f"there is no slice {slice_name!r} in the scene; read the study first")
    browser = nodes.one(Role.BROWSER)
    phase = 0 if browser is None else max(0, browser.GetSelectedItemNumber())
    n_frames = int(record["n_phases"])
    frames = record.get("frames")
    if frames is None:  # a scene of an earlier version: frames spread evenly
        fraction = description(nodes, FRACTIONS)[phase]
        return round(fraction * n_frames) % n_frames, n_frames
    return int(frames[phase]), n_frames


def phase_of_frame(nodes: Nodes, slice_name: str, frame: int) -> int:
    """A phase of the scene that shows a frame of a slice, or comes nearest to it."""
    record = get_json(nodes.one(Role.SLICE_IMAGES, slice_name), RECORD, {})
    frames = np.array(record.get("frames", [0]))
    gap = np.abs(frames - frame) % record.get("n_phases", 1)
    return int(np.argmin(np.minimum(gap, record.get("n_phases", 1) - gap)))


def annotation_at(nodes: Nodes, slice_name: str, frame: int, is_valve: bool = False) -> Any:
    """The annotation of a frame, or its valve, or None."""
    for node in nodes.all(Role.ANNOTATION):
        is_here = node.GetAttribute(SLICE) == slice_name and _slice_record_of(nodes, node)
        is_of_frame = get_json(node, RECORD, {}).get("frame") == frame
        if is_here and is_of_frame and valves.is_valve(node) == is_valve:
            return node
    return None


def annotate(nodes: Nodes, slice_name: str, from_fit: bool, complete: bool) -> Any:
    """An editable segmentation of a slice at the present phase: that which is there already, else
    a new one.

    Args:
        from_fit: begin with the fit's own labels; else with nothing.
        complete: see `SceneAnnotation`.

    Raises:
        SceneError: if there is no such slice, or labels of a fit are wanted and there is no fit.
    """
    frame, _ = frame_shown(nodes, slice_name)
    there = annotation_at(nodes, slice_name, frame)
    if there is not None:
        return there
    record = get_json(nodes.one(Role.SLICE_IMAGES, slice_name), RECORD)
    ras_from_ijk = np.array(record["ras_from_ijk"])
    rows, cols = record["shape"]
    labels = np.zeros((rows, cols), dtype=np.uint8)
    if from_fit:
        labels = fitted_labels(nodes, slice_name)
    node = labelled_segmentation(oriented_image(labels[None], ras_from_ijk), {})
    if not complete:
        _add_background(node)
    node.SetName(f"{slice_name} frame {frame + 1} drawn")
    about = {"origin": "fit" if from_fit else "empty", "complete": complete}
    node = _added(nodes, node, slice_name, about)
    _style(node)
    attach(nodes)
    return node


def place_valve(nodes: Nodes, slice_name: str) -> Any:
    """The line between the valve's hinges in a long-axis slice at the present phase: that which is
    there already, else a new one where the fit has them, to be dragged.

    Raises:
        SceneError: if there is no such slice, no fit, or no valve to be seen.
    """
    frame, _ = frame_shown(nodes, slice_name)
    there = annotation_at(nodes, slice_name, frame, is_valve=True)
    if there is not None:
        return there
    record = get_json(nodes.one(Role.SLICE_IMAGES, slice_name), RECORD)
    hinges = None
    if View(record["view"]).is_long_axis:
        hinges = valve_pixels(fitted_labels(nodes, slice_name))
    if hinges is None:
        raise SceneError(
            f"no valve is seen in {slice_name} at this phase; choose a long-axis slice in which "
            "the fit shows where the LV ends"
        )
    ijk = np.stack([hinges[:, 1], hinges[:, 0], np.zeros(2)], axis=1)
    points = apply_affine(np.array(record["ras_from_ijk"]), ijk)
    node = valves.new_line(f"{slice_name} frame {frame + 1} valve", points)
    node = _added(nodes, node, slice_name, {"origin": valves.ORIGIN, "complete": False})
    valves.style(node)
    attach(nodes)
    return node


def _added(nodes: Nodes, node: Any, slice_name: str, about: Mapping[str, Any]) -> Any:
    """In the scene, with what is known of its slice and frame."""
    frame, n_frames = frame_shown(nodes, slice_name)
    record = get_json(nodes.one(Role.SLICE_IMAGES, slice_name), RECORD)
    mark(node, Role.ANNOTATION, slice_name)
    where = {name: record[name] for name in ("shape", "ras_from_ijk")}
    which = {"frame": frame, "n_frames": n_frames, "included": True}
    put_json(node, RECORD, {**which, **where, **about, **_stamp(node)})
    return nodes.scene.AddNode(node)


def _add_background(node: Any) -> None:
    """A segment for what is none of the heart: only painted pixels of a partial one are known."""
    segmentation = node.GetSegmentation()
    name = segmentation.AddEmptySegment(BACKGROUND_NAME, BACKGROUND_NAME)
    segmentation.GetSegment(name).SetColor(*BACKGROUND_COLOR)


def _style(node: Any) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    display.SetPreferredDisplayRepresentationName2D(binary)
    display.SetVisibility3D(False)
    display.SetOpacity2DFill(FILL_OPACITY)
    display.SetSliceIntersectionThickness(LINE_WIDTH)


def labels_of_annotation(node: Any) -> npt.NDArray[Any]:
    """What is painted, as numbers of segments in the pixels of the slice; 0 where nothing is."""
    if node.GetSegmentation().GetNumberOfSegments() == 0:
        return np.zeros((1, 1, 1), dtype=np.uint8)
    return array_of_image(label_volume(node).GetImageData())


def _stamp(node: Any) -> dict[str, str]:
    """When, and a mark of what is painted, by which a change is noticed."""
    now = datetime.now().astimezone().isoformat(" ", "minutes")
    return {"changed": now[:16], "digest": _digest(node)}


def _digest(node: Any) -> str:
    is_valve = valves.is_valve(node)
    drawn = valves.points_of(node) if is_valve else labels_of_annotation(node)
    return sha256(drawn.tobytes()).hexdigest()


def set_included(nodes: Nodes, node_id: str, on: bool) -> None:
    """Let refits use an annotation, or not; it stays as it is."""
    _change(nodes, node_id, {"included": on})


def set_complete(nodes: Nodes, node_id: str, on: bool) -> None:
    """Whether what is not painted is background (else it is unknown)."""
    _change(nodes, node_id, {"complete": on})


def _change(nodes: Nodes, node_id: str, values: Mapping[str, Any]) -> None:
    node = annotation_node(nodes, node_id)
    put_json(node, RECORD, get_json(node, RECORD, {}) | dict(values))


def remove(nodes: Nodes, node_id: str) -> None:
    """Delete an annotation: only what a user asks for is ever deleted."""
    nodes.remove_node(annotation_node(nodes, node_id))


def annotation_node(nodes: Nodes, node_id: str) -> Any:
    """The segmentation node of an annotation.

    Raises:
        SceneError: if it is not there any more.
    """
    node = nodes.scene.GetNodeByID(node_id)
    if node is None or node not in nodes.all(Role.ANNOTATION):
        raise SceneError("this annotation is not in the scene any more")
    return node


@dataclass(frozen=True)
class WrittenAnnotation:
    """The file of an annotation, and what it is of."""

    path: Path
    slice_name: str
    frame: int
    complete: bool


def edit(nodes: Nodes, node: Any) -> bool:
    """Choose an annotation, and the image that it is painted on, in the Segment Editor. False
    where this Slicer has none (slicer-core), and for a valve, which is dragged where it is."""
    if valves.is_valve(node):
        return False
    image = now_of(nodes, Role.SLICE_IMAGES, node.GetAttribute(SLICE))
    return editor.edit(nodes.scene, node, image)


def write_annotations(nodes: Nodes, folder: Path) -> list[WrittenAnnotation]:
    """Write the annotations that refits use, each whole or not at all.

    Raises:
        SceneError: if a file cannot be written.
    """
    written = []
    for number, item in enumerate(annotations(nodes), start=1):
        if item.is_used:
            node = annotation_node(nodes, item.node_id)
            _note_change(node)
            ending = SUFFIX if valves.is_valve(node) else ".seg.nrrd"
            path = write_whole(folder / f"annotation_{number:03d}{ending}", _Writer(node))
            written.append(WrittenAnnotation(path, item.slice_name, item.frame, item.complete))
    return written


class _Writer:
    """Stores what was drawn as it stands in its slice, without the slice's transform."""

    def __init__(self, node: Any) -> None:
        self._node = node

    def __call__(self, path: Path) -> bool:
        is_valve = valves.is_valve(self._node)
        kind = "vtkMRMLMarkupsJsonStorageNode" if is_valve else "vtkMRMLSegmentationStorageNode"
        with storage(getattr(slicer, kind)(), path) as store:
            return bool(store.WriteData(self._node))


def _note_change(node: Any) -> None:
    record = get_json(node, RECORD, {})
    if record.get("digest") != _digest(node):
        put_json(node, RECORD, record | _stamp(node))


def attach(nodes: Nodes) -> None:
    """Put every annotation under the transform of its slice and onto its image, and show those of
    the present phase. Slices come and go; annotations stay."""
    for node in nodes.all(Role.ANNOTATION):
        is_here, name = _slice_record_of(nodes, node) is not None, node.GetAttribute(SLICE)
        motion = nodes.one(Role.SLICE_MOTION, name) if is_here else None
        node.SetAndObserveTransformNodeID(None if motion is None else motion.GetID())
        if not valves.is_valve(node):
            editor.refer(node, now_of(nodes, Role.SLICE_IMAGES, name) if is_here else None)
    follow_phase(nodes)


def follow_phase(nodes: Nodes) -> None:
    """Show the annotations of the frames that the present phase shows, hide the others."""
    for node in nodes.all(Role.ANNOTATION):
        display = node.GetDisplayNode()
        is_here = _slice_record_of(nodes, node) is not None
        frame = frame_shown(nodes, node.GetAttribute(SLICE))[0] if is_here else None
        if display is not None:
            display.SetVisibility(get_json(node, RECORD, {}).get("frame") == frame)


def _slice_record_of(nodes: Nodes, node: Any) -> Mapping[str, Any] | None:
    """The record of the slice that an annotation was drawn on; None if it is not in the scene, or
    another study's slice of this name is."""
    own = get_json(node, RECORD, {})
    record = get_json(nodes.one(Role.SLICE_IMAGES, node.GetAttribute(SLICE)), RECORD)
    if not record or "ras_from_ijk" not in own or record["n_phases"] != own.get("n_frames"):
        return None
    A, B = np.array(own["ras_from_ijk"]), np.array(record["ras_from_ijk"])
    normal = A[:3, 2] / np.linalg.norm(A[:3, 2])
    is_same = np.abs(A[:3, :3] - B[:3, :3]).max() < COPLANAR_MM
    return record if is_same and abs(normal @ (B[:3, 3] - A[:3, 3])) < COPLANAR_MM else None
