"""What two slices show along the line in which their planes meet (paper Figure 4 and Table 2).

If both slices are where they belong, they show the same tissue along that line at every time of
the cycle. Slices are matched by `cycle_fraction`, never by phase index. Only the part of the line
inside the heart's region counts, before and after motion correction alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.metrics import DiceCounts
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.data.cycle import interpolate_cycle
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.geometry.planes import intersection_segment
from NISFCore.geometry.spaces import Affine, Points, apply_affine, invert_affine

PROFILE_SPACING_MM = 1.0
N_PROFILE_PHASES = 20
MIN_PROFILE_POINTS = 10

Region = Callable[[Points], npt.NDArray[np.bool_]]
"""True for the points `(n, 3)` in RAS that count, `(n,)`."""

LabelSampler = Callable[[int, Points, float], npt.NDArray[np.uint8] | None]
"""(index of the slice, points `(n, 3)` in its scanned space, cycle_fraction) → labels `(n,)`, or
None where the slice has no labels at that time."""


@dataclass(frozen=True)
class Crossing:
    """The common line of two slices inside the heart's region.

    Attributes:
        a, b: indices of the slices in the study.
        points_ras: `(n, 3)` along the line, equally spaced, in the corrected space.
        a_points_ras, b_points_ras: the same points as each slice was scanned.
    """

    a: int
    b: int
    points_ras: Points
    a_points_ras: Points
    b_points_ras: Points

    @property
    def distances_mm(self) -> npt.NDArray[np.float64]:
        """`(n,)` distance from the first point."""
        return np.linalg.norm(self.points_ras - self.points_ras[0], axis=1)


@dataclass(frozen=True)
class IntersectionProfile:
    """Intensities of two slices along their common line, over the cycle.

    Attributes:
        crossing: where.
        cycle_fractions: `(n_phases,)`.
        a_values, b_values: `(n_phases, n)` intensities, as stored in each slice.
    """

    crossing: Crossing
    cycle_fractions: npt.NDArray[np.float64]
    a_values: npt.NDArray[np.float64]
    b_values: npt.NDArray[np.float64]

    @property
    def ncc(self) -> float:
        """Normalised cross-correlation over points and times, in [-1, 1]."""
        return ncc(self.a_values, self.b_values)


@dataclass(frozen=True)
class PairStatistics:
    """Mean and standard deviation over slice pairs; NaN without pairs."""

    mean: float
    sd: float
    n_pairs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "PairStatistics":
        finite = [v for v in values if np.isfinite(v)]
        if not finite:
            return cls(np.nan, np.nan, 0)
        return cls(float(np.mean(finite)), float(np.std(finite)), len(finite))


def ncc(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Zero-mean normalised cross-correlation; NaN if one of them is constant."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / norm) if norm > 0 else np.nan


def crossings(
    study: CineStudy,
    corrected_from_scanned: Sequence[Affine],
    region: Region,
    only: int | None = None,
) -> tuple[Crossing, ...]:
    """All pairs of slices that meet inside the region, at least 10° apart.

    Args:
        study: the slices as scanned.
        corrected_from_scanned: rigid motion of every slice in RAS (identities: as scanned).
        region: what counts, in the corrected space.
        only: index of the slice whose pairs are wanted; None for all.
    """
    motions = list(zip(study.slices, corrected_from_scanned, strict=True))
    pairs = [p for p in combinations(range(len(motions)), 2) if only is None or only in p]
    found = (_crossing(a, b, motions[a], motions[b], region) for a, b in pairs)
    return tuple(crossing for crossing in found if crossing is not None)


def _crossing(
    a: int,
    b: int,
    a_moved: tuple[CineSlice, Affine],
    b_moved: tuple[CineSlice, Affine],
    region: Region,
) -> Crossing | None:
    (a_cine, a_motion), (b_cine, b_motion) = a_moved, b_moved
    segment = intersection_segment(
        a_motion @ a_cine.ras_from_ijk, a_cine.shape, b_motion @ b_cine.ras_from_ijk, b_cine.shape
    )
    if segment is None:
        return None
    points = segment.points(max(2, round(segment.length_mm / PROFILE_SPACING_MM) + 1))
    points = points[region(points)]
    if len(points) < MIN_PROFILE_POINTS:
        return None
    scanned = [apply_affine(invert_affine(motion), points) for motion in (a_motion, b_motion)]
    return Crossing(a, b, points, scanned[0], scanned[1])


def sample_cine(
    cine: CineSlice, points_ras: Points, cycle_fractions: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Intensities `(n_phases, n)` of a slice at points in its plane: bilinear in space, linear and
    periodic in time."""
    points_ijk = apply_affine(invert_affine(cine.ras_from_ijk), points_ras)
    values = bilinear(cine.frames, points_ijk)
    return interpolate_cycle(values, cine.cycle_fractions, cycle_fractions)


