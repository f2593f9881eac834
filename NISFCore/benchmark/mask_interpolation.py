"""Classical 3D hearts: the true 2D masks of the SA stack, interpolated between the slices.

- linear: each label's mask (0 or 1) is interpolated linearly between the two slices around a point.
- shape-based (Raya and Udupa, IEEE TMI 1990): the signed distance to each label's outline is.

The label with the largest value wins. The first and the last slice stand for half a slice spacing
beyond them, as in a sum of discs. The masks are the truth of what each slice showed, so these
hearts have no segmentation error: what is wrong with them is the slices' motion and the gaps.
"""

from collections.abc import Sequence
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, map_coordinates

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.geometry.field import FieldSamples, HeartBox
from NISFCore.geometry.planes import corners_ras
from NISFCore.geometry.rigid import rigid
from NISFCore.geometry.spaces import Affine, Points, apply_affine, invert_affine
from NISFCore.labels import N_LABELS, Label
from NISFCore.views import View

FAR_MM = 10.0
"""Signed distances are cut off here; also the value of a label that a slice does not show."""


class Interpolation(str, Enum):
    """What is interpolated."""

    LINEAR = "linear"
    SHAPE = "shape-based"


class InterpolatedHeart:
    """A `HeartField` made of masks; its intensity is zero.

    Args:
        study: with labels on its SA slices.
        motions: corrected_from_scanned of every slice of the study, RAS.
    """

    def __init__(
        self, study: CineStudy, motions: Sequence[Affine], interpolation: Interpolation
    ) -> None:
        pairs = [(s, m) for s, m in zip(study.slices, motions, strict=True) if s.view is View.SA]
        self._slices = [cine for cine, _ in pairs]
        self._ras_from_ijk = [motion @ cine.ras_from_ijk for cine, motion in pairs]
        self._values = [label_values(cine, interpolation) for cine in self._slices]
        self._reach_mm = _spacing_mm(self._slices) / 2

    @property
    def box(self) -> HeartBox:
        """The stack, to half a slice spacing beyond its ends."""
        first = self._ras_from_ijk[0]
        ras_from_box = rigid(first[:3, :3] / np.linalg.norm(first[:3, :3], axis=0), first[:3, 3])
        box_from_ras = invert_affine(ras_from_box)
        corners = [
            apply_affine(box_from_ras, corners_ras(A, cine.shape))
            for A, cine in zip(self._ras_from_ijk, self._slices, strict=True)
        ]
        low, high = np.min(corners, axis=(0, 1)), np.max(corners, axis=(0, 1))
        reach = np.array([0.0, 0.0, self._reach_mm])
        return HeartBox(ras_from_box, low - reach, high + reach)

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        """Labels as probabilities 0 or 1 at points `(n, 3)`."""
        labels = self.labels(points_ras, cycle_fraction)
        one_hot = np.eye(N_LABELS, dtype=np.float32)[labels]
        return FieldSamples(np.zeros(len(labels), dtype=np.float32), one_hot)

    def labels(self, points_ras: Points, cycle_fraction: float) -> npt.NDArray[np.uint8]:
        """Labels `(n,)` at points `(n, 3)`, at each slice's nearest phase."""
        ijk = np.stack([apply_affine(invert_affine(A), points_ras) for A in self._ras_from_ijk])
        thickness = np.array([cine.thickness_mm for cine in self._slices])
        depth_mm = ijk[:, :, 2] * thickness[:, None]
        above = np.where(depth_mm >= 0, depth_mm, np.inf)
        below = np.where(depth_mm < 0, -depth_mm, np.inf)
        a, b, n = above.argmin(axis=0), below.argmin(axis=0), np.arange(len(points_ras))
        a_mm, b_mm = above[a, n], below[b, n]
        beyond = ~(np.isfinite(a_mm) & np.isfinite(b_mm))
        outside = beyond & (np.minimum(a_mm, b_mm) > self._reach_mm)
        nearest = np.where(np.isfinite(a_mm), a, b)
        a, b = np.where(beyond, nearest, a), np.where(beyond, nearest, b)
        a_mm, b_mm = np.where(beyond, 1.0, a_mm), np.where(beyond, 1.0, b_mm)
        share = b_mm / (a_mm + b_mm)
        values = share * self._at(a, ijk, cycle_fraction)
        values += (1 - share) * self._at(b, ijk, cycle_fraction)
        labels = np.argmax(values, axis=0).astype(np.uint8)
        return np.where(outside, np.uint8(Label.BACKGROUND), labels)

    def _at(
        self, which: npt.NDArray[np.intp], ijk: Points, cycle_fraction: float
    ) -> npt.NDArray[np.float64]:
        """Values `(N_LABELS, n)` of the chosen slice at every point, bilinear in its plane."""
        found = np.zeros((N_LABELS, len(which)))
        for k in np.unique(which):
            chosen = which == k
            gap = np.abs(self._slices[k].cycle_fractions - cycle_fraction)
            phase = int(np.argmin(np.minimum(gap, 1 - gap)))
            i, j = ijk[k, chosen, 0], ijk[k, chosen, 1]
            for label in range(N_LABELS):
                frame = self._values[k][phase, label]
                found[label, chosen] = map_coordinates(frame, [j, i], order=1, mode="nearest")
        return found


def label_values(cine: CineSlice, interpolation: Interpolation) -> npt.NDArray[np.float32]:
    """What is interpolated, `(n_phases, N_LABELS, rows, cols)`."""
    assert cine.labels is not None  # simulated slices always have them
    masks = cine.labels.values[:, None] == np.arange(N_LABELS)[None, :, None, None]
    if interpolation is Interpolation.LINEAR:
        return masks.astype(np.float32)
    i_mm, j_mm = cine.spacing_mm
    flat = masks.reshape(-1, *cine.shape)
    return np.stack([signed_distance_mm(m, (j_mm, i_mm)) for m in flat]).reshape(masks.shape)


def signed_distance_mm(
    mask: npt.NDArray[np.bool_], spacing_mm: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """Distance to the mask's outline, positive inside, within ±`FAR_MM`."""
    if not mask.any() or mask.all():
        return np.full(mask.shape, FAR_MM if mask.any() else -FAR_MM, dtype=np.float32)
    inside = distance_transform_edt(mask, sampling=spacing_mm)
    outside = distance_transform_edt(~mask, sampling=spacing_mm)
    half = min(spacing_mm) / 2  # the outline runs between two pixels' centres
    distance = np.where(mask, inside - half, half - outside)
    return np.clip(distance, -FAR_MM, FAR_MM).astype(np.float32)


def _spacing_mm(slices: Sequence[CineSlice]) -> float:
    """Median distance of neighbouring slices."""
    centres = np.array([cine.centre_ras @ slices[0].normal_ras for cine in slices])
    return float(np.median(np.abs(np.diff(np.sort(centres)))))
