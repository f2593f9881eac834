"""The slice network's borders, moved to where the annotator of a study draws them.

Where a border lies between blood and muscle depends on who draws it: trabeculae in or out, the
inner or the outer edge of partial volume. A network has the convention of its training. Where
somebody's labels and the network's lie on the same frames, the mean distance of each kind of border
tells the difference, and the network's borders in all other frames are moved by what is to be
expected there: an annotator's habit, and what is particular to the apex or to end-systole.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import (
    binary_dilation,
    distance_transform_edt,
    gaussian_filter,
    generate_binary_structure,
    map_coordinates,
)

from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.evidence.window import is_across_axis
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.labels import Label

MAX_DISTANCE_MM = 6.0
"""Borders that are farther apart are a mistake of one of them, not a convention."""
MAX_TIME_APART = 0.05
"""In cycles, of frames that are compared."""
SMOOTHING_MM, MARGIN_MM = 2.0, 10.0
MOSTLY_KNOWN, TINY = 0.5, 1e-6
COMMON_MM, LOCAL_MM = 1.0, 1.0
"""Standard deviations of what an annotator does differently everywhere, and near one place."""
NEAR_MM, NEAR_IN_TIME = 20.0, 0.15
FRAME_MM, FEW_POINTS, MIN_POINTS = 0.7, 30.0, 10
"""Standard deviation of a frame's mean, and the number of points that doubles its variance;
fewer than the last tell nothing."""

Field = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
LabelImage = npt.NDArray[np.intp]

Spacing = tuple[float, float]
"""mm between rows and between columns, as arrays are indexed."""

HEART = (Label.LV_BLOOD_POOL, Label.LV_MYOCARDIUM, Label.RV_BLOOD_POOL)
UNKNOWN = -1


@dataclass(frozen=True)
class Border:
    """One kind of border: that of some labels together, where it lies between two labels."""

    inside: tuple[Label, ...]
    of: tuple[Label, ...]
    towards: tuple[Label, ...]


BORDERS = (
    Border((Label.LV_BLOOD_POOL,), (Label.LV_BLOOD_POOL,), (Label.LV_MYOCARDIUM,)),
    Border(HEART, (Label.LV_MYOCARDIUM,), (Label.BACKGROUND,)),
    Border(HEART, (Label.RV_BLOOD_POOL,), (Label.BACKGROUND,)),
    Border((Label.RV_BLOOD_POOL,), (Label.RV_BLOOD_POOL,), (Label.LV_MYOCARDIUM,)),
    Border(HEART, (Label.LV_BLOOD_POOL,), (Label.BACKGROUND,)),
)
"""Endocardium, epicardium, the RV's free wall, the septum's right side, the LV's valves."""


def as_drawn(
    evidence: Guidance,
    given: Guidance,
    study: CineStudy,
    cropped: CineStudy,
    canonical_from_ras: Affine,
) -> Guidance:
    """What the network says, with borders as in the given labels; nothing where those are.

    Args:
        evidence: of `cropped`.
        given: of `study`.
        cropped: the same with every slice cropped; some slices may be missing.
    """
    slices = {s.name: s for s in cropped.slices}
    drawn = [_cropped(e, study, slices) for e in given.entries if e.slice_name in slices]
    compared = _compared(evidence.entries, drawn, slices, canonical_from_ras)
    said = {(e.slice_name, e.phase): e.known for e in drawn}
    entries = []
    for entry in evidence.entries:
        cine = slices[entry.slice_name]
        outward_mm = _expected(compared, _place(cine, entry.phase, canonical_from_ras))
        moved = _moved(entry, cine, outward_mm)
        entries.append(_without(moved, said.get((entry.slice_name, entry.phase))))
    return replace(evidence, entries=tuple(entries))


@dataclass(frozen=True)
class _Place:
    """A frame's height along the heart's axis in mm, None of long-axis slices; and its time."""

    height_mm: float | None
    cycle_fraction: float

    def likeness(self, other: "_Place") -> float:
        """Covariance of what an annotator does differently in two frames, mm^2."""
        if self.height_mm is None or other.height_mm is None:
            return COMMON_MM**2
        dz = (self.height_mm - other.height_mm) / NEAR_MM
        dt = _time_apart(self.cycle_fraction, other.cycle_fraction) / NEAR_IN_TIME
        return COMMON_MM**2 + LOCAL_MM**2 * float(np.exp(-(dz**2 + dt**2) / 2))


