"""What a user draws on scanned slices, to guide a refit: one segmentation per slice and frame.

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

from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.labels import N_LABELS
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
    volume_affine,
)
from NISFLib.scene.slices import motion_at
from NISFLib.scene.storage import storage, write_whole

FILL_OPACITY, LINE_WIDTH = 0.3, 2
BACKGROUND_NAME, BACKGROUND_COLOR = "background", (0.6, 0.6, 0.6)
"""A segment of partial annotations: what is painted with it is none of the heart."""

EDITOR_TAG = "SegmentEditor"
"""Of the node by which Slicer's Segment Editor module keeps what it edits."""

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SceneAnnotation:
    """An annotation in the scene.

    Attributes:
        node_id: of its vtkMRMLSegmentationNode.
        frame: of the slice, from 0.
        n_frames: of the slice.
        origin: what it began with, "fit" or "empty".
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


def annotation_at(nodes: Nodes, slice_name: str, frame: int) -> Any:
    """The annotation of a frame, or None."""
    for node in nodes.all(Role.ANNOTATION):
        is_here = node.GetAttribute(SLICE) == slice_name and _slice_record_of(nodes, node)
        if is_here and get_json(node, RECORD, {}).get("frame") == frame:
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
    frame, n_frames = frame_shown(nodes, slice_name)
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
    mark(node, Role.ANNOTATION, slice_name)
    about = {
        "frame": frame,
        "n_frames": n_frames,
        "shape": [rows, cols],
        "ras_from_ijk": ras_from_ijk.tolist(),
        "origin": "fit" if from_fit else "empty",
        "included": True,
        "complete": complete,
    }
    put_json(node, RECORD, about | _stamp(node))
    node = nodes.scene.AddNode(node)
    _style(node)
    attach(nodes)
    return node


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


def fitted_labels(nodes: Nodes, slice_name: str) -> Labels:
    """The fit's labels of the present phase in the pixels of a slice where the fit put it,
    `(rows, cols)`.

    Raises:
        SceneError: if there is no fit in the scene.
    """
    heart, motion = now_of(nodes, Role.SEGMENTATION), nodes.one(Role.SLICE_MOTION, slice_name)
    if heart is None or motion is None:
        raise SceneError("there is no fit to begin with; fit the study, or begin with nothing")
    record = get_json(nodes.one(Role.SLICE_IMAGES, slice_name), RECORD)
    rows, cols = record["shape"]
    scanned = pixel_centres_ras(np.array(record["ras_from_ijk"]), (rows, cols))
    points = apply_affine(motion_at(motion, 1.0), scanned)
    volume = label_volume(heart)
    ijk = apply_affine(invert_affine(volume_affine(volume)), points.reshape(-1, 3))
    labels = interpolated_labels(array_of_image(volume.GetImageData()), ijk)
    return labels.reshape(rows, cols)


def interpolated_labels(labels: npt.NDArray[Any], ijk: npt.NDArray[np.float64]) -> Labels:
    """The label at voxel positions `(n, 3)` between the voxels of a label map `(n_k, n_j, n_i)`:
    that with the largest share of the eight around, `(n,)`; background outside."""
    n_kji = np.array(labels.shape)
    low = np.floor(ijk[:, ::-1]).astype(int)
    rest = ijk[:, ::-1] - low
    shares = np.zeros((len(ijk), N_LABELS))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, rest, 1 - rest), axis=1)
        kji = low + corner
        inside = ((kji >= 0) & (kji < n_kji)).all(axis=1)
        found = np.zeros(len(ijk), dtype=int)
        found[inside] = labels[tuple(kji[inside].T)]
        shares[np.arange(len(ijk)), np.clip(found, 0, N_LABELS - 1)] += weight
    return np.argmax(shares, axis=1).astype(np.uint8)


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
    return sha256(labels_of_annotation(node).tobytes()).hexdigest()


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
    where this Slicer has none (slicer-core)."""
    scene, kind = nodes.scene, "vtkMRMLSegmentEditorNode"
    editor = scene.GetSingletonNode(EDITOR_TAG, kind)
    if editor is None:
        made = scene.CreateNodeByClass(kind)
        if made is None:
            return False
        made.UnRegister(None)
        made.SetSingletonTag(EDITOR_TAG)
        editor = scene.AddNode(made)
    editor.SetAndObserveSegmentationNode(node)
    image = now_of(nodes, Role.SLICE_IMAGES, node.GetAttribute(SLICE))
    setter = getattr(editor, "SetAndObserveSourceVolumeNode", None)
    if setter is None:  # the name until Slicer 5.2
        setter = editor.SetAndObserveMasterVolumeNode
    setter(image)
    return True


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
            path = write_whole(folder / f"annotation_{number:03d}.seg.nrrd", _Writer(node))
            written.append(WrittenAnnotation(path, item.slice_name, item.frame, item.complete))
    return written


class _Writer:
    """Stores a segmentation as it stands in its slice, without the slice's transform."""

    def __init__(self, node: Any) -> None:
        self._node = node

    def __call__(self, path: Path) -> bool:
        with storage(slicer.vtkMRMLSegmentationStorageNode(), path) as store:
            return bool(store.WriteData(self._node))


def _note_change(node: Any) -> None:
    record = get_json(node, RECORD, {})
    if record.get("digest") != _digest(node):
        put_json(node, RECORD, record | _stamp(node))


def attach(nodes: Nodes) -> None:
    """Put every annotation under the transform of its slice, and show those of the present phase.
    Slices come and go; annotations stay."""
    for node in nodes.all(Role.ANNOTATION):
        is_here = _slice_record_of(nodes, node) is not None
        motion = nodes.one(Role.SLICE_MOTION, node.GetAttribute(SLICE)) if is_here else None
        node.SetAndObserveTransformNodeID(None if motion is None else motion.GetID())
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
