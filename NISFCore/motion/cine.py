"""Untagged cine: photometric residuals around the wall, for `refinement.track`.

Tissue keeps its signal: I_j(X + u) = I_0(X). Within the wall that says next to nothing; at its
borders it says how the wall moves across itself. Along itself the wall slides unseen: what is found
there comes from the volume term, from papillary muscles and insertions, and from smoothness.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.motion.field import Placement
from NISFCore.motion.harp import Mask
from NISFCore.motion.images import ImageStack, around
from NISFCore.motion.refinement import Rows, TissuePoints, huber_weight, sampled
from NISFCore.motion.tagged import intensities


class IntensityTerm:
    """Intensities at the moved points against those of the first frame."""

    def __init__(
        self, tissue: TissuePoints, images: ImageStack, times: Tensor, weight: float, huber: float
    ) -> None:
        self._tissue, self._images, self._times = tissue, images, times
        self._root_weight, self._huber = weight**0.5, huber
        still = torch.zeros(tissue.features.shape[1], tissue.points.shape[1])
        self._template, _ = sampled(images, 0, tissue, still)

    def rows(self, moment: float, C: Tensor) -> Rows:
        frame = int((self._times - moment).abs().argmin())
        value, gradient = sampled(self._images, frame, self._tissue, C)
        r = value - self._template
        w = self._root_weight * huber_weight(r, self._huber)
        return w * r, self._tissue.jacobian(w[:, None] * gradient)


def blurred_intensities(
    cine: CineSlice, mask: Mask, placement: Placement, blur_pixels: float
) -> ImageStack:
    """Images around the wall, as `tagged.intensities`, after a Gaussian blur within the plane."""
    near, _ = around(cine, mask)
    if blur_pixels > 0:
        frames = gaussian_filter(near.frames, (0.0, blur_pixels, blur_pixels))
        near = replace(near, frames=frames.astype(np.float32))
    return intensities(near, placement)


def widened(mask: Mask, spacing_mm: tuple[float, float], reach_mm: float) -> Mask:
    """The pixels within a distance of a mask `(rows, cols)`."""
    distance = distance_transform_edt(~mask, (spacing_mm[1], spacing_mm[0]))
    return np.asarray(distance <= reach_mm)
