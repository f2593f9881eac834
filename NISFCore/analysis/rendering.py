"""Rendering a heart on 3D grids and on imaging planes, in bounded memory.

Grid arrays are `(n_k, n_j, n_i)`, plane arrays `(n_phases, rows, cols)`. Outside its box a heart
is not defined: there every rendering is background of intensity 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.steps import Steps
from NISFCore.geometry.field import FieldSamples, HeartBox, HeartField
from NISFCore.geometry.grids import Grid
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Affine, Points, apply_affine, apply_direction, invert_affine
from NISFCore.labels import N_LABELS, Label
from NISFCore.progress import CancelToken, ProgressReporter

POINTS_PER_CHUNK = 1 << 16
"""Points evaluated at once: bounds both the memory and the time until a cancel is seen."""

BOX_TOLERANCE_MM = 1e-6

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RenderedPhase:
    """A heart on a grid at one time of the cycle.

    Attributes:
        cycle_fraction: time, in [0, 1).
        intensity: `(n_k, n_j, n_i)` float32; 1 is about the brightest blood.
        label_probabilities: `(n_k, n_j, n_i, 4)` float32.
    """

    cycle_fraction: float
    intensity: npt.NDArray[np.float32]
    label_probabilities: npt.NDArray[np.float32]

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """`(n_k, n_j, n_i)` most probable label."""
        return np.argmax(self.label_probabilities, axis=-1).astype(np.uint8)


@dataclass(frozen=True)
class RenderedPlane:
    """A heart on one imaging plane at some times of the cycle.

    Attributes:
        cycle_fractions: `(n_phases,)`.
        intensity: `(n_phases, rows, cols)` float32.
        label_probabilities: `(n_phases, rows, cols, 4)` float32.
        inside: `(rows, cols)`, True where the plane is inside the heart's box.
    """

    cycle_fractions: npt.NDArray[np.float64]
    intensity: npt.NDArray[np.float32]
    label_probabilities: npt.NDArray[np.float32]
    inside: Mask

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """`(n_phases, rows, cols)` most probable label."""
        return np.argmax(self.label_probabilities, axis=-1).astype(np.uint8)


def uniform_cycle_fractions(n_phases: int) -> npt.NDArray[np.float64]:
    """`n_phases` equally spaced times of the cycle, the first at the R wave."""
    return np.arange(n_phases) / n_phases


def inside_box(box: HeartBox, points_ras: Points) -> Mask:
    """True for the points `(..., 3)` inside the box, `(...)`."""
    p = apply_affine(invert_affine(box.ras_from_box), points_ras)
    low, high = box.low_mm - BOX_TOLERANCE_MM, box.high_mm + BOX_TOLERANCE_MM
    return np.asarray(((p >= low) & (p <= high)).all(axis=-1))


def evaluate_points(
    field: HeartField,
    points_ras: Points,
    cycle_fraction: float,
    cancel: CancelToken | None = None,
    points_per_chunk: int = POINTS_PER_CHUNK,
) -> FieldSamples:
    """Samples at any number of points `(n, 3)`, in chunks; background outside the box.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    intensity = np.zeros(len(points_ras), dtype=np.float32)
    probabilities = np.zeros((len(points_ras), N_LABELS), dtype=np.float32)
    probabilities[:, Label.BACKGROUND] = 1
    for start in range(0, len(points_ras), points_per_chunk):
        if cancel is not None:
            cancel.check()
        chunk = points_ras[start : start + points_per_chunk]
        index = start + np.flatnonzero(inside_box(field.box, chunk))
        if index.size:
            samples = field.evaluate(points_ras[index], cycle_fraction)
            intensity[index] = samples.intensity
            probabilities[index] = samples.label_probabilities
    return FieldSamples(intensity, probabilities)


def slab_samples_ras(grid: Grid, k: int, jitter: bool) -> Points:
    """Sample points `(n_j n_i, 3)` of plane `k`: voxel centres, or with `jitter` one random point
    in every voxel (always the same ones).

    Where a flat boundary such as the valve plane runs along the grid, counting voxel centres errs
    by up to half a layer of voxels; stratified samples are unbiased at the same cost.
    """
    points = grid.slab_points_ras(k).reshape(-1, 3)
    if not jitter:
        return points
    offsets_ijk = np.random.default_rng(k).uniform(-0.5, 0.5, points.shape)
    return points + apply_direction(grid.ras_from_ijk, offsets_ijk)


def grid_chunks_ras(grid: Grid, jitter: bool) -> Iterator[Points]:
    """The samples of all voxels in order, as few slabs at a time as make about one chunk."""
    n_slabs = max(1, POINTS_PER_CHUNK // (grid.shape[1] * grid.shape[2]))
    for first in range(0, grid.shape[0], n_slabs):
        slabs = range(first, min(first + n_slabs, grid.shape[0]))
        yield np.concatenate([slab_samples_ras(grid, k, jitter) for k in slabs])


def render_grid(
    field: HeartField,
    grid: Grid,
    cycle_fraction: float,
    cancel: CancelToken | None = None,
    jitter: bool = False,
) -> RenderedPhase:
    """Render one phase on a grid (see `slab_samples_ras` for `jitter`)."""
    intensity = np.zeros(grid.n_voxels, dtype=np.float32)
    probabilities = np.zeros((grid.n_voxels, N_LABELS), dtype=np.float32)
    start = 0
    for points in grid_chunks_ras(grid, jitter):
        chunk = slice(start, start + len(points))
        samples = evaluate_points(field, points, cycle_fraction, cancel)
        intensity[chunk], probabilities[chunk] = samples.intensity, samples.label_probabilities
        start += len(points)
    return RenderedPhase(
        float(cycle_fraction),
        intensity.reshape(grid.shape),
        probabilities.reshape(*grid.shape, N_LABELS),
    )


def render_phases(
    field: HeartField,
    grid: Grid,
    cycle_fractions: Sequence[float] | npt.NDArray[np.float64],
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
    stage: str = "render",
    jitter: bool = False,
) -> Iterator[RenderedPhase]:
    """Render the phases one after the other; only one is in memory at a time."""
    steps = Steps(stage, len(cycle_fractions), progress, cancel)
    for cycle_fraction in cycle_fractions:
        steps.tick()
        yield render_grid(field, grid, float(cycle_fraction), cancel, jitter)


def render_plane(
    field: HeartField,
    ras_from_ijk: Affine,
    shape: tuple[int, int],
    cycle_fractions: Sequence[float] | npt.NDArray[np.float64],
    cancel: CancelToken | None = None,
) -> RenderedPlane:
    """Render an imaging plane of `shape` (rows, cols) at the given times.

    With the scanned `ras_from_ijk` of a slice this shows the heart where the scanner says that
    the slice is; with the corrected one, where the fit found it to be.
    """
    points = pixel_centres_ras(ras_from_ijk, shape)
    inside = inside_box(field.box, points)
    intensity = np.zeros((len(cycle_fractions), *shape), dtype=np.float32)
    probabilities = np.zeros((*intensity.shape, N_LABELS), dtype=np.float32)
    probabilities[..., Label.BACKGROUND] = 1
    for phase, t in enumerate(cycle_fractions):
        samples = evaluate_points(field, points[inside], float(t), cancel)
        intensity[phase, inside] = samples.intensity
        probabilities[phase, inside] = samples.label_probabilities
    times = np.asarray(cycle_fractions, dtype=np.float64)
    return RenderedPlane(times, intensity, probabilities, inside)
