"""What a fit knows of a heart beforehand: the prior's latent, and a warp of its shape.

To the solvers the warp's coefficients are further entries of the latent, which are independent and
standard normal (see `model.shape_warp`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.model.prior import Prior, PriorInfo
from NISFCore.model.shape_warp import WarpedDecoder, WarpModes


@dataclass(frozen=True)
class SubjectPrior:
    """As `Prior`, of codes (latent, then coefficients) instead of latents.

    Attributes:
        latent_mean: `(n_code,)`.
        latent_covariance: `(n_code, n_code)`.
    """

    info: PriorInfo
    decoder: WarpedDecoder
    latent_mean: Tensor
    latent_covariance: Tensor


def with_warp(prior: Prior, modes: WarpModes) -> SubjectPrior:
    """The prior of a heart that may be warped."""
    mean, covariance = prior.latent_mean, prior.latent_covariance
    n = modes.n_coefficients
    return SubjectPrior(
        prior.info,
        WarpedDecoder(prior.decoder, modes),
        torch.cat([mean, mean.new_zeros(n)]),
        torch.block_diag(covariance, torch.eye(n).to(covariance)),
    )
