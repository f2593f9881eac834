"""Losses of training and fitting (paper section 3.3)."""

import math

import torch
from torch import Tensor

from NISFCore.labels import N_LABELS

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


def dice_loss(probabilities: Tensor, label: Tensor, has_label: Tensor) -> Tensor:
    """L_Dice: one minus the weighted soft Dice over the batch, annotated voxels only.

    Args:
        probabilities: `(n, 4)`.
        label: `(n,)` int64.
        has_label: `(n,)` bool; voxels of unannotated frames are not supervised.
    """
    mask = has_label.to(probabilities)[:, None]
    truth = torch.nn.functional.one_hot(label, N_LABELS).to(probabilities) * mask
    p = probabilities * mask
    overlap = (p * truth).sum(0)
    size = p.sum(0) + truth.sum(0)
    dice = (2 * overlap + 1.0) / (size + 1.0)
    weights = probabilities.new_tensor(DICE_WEIGHTS)
    return 1.0 - (weights * dice).sum() / weights.sum()


def label_cross_entropy(probabilities: Tensor, label: Tensor, has_label: Tensor) -> Tensor:
    """Mean -log p(label) over annotated voxels (0 if there is none)."""
    p = probabilities.gather(1, label[:, None])[:, 0].clamp(min=1e-6)
    mask = has_label.to(p)
    return -(torch.log(p) * mask).sum() / mask.sum().clamp(min=1.0)
