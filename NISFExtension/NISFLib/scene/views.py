"""Slice views and the 3D view: what they show and from where, without layouts or widgets."""

from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.planes import centre_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.views import View
from NISFLib.scene.cycle import now_of
from NISFLib.scene.nodes import RECORD, SLICE, Nodes, Role, SceneError, array_of, get_json
from NISFLib.scene.slices import scene_slices

SHOWS = "NISF.shows"
"""Attribute of a slice view's node: the slice that it follows."""

VIEW_OF = {"Red": View.SA, "Green": View.LA_4CH, "Yellow": View.LA_2CH}
MARGIN = 1.05
CAMERA_DISTANCE_MM = 420.0
CAMERA_DIRECTION_RAS = np.array([-0.45, 0.85, 0.3])
"""From the heart to the eye: in front of the patient, a little from the left and from above."""


def show_slice(nodes: Nodes, name: str, view: str) -> None:
    """Show a slice in a slice view, seen straight on, its fitted part filling the view; it follows
    the alignment.

    Raises:
        SceneError: if the scene has no such slice or view.
    """
    volume = now_of(nodes, Role.SLICE_IMAGES, name)
    slice_node = slice_view(nodes, view)
    if volume is None or slice_node is None:
        raise SceneError(f"the scene has no slice {name!r} or no view {view!r}")
    composite = composite_of(nodes, view)
    if composite is not None:
        composite.SetBackgroundVolumeID(volume.GetID())
    slice_node.SetAttribute(SHOWS, name)
    _aim(nodes, slice_node, name)
    _fit_to_slice(slice_node, get_json(nodes.one(Role.SLICE_IMAGES, name), RECORD)["region"])


def slice_shown(nodes: Nodes, view: str) -> str:
    """The slice that a slice view follows; empty if it follows none."""
    slice_node = slice_view(nodes, view)
    return "" if slice_node is None else slice_node.GetAttribute(SHOWS) or ""


def follow_slices(nodes: Nodes) -> None:
    """Aim every slice view again that shows one of our slices, after slices were moved."""
    for slice_node in _nodes_of_class(nodes, "vtkMRMLSliceNode"):
        name = slice_node.GetAttribute(SHOWS)
        if (
            name
            and nodes.one(Role.SLICE_IMAGES, name) is not None
            and _still_shows(nodes, slice_node, name)
        ):
            _aim(nodes, slice_node, name)


def _still_shows(nodes: Nodes, slice_node: Any, name: str) -> bool:
    """False once the user put another image into the view, or turned it elsewhere."""
    composite = composite_of(nodes, slice_node.GetLayoutName())
    volume = now_of(nodes, Role.SLICE_IMAGES, name)
    background = None if composite is None else composite.GetBackgroundVolumeID()
    intensity = now_of(nodes, Role.INTENSITY)
    ours = [node.GetID() for node in (volume, intensity) if node is not None]
    return composite is None or background in ours


def _aim(nodes: Nodes, slice_node: Any, name: str) -> None:
    """Put a view's plane onto a slice where it is now: columns run to the right, rows down."""
    record = get_json(nodes.one(Role.SLICE_IMAGES, name), RECORD)["region"]
    ras_from_ijk = slice_pose(nodes, name) @ np.array(record["ras_from_ijk"])
    axes = ras_from_ijk[:3, :3] / np.linalg.norm(ras_from_ijk[:3, :3], axis=0)
    ras_from_view = np.eye(4)
    ras_from_view[:3, 0] = axes[:, 0]
    ras_from_view[:3, 1] = -axes[:, 1]
    ras_from_view[:3, 2] = -np.cross(axes[:, 0], axes[:, 1])
    rows, cols = record["shape"]
    ras_from_view[:3, 3] = centre_ras(ras_from_ijk, (rows, cols))
    _set_plane(slice_node, ras_from_view)


def slice_pose(nodes: Nodes, name: str) -> npt.NDArray[np.float64]:
    """The transform `(4, 4)` under which a slice stands now; the identity if it was removed."""
    transform = nodes.one(Role.SLICE_MOTION, name)
    if transform is None:
        return np.eye(4)
    return array_of(transform.GetMatrixTransformToParent())


def _set_plane(slice_node: Any, ras_from_view: npt.NDArray[np.float64]) -> None:
    matrix = slice_node.GetSliceToRAS()
    matrix.DeepCopy(ras_from_view.ravel().tolist())
    slice_node.UpdateMatrices()


