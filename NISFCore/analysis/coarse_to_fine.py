"""Renders grids from a heart sampled on a lattice, evaluating only the voxels that need it.

A voxel is evaluated

- if two labels are about equally probable there, as interpolated from the lattice;
- if the intensity varies much in its cell of the lattice. How the intensity there differs from the
  interpolated one is a *detail*. Details are evaluated at every fifth phase or so and interpolated
  linearly in time: what moves quickly is larger than they are, and the lattice sees it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from NISFCore.analysis.interpolation import (
    GridMap,
    cell_extremes,
    corner_extremes,
    interpolated,
)
from NISFCore.analysis.lattice import (
    SampledCycle,
    Tolerance,
    evaluate_continued,
    inside_heart,
    winner_and_margin,
)
from NISFCore.geometry.field import DetailedField
from NISFCore.geometry.grids import Grid
from NISFCore.geometry.spaces import Points, apply_affine, invert_affine
from NISFCore.labels import Label
from NISFCore.progress import CancelToken

VOXELS_PER_SLAB = 1 << 19
"""Voxels that are interpolated at once: bounds the memory beyond the rendered phase itself."""

DETAIL_STEP = 0.21
"""Longest part of the cycle between the phases at which details are evaluated."""
DETAIL_SHARE = 0.25
"""A voxel has a detail if this share of the range of intensities in its cell exceeds the tolerance:
a quarter of a textured heart's voxels, and most of those that err by more."""

CLEAR_MARGIN = 6.0
"""Log-probability by which background leads where no label can be near."""
UNLIKELY = -12.0
"""Log-probabilities below are alike: their range says nothing of how steep a boundary is."""
IMPOSSIBLE = -6.0
"""A label whose log-probability is below at all corners of a cell is not to be found in it."""
SATURATED, CAUTION = 0.9, 1.5
"""In cells with a boundary so steep that the range is nearly `-UNLIKELY`, the margin at which a
voxel is evaluated is this many times larger: there may be kinks between the lattice's points."""
MAX_LATTICE_MM = 2.5
"""A coarser lattice, of a coarse grid, says where labels may be but not what is between its points:
there every point is evaluated."""
JUMP = 40.0
"""Range of log-probabilities in one cell beyond any network's: probabilities jump from 0 to 1 and
say nothing of how far a boundary is, so that every voxel of the cell is evaluated."""

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class RenderedPhase:
    """A heart on a grid at one time of the cycle.

    Attributes:
        cycle_fraction: time, in [0, 1).
        intensity: `(n_k, n_j, n_i)` float32; 1 is about the brightest blood. Zero where only
            labels were asked for.
        labels: `(n_k, n_j, n_i)` uint8, most probable label.
    """

    cycle_fraction: float
    intensity: Array
    labels: Labels


@dataclass(frozen=True)
class _Detail:
    """Intensities of some voxels of a slab, less what the lattice says of them."""

    voxels: npt.NDArray[np.int32]
    values: npt.NDArray[np.float16]


@dataclass(frozen=True)
class _LabelGuide:
    """What one phase's lattice says of labels, by cell.

    Attributes:
        logs: `(4, n_k, n_j, n_i)` log-probabilities at the lattice's points.
        narrow: margin below which a voxel in the cell is evaluated.
        near: for k, j, i the first cell where a label may be, and the one after the last; None if
            there is background only.
    """

    logs: Array
    narrow: Array
    near: tuple[tuple[int, int], ...] | None

    @classmethod
    def of(cls, logs: Array, tolerance: Tolerance) -> "_LabelGuide":
        high, low = cell_extremes(logs)
        low = np.where(high > IMPOSSIBLE, low, high)  # such a label's range says nothing
        whole = (high - low).max(axis=0)
        steep = (np.maximum(high, UNLIKELY) - np.maximum(low, UNLIKELY)).max(axis=0)
        steep = np.where(steep > SATURATED * -UNLIKELY, CAUTION * whole, steep)
        narrow = np.where(whole > JUMP, np.inf, tolerance.label_share * steep).astype(np.float32)
        clear = logs[Label.BACKGROUND] - logs[1:].max(axis=0) > CLEAR_MARGIN
        return cls(logs, narrow, _span_of_cells(~clear))


