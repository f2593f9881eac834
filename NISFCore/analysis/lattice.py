"""A heart sampled on a lattice in space and time, from which renderings are interpolated.

Evaluating a fitted heart is what rendering costs, and most evaluations of a dense rendering are
not needed: the heart is sampled every 2 mm (finer where the wanted grid is about as coarse), first
at a few times of the cycle, then at the times between, where only those points are evaluated that
change over the neighbouring times; the others are interpolated in time. What the lattice is too
coarse for, `rendering` evaluates on the grid itself.

Values are one intensity and four logarithms of label probabilities: their differences are smooth
across label boundaries, and zero there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from NISFCore.analysis.interpolation import lagrange_weights
from NISFCore.analysis.steps import Steps
from NISFCore.geometry.field import (
    ContinuedField,
    DetailedField,
    FieldSamples,
    HeartBox,
    HeartField,
)
from NISFCore.geometry.grids import Grid
from NISFCore.geometry.spaces import Points, apply_affine, invert_affine
from NISFCore.labels import N_LABELS
from NISFCore.progress import CancelToken

LATTICE_MM = 2.0
"""Distance of samples. At 3 mm most of the myocardium's edges would need to be evaluated again."""
NEARLY = 0.9
"""A grid whose voxels are at least this part of `LATTICE_MM` is its own lattice."""

POINTS_PER_CHUNK = 1 << 16
"""Points evaluated at once: bounds both the memory and the time until a cancel is seen."""

MAX_STEP = 0.14
"""Longest part of the cycle between the times at which all points are evaluated. Twice as far, the
wall that is where blood was only at end-systole is missed: probabilities there are certain before
and after, and say nothing of what happens between."""
RANGE_RATE = 3.75
"""Between times that lie this far apart (parts of the cycle) cubic interpolation errs by less than
RANGE_RATE times that distance times the range of the four values that it is made of: measured on
fitted hearts, in 99 % of points."""

LOG_FLOOR = -60.0
BOX_TOLERANCE_MM = 1e-6
N_CHANNELS = 1 + N_LABELS

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tolerance:
    """What an interpolated rendering may differ by from one that evaluates every voxel.

    Attributes:
        intensity: where an error above this, 1 being the reference brightness, is to be expected,
            the heart is evaluated. A third of it is about the RMS error of textured hearts. None
            if only labels are wanted.
        label_share: a voxel is evaluated if the margin between its two most probable labels is
            smaller than this share of the range of log-probabilities in its cell of the lattice.
    """

    intensity: float | None = 0.03
    label_share: float = 0.15


LABELS_ONLY = Tolerance(intensity=None)


@dataclass(frozen=True)
class SampledCycle:
    """A heart on a lattice at some times of the cycle.

    Attributes:
        field: the heart, without the detail of its intensities.
        detailed: the same with it, or None if there is none.
        grid: the lattice.
        cycle_fractions: `(n_times,)`, ascending.
        point_of: `(n_k, n_j, n_i)` int32, the sample of each lattice point; those far outside the
            heart's region share the nearest sample inside.
        values: `(n_times, n_points, 5)` float16: intensity, log-probabilities.
        n_evaluated: points that were evaluated, over all times.
    """

    field: HeartField
    detailed: DetailedField | None
    grid: Grid
    cycle_fractions: npt.NDArray[np.float64]
    point_of: npt.NDArray[np.int32]
    values: npt.NDArray[np.float16]
    n_evaluated: int

    def volume(self, index: int) -> Array:
        """All channels at one time, `(5, n_k, n_j, n_i)`."""
        channels = np.ascontiguousarray(self.values[index].T).astype(np.float32)
        return channels[:, self.point_of]

    def at(self, indices: Sequence[int]) -> "SampledCycle":
        """The same heart at some of its times."""
        if len(indices) == len(self.cycle_fractions):
            return self
        some = list(indices)
        fractions, values = self.cycle_fractions[some], self.values[some]
        return replace(self, cycle_fractions=fractions, values=values)