@dataclass(frozen=True)
class _Compared:
    """How far outwards the given borders of one frame lie from the network's.

    Attributes:
        mean_mm, n_points: `(n_borders,)`.
    """

    place: _Place
    mean_mm: Field
    n_points: Field


def _place(cine: CineSlice, phase: int, canonical_from_ras: Affine) -> _Place:
    height = None
    if is_across_axis(canonical_from_ras @ cine.ras_from_ijk):
        height = float(apply_affine(canonical_from_ras, cine.centre_ras)[2])
    return _Place(height, float(cine.cycle_fractions[phase]))


def _compared(
    evidence: Iterable[SliceGuidance],
    drawn: Iterable[SliceGuidance],
    slices: Mapping[str, CineSlice],
    canonical_from_ras: Affine,
) -> list[_Compared]:
    found = []
    for mine, theirs in _pairs(list(evidence), drawn, slices):
        cine = slices[mine.slice_name]
        distances = [
            _distances(_labels(mine), _labels(theirs), border, _spacing(cine)) for border in BORDERS
        ]
        n_points = np.array([float(len(d)) for d in distances])
        mean_mm = np.array([d.sum() for d in distances]) / np.maximum(n_points, 1)
        found.append(_Compared(_place(cine, theirs.phase, canonical_from_ras), mean_mm, n_points))
    return found


def _expected(compared: list[_Compared], place: _Place) -> Field:
    """How far outwards an annotator's borders would lie in another frame, `(n_borders,)` mm.

    Gaussian process regression (Rasmussen and Williams 2006, eq. 2.25), of zero mean.
    """
    expected = np.zeros(len(BORDERS))
    for k in range(len(BORDERS)):
        known = [c for c in compared if c.n_points[k] >= MIN_POINTS]
        if not known:
            continue
        K = np.array([[a.place.likeness(b.place) for b in known] for a in known])
        noise = [FRAME_MM**2 * (1 + FEW_POINTS / c.n_points[k]) for c in known]
        to_here = np.array([c.place.likeness(place) for c in known])
        means = np.array([c.mean_mm[k] for c in known])
        expected[k] = to_here @ np.linalg.solve(K + np.diag(noise), means)
    return expected


def _time_apart(a: float, b: float) -> float:
    """In cycles."""
    return abs((a - b + 0.5) % 1 - 0.5)


def _pairs(
    evidence: list[SliceGuidance], drawn: Iterable[SliceGuidance], slices: Mapping[str, CineSlice]
) -> Iterator[tuple[SliceGuidance, SliceGuidance]]:
    """What the network and somebody else say of the same frame, or nearly so."""
    for theirs in drawn:
        times = slices[theirs.slice_name].cycle_fractions
        apart = {
            k: _time_apart(float(times[e.phase]), float(times[theirs.phase]))
            for k, e in enumerate(evidence)
            if e.slice_name == theirs.slice_name
        }
        nearest = min(apart, key=lambda k: apart[k], default=None)
        if nearest is not None and apart[nearest] <= MAX_TIME_APART:
            yield evidence[nearest], theirs


def _cropped(
    entry: SliceGuidance, study: CineStudy, slices: Mapping[str, CineSlice]
) -> SliceGuidance:
    whole = next(s for s in study.slices if s.name == entry.slice_name)
    window = whole.window_of(slices[entry.slice_name])
    return replace(entry, probabilities=entry.probabilities[window], known=entry.known[window])


def _without(entry: SliceGuidance, said: Mask | None) -> SliceGuidance:
    """Nothing where somebody said something: that is better known."""
    if said is None:
        return entry
    known = entry.known & ~said
    p = np.where(known[..., None], entry.probabilities, np.float32(0))
    return replace(entry, probabilities=p, known=known)


def _spacing(cine: CineSlice) -> Spacing:
    i_mm, j_mm = cine.spacing_mm
    return j_mm, i_mm


def _labels(entry: SliceGuidance) -> LabelImage:
    return np.where(entry.known, entry.probabilities.argmax(-1), UNKNOWN)


