"""Losses against hand-computed values."""

import pytest
import torch

from NISFCore.model.losses import DICE_WEIGHTS, dice_loss, label_cross_entropy, psnr_loss


def _one_hot(labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, 4).float()


def test_psnr_loss_is_minus_the_psnr() -> None:
    observed = torch.rand(1000)
    assert float(psnr_loss(observed + 0.1, observed)) == pytest.approx(-20.0, abs=1e-3)


def test_dice_loss_is_zero_for_a_perfect_and_weighted_for_a_wrong_answer() -> None:
    label = torch.arange(4).repeat_interleave(1000)
    everywhere = torch.ones(4000, dtype=torch.bool)
    assert float(dice_loss(_one_hot(label), label, everywhere)) == pytest.approx(0.0, abs=1e-6)
    swapped = label.clone()
    swapped[label == 3] = 0  # all RV called background: Dice 2/3, 1, 1, 0
    expected = 1 - (DICE_WEIGHTS[0] * 2 / 3 + DICE_WEIGHTS[1] + DICE_WEIGHTS[2]) / sum(DICE_WEIGHTS)
    assert float(dice_loss(_one_hot(swapped), label, everywhere)) == pytest.approx(
        expected, abs=2e-3
    )


def test_unannotated_voxels_do_not_count() -> None:
    label = torch.randint(4, (500,))
    has_label = torch.rand(500) > 0.5
    wrong = torch.where(has_label, label, (label + 1) % 4)
    assert float(dice_loss(_one_hot(wrong), label, has_label)) == pytest.approx(0.0, abs=1e-6)
    assert float(label_cross_entropy(_one_hot(wrong), label, has_label)) == 0.0
    nothing = torch.zeros(500, dtype=torch.bool)
    assert torch.isfinite(dice_loss(_one_hot(wrong), label, nothing))
    assert float(label_cross_entropy(_one_hot(wrong), label, nothing)) == 0.0


def test_cross_entropy_of_uniform_probabilities() -> None:
    label = torch.randint(4, (500,))
    uniform = torch.full((500, 4), 0.25)
    value = label_cross_entropy(uniform, label, torch.ones(500, dtype=torch.bool))
    assert float(value) == pytest.approx(1.3863, abs=1e-3)
