"""Figures that compare a fit with the truth: Dice, PSNR, SSIM, slice-motion errors.

A rigid motion common to all slices cannot be seen in slices. Therefore motions are compared after
the rigid map `truth_from_estimate` that agrees best with both sets of slice motions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter
from skimage.metrics import structural_similarity

from NISFCore.data.label_sets import is_open
from NISFCore.data.study import CineSlice
from NISFCore.errors import StudyError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import best_rigid, rotation_angle_deg
from NISFCore.geometry.spaces import Affine, Points, apply_affine
from NISFCore.labels import FOREGROUND, LABEL_INFO

HEART_RADIUS_MM = 50.0
SAMPLE_SPACING_MM = 5.0
SSIM_WINDOW = 7

Array = npt.NDArray[np.generic]


class DiceCounts:
    """Dice per label, summed over any number of label maps before the ratio is taken."""

    def __init__(self) -> None:
        self._both = dict.fromkeys(FOREGROUND, 0)
        self._sum = dict.fromkeys(FOREGROUND, 0)

    def add(
        self,
        a: npt.NDArray[np.uint8],
        b: npt.NDArray[np.uint8],
        whole_b: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Count two label maps of the same shape.

        Pixels of which either leaves open whether they have a label (see `NISFCore.labels`) do
        not count for that label.

        Where `b` is a part of a larger label map, `whole_b` has as many voxels of every label as
        that whole.
        """
        if a.shape != b.shape:
            raise ValueError(f"label maps: got shapes {a.shape} and {b.shape}, expected the same")
        for label in FOREGROUND:
            in_a = (a == label) & ~is_open(b, label)
            in_b = (b == label) & ~is_open(a, label)
            size_b = np.count_nonzero(in_b if whole_b is None else whole_b == label)
            self._both[label] += int(np.count_nonzero(in_a & in_b))
            self._sum[label] += int(np.count_nonzero(in_a) + size_b)

    def by_key(self) -> dict[str, float]:
        """Label key → 2 |A ∩ B| / (|A| + |B|); NaN for a label that neither map has."""
        return {
            LABEL_INFO[label].key: 2 * self._both[label] / n if (n := self._sum[label]) else np.nan
            for label in FOREGROUND
        }

    def mean(self) -> float:
        """Mean over the labels that occur; NaN if none does."""
        values = [v for v in self.by_key().values() if np.isfinite(v)]
        return float(np.mean(values)) if values else np.nan


def dice(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Dice of two label maps, by label key."""
    counts = DiceCounts()
    counts.add(a, b)
    return counts.by_key()


def psnr_db(
    predicted: Array, reference: Array, mask: Array | None = None, data_range: float = 1.0
) -> float:
    """Peak signal-to-noise ratio, 10 log10(range² / MSE), over `mask` (broadcast) or everything.

    Infinite for equal images.
    """
    error = np.asarray(predicted, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    squares = error**2
    if mask is not None:
        squares = squares[np.broadcast_to(np.asarray(mask, dtype=bool), squares.shape)]
    mse = float(squares.mean())
    return float(10 * np.log10(data_range**2 / mse)) if mse > 0 else np.inf


def ssim(
    predicted: npt.NDArray[np.float32],
    reference: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_] | None = None,
    data_range: float = 1.0,
) -> float:
    """Structural similarity (Wang et al. 2004) of one frame.

    Averaged over the pixels whose whole 7 × 7 window lies in `mask`; NaN if there are none.
    """
    _, full = structural_similarity(
        predicted, reference, win_size=SSIM_WINDOW, data_range=data_range, full=True
    )
    region = np.ones(full.shape, dtype=bool) if mask is None else mask
    region = minimum_filter(region, size=SSIM_WINDOW, mode="constant", cval=0)
    return float(full[region].mean()) if region.any() else np.nan


def heart_points_on_slice(
    cine: CineSlice,
    heart_centre_ras: Points,
    radius_mm: float = HEART_RADIUS_MM,
    spacing_mm: float = SAMPLE_SPACING_MM,
) -> Points:
    """Sample points `(n, 3)` of the heart's part of a slice, as scanned.

    They are the pixel centres, thinned to about `spacing_mm`, within `radius_mm` of the foot of
    the perpendicular from the heart's centre to the slice. Empty if the frame is elsewhere.
    """
    step_i, step_j = (max(1, round(spacing_mm / s)) for s in cine.spacing_mm)
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)[::step_j, ::step_i].reshape(-1, 3)
    normal = cine.normal_ras
    foot = heart_centre_ras - normal * (normal @ (heart_centre_ras - cine.centre_ras))
    return points[np.linalg.norm(points - foot, axis=1) <= radius_mm]


@dataclass(frozen=True)
class MotionErrors:
    """Slice-motion errors after removal of the common rigid motion.

    Attributes:
        truth_from_estimate: the common motion T that was removed, RAS.
        distance_mm: `(n_slices,)` mean over the slice's sample points of |T E x - M x|.
        angle_deg: `(n_slices,)` angle of the rotation between T E and M.
    """

    truth_from_estimate: Affine
    distance_mm: npt.NDArray[np.float64]
    angle_deg: npt.NDArray[np.float64]

    @property
    def mean_mm(self) -> float:
        return float(self.distance_mm.mean())

    @property
    def mean_deg(self) -> float:
        return float(self.angle_deg.mean())


def common_rigid(
    estimated: Sequence[Affine], true: Sequence[Affine], points: Sequence[Points]
) -> Affine:
    """The rigid T that minimises sum_j mean_x |T E_j x - M_j x|².

    Args:
        estimated: E_j, corrected_from_scanned in RAS, one per slice.
        true: M_j, true_from_scanned in RAS.
        points: sample points `(n_j, 3)` of every slice as scanned; every slice weighs the same.

    Raises:
        StudyError: if a slice has fewer than three points.
    """
    if min(len(x) for x in points) < 3:
        raise StudyError(
            f"slice {int(np.argmin([len(x) for x in points])) + 1} of {len(points)} does not show "
            "the heart: leave it out, or check its position"
        )
    source = np.concatenate([apply_affine(E, x) for E, x in zip(estimated, points, strict=True)])
    target = np.concatenate([apply_affine(M, x) for M, x in zip(true, points, strict=True)])
    weights = np.concatenate([np.full(len(x), 1 / len(x)) for x in points])
    return best_rigid(source, target, weights)


def slice_motion_errors(
    estimated: Sequence[Affine], true: Sequence[Affine], points: Sequence[Points]
) -> MotionErrors:
    """Distance of estimated from true slice motions (arguments as in `common_rigid`).

    The error before the fit is the same with identities for `estimated`.
    """
    T = common_rigid(estimated, true, points)
    distances, angles = [], []
    for E, M, x in zip(estimated, true, points, strict=True):
        gap = apply_affine(T @ E, x) - apply_affine(M, x)
        distances.append(np.linalg.norm(gap, axis=1).mean())
        angles.append(rotation_angle_deg((T @ E)[:3, :3].T @ M[:3, :3]))
    return MotionErrors(T, np.array(distances), np.array(angles))