def bilinear(
    frames: npt.NDArray[np.float32] | npt.NDArray[np.float64], points_ijk: Points
) -> npt.NDArray[np.float64]:
    """All of a slice's frames `(n_phases, rows, cols)` at points in its plane, `(n_phases, n)`; the
    border is repeated."""
    _, rows, cols = frames.shape
    x = np.clip(points_ijk[:, 0], 0, cols - 1.001)
    y = np.clip(points_ijk[:, 1], 0, rows - 1.001)
    i, j = x.astype(int), y.astype(int)
    u, v = x - i, y - j
    above = (1 - u) * frames[:, j, i] + u * frames[:, j, i + 1]
    below = (1 - u) * frames[:, j + 1, i] + u * frames[:, j + 1, i + 1]
    return np.asarray((1 - v) * above + v * below)


def intersection_profiles(
    study: CineStudy,
    corrected_from_scanned: Sequence[Affine],
    region: Region,
    n_phases: int = N_PROFILE_PHASES,
    only: int | None = None,
) -> tuple[IntersectionProfile, ...]:
    """Intensity profiles of every pair of crossing slices (arguments as in `crossings`)."""
    t = uniform_cycle_fractions(n_phases)
    return tuple(
        IntersectionProfile(
            c,
            t,
            sample_cine(study.slices[c.a], c.a_points_ras, t),
            sample_cine(study.slices[c.b], c.b_points_ras, t),
        )
        for c in crossings(study, corrected_from_scanned, region, only)
    )


def intersection_ncc(profiles: Sequence[IntersectionProfile]) -> PairStatistics:
    """NCC over all pairs (paper Table 2, left)."""
    return PairStatistics.of([p.ncc for p in profiles])


def intersection_dice(
    found: Sequence[Crossing],
    labels_of: LabelSampler,
    cycle_fractions: npt.NDArray[np.float64],
) -> PairStatistics:
    """Dice of the two slices' labels along their common lines, over all pairs (Table 2, right).

    A pair's Dice is the mean over the labels that occur on its line, each counted over all times
    at which both slices have labels.
    """
    counts = [DiceCounts() for _ in found]
    for t in cycle_fractions:
        sides = [(c.a, c.a_points_ras) for c in found] + [(c.b, c.b_points_ras) for c in found]
        labels = _labels_of_all(sides, labels_of, float(t))
        for count, a, b in zip(counts, labels[: len(found)], labels[len(found) :], strict=True):
            if a is not None and b is not None:
                count.add(a, b)
    return PairStatistics.of([count.mean() for count in counts])


def _labels_of_all(
    sides: Sequence[tuple[int, Points]], labels_of: LabelSampler, cycle_fraction: float
) -> list[npt.NDArray[np.uint8] | None]:
    """Labels of each (slice, points), with one call per slice for all its points."""
    labels: list[npt.NDArray[np.uint8] | None] = [None] * len(sides)
    for index in {index for index, _ in sides}:
        entries = [k for k, (of, _) in enumerate(sides) if of == index]
        points = [sides[k][1] for k in entries]
        found = labels_of(index, np.concatenate(points), cycle_fraction)
        if found is not None:
            ends = np.cumsum([len(p) for p in points])[:-1]
            for k, part in zip(entries, np.split(found, ends), strict=True):
                labels[k] = part
    return labels


def study_labels(study: CineStudy) -> LabelSampler:
    """Reads the reference labels of the study's own slices: nearest pixel, nearest phase.

    A slice has labels at a time if its nearest phase is annotated.
    """

    def labels_of(
        index: int, points_ras: Points, cycle_fraction: float
    ) -> npt.NDArray[np.uint8] | None:
        cine = study.slices[index]
        gap = np.abs(cine.cycle_fractions - cycle_fraction)
        phase = int(np.argmin(np.minimum(gap, 1 - gap)))
        if cine.labels is None or not cine.labels.annotated[phase]:
            return None
        i, j, _ = np.rint(apply_affine(invert_affine(cine.ras_from_ijk), points_ras)).T.astype(int)
        rows, cols = cine.shape
        return cine.labels.values[phase, np.clip(j, 0, rows - 1), np.clip(i, 0, cols - 1)]

    return labels_of