class GridRenderer:
    """Renders a sampled cycle on a grid with the lattice's axes, one phase at a time.

    Args:
        cycle: the heart on its lattice.
        grid: what is rendered.
        tolerance: that of the cycle, see `lattice.Tolerance`.
        cancel: asked before every slab.
    """

    def __init__(
        self,
        cycle: SampledCycle,
        grid: Grid,
        tolerance: Tolerance,
        cancel: CancelToken | None = None,
    ) -> None:
        self._cycle, self._grid, self._tolerance = cycle, grid, tolerance
        self._cancel = cancel or CancelToken()
        between = GridMap.between(cycle.grid, grid)
        self._matrices, self._cells = between.matrices(), between.cells()
        self._below, self._above = between.corners()
        self._is_lattice = cycle.grid.shape == grid.shape and all(
            np.array_equal(*pair) for pair in zip(self._below, self._above, strict=True)
        )
        self._slabs = _slabs(grid)
        self._inside = np.concatenate([self._inside_slab(slab) for slab in self._slabs])
        self._keys = _detail_keys(cycle.cycle_fractions)
        self._details: dict[int, list[_Detail]] = {}
        self.n_evaluated = 0
        """Voxels evaluated so far, beyond the lattice."""

    def phase(self, index: int) -> RenderedPhase:
        """Render the phase of this index in the cycle; cheapest in ascending order.

        Raises:
            Cancelled: if the job was asked to stop.
        """
        volume = self._cycle.volume(index)
        intensity = np.zeros(self._grid.shape, dtype=np.float32)
        labels = np.zeros(self._grid.shape, dtype=np.uint8)
        if self._tolerance.intensity is not None:
            self._fill_intensity(index, volume[0], intensity)
        self._fill_labels(index, volume[1:], labels, intensity)
        if self._tolerance.intensity is not None and self._cycle.detailed is not None:
            self._add_own_detail(self._cycle.detailed, index, intensity)
        return RenderedPhase(float(self._cycle.cycle_fractions[index]), intensity, labels)

    # -- intensity --------------------------------------------------------------------------

    def _fill_intensity(self, index: int, volume: Array, intensity: Array) -> None:
        details = self._details_at(index)
        for number, slab in enumerate(self._slabs):
            self._cancel.check()
            part = self._interpolated(volume, slab)
            for weight, detail in details:
                part.ravel()[detail[number].voxels] += weight * detail[number].values
            part[~self._inside[slab]] = 0
            intensity[slab] = part

    def _details_at(self, index: int) -> list[tuple[np.float32, list[_Detail]]]:
        """Weights and details of the phases around one, at which they are evaluated."""
        if self._is_lattice:
            return []
        times, keys = self._cycle.cycle_fractions, self._keys
        at = int(np.searchsorted(keys, index, side="right")) - 1
        first, second = int(keys[at]), int(keys[(at + 1) % len(keys)])
        if index == first:
            return [(np.float32(1), self._detail(first, {first}))]
        weight = np.float32(
            ((times[index] - times[first]) % 1.0) / ((times[second] - times[first]) % 1.0)
        )
        pair = {first, second}
        return [(1 - weight, self._detail(first, pair)), (weight, self._detail(second, pair))]

    def _detail(self, key: int, needed: set[int]) -> list[_Detail]:
        """Details of one phase by slab. Kept are those in use and those of the first phase, which
        come again where the cycle closes."""
        for known in set(self._details) - needed - {int(self._keys[0])}:
            del self._details[known]
        if key not in self._details:
            volume = self._cycle.volume(key)
            near = _near_labels(volume[1:])
            self._details[key] = [
                self._detail_in_slab(key, volume[0], near, slab) for slab in self._slabs
            ]
        return self._details[key]

    def _detail_in_slab(self, key: int, volume: Array, near: Mask, slab: slice) -> _Detail:
        """A voxel on a lattice point has a range of zero, and no detail; nor has one that is far
        from every label, where a heart's surroundings are vague."""
        self._cancel.check()
        below, above = ((k[slab], j, i) for k, j, i in (self._below, self._above))
        high, low = corner_extremes(volume, below, above)
        uneven = DETAIL_SHARE * (high - low) > (self._tolerance.intensity or 0.0)
        wanted = uneven & self._inside[slab]
        wanted &= near[np.ix_(self._cells[0][slab], *self._cells[1:])]
        voxels = np.flatnonzero(wanted)
        kji = np.argwhere(wanted)
        kji[:, 0] += slab.start
        exact = self._evaluated(kji, key)[:, 0]
        values = exact - self._interpolated(volume, slab).ravel()[voxels]
        return _Detail(voxels.astype(np.int32), values.astype(np.float16))

    def _interpolated(self, volume: Array, slab: slice) -> Array:
        along_k, along_j, along_i = self._matrices
        return interpolated(volume, (along_k[slab], along_j, along_i))

    def _add_own_detail(self, heart: DetailedField, index: int, intensity: Array) -> None:
        """What the heart itself calls its detail is added to every voxel."""
        t = float(self._cycle.cycle_fractions[index])
        for slab in self._slabs:
            self._cancel.check()
            detail = heart.detail_on_grid(self._grid.slab(slab), t)
            if detail is not None:
                intensity[slab] += np.where(self._inside[slab], detail, 0)

    # -- labels -----------------------------------------------------------------------------

    def _fill_labels(self, index: int, logs: Array, labels: Labels, intensity: Array) -> None:
        """Labels of a phase, and the intensities of the voxels that are evaluated for them."""
        guide = _LabelGuide.of(logs, self._tolerance)
        if guide.near is None:
            return
        k, j, i = (
            slice(*np.searchsorted(cells, ends).tolist())
            for cells, ends in zip(self._cells, guide.near, strict=True)
        )
        for slab in self._slabs:
            self._cancel.check()
            box = (slice(max(slab.start, k.start), min(slab.stop, k.stop)), j, i)
            if box[0].start < box[0].stop:
                labels[box], unsure = self._labels_in(guide, box)
                self._evaluate_into(index, np.argwhere(unsure), box, labels, intensity)

    def _labels_in(self, guide: _LabelGuide, box: Box) -> tuple[Labels, Mask]:
        """Labels of a box of voxels as the lattice has them, and where they are not sure."""
        cells = np.ix_(*(c[part] for c, part in zip(self._cells, box, strict=True)))
        along_k, along_j, along_i = (m[p] for m, p in zip(self._matrices, box, strict=True))
        winner, margin = winner_and_margin(interpolated(guide.logs, (along_k, along_j, along_i)))
        inside = self._inside[box]
        winner[~inside] = Label.BACKGROUND
        return winner, (margin < guide.narrow[cells]) & inside

    def _evaluate_into(
        self,
        index: int,
        kji_in_box: npt.NDArray[np.int64],
        box: Box,
        labels: Labels,
        intensity: Array,
    ) -> None:
        kji = kji_in_box + np.array([part.start for part in box])
        channels = self._evaluated(kji, index)
        at = tuple(kji.T)
        labels[at] = channels[:, 1:].argmax(axis=1)
        if self._tolerance.intensity is not None:
            intensity[at] = channels[:, 0]

    # -- evaluation -------------------------------------------------------------------------

    def _evaluated(self, kji: npt.NDArray[np.int64], index: int) -> Array:
        """All channels `(n, 5)` at voxels `(n, 3)`."""
        self.n_evaluated += len(kji)
        points = apply_affine(self._grid.ras_from_ijk, kji[:, ::-1])
        t = float(self._cycle.cycle_fractions[index])
        return evaluate_continued(self._cycle.field, points, t, self._cancel)

    def _inside_slab(self, slab: slice) -> Mask:
        self._cancel.check()
        planes = [self._grid.slab_points_ras(k) for k in range(slab.start, slab.stop)]
        return inside_heart(self._cycle.field, np.stack(planes))