def inside_box(box: HeartBox, points_ras: Points) -> Mask:
    """True for the points `(..., 3)` inside the box, `(...)`."""
    p = apply_affine(invert_affine(box.ras_from_box), points_ras)
    low, high = box.low_mm - BOX_TOLERANCE_MM, box.high_mm + BOX_TOLERANCE_MM
    return np.asarray(((p >= low) & (p <= high)).all(axis=-1))


def inside_heart(field: HeartField, points_ras: Points) -> Mask:
    """True where a heart is known: inside its box, and its region if it has one."""
    inside = inside_box(field.box, points_ras)
    if isinstance(field, ContinuedField):
        inside &= field.contains(points_ras)
    return inside


def evaluate_continued(
    field: HeartField, points_ras: Points, cycle_fraction: float, cancel: CancelToken | None = None
) -> Array:
    """All channels `(n, 5)` at any points `(n, 3)`, also outside the heart's region and box.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    evaluate = field.evaluate_continued if isinstance(field, ContinuedField) else field.evaluate
    channels = np.empty((len(points_ras), N_CHANNELS), dtype=np.float32)
    for first in range(0, len(points_ras), POINTS_PER_CHUNK):
        if cancel is not None:
            cancel.check()
        chunk = slice(first, first + POINTS_PER_CHUNK)
        channels[chunk] = _channels(evaluate(points_ras[chunk], cycle_fraction))
    return channels


def _channels(samples: FieldSamples) -> Array:
    logs = np.log(np.maximum(samples.label_probabilities, np.exp(np.float32(LOG_FLOOR))))
    return np.concatenate([samples.intensity[:, None], logs], axis=1)


def winner_and_margin(logs: Array) -> tuple[npt.NDArray[np.uint8], Array]:
    """Most probable label and its lead over the second, from log-probabilities `(4, ...)`.

    The same as argmax and the difference of the two largest, several times faster.
    """
    a, b, c, d = logs
    ab, cd = np.maximum(a, b), np.maximum(c, d)
    second = np.maximum(np.minimum(ab, cd), np.maximum(np.minimum(a, b), np.minimum(c, d)))
    winner = np.where(cd > ab, np.uint8(2) + (d > c), (b > a).astype(np.uint8))
    return winner.astype(np.uint8), np.maximum(ab, cd) - second


def lattice_for(box: HeartBox, grid: Grid) -> Grid:
    """A lattice with the axes of `grid` over the part of it that lies in the heart's box.

    Its points are voxels of `grid` wherever the ratio of the spacings is a whole number.
    """
    corners = np.array(np.meshgrid(*zip(box.low_mm, box.high_mm, strict=True))).reshape(3, -1).T
    ijk = apply_affine(invert_affine(grid.ras_from_ijk) @ box.ras_from_box, corners)
    last = np.array(grid.shape[::-1]) - 1.0
    low = np.clip(np.floor(ijk.min(axis=0) + 1e-6), 0, last)
    high = np.clip(np.ceil(ijk.max(axis=0) - 1e-6), low, last)
    spacing = np.array(grid.spacing_mm)
    step = np.where(spacing < NEARLY * LATTICE_MM, LATTICE_MM / spacing, 1.0)
    n = np.ceil((high - low) / step - 1e-6).astype(int) + 1
    grid_from_lattice = np.diag([*step, 1.0])
    grid_from_lattice[:3, 3] = low
    return Grid(grid.ras_from_ijk @ grid_from_lattice, (int(n[2]), int(n[1]), int(n[0])))


def sample_cycle(
    field: HeartField,
    grid: Grid,
    cycle_fractions: npt.NDArray[np.float64],
    tolerance: Tolerance,
    steps: Steps,
) -> SampledCycle:
    """Sample a heart on the lattice for `grid`, at ascending times in [0, 1).

    One step of `steps` is ticked per time.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    detailed = field if isinstance(field, DetailedField) else None
    field = field if detailed is None else detailed.without_detail
    lattice = lattice_for(field.box, grid)
    points, point_of = _lattice_points(field, lattice)
    values = np.empty((len(cycle_fractions), len(points), N_CHANNELS), dtype=np.float16)
    n_evaluated, known = 0, np.zeros(len(cycle_fractions), dtype=bool)
    for level in _levels(cycle_fractions):
        for index in level:
            steps.tick()
            wanted = np.ones(len(points), dtype=bool)
            if known.any():
                knots = _Knots.around(cycle_fractions, known, index)
                at_knots = values[knots.indices].astype(np.float32)
                values[index] = np.tensordot(knots.weights, at_knots, 1)
                wanted = _changing(at_knots, RANGE_RATE * knots.gap, tolerance)
            n_evaluated += int(wanted.sum())
            t = float(cycle_fractions[index])
            values[index, wanted] = evaluate_continued(field, points[wanted], t, steps.cancel)
        known[level] = True
    return SampledCycle(field, detailed, lattice, cycle_fractions, point_of, values, n_evaluated)


