"""Closed, smooth surfaces of the labels, straight from the continuous field.

A label's margin is log p_label - log of the largest other probability: positive inside. Its zero
level is meshed on a grid (flying edges, Schroeder et al. 2015), the mesh is evened out, every
vertex is moved along its normal onto the field's own boundary, and edges such as the rim of a
valve are smoothed (by about 0.1 mm elsewhere). The surface is thus smooth at any grid spacing, also
where probabilities jump from 0 to 1, and closed: valves are capped where the label ends. Points are
in RAS mm, triangles face outwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkWindowedSincPolyDataFilter

from NISFCore.analysis.interpolation import GridMap, interpolated
from NISFCore.analysis.lattice import LABELS_ONLY, SampledCycle, sample_cycle
from NISFCore.analysis.rendering import evaluate_points
from NISFCore.analysis.steps import Steps
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.grids import Grid
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.labels import FOREGROUND, Label
from NISFCore.progress import CancelToken

SURFACE_SPACING_MM = 2.0
N_STEPS, N_STEPS_IF_JUMPING = 3, 6
N_SMOOTHING_STEPS = 20
SMOOTHING_PASS_BAND = 0.1
PROBABILITY_FLOOR = 1e-7

Triangles = npt.NDArray[np.int64]
Logs = npt.NDArray[np.float32]
Margin = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """A triangle mesh in RAS mm.

    Attributes:
        points_ras: `(n_points, 3)`.
        triangles: `(n_triangles, 3)` indices of points, counter-clockwise seen from outside.
    """

    points_ras: Points
    triangles: Triangles

    @property
    def volume_ml(self) -> float:
        """Enclosed volume (divergence theorem)."""
        a, b, c = (self.points_ras[self.triangles[:, k]] for k in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6000

    @property
    def area_cm2(self) -> float:
        return float(np.linalg.norm(self._area_normals(), axis=1).sum()) / 200

    @property
    def n_boundary_edges(self) -> int:
        """Edges that do not belong to exactly two triangles; 0 for a closed surface."""
        edges = np.sort(self.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        _, counts = np.unique(edges, axis=0, return_counts=True)
        return int(np.count_nonzero(counts != 2))

    def vertex_normals(self) -> Points:
        """Outward unit normals `(n_points, 3)`: mean of the triangles', weighted by area."""
        face = self._area_normals()
        normals = np.zeros(self.points_ras.shape)
        for k in range(3):
            for axis in range(3):
                normals[:, axis] += np.bincount(
                    self.triangles[:, k], face[:, axis], minlength=len(normals)
                )
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return normals / np.where(length > 0, length, 1)

    def folded_share(self) -> float:
        """Share of triangles that face away from the mean normal of their vertices."""
        mean = self.vertex_normals()[self.triangles].mean(axis=1)
        return float((np.einsum("ij,ij->i", self._area_normals(), mean) < 0).mean())

    def to_polydata(self) -> vtkPolyData:
        """As VTK poly data, with point normals."""
        polydata = vtkPolyData()
        points = vtkPoints()
        points.SetData(numpy_to_vtk(self.points_ras.astype(np.float32), deep=True))
        polydata.SetPoints(points)
        polydata.SetPolys(_cell_array(self.triangles))
        normals = numpy_to_vtk(self.vertex_normals().astype(np.float32), deep=True)
        normals.SetName("Normals")
        polydata.GetPointData().SetNormals(normals)
        return polydata

    def _area_normals(self) -> Points:
        a, b, c = (self.points_ras[self.triangles[:, k]] for k in range(3))
        return np.cross(b - a, c - a)


EMPTY_SURFACE = Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))


