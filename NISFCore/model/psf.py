"""Point-spread function of a 2D slice (paper section 3.2, "Physics-informed intensity modeling").

An anisotropic Gaussian in the slice's own axes (i, j, normal), sigma = FWHM / 2.355, FWHM being
the pixel size in plane and the slice thickness through it. The integral over it is a weighted sum
over sample offsets: Monte Carlo as in the paper, or a Gauss-Hermite quadrature, which is exact
for polynomials of degree 2n - 1 and has no noise.
"""

import math
from dataclasses import dataclass
from enum import Enum
from functools import cache

import numpy as np
import torch
from torch import Tensor

from NISFCore.errors import ConfigError

SIGMA_PER_FWHM = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))


class PsfKind(str, Enum):
    """How the slice profile is integrated."""

    NONE = "none"
    """One sample at the voxel centre (the paper's choice at fitting time)."""
    THROUGH_PLANE = "through-plane"
    """Gauss-Hermite nodes along the slice normal; in-plane blur is left to the decoder."""
    MONTE_CARLO = "monte-carlo"
    """Random offsets of the full anisotropic Gaussian (paper, K = 16)."""


@dataclass(frozen=True)
class PsfConfig:
    """Kind of integration and number of samples per voxel (ignored for `NONE`)."""

    kind: PsfKind = PsfKind.THROUGH_PLANE
    n_samples: int = 3

    def __post_init__(self) -> None:
        if self.n_samples < 1:
            raise ConfigError(f"PsfConfig.n_samples: got {self.n_samples}, at least 1")


NO_PSF = PsfConfig(PsfKind.NONE, 1)
PAPER_PSF = PsfConfig(PsfKind.MONTE_CARLO, 16)


@cache
def gauss_hermite(n: int) -> tuple[Tensor, Tensor]:
    """Nodes `(n,)` in units of sigma and weights `(n,)` that sum to one."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return (
        torch.tensor(nodes, dtype=torch.float32),
        torch.tensor(weights / weights.sum(), dtype=torch.float32),
    )


def psf_offsets(
    config: PsfConfig,
    sigma_mm: Tensor,
    axes: Tensor,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Sample offsets around each voxel.

    Args:
        sigma_mm: `(n, 3)` standard deviation along the slice's i, j, normal.
        axes: `(n, 3, 3)` unit vectors of i, j, normal as COLUMNS.
        generator: for Monte Carlo.

    Returns:
        offsets `(n, k, 3)` in the space of `axes`, and weights `(k,)`.
    """
    n = sigma_mm.shape[0]
    if config.kind is PsfKind.NONE:
        return sigma_mm.new_zeros(n, 1, 3), sigma_mm.new_ones(1)
    if config.kind is PsfKind.THROUGH_PLANE:
        nodes, weights = gauss_hermite(config.n_samples)
        nodes, weights = nodes.to(sigma_mm), weights.to(sigma_mm)
        along = nodes[None, :, None] * (sigma_mm[:, 2:] * axes[:, :, 2])[:, None, :]
        return along, weights
    k = config.n_samples
    normal = torch.randn(n, k, 3, generator=generator, device=sigma_mm.device, dtype=sigma_mm.dtype)
    local = normal * sigma_mm[:, None, :]
    return torch.einsum("nab,nkb->nka", axes, local), sigma_mm.new_full((k,), 1.0 / k)
