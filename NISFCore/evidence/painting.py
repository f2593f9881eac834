"""Random contrast: signal of tissue maps as any scanner and sequence might show them.

Nothing here is a model of one sequence. Signals are drawn over wide ranges (1.5 T and 3 T, balanced
SSFP, spoiled GRE, contrast agents), with what real images have and the tissue map lacks: dark
trabeculae that count as blood, flow, texture, coil sensitivity, off-resonance bands, blur, noise.
Signal 1 is about the brightest blood. Images are `(n_planes, n_phases, rows, cols)` float32.
"""

import torch
from torch import Tensor
from torch.nn import functional

from NISFCore.evidence.noise import Dice, blurred, per_plane
from NISFCore.evidence.tissue import N_TISSUES, Tissue

STRANGE_SHARE = 0.12
"""Planes whose tissues have any signal at all."""
RANDOM_SURROUNDINGS_SHARE = 0.3
BANDING_SHARE = 0.15
N_CHEST_KNOTS = 8


def paint(tissues: Tensor, surroundings: Tensor, cycle_fractions: Tensor, dice: Dice) -> Tensor:
    """Images of tissue maps under one random look per plane.

    Args:
        tissues: `(n_planes, n_phases, rows, cols)` uint8.
        surroundings: `(n_planes, rows, cols)` uint8, the chest's own signal times 200.
        cycle_fractions: `(n_planes, n_phases)`.
    """
    n, size = tissues.shape[0], tissues.shape[-1]
    levels = tissue_levels(n, dice)
    chest = _surroundings(surroundings, dice)
    flat = torch.gather(levels, 1, tissues.reshape(n, -1).long()).reshape(tissues.shape)
    images = torch.where(tissues == int(Tissue.SURROUNDINGS), chest, flat)
    images = _with_trabeculae(images, tissues, levels, dice)
    images = images * _flow(tissues, cycle_fractions, dice)
    images = images * _texture(n, size, dice) * _bands(n, size, dice) * _bias(n, size, dice)
    images = blurred(images, dice.uniform(0.3, 1.6, n))
    return _with_noise(images, dice).pow(per_plane(dice.uniform(0.7, 1.4, n)))


# ---------------------------------------------------------------- tissues


def tissue_levels(n: int, dice: Dice) -> Tensor:
    """Signal of every tissue `(n, N_TISSUES)`: blood brighter than muscle in most planes."""
    levels = _usual_levels(n, dice)
    strange = dice.uniform(0.0, 1.0, n, N_TISSUES)
    strange[:, Tissue.RV_BLOOD] = strange[:, Tissue.LV_BLOOD] * dice.uniform(0.7, 1.3, n)
    strange[:, Tissue.PAPILLARY] = strange[:, Tissue.MYOCARDIUM] * dice.uniform(0.8, 1.2, n)
    return torch.where(dice.chance(STRANGE_SHARE, n, 1), strange, levels)


def _usual_levels(n: int, dice: Dice) -> Tensor:
    blood = dice.uniform(0.6, 1.0, n)
    muscle = blood * dice.uniform(0.10, 0.72, n)
    rv = blood * dice.uniform(0.75, 1.2, n)
    levels = torch.zeros(n, N_TISSUES)
    levels[:, Tissue.LV_BLOOD] = blood
    levels[:, Tissue.RV_BLOOD] = rv
    levels[:, Tissue.ATRIAL_BLOOD] = _near(blood, 0.7, 1.25, dice)
    levels[:, Tissue.AORTIC_BLOOD] = _near(blood, 0.6, 1.3, dice)
    levels[:, Tissue.PULMONARY_BLOOD] = _near(rv, 0.7, 1.25, dice)
    levels[:, Tissue.MYOCARDIUM] = muscle
    levels[:, Tissue.PAPILLARY] = _near(muscle, 0.85, 1.25, dice)
    levels[:, Tissue.RV_TRABECULA] = _near(muscle, 0.85, 1.25, dice)
    levels[:, Tissue.OTHER_WALL] = _near(muscle, 0.7, 1.4, dice)
    # Often nothing tells the wall from what lies outside of it.
    fat, pericardium = blood * dice.uniform(0.1, 1.3, n), dice.uniform(0.0, 0.5, n)
    levels[:, Tissue.FAT] = _sometimes(muscle * dice.uniform(0.5, 1.3, n), fat, 0.3, dice)
    levels[:, Tissue.PERICARDIUM] = _sometimes(
        muscle * dice.uniform(0.6, 1.2, n), pericardium, 0.4, dice
    )
    for valve in (Tissue.VALVE, Tissue.LV_VALVE, Tissue.RV_VALVE):
        levels[:, valve] = torch.lerp(muscle, blood, dice.uniform(0.0, 1.0, n))
    return levels


def _sometimes(rare: Tensor, usual: Tensor, share: float, dice: Dice) -> Tensor:
    return torch.where(dice.chance(share, len(usual)), rare, usual)


def _near(level: Tensor, low: float, high: float, dice: Dice) -> Tensor:
    """Half of the planes show two tissues exactly alike."""
    factor = dice.uniform(low, high, len(level))
    return level * torch.where(dice.chance(0.5, len(level)), factor, 1.0)


def _surroundings(chest: Tensor, dice: Dice) -> Tensor:
    """The chest through a random curve, or blobs of random signal, `(n, 1, rows, cols)`."""
    n, size = chest.shape[:2]
    curve = dice.uniform(0.0, 1.1, n, N_CHEST_KNOTS)
    usual = torch.linspace(0.0, 1.25, N_CHEST_KNOTS) * dice.uniform(0.5, 1.1, n, 1)
    curve = torch.where(dice.chance(0.5, n, 1), usual, curve)
    looked_up = functional.interpolate(curve[:, None], size=256, mode="linear", align_corners=True)[
        :, 0
    ]
    signal = torch.gather(looked_up, 1, chest.reshape(n, -1).long()).reshape(n, 1, size, size)
    is_random = per_plane(dice.chance(RANDOM_SURROUNDINGS_SHARE, n))
    return torch.where(is_random, _blobs(n, size, dice), signal)


