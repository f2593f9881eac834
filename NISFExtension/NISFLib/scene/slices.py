"""Slices where they were acquired: image sequences, textured planes, one transform per slice.

Image and plane of a slice stand as scanned under the slice's transform; aligning them changes the
transform alone, to exp(s log T) of the estimated motion T (s = 0 as scanned, 1 aligned).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from NISFCore.geometry.planes import corners_ras
from NISFCore.geometry.rigid import rigid_fraction
from NISFCore.views import View
from NISFLib.scene.cycle import add_sequence, describe, description, drive, nearest_phases, now_of
from NISFLib.scene.folders import ScannedSlice
from NISFLib.scene.images import Phases, array_of_image
from NISFLib.scene.nodes import RECORD, SLICE, Nodes, Role, get_json, put_json, vtk_matrix

MOTION, ALIGNMENT = "NISF.corrected_from_scanned", "NISF.alignment"
WINDOW_PERCENTILES = (1.0, 99.5)
PLANE_OPACITY = 0.95
OUTLIER_COLOR, OUTLIER_LINE_WIDTH = (1.0, 0.55, 0.0), 4
"""Of the frame around the plane of a slice whose motion stands out."""


@dataclass(frozen=True)
class SceneSlice:
    """A slice in the scene, and the motion that a fit found for it (None before a fit).

    Attributes:
        translation_mm: shift of the slice's centre, RAS.
        uncertainty_mm, uncertainty_deg: standard errors, None where the fit gives none.
        outlier: why its motion stands out among the others; empty if it does not.
    """

    name: str
    view: View
    n_phases: int
    translation_mm: tuple[float, float, float] | None = None
    distance_mm: float | None = None
    rotation_deg: float | None = None
    intensity_scale: float | None = None
    uncertainty_mm: float | None = None
    uncertainty_deg: float | None = None
    outlier: str = ""

    @property
    def is_outlier(self) -> bool:
        return bool(self.outlier)


def add_slice(
    nodes: Nodes,
    scanned: ScannedSlice,
    phases: Phases,
    fractions: npt.NDArray[np.float64],
    motion: Mapping[str, Any] | None,
    region: ScannedSlice | None = None,
) -> Any:
    """Add a slice; `show_slices` makes it visible once the browser drives it.

    Args:
        phases: its frames as acquired.
        fractions: times of the browser; each shows the slice's nearest frame.
        motion: its record in `motion.json`, None before a fit.
        region: the part of it that was fitted, to which views zoom; None is all.
    """
    transform = nodes.add(
        "vtkMRMLLinearTransformNode", Role.SLICE_MOTION, f"{scanned.name} motion", scanned.name
    )
    chosen = nearest_phases(fractions, phases.cycle_fractions)

    def volume(k: int) -> Any:
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetIJKToRASMatrix(vtk_matrix(phases.ras_from_ijk))
        node.SetAndObserveImageData(phases.images[chosen[k]])
        return node

    sequence = add_sequence(nodes, Role.SLICE_IMAGES, scanned.name, fractions, volume, scanned.name)
    for k, frame in enumerate(chosen):  # the sequence copied them: one image per frame is enough
        sequence.GetNthDataNode(k).SetAndObserveImageData(phases.images[frame])
    record = _record(scanned, motion)
    record["region"] = _plane_record(scanned if region is None else region)
    record["frames"] = [int(frame) for frame in chosen]
    put_json(sequence, RECORD, record)
    if motion is not None:
        put_json(transform, MOTION, motion["corrected_from_scanned_ras"])
    return sequence


def _record(scanned: ScannedSlice, motion: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the scene keeps of a slice."""
    record: dict[str, Any] = {
        "name": scanned.name,
        "view": scanned.view.value,
        "n_phases": scanned.n_phases,
        **_plane_record(scanned),
    }
    return record if motion is None else record | _motion_record(motion)