def label_surfaces(
    field: HeartField,
    cycle_fraction: float,
    spacing_mm: float = SURFACE_SPACING_MM,
    labels: Sequence[Label] = FOREGROUND,
    cancel: CancelToken | None = None,
) -> dict[Label, Surface]:
    """The closed surface of each label's largest component at one time of the cycle.

    A label that does not occur has an empty surface. Details thinner than `spacing_mm` are lost.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    grid = field.box.grid(spacing_mm)
    steps = Steps("surfaces", 1, None, cancel)
    cycle = sample_cycle(field, grid, np.array([cycle_fraction % 1.0]), LABELS_ONLY, steps)
    logs = lattice_logs(cycle, 0, grid)
    return {label: surface_of(field, logs, grid, cycle_fraction, label, cancel) for label in labels}


def lattice_logs(cycle: SampledCycle, index: int, grid: Grid) -> Logs:
    """Log-probabilities `(4, n_k, n_j, n_i)` of a sampled phase on a grid with its axes."""
    return interpolated(cycle.volume(index)[1:], GridMap.between(cycle.grid, grid).matrices())


def surface_of(
    field: HeartField,
    logs: Logs,
    grid: Grid,
    cycle_fraction: float,
    label: Label,
    cancel: CancelToken | None = None,
) -> Surface:
    """One label's surface, from log-probabilities `(4, ...)` on `grid`.

    `field` is evaluated only next to the surface.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    margin = largest_component(margin_of_logs(logs, label))
    return settled(field, zero_level(margin, grid), grid, cycle_fraction, label, margin, cancel)


def settled(
    field: HeartField,
    mesh: Surface,
    grid: Grid,
    cycle_fraction: float,
    label: Label,
    margin: Margin,
    cancel: CancelToken | None = None,
) -> Surface:
    """A mesh near a label's boundary, evened out and moved onto it; the same vertices."""
    n_steps = N_STEPS_IF_JUMPING if jumps(margin) else N_STEPS
    reach_mm = min(grid.spacing_mm)
    mesh = _onto_boundary(_smoothed(mesh), field, label, cycle_fraction, reach_mm, n_steps, cancel)
    return _smoothed(mesh)


def margin_of_logs(logs: Logs, label: Label) -> Margin:
    """Margin `(...)` from log-probabilities `(4, ...)`, see `label_margin`."""
    floored = np.maximum(logs, np.log(PROBABILITY_FLOOR))
    margin = floored[label].astype(np.float64) - np.delete(floored, label, axis=0).max(axis=0)
    return np.where(margin == 0, -1e-9, margin)


def label_margin(
    label_probabilities: npt.NDArray[np.float32], label: Label
) -> npt.NDArray[np.float64]:
    """Margin `(...)` by which a label wins (positive) or loses; never exactly zero."""
    logs = np.log(np.maximum(label_probabilities.astype(np.float64), PROBABILITY_FLOOR))
    others = np.delete(logs, label, axis=-1).max(axis=-1)
    margin = logs[..., label] - others
    return np.where(margin == 0, -1e-9, margin)


def jumps(margin: npt.NDArray[np.float64]) -> bool:
    """True if probabilities jump at the boundary, so that the margin next to it says nothing of
    the distance: more than a tenth of the boundary's voxels have the largest possible margin."""
    inside = margin > 0
    boundary = ndimage.binary_dilation(inside) ^ ndimage.binary_erosion(inside)
    if not boundary.any():
        return False
    saturated = np.abs(margin[boundary]) > -0.99 * np.log(PROBABILITY_FLOOR)
    return bool(saturated.mean() > 0.1)


def largest_component(margin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn all but the largest face-connected component of margin > 0 just negative."""
    components, n = ndimage.label(margin > 0)
    if n < 2:
        return margin
    largest = 1 + int(np.argmax(np.bincount(components.ravel())[1:]))
    return np.where((components > 0) & (components != largest), -1e-9, margin)


def zero_level(margin: npt.NDArray[np.float64], grid: Grid) -> Surface:
    """Mesh the zero level; one more voxel all around closes what touches the grid's border."""
    padded = np.pad(margin, 1, constant_values=-np.abs(margin).max())
    image = vtkImageData()
    image.SetDimensions(*padded.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel(), deep=True))
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 0.0)
    contour.ComputeNormalsOff()
    contour.ComputeGradientsOff()
    contour.Update()
    mesh = _from_polydata(contour.GetOutput())
    return _outwards(Surface(apply_affine(grid.ras_from_ijk, mesh.points_ras - 1), mesh.triangles))