def _lattice_points(field: HeartField, lattice: Grid) -> tuple[Points, npt.NDArray[np.int32]]:
    """The points that are sampled, `(n, 3)`, and for every lattice point its sample.

    Sampled are the corners of all cells that touch the region.
    """
    points = lattice.points_ras()
    inside = inside_heart(field, points)
    if not inside.any():
        inside[:] = True
    sampled = ndimage.binary_dilation(inside, np.ones((3, 3, 3)))
    number = np.cumsum(sampled, dtype=np.int32).reshape(sampled.shape) - 1
    nearest = ndimage.distance_transform_edt(~sampled, return_distances=False, return_indices=True)
    return points[sampled], number[tuple(nearest)]


def _levels(cycle_fractions: npt.NDArray[np.float64]) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of times, coarse to fine: every s-th, then those half-way between, and so on."""
    n = len(cycle_fractions)
    step = 1
    while 2 * step < n and _longest_gap(cycle_fractions[:: 2 * step]) <= MAX_STEP:
        step *= 2
    yield np.arange(0, n, step)
    while step > 1:
        step //= 2
        yield np.arange(step, n, 2 * step)


def _longest_gap(cycle_fractions: npt.NDArray[np.float64]) -> float:
    return float(np.diff(np.append(cycle_fractions, cycle_fractions[0] + 1)).max())


@dataclass(frozen=True)
class _Knots:
    """The four known times around another one; the cycle closes.

    Attributes:
        indices: of the times, `(4,)`.
        weights: of cubic interpolation, `(4,)`.
        gap: between the two nearest, part of the cycle.
    """

    indices: npt.NDArray[np.int64]
    weights: Array
    gap: float

    @classmethod
    def around(cls, cycle_fractions: npt.NDArray[np.float64], known: Mask, index: int) -> "_Knots":
        known_at = np.flatnonzero(known)
        around = int(np.searchsorted(known_at, index)) + np.arange(-2, 2)
        indices = known_at[around % len(known_at)]
        times = cycle_fractions[indices] + around // len(known_at)
        weights = lagrange_weights(times[None], cycle_fractions[[index]])[0]
        return cls(indices, weights.astype(np.float32), float(times[2] - times[1]))


def _changing(values: Array, share: float, tolerance: Tolerance) -> Mask:
    """Points `(n,)` that may not be interpolated from their values `(4, n, 5)` at other times:
    where this share of the values' range is more than may be."""
    labels, margin = winner_and_margin(np.moveaxis(values[..., 1:], -1, 0))
    wanted = np.asarray((labels != labels[0]).any(axis=0))
    wanted |= margin.min(axis=0) < share * np.ptp(margin, axis=0)
    if tolerance.intensity is not None:
        wanted |= share * np.ptp(values[..., 0], axis=0) > tolerance.intensity
    return wanted