def _motion_record(motion: Mapping[str, Any]) -> dict[str, Any]:
    """What the scene keeps of a slice's estimated motion."""
    return {
        "translation_mm": motion["translation_mm"],
        "distance_mm": motion["distance_mm"],
        "rotation_deg": motion["rotation_deg"],
        "intensity_scale": motion["intensity_scale"],
        "uncertainty_mm": _size(motion.get("translation_sd_mm")),
        "uncertainty_deg": _size(motion.get("rotation_sd_deg")),
        "outlier": motion.get("outlier", ""),
    }


def update_motions(nodes: Nodes, motions: Mapping[str, Mapping[str, Any]]) -> None:
    """Give slices the motions of another fit, and move them as far as they are moved now."""
    for sequence in nodes.all(Role.SLICE_IMAGES):
        name = sequence.GetAttribute(SLICE)
        transform, motion = nodes.one(Role.SLICE_MOTION, name), motions.get(name)
        if transform is not None and motion is not None:
            record = get_json(sequence, RECORD, {}) | _motion_record(motion)
            put_json(sequence, RECORD, record)
            put_json(transform, MOTION, motion["corrected_from_scanned_ras"])
    outliers = {s.name for s in scene_slices(nodes) if s.is_outlier}
    for plane in nodes.all(Role.SLICE_PLANE):
        if plane.GetDisplayNode() is not None:
            plane.GetDisplayNode().SetEdgeVisibility(plane.GetAttribute(SLICE) in outliers)
    set_alignment(nodes, alignment(nodes))


def _plane_record(scanned: ScannedSlice) -> dict[str, Any]:
    return {"shape": list(scanned.shape[1:]), "ras_from_ijk": scanned.ras_from_ijk.tolist()}


def _size(errors: Any) -> float | None:
    """One figure for the standard errors of three components."""
    return None if errors is None else float(np.linalg.norm(errors))


def scene_slices(nodes: Nodes) -> tuple[SceneSlice, ...]:
    """The slices that are in the scene."""
    records = [get_json(n, RECORD) for n in nodes.all(Role.SLICE_IMAGES)]
    return tuple(_scene_slice(record) for record in records if record)


def _scene_slice(record: Mapping[str, Any]) -> SceneSlice:
    values = {k: v for k, v in record.items() if k in SceneSlice.__dataclass_fields__}
    values["view"] = View(record["view"])
    if values.get("translation_mm") is not None:
        values["translation_mm"] = tuple(values["translation_mm"])
    return SceneSlice(**values)


def show_slices(nodes: Nodes) -> None:
    """Let the browser drive all slices, and give each its transform, window and plane."""
    sequences, found = nodes.all(Role.SLICE_IMAGES), scene_slices(nodes)
    drive(nodes, *sequences)
    shown, outliers = _shown_planes(found), {s.name for s in found if s.is_outlier}
    for sequence in sequences:
        name = sequence.GetAttribute(SLICE)
        volume, transform = (
            now_of(nodes, Role.SLICE_IMAGES, name),
            nodes.one(Role.SLICE_MOTION, name),
        )
        volume.CreateDefaultDisplayNodes()
        _set_window(volume.GetDisplayNode(), sequence)
        volume.SetAndObserveTransformNodeID(transform.GetID())
        plane = _add_plane(nodes, name, get_json(sequence, RECORD))
        plane.SetAndObserveTransformNodeID(transform.GetID())
        plane.GetDisplayNode().SetVisibility(name in shown)
        plane.GetDisplayNode().SetEdgeVisibility(name in outliers)  # a frame around the plane
    connect_textures(nodes)