def _blobs(n: int, size: int, dice: Dice) -> Tensor:
    """Patches of constant signal with smooth borders of any form."""
    knots = int(dice.integers(3, 10, 1))
    a, b = dice.field(n, size, knots), dice.field(n, size, knots + 3)
    index = ((a.sign() + 1) + (b.sign() + 1) / 2 + 4 * (a.abs() > 0.9)).long()
    levels = dice.uniform(0.0, 1.1, n, 8)
    return torch.gather(levels, 1, index.reshape(n, -1)).reshape(n, 1, size, size)


# ---------------------------------------------------------------- blood


def _with_trabeculae(images: Tensor, tissues: Tensor, levels: Tensor, dice: Dice) -> Tensor:
    """A dark band inside the endocardium: trabeculae and papillary muscles count as blood."""
    n, size = tissues.shape[0], tissues.shape[-1]
    muscle = per_plane(levels[:, Tissue.MYOCARDIUM])
    for pool, most in ((Tissue.LV_BLOOD, 0.9), (Tissue.RV_BLOOD, 0.8)):
        mask = (tissues == int(pool)).float()
        width = 2 * int(dice.integers(1, 5, 1)) + 1
        around = functional.avg_pool2d(mask, width, 1, width // 2)
        band = (2 * (1 - around)).clamp(0.0, 1.0) * mask
        streaks = 0.5 + 0.5 * dice.field(n, size, int(dice.integers(16, 44, 1)))
        loss = band * streaks.clamp(0.0, 1.0) * per_plane(dice.uniform(0.0, most, n))
        images = torch.lerp(images, muscle, torch.maximum(loss, _clumps(mask, dice)))
    return images


def _clumps(mask: Tensor, dice: Dice) -> Tensor:
    """Muscle within a pool `(n, n_phases, rows, cols)`, 0 to 1: papillary muscles and thick
    trabeculae of any number and form, up to about 15 mm off the wall, in most planes."""
    n, size = mask.shape[0], mask.shape[-1]
    width = 2 * int(dice.integers(3, 11, 1)) + 1
    near_wall = functional.avg_pool2d(mask, width, 1, width // 2) < 0.98
    field = dice.field(n, size, int(dice.integers(9, 22, 1)))
    threshold = per_plane(dice.uniform(0.5, 2.2, n))
    return (3 * (field - threshold)).clamp(0.0, 1.0) * near_wall * mask


_BLOOD = (
    Tissue.LV_BLOOD,
    Tissue.RV_BLOOD,
    Tissue.ATRIAL_BLOOD,
    Tissue.AORTIC_BLOOD,
    Tissue.PULMONARY_BLOOD,
)


def _flow(tissues: Tensor, cycle_fractions: Tensor, dice: Dice) -> Tensor:
    """Factor of the signal of blood that changes smoothly in the plane and over the cycle."""
    n, size = tissues.shape[0], tissues.shape[-1]
    is_blood = torch.zeros(N_TISSUES, dtype=torch.bool)
    is_blood[[int(t) for t in _BLOOD]] = True
    angle = per_plane(torch.zeros(n)) + 2 * torch.pi * cycle_fractions[:, :, None, None]
    a, b, c = (dice.field(n, size, 8) for _ in range(3))
    change = a * angle.cos() + b * angle.sin() + c
    factor = 1 + per_plane(dice.uniform(0.0, 0.09, n)) * change
    return torch.where(is_blood[tissues.long()], factor.clamp(0.15, 1.6), 1.0)


# ---------------------------------------------------------------- scanner


def _texture(n: int, size: int, dice: Dice) -> Tensor:
    knots = int(dice.integers(10, 50, 1))
    return 1 + per_plane(dice.uniform(0.0, 0.12, n)) * dice.field(n, size, knots).clamp(-3, 3)


def _bias(n: int, size: int, dice: Dice) -> Tensor:
    """Coil sensitivity: smooth, a factor of up to about 3 over the window."""
    log_gain = per_plane(dice.uniform(0.0, 0.4, n)) * dice.field(n, size, 3)
    return log_gain.clamp(-1.0, 1.0).exp()


def _bands(n: int, size: int, dice: Dice) -> Tensor:
    """Dark off-resonance bands of balanced SSFP, in some planes."""
    x = torch.linspace(-1.0, 1.0, size)
    angle, shift = dice.uniform(0.0, 2 * torch.pi, n), dice.uniform(0.0, torch.pi, n)
    across = per_plane(angle.cos()) * x + per_plane(angle.sin()) * x[:, None]
    bent = across * per_plane(dice.uniform(1.0, 4.0, n)) + 0.3 * dice.field(n, size, 4)
    depth = dice.uniform(0.2, 0.9, n) * dice.chance(BANDING_SHARE, n)
    width = per_plane(dice.uniform(0.05, 0.25, n))
    dark = torch.exp(-((bent + per_plane(shift)).sin() / width).square())
    return 1 - per_plane(depth) * dark


def _with_noise(images: Tensor, dice: Dice) -> Tensor:
    """Rician noise of up to a tenth of the brightest blood."""
    sd = per_plane(dice.uniform(0.0, 1.0, len(images)).square() * 0.1)
    real, imaginary = (sd * dice.normal(1.0, *images.shape) for _ in range(2))
    return ((images + real).square() + imaginary.square() + 1e-8).sqrt()