class PhaseLabels:
    """The labels of one phase at any points, by the same rule.

    Args:
        cycle: the heart on its lattice.
        index: of the phase in the cycle.
        tolerance: that of the cycle, see `lattice.Tolerance`.
    """

    def __init__(self, cycle: SampledCycle, index: int, tolerance: Tolerance) -> None:
        self._cycle, self._t = cycle, float(cycle.cycle_fractions[index])
        self._guide = _LabelGuide.of(cycle.volume(index)[1:], tolerance)

    def at(self, points_ras: Points, cancel: CancelToken | None = None) -> Labels:
        """Labels `(n,)` at points `(n, 3)` in the lattice's part of space.

        Raises:
            Cancelled: if the job was asked to stop.
        """
        cycle, guide = self._cycle, self._guide
        labels = np.zeros(len(points_ras), dtype=np.uint8)
        if guide.near is None:
            return labels
        kji = apply_affine(invert_affine(cycle.grid.ras_from_ijk), points_ras)[:, ::-1]
        cells = np.clip(np.floor(kji).astype(np.int64), 0, np.array(guide.narrow.shape) - 1)
        low, high = np.array(guide.near).T
        near = np.flatnonzero(((cells >= low) & (cells < high)).all(axis=1))
        near = near[inside_heart(cycle.field, points_ras[near])]
        kji, cells = kji[near], cells[near]
        logs = [ndimage.map_coordinates(c, kji.T, order=1, mode="nearest") for c in guide.logs]
        labels[near], margin = winner_and_margin(np.stack(logs))
        beyond = ((kji < 0) | (kji > np.array(cycle.grid.shape) - 1)).any(axis=1)
        too_coarse = max(cycle.grid.spacing_mm) > MAX_LATTICE_MM
        unsure = near[beyond | too_coarse | (margin < guide.narrow[tuple(cells.T)])]
        exact = evaluate_continued(cycle.field, points_ras[unsure], self._t, cancel)
        labels[unsure] = exact[:, 1:].argmax(axis=1)
        return labels


