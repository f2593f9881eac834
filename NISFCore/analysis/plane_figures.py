"""Sums over the slices of a fit: image errors and label overlap on the imaging planes."""

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.metrics import SSIM_WINDOW, DiceCounts, ssim


class PlaneFigures:
    """Squared errors, SSIM and Dice, summed over the slices."""

    def __init__(self) -> None:
        self.dice = DiceCounts()
        self.has_labels = False
        self.slice_psnr_db: list[float | None] = []
        self._squares, self._n_pixels = 0.0, 0
        self._ssim: list[float] = []

    def add_images(
        self,
        predicted: npt.NDArray[np.float32],
        frames: npt.NDArray[np.float32],
        inside: npt.NDArray[np.bool_],
    ) -> None:
        """Count one slice: images `(n_phases, rows, cols)`, region `(rows, cols)`."""
        if not inside.any():
            self.slice_psnr_db.append(None)
            return
        error = (predicted.astype(np.float64) - frames)[:, inside]
        self._squares += float((error**2).sum())
        self._n_pixels += error.size
        self.slice_psnr_db.append(_psnr_db(float((error**2).mean())))
        crop = _bounding_rectangle(inside)
        pairs = zip(predicted, frames, strict=True)
        self._ssim.extend(ssim(p[crop], f[crop], inside[crop]) for p, f in pairs)

    @property
    def psnr_db(self) -> float | None:
        return _psnr_db(self._squares / self._n_pixels) if self._n_pixels else None

    @property
    def ssim(self) -> float | None:
        finite = [value for value in self._ssim if np.isfinite(value)]
        return float(np.mean(finite)) if finite else None


def _bounding_rectangle(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """The smallest part of an image `(rows, cols)` that holds the mask and an SSIM window."""
    ends = []
    for axis, n in ((1, mask.shape[0]), (0, mask.shape[1])):
        used = np.flatnonzero(mask.any(axis=axis))
        low = max(0, min(int(used[0]), n - SSIM_WINDOW))
        ends.append(slice(low, max(int(used[-1]) + 1, low + SSIM_WINDOW)))
    return ends[0], ends[1]


def _psnr_db(mse: float) -> float:
    return float(-10 * np.log10(mse)) if mse > 0 else np.inf
