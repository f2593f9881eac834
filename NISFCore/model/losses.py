"""Losses of training and fitting (paper section 3.3)."""

import math

import torch
from torch import Tensor

DICE_WEIGHTS = (1.0, 2.0, 4.0, 3.0)
"""Background, LV blood pool, LV myocardium, RV blood pool."""


def psnr_loss(predicted: Tensor, observed: Tensor) -> Tensor:
    """L_PSNR = 10 log10(MSE): minus the PSNR in dB of intensities with peak 1."""
    mse = torch.mean((predicted - observed) ** 2)
    return 10.0 / math.log(10.0) * torch.log(mse + 1e-12)


def noise_loss(predicted: Tensor, observed: Tensor, noise_sd: Tensor) -> Tensor:
    """Gaussian likelihood of intensities whose noise is predicted too, in decibels as L_PSNR.

    20 / ln(10) mean(r^2 / (2 s^2) + ln s); with one s everywhere, set to its best value, this is
    L_PSNR plus a constant.
    """
    r = predicted - observed
    return 20.0 / math.log(10.0) * torch.mean(0.5 * (r / noise_sd) ** 2 + torch.log(noise_sd))


def dice_loss(probabilities: Tensor, possible: Tensor) -> Tensor:
    """L_Dice: one minus the weighted soft Dice over the batch, of each label over the voxels of
    which it is known whether they have it. A label that some may have and none surely has does not
    count: only where it is not would be heard, and it would vanish elsewhere too.

    Args:
        probabilities: `(n, 4)`.
        possible: `(n, 4)` bool, the labels that a voxel may have (see `NISFCore.labels`).
    """
    has, is_known = said_of_labels(possible)
    truth, p = has.to(probabilities), probabilities * is_known
    overlap = (p * truth).sum(0)
    size = p.sum(0) + truth.sum(0)
    dice = (2 * overlap + 1.0) / (size + 1.0)
    counts = has.any(dim=0) | is_known.all(dim=0)
    weights = probabilities.new_tensor(DICE_WEIGHTS) * counts
    return (weights * (1.0 - dice)).sum() / weights.sum().clamp(min=1.0)


def said_of_labels(possible: Tensor) -> tuple[Tensor, Tensor]:
    """Which labels voxels have, and of which labels it is known, each `(n, 4)` bool."""
    is_one = possible.sum(dim=1, keepdim=True) == 1
    return possible & is_one, is_one | ~possible


def label_cross_entropy(probabilities: Tensor, possible: Tensor) -> Tensor:
    """Mean -log of the probability of all possible labels together, over the voxels of which
    something is known (0 if there is none)."""
    p = (probabilities * possible).sum(dim=1).clamp(min=1e-6)
    mask = (~possible.all(dim=1)).to(p)
    return -(torch.log(p) * mask).sum() / mask.sum().clamp(min=1.0)
