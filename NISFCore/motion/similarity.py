"""Local normalised cross-correlation (NCC) of tags, over irregular points of the tissue.

Windows are Gaussian weights among the tissue's own points, so that no blood is in them; they
travel with the tissue. Fading of the tags and shading of the coil change mean and contrast within
a window, which NCC does not see.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_VARIANCE = 1e-8
MIN_WEIGHT = 1e-3


@dataclass(frozen=True)
class LocalWindows:
    """`weights` `(n_windows, n)`, each row sums to one."""

    weights: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Weighted means `(..., n_windows)` of values `(..., n)`."""
        return values @ self.weights.T

    def correlation(self, values: Tensor, template: Tensor) -> Tensor:
        """NCC `(..., n_windows)` of values `(..., n)` with a template `(n,)`, in [-1, 1]."""
        mean, template_mean = self.mean(values), self.mean(template)
        variance = self.mean(values.square()) - mean.square()
        template_variance = self.mean(template.square()) - template_mean.square()
        covariance = self.mean(values * template) - mean * template_mean
        product = variance.clamp_min(0) * template_variance.clamp_min(0)
        return covariance * (product + MIN_VARIANCE).rsqrt()


def local_windows(points: Tensor, sd_mm: float, share: float) -> LocalWindows:
    """Windows about a share of the points `(n, n_dims)` in mm, evenly picked in their order."""
    step = max(1, round(1 / share))
    distance2 = torch.cdist(points[::step], points).square()
    weights = (-distance2 / (2 * sd_mm**2)).exp()
    # what is far away says nothing, and products of such small numbers are slow
    weights = torch.where(weights > MIN_WEIGHT, weights, 0.0)
    return LocalWindows(weights / weights.sum(dim=1, keepdim=True))