def _fit_to_slice(slice_node: Any, record: Any) -> None:
    """Zoom so that the whole region fits into the view."""
    A = np.array(record["ras_from_ijk"])
    rows, cols = record["shape"]
    width, height = np.linalg.norm(A[:3, :2], axis=0) * [cols, rows] * MARGIN
    n_x, n_y, _ = slice_node.GetDimensions()
    pixel = max(width / max(n_x, 1), height / max(n_y, 1))
    slice_node.SetFieldOfView(pixel * max(n_x, 1), pixel * max(n_y, 1), 1.0)


def arrange(nodes: Nodes) -> None:
    """Red: a middle short-axis slice, Green: four chambers, Yellow: two; the camera before the
    heart. Views without a fitting slice stay as they are."""
    slices = scene_slices(nodes)
    for view, kind in VIEW_OF.items():
        names = [s.name for s in slices if s.view is kind]
        if names and slice_view(nodes, view) is not None:
            show_slice(nodes, names[len(names) // 2], view)
    _place_camera(nodes)


def show_intensity(nodes: Nodes, on: bool) -> None:
    """Show the super-resolved image as the background of all slice views that follow a slice, or
    the slices again."""
    intensity = now_of(nodes, Role.INTENSITY)
    for slice_node in _nodes_of_class(nodes, "vtkMRMLSliceNode"):
        name = slice_node.GetAttribute(SHOWS)
        composite = composite_of(nodes, slice_node.GetLayoutName())
        volume = intensity if on else now_of(nodes, Role.SLICE_IMAGES, name)
        if name and composite is not None and volume is not None:
            composite.SetBackgroundVolumeID(volume.GetID())


def shows_intensity(nodes: Nodes) -> bool:
    """Whether a slice view has the super-resolved image as its background."""
    intensity = now_of(nodes, Role.INTENSITY)
    composites = _nodes_of_class(nodes, "vtkMRMLSliceCompositeNode")
    return intensity is not None and any(
        c.GetBackgroundVolumeID() == intensity.GetID() for c in composites
    )


def composites(nodes: Nodes) -> list[Any]:
    """The nodes that say what slice views show."""
    return _nodes_of_class(nodes, "vtkMRMLSliceCompositeNode")


def slice_view(nodes: Nodes, name: str) -> Any:
    """The node of a slice view such as "Red", or None."""
    found = [n for n in _nodes_of_class(nodes, "vtkMRMLSliceNode") if n.GetLayoutName() == name]
    return found[0] if found else None


def composite_of(nodes: Nodes, name: str) -> Any:
    """The node that says what a slice view shows, or None."""
    nodes_of_class = _nodes_of_class(nodes, "vtkMRMLSliceCompositeNode")
    found = [n for n in nodes_of_class if n.GetLayoutName() == name]
    return found[0] if found else None


def _nodes_of_class(nodes: Nodes, class_name: str) -> list[Any]:
    scene = nodes.scene
    return [
        scene.GetNthNodeByClass(k, class_name)
        for k in range(scene.GetNumberOfNodesByClass(class_name))
    ]


def heart_centre_ras(nodes: Nodes) -> npt.NDArray[np.float64] | None:
    """The mean of the centres of the slices' fitted parts `(3,)`, None without slices."""
    centres = []
    for node in nodes.all(Role.SLICE_IMAGES):
        record = get_json(node, RECORD)["region"]
        rows, cols = record["shape"]
        centre = centre_ras(np.array(record["ras_from_ijk"]), (rows, cols))
        centres.append(apply_affine(slice_pose(nodes, node.GetAttribute(SLICE)), centre))
    return np.mean(centres, axis=0) if centres else None


def _place_camera(nodes: Nodes) -> None:
    centre = heart_centre_ras(nodes)
    if centre is None:
        return
    direction = CAMERA_DIRECTION_RAS / np.linalg.norm(CAMERA_DIRECTION_RAS)
    for camera in _nodes_of_class(nodes, "vtkMRMLCameraNode"):
        camera.SetFocalPoint(*centre)
        camera.SetPosition(*(centre + CAMERA_DISTANCE_MM * direction))
        camera.SetViewUp(0, 0, 1)
        camera.ResetClippingRange()
