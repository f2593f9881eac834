"""Rendering a heart on 3D grids and on imaging planes, in bounded memory.

Grids are rendered coarse to fine, by default and everywhere: the heart is sampled on a lattice in
space and time (`lattice`), from which a grid is interpolated but where labels meet or intensities
vary too much (`coarse_to_fine`). `render_dense` evaluates every voxel: the reference that tests and
benchmarks compare with.

Grid arrays are `(n_k, n_j, n_i)`, plane arrays `(n_phases, rows, cols)`. Outside its box, and its
region if it has one, a heart is not defined: there every rendering is background of intensity 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.coarse_to_fine import (
    GridRenderer,
    Labels,
    PhaseLabels,
    RenderedPhase,
)
from NISFCore.analysis.lattice import (
    LABELS_ONLY,
    POINTS_PER_CHUNK,
    SampledCycle,
    Tolerance,
    inside_box,
    sample_cycle,
)
from NISFCore.analysis.steps import Steps
from NISFCore.geometry.field import FieldSamples, HeartField
from NISFCore.geometry.grids import Grid
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Affine, Points, apply_direction
from NISFCore.labels import N_LABELS, Label
from NISFCore.progress import CancelToken, ProgressReporter

__all__ = [
    "LABELS_ONLY",
    "POINTS_PER_CHUNK",
    "RenderedPhase",
    "RenderedPlane",
    "Tolerance",
    "evaluate_points",
    "grid_chunks_ras",
    "inside_box",
    "jittered_labels",
    "render_dense",
    "render_grid",
    "render_phases",
    "render_plane",
    "sample_labels",
    "slab_samples_ras",
    "uniform_cycle_fractions",
]

Mask = npt.NDArray[np.bool_]
Times = Sequence[float] | npt.NDArray[np.float64]


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


def render_phases(
    field: HeartField,
    grid: Grid,
    cycle_fractions: Times,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
    stage: str = "render",
    tolerance: Tolerance | None = None,
) -> Iterator[RenderedPhase]:
    """Render phases one after the other; only one is in memory at a time.

    All times together are sampled on the lattice first, whose memory does not depend on the grid.
    Progress has two steps per phase.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    tolerance = tolerance or Tolerance()
    steps = Steps(stage, 2 * len(cycle_fractions), progress, cancel)
    times, order = np.unique(np.asarray(cycle_fractions, dtype=np.float64), return_inverse=True)
    cycle = sample_cycle(field, grid, times, tolerance, steps)
    renderer = GridRenderer(cycle, grid, tolerance, steps.cancel)
    for index in order:
        steps.tick()
        yield renderer.phase(int(index))


def sample_labels(
    field: HeartField,
    grid: Grid,
    cycle_fractions: Times,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
    stage: str = "labels",
) -> Iterator[Labels]:
    """Labels `(n_k, n_j, n_i)` at one random point in every voxel, phase by phase, as
    `slab_samples_ras` has them with `jitter`: for counting volumes and overlaps.

    Progress has two steps per phase.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    steps = Steps(stage, 2 * len(cycle_fractions), progress, cancel)
    times, order = np.unique(np.asarray(cycle_fractions, dtype=np.float64), return_inverse=True)
    cycle = sample_cycle(field, grid, times, LABELS_ONLY, steps)
    for index in order:
        steps.tick()
        yield jittered_labels(cycle, int(index), grid, steps.cancel)


def jittered_labels(
    cycle: SampledCycle, index: int, grid: Grid, cancel: CancelToken | None = None
) -> Labels:
    """What `sample_labels` has of one phase `(n_k, n_j, n_i)`, of a heart that is sampled already.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    of_phase = PhaseLabels(cycle, index, LABELS_ONLY)
    labels = [of_phase.at(points, cancel) for points in grid_chunks_ras(grid, jitter=True)]
    return np.concatenate(labels).reshape(grid.shape)


def render_grid(
    field: HeartField,
    grid: Grid,
    cycle_fraction: float,
    cancel: CancelToken | None = None,
    tolerance: Tolerance | None = None,
) -> RenderedPhase:
    """Render one phase on a grid."""
    return next(render_phases(field, grid, [cycle_fraction], None, cancel, tolerance=tolerance))


def render_dense(
    field: HeartField, grid: Grid, cycle_fraction: float, cancel: CancelToken | None = None
) -> RenderedPhase:
    """Render one phase by evaluating every voxel."""
    intensity = np.zeros(grid.n_voxels, dtype=np.float32)
    labels = np.zeros(grid.n_voxels, dtype=np.uint8)
    start = 0
    for points in grid_chunks_ras(grid, jitter=False):
        chunk = slice(start, start + len(points))
        samples = evaluate_points(field, points, cycle_fraction, cancel)
        intensity[chunk], labels[chunk] = samples.intensity, samples.labels
        start += len(points)
    shape = grid.shape
    return RenderedPhase(float(cycle_fraction), intensity.reshape(shape), labels.reshape(shape))


def render_plane(
    field: HeartField,
    ras_from_ijk: Affine,
    shape: tuple[int, int],
    cycle_fractions: Times,
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
