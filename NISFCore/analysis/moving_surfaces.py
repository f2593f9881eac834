"""Surfaces of the labels over the cycle, with the same vertices in every phase where that works.

The end-diastolic surface is carried from phase to phase, half the cycle forwards and half
backwards: its vertices follow the gradient of the label's margin to the new boundary, and are then
settled on it as any surface is. Tissue points are not tracked: vertices move across the boundary,
not along it. A carried surface has the triangles of the first, so it is as closed; it is kept if it
is nowhere far from the surface meshed in that phase alone, encloses the same volume, and is not
folded. If one phase fails, all phases of that label are meshed one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from NISFCore.analysis.lattice import SampledCycle
from NISFCore.analysis.steps import Steps
from NISFCore.analysis.surfaces import (
    Margin,
    Surface,
    largest_component,
    lattice_logs,
    margin_of_logs,
    settled,
    zero_level,
)
from NISFCore.geometry.grids import Grid
from NISFCore.geometry.spaces import Points, apply_affine, invert_affine
from NISFCore.labels import FOREGROUND, Label

N_CARRY_STEPS = 8
MAX_CARRY_STEP_MM = 1.0

MAX_DISTANCE_SPACINGS = 0.75
"""Between a carried surface and the phase's own, for 99 % of their vertices and centres of
triangles: of the meshing grid's spacing. Half of it is the distance of these points themselves."""
MAX_VOLUME_CHANGE = 0.05
"""The phase's own surface is meshed, but not yet settled on the boundary."""
MAX_FOLDED_SHARE = 0.005


@dataclass(frozen=True)
class MovingSurface:
    """One label's surface over the cycle.

    Attributes:
        phases: one closed surface per phase.
        same_vertices: True if all phases have the same triangles, so that a vertex can be followed.
    """

    phases: tuple[Surface, ...]
    same_vertices: bool


def moving_surfaces(
    cycle: SampledCycle,
    grid: Grid,
    reference: int,
    steps: Steps,
    labels: Sequence[Label] = FOREGROUND,
) -> dict[Label, MovingSurface]:
    """The surfaces of every phase of a sampled cycle, meshed on `grid`.

    One step of `steps` is ticked per phase and label.

    Args:
        cycle: the heart on a lattice with the axes of `grid`.
        grid: details smaller than its spacing are lost.
        reference: index of the phase whose surface is carried.
        steps: progress and cancelling.
        labels: which surfaces.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    return {label: _moving_surface(cycle, grid, reference, steps, label) for label in labels}


def _moving_surface(
    cycle: SampledCycle, grid: Grid, reference: int, steps: Steps, label: Label
) -> MovingSurface:
    n = len(cycle.cycle_fractions)
    surfaces: dict[int, Surface] = {}
    same_vertices = True
    for index, previous in _order(n, reference):
        steps.tick()
        margin = _margin(cycle, index, grid, label)
        own = zero_level(margin, grid)
        if previous is not None and same_vertices:
            carried = _carried(surfaces[previous], margin, grid)
            surface = _settled(cycle, carried, grid, index, label, margin, steps)
            same_vertices = _agree(surface, own, min(grid.spacing_mm))
        if previous is None or not same_vertices:
            surface = _settled(cycle, own, grid, index, label, margin, steps)
        surfaces[index] = surface
    if not same_vertices:
        surfaces = _each_alone(cycle, grid, label, surfaces, surfaces[reference], steps)
    return MovingSurface(tuple(surfaces[i] for i in range(n)), same_vertices)


def _each_alone(
    cycle: SampledCycle,
    grid: Grid,
    label: Label,
    surfaces: dict[int, Surface],
    carried: Surface,
    steps: Steps,
) -> dict[int, Surface]:
    """Replace what was carried by surfaces meshed in their own phase."""
    alone = dict(surfaces)
    for index, surface in surfaces.items():
        if surface is not carried and surface.triangles is carried.triangles:
            margin = _margin(cycle, index, grid, label)
            own = zero_level(margin, grid)
            alone[index] = _settled(cycle, own, grid, index, label, margin, steps)
    return alone


def _order(n: int, reference: int) -> list[tuple[int, int | None]]:
    """(phase, the phase that it is carried from): from the reference in both directions."""
    order: list[tuple[int, int | None]] = [(reference, None)]
    for step in range(1, n // 2 + 1):
        order.append(((reference + step) % n, (reference + step - 1) % n))
        if len(order) < n:
            order.append(((reference - step) % n, (reference - step + 1) % n))
    return order[:n]


def _margin(cycle: SampledCycle, index: int, grid: Grid, label: Label) -> Margin:
    return largest_component(margin_of_logs(lattice_logs(cycle, index, grid), label))


def _settled(
    cycle: SampledCycle,
    mesh: Surface,
    grid: Grid,
    index: int,
    label: Label,
    margin: Margin,
    steps: Steps,
) -> Surface:
    t = float(cycle.cycle_fractions[index])
    return settled(cycle.field, mesh, grid, t, label, margin, steps.cancel)


def _carried(mesh: Surface, margin: Margin, grid: Grid) -> Surface:
    """Move vertices along the margin's gradient to where it is zero (Newton steps, limited)."""
    grid_from_ras = invert_affine(grid.ras_from_ijk)
    slopes = np.gradient(margin)
    points = mesh.points_ras
    for _ in range(N_CARRY_STEPS):
        kji = apply_affine(grid_from_ras, points)[:, ::-1].T
        value, *slope = (_at(volume, kji) for volume in (margin, *slopes))
        # d margin / d RAS from d margin / d ijk
        gradient = np.stack(slope[::-1], axis=1) @ grid_from_ras[:3, :3]
        square = np.maximum((gradient**2).sum(axis=1), 1e-6)
        step = -(value / square)[:, None] * gradient
        length = np.linalg.norm(step, axis=1, keepdims=True)
        points = points + step * np.minimum(1, MAX_CARRY_STEP_MM / np.maximum(length, 1e-9))
    return Surface(points, mesh.triangles)


def _at(volume: Margin, kji: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(ndimage.map_coordinates(volume, kji, order=1, mode="nearest"))


def _agree(carried: Surface, own: Surface, spacing_mm: float) -> bool:
    """Whether a carried surface may stand for the phase's own."""
    if not (len(carried.triangles) and len(own.triangles)):
        return len(carried.triangles) == len(own.triangles)
    a, b = _samples(carried), _samples(own)
    distances = np.concatenate([cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]])
    return (
        float(np.percentile(distances, 99)) <= MAX_DISTANCE_SPACINGS * spacing_mm
        and abs(carried.volume_ml / own.volume_ml - 1) <= MAX_VOLUME_CHANGE
        and carried.folded_share() <= MAX_FOLDED_SHARE
    )


def _samples(surface: Surface) -> Points:
    """Vertices and centres of triangles."""
    centres = surface.points_ras[surface.triangles].mean(axis=1)
    return np.concatenate([surface.points_ras, centres])