def _signed_distance(inside: Mask, spacing_mm: Spacing) -> Field:
    """mm, negative inside."""
    out = distance_transform_edt(~inside, sampling=spacing_mm)
    return np.asarray(out - distance_transform_edt(inside, sampling=spacing_mm))


def _distances(mine: LabelImage, theirs: LabelImage, border: Border, spacing_mm: Spacing) -> Field:
    """How far outwards of my border theirs is, at the points of mine from where that is known."""
    inside = np.isin(theirs, border.inside)
    if not inside.any():
        return np.zeros(0)
    there = _signed_distance(inside, spacing_mm)
    reach = distance_transform_edt(theirs != UNKNOWN, sampling=spacing_mm)
    at = _border_pixels(mine, border)
    at &= (np.abs(there) <= MAX_DISTANCE_MM) & (reach > np.abs(there))
    here = _signed_distance(np.isin(mine, border.inside), spacing_mm)
    return np.asarray((here - there)[at])


def _border_pixels(labels: LabelImage, border: Border) -> Mask:
    """On both sides."""
    of, towards = np.isin(labels, border.of), np.isin(labels, border.towards)
    cross = generate_binary_structure(2, 1)
    return (of & binary_dilation(towards, cross)) | (towards & binary_dilation(of, cross))


def _moved(entry: SliceGuidance, cine: CineSlice, outward_mm: Field) -> SliceGuidance:
    """Its probabilities around the heart, as a smooth motion of the pixels takes them along."""
    window = _window(_labels(entry), _spacing(cine))
    if window is None or not outward_mm.any():
        return entry
    part = SliceGuidance("", 0, entry.probabilities[window], entry.known[window])
    p = entry.probabilities.copy()
    p[window] = _carried(part, _spacing(cine), outward_mm)
    return replace(entry, probabilities=p)


def _window(labels: LabelImage, spacing_mm: Spacing) -> tuple[slice, slice] | None:
    """Of all pixels that may move."""
    heart = np.isin(labels, HEART)
    if not heart.any():
        return None
    found = []
    for axis, mm in enumerate(spacing_mm):
        hits, margin = np.flatnonzero(heart.any(axis=1 - axis)), math.ceil(MARGIN_MM / mm)
        found.append(slice(max(0, int(hits[0]) - margin), int(hits[-1]) + 1 + margin))
    return found[0], found[1]


def _carried(
    entry: SliceGuidance, spacing_mm: Spacing, outward_mm: Field
) -> npt.NDArray[np.float32]:
    """Probabilities `(rows, cols, 4)` as the borders' motion, smooth between them, takes them."""
    labels, p = _labels(entry), entry.probabilities
    source = np.indices(labels.shape) - _motion(labels, spacing_mm, outward_mm)
    channels = np.moveaxis(p, -1, 0)
    carried = np.stack([map_coordinates(c, source, order=1, mode="nearest") for c in channels], -1)
    total = carried.sum(axis=-1, keepdims=True)
    carried = np.where(total > MOSTLY_KNOWN, carried / np.maximum(total, MOSTLY_KNOWN), p)
    return np.where(entry.known[..., None], carried, 0).astype(np.float32)


def _motion(labels: LabelImage, spacing_mm: Spacing, outward_mm: Field) -> Field:
    """Of every pixel, `(2, rows, cols)` pixels: that of the nearest border, smoothed."""
    motion = np.zeros((2, *labels.shape))
    on_border = np.zeros(labels.shape, dtype=np.bool_)
    sigma = [SMOOTHING_MM / mm for mm in spacing_mm]
    for border, distance in zip(BORDERS, outward_mm, strict=True):
        at = _border_pixels(labels, border)
        inside = np.isin(labels, border.inside).astype(np.float64)
        normal = -np.stack(np.gradient(gaussian_filter(inside, sigma), *spacing_mm))[:, at]
        motion[:, at] = distance * normal / np.maximum(np.linalg.norm(normal, axis=0), TINY)
        on_border |= at
    rows, cols = distance_transform_edt(
        ~on_border, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    nearest = zip(motion, spacing_mm, strict=True)
    return np.stack([gaussian_filter(m[rows, cols], sigma) / mm for m, mm in nearest])