def _shown_planes(slices: tuple[SceneSlice, ...]) -> set[str]:
    """Planes that do not hide each other: the long axes, and one in the middle of the stack."""
    stack = [s.name for s in slices if s.view is View.SA]
    return {s.name for s in slices if s.view is not View.SA} | set(
        stack[len(stack) // 2 : len(stack) // 2 + 1]
    )


def _set_window(display: Any, sequence: Any) -> None:
    """One window for all phases: an automatic one would make the slice flicker."""
    n_phases = sequence.GetNumberOfDataNodes()
    images = [sequence.GetNthDataNode(k).GetImageData() for k in range(0, n_phases, 4)]
    values = np.concatenate([array_of_image(image).ravel() for image in images])
    low, high = np.percentile(values, WINDOW_PERCENTILES)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(float(low), float(max(high, low + 1e-6)))


def _add_plane(nodes: Nodes, name: str, record: Mapping[str, Any]) -> Any:
    rows, cols = record["shape"]
    plane = nodes.add("vtkMRMLModelNode", Role.SLICE_PLANE, f"{name} plane", name)
    plane.SetAndObservePolyData(plane_surface(np.array(record["ras_from_ijk"]), (rows, cols)))
    plane.CreateDefaultDisplayNodes()
    display = plane.GetDisplayNode()
    display.SetAmbient(1.0)  # the image as it is, without the light of the scene
    display.SetDiffuse(0.0)
    display.SetSpecular(0.0)
    display.SetBackfaceCulling(False)
    display.SetVisibility2D(False)
    display.SetInterpolateTexture(True)
    display.SetOpacity(PLANE_OPACITY)
    display.SetEdgeColor(*OUTLIER_COLOR)
    display.SetLineWidth(OUTLIER_LINE_WIDTH)
    return plane


def plane_surface(ras_from_ijk: npt.NDArray[np.float64], shape: tuple[int, int]) -> Any:
    """The pixel area of a slice as a rectangle with texture coordinates (vtkPolyData, RAS)."""
    corners = corners_ras(ras_from_ijk, shape)
    source = vtk.vtkPlaneSource()
    source.SetOutputPointsPrecision(vtk.vtkAlgorithm.DOUBLE_PRECISION)
    source.SetOrigin(*corners[0])  # texture (0, 0): the corner of the first pixel
    source.SetPoint1(*corners[1])  # (1, 0): the end of the first row
    source.SetPoint2(*corners[3])  # (0, 1): the end of the first column
    source.Update()
    return source.GetOutput()


def connect_textures(nodes: Nodes) -> None:
    """Give every plane its slice's picture, as its window shows it. Needed again after a scene was
    loaded: a texture is a connection in memory and in no file."""
    for plane in nodes.all(Role.SLICE_PLANE):
        volume = now_of(nodes, Role.SLICE_IMAGES, plane.GetAttribute(SLICE))
        display = None if volume is None else volume.GetDisplayNode()
        if plane.GetDisplayNode() is not None and display is not None:
            plane.GetDisplayNode().SetTextureImageDataConnection(
                display.GetOutputImageDataConnection()
            )


def show_planes(nodes: Nodes, on: bool) -> None:
    """Show the planes that do not hide each other, or none."""
    shown = _shown_planes(scene_slices(nodes)) if on else set()
    for plane in nodes.all(Role.SLICE_PLANE):
        if plane.GetDisplayNode() is not None:
            plane.GetDisplayNode().SetVisibility(plane.GetAttribute(SLICE) in shown)


def motion_at(transform: Any, amount: float) -> npt.NDArray[np.float64]:
    """The part `amount` of a slice's estimated motion; the identity before a fit."""
    motion = get_json(transform, MOTION)
    return np.eye(4) if motion is None else rigid_fraction(motion, amount)


def set_alignment(nodes: Nodes, amount: float) -> None:
    """Move all slices to the part `amount` in [0, 1] of their motions."""
    amount = min(max(float(amount), 0.0), 1.0)
    for transform in nodes.all(Role.SLICE_MOTION):
        transform.SetMatrixTransformToParent(vtk_matrix(motion_at(transform, amount)))
    if nodes.one(Role.BROWSER) is not None:
        describe(nodes, ALIGNMENT, amount)


def alignment(nodes: Nodes) -> float:
    """How far the slices are moved, in [0, 1]."""
    return float(description(nodes, ALIGNMENT, 0.0))