def _smoothed(mesh: Surface) -> Surface:
    """Even out the mesh without shrinking it (Taubin et al. 1996)."""
    if not len(mesh.triangles):
        return mesh
    smooth = vtkWindowedSincPolyDataFilter()
    smooth.SetInputData(mesh.to_polydata())
    smooth.SetNumberOfIterations(N_SMOOTHING_STEPS)
    smooth.SetPassBand(SMOOTHING_PASS_BAND)
    smooth.NormalizeCoordinatesOn()
    smooth.BoundarySmoothingOff()
    smooth.FeatureEdgeSmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.Update()
    return Surface(_from_polydata(smooth.GetOutput()).points_ras, mesh.triangles)


def _onto_boundary(
    mesh: Surface,
    field: HeartField,
    label: Label,
    cycle_fraction: float,
    reach_mm: float,
    n_steps: int,
    cancel: CancelToken | None,
) -> Surface:
    """Move each vertex along its normal to where the margin changes sign, within ± reach.

    False position; halving the margin at the end that is kept (the Illinois method) makes it
    converge also where the margin has a kink. A vertex stays where it is if the field is not
    inside at one end and outside at the other.
    """
    if not len(mesh.triangles):
        return mesh
    points, normals = mesh.points_ras, mesh.vertex_normals()

    def margin_at(shift_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        moved = points + shift_mm[:, None] * normals
        samples = evaluate_points(field, moved, cycle_fraction, cancel)
        return label_margin(samples.label_probabilities, label)

    low, high = np.full(len(points), -reach_mm), np.full(len(points), reach_mm)
    at_low, at_high = margin_at(low), margin_at(high)
    bracketed = (at_low > 0) & (at_high < 0)
    for _ in range(n_steps):
        middle = _false_position(low, high, at_low, at_high)
        at_middle = margin_at(middle)
        inside = at_middle > 0
        low, at_low = np.where(inside, middle, low), np.where(inside, at_middle, at_low / 2)
        high, at_high = np.where(inside, high, middle), np.where(inside, at_high / 2, at_middle)
    shift = np.where(bracketed, _false_position(low, high, at_low, at_high), 0.0)
    return Surface(points + shift[:, None] * normals, mesh.triangles)


def _false_position(
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    at_low: npt.NDArray[np.float64],
    at_high: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Where the line through both ends is zero; between the ends."""
    drop = at_low - at_high
    weight = np.where(drop != 0, at_low / np.where(drop != 0, drop, 1), 0.5)
    return low + np.clip(weight, 0, 1) * (high - low)


def _outwards(mesh: Surface) -> Surface:
    if mesh.volume_ml >= 0:
        return mesh
    return Surface(mesh.points_ras, mesh.triangles[:, ::-1])


def _from_polydata(polydata: vtkPolyData) -> Surface:
    if not polydata.GetNumberOfCells():
        return EMPTY_SURFACE
    points = vtk_to_numpy(polydata.GetPoints().GetData()).astype(np.float64)
    triangles = vtk_to_numpy(polydata.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return Surface(points, triangles.astype(np.int64))


def _cell_array(triangles: Triangles) -> vtkCellArray:
    cells = vtkCellArray()
    offsets = np.arange(0, 3 * len(triangles) + 1, 3, dtype=np.int64)
    connectivity = np.ascontiguousarray(triangles, dtype=np.int64).ravel()
    cells.SetData(numpy_to_vtk(offsets, deep=True), numpy_to_vtk(connectivity, deep=True))
    return cells
