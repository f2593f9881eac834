"""The simulated scanner's point spread function: in-plane Gaussian of FWHM one pixel, Gaussian
slice profile of FWHM the thickness. Both are sums over sub-samples."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtri
from torch import Tensor

SIGMA_PER_FWHM = 1 / (2 * np.sqrt(2 * np.log(2)))


def profile_offsets(n: int) -> npt.NDArray[np.float64]:
    """`n` equally weighted positions through the slice, in units of the thickness.

    They are quantiles of the Gaussian profile, rescaled to its exact variance.
    """
    if n == 1:
        return np.zeros(1)
    z = ndtri((np.arange(n) + 0.5) / n)
    return z / np.sqrt(np.mean(z**2)) * SIGMA_PER_FWHM


def sub_pixel_offsets(n: int) -> npt.NDArray[np.float64]:
    """Centres of `n` equal parts of a pixel, in pixels from its centre."""
    return (np.arange(n) + 0.5) / n - 0.5


def in_plane_weights(n_sub_pixels: int, reach_pixels: float = 1.5) -> npt.NDArray[np.float64]:
    """Weights of the sub-samples around a pixel centre, out to `reach_pixels`, sum one.

    A sub-sample stands for the mean over its cell (edges are as soft as a cell), so an edge blurs
    to a piecewise linear interpolant of the normal distribution function.
    """
    n = n_sub_pixels
    n_side = int(np.floor(reach_pixels - 0.5 + 1e-9)) * n
    x = (np.arange(-n_side, n + n_side) + 0.5) / n - 0.5
    w = np.exp(-0.5 * (x / SIGMA_PER_FWHM) ** 2)
    return w / w.sum()


def blur(samples: Tensor, n_sub_pixels: int) -> Tensor:
    """Pixels `(n, rows, cols)` from sub-samples `(n, rows * s, cols * s)`; edges are repeated."""
    weights = torch.as_tensor(in_plane_weights(n_sub_pixels), dtype=samples.dtype)
    pad = (len(weights) - n_sub_pixels) // 2
    padded = torch.nn.functional.pad(samples[:, None], (pad, pad, pad, pad), mode="replicate")
    down = torch.nn.functional.conv2d(padded, weights.view(1, 1, -1, 1), stride=(n_sub_pixels, 1))
    return torch.nn.functional.conv2d(down, weights.view(1, 1, 1, -1), stride=(1, n_sub_pixels))[
        :, 0
    ]


def average(samples: Tensor, n_sub_pixels: int) -> Tensor:
    """Pixels as plain means over their own sub-samples."""
    return torch.nn.functional.avg_pool2d(samples[:, None], n_sub_pixels)[:, 0]