def _near_labels(logs: Array) -> Mask:
    """The cells in which some label may be."""
    near = logs[Label.BACKGROUND] - logs[1:].max(axis=0) <= CLEAR_MARGIN
    return cell_extremes(near.astype(np.float32))[0] > 0


def _slabs(grid: Grid) -> list[slice]:
    n_planes = max(1, VOXELS_PER_SLAB // (grid.shape[1] * grid.shape[2]))
    n = grid.shape[0]
    return [slice(k, min(k + n_planes, n)) for k in range(0, n, n_planes)]


def _detail_keys(cycle_fractions: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The phases at which details are evaluated: as few as are at most `DETAIL_STEP` apart, where
    phases are that close."""
    n, keys = len(cycle_fractions), [0]
    while keys[-1] < n - 1:
        reach = cycle_fractions[keys[-1]] + DETAIL_STEP
        if cycle_fractions[0] + 1 <= reach:
            break
        furthest = int(np.searchsorted(cycle_fractions, reach, side="right")) - 1
        keys.append(max(furthest, keys[-1] + 1))
    return np.array(keys)


def _span_of_cells(mask: Mask) -> tuple[tuple[int, int], ...] | None:
    """The first cell at points of a mask, with a cell's margin, and the one after the last."""
    if not mask.any():
        return None
    ends = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        used = np.flatnonzero(mask.any(axis=others))
        ends.append((max(0, int(used[0]) - 2), int(used[-1]) + 2))
    return tuple(ends)
