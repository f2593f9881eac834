"""Losses against hand-computed values."""

import math

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
    known = _one_hot(label) > 0
    assert float(dice_loss(_one_hot(label), known)) == pytest.approx(0.0, abs=1e-6)
    swapped = label.clone()
    swapped[label == 3] = 0  # all RV called background: Dice 2/3, 1, 1, 0
    expected = 1 - (DICE_WEIGHTS[0] * 2 / 3 + DICE_WEIGHTS[1] + DICE_WEIGHTS[2]) / sum(DICE_WEIGHTS)
    assert float(dice_loss(_one_hot(swapped), known)) == pytest.approx(expected, abs=2e-3)


def test_unannotated_voxels_do_not_count() -> None:
    label = torch.randint(4, (500,))
    has_label = torch.rand(500) > 0.5
    wrong = torch.where(has_label, label, (label + 1) % 4)
    possible = (_one_hot(label) > 0) | ~has_label[:, None]
    assert float(dice_loss(_one_hot(wrong), possible)) == pytest.approx(0.0, abs=1e-6)
    assert float(label_cross_entropy(_one_hot(wrong), possible)) == 0.0
    nothing = torch.ones(500, 4, dtype=torch.bool)
    assert torch.isfinite(dice_loss(_one_hot(wrong), nothing))
    assert float(label_cross_entropy(_one_hot(wrong), nothing)) == 0.0


def test_of_a_partly_known_voxel_only_what_is_known_counts() -> None:
    """Background or RV: either answer is right, LV is wrong."""
    drawn, outside = torch.arange(1, 3).repeat(100), torch.zeros(400, dtype=torch.int64)
    possible = torch.cat([_one_hot(drawn) > 0, _one_hot(outside) > 0])
    possible[200:, 3] = True
    for answer in (0, 3):
        p = _one_hot(torch.cat([drawn, torch.full((400,), answer)]))
        assert float(dice_loss(p, possible)) == pytest.approx(0.0, abs=1e-6)
        assert float(label_cross_entropy(p, possible)) == 0.0
    too_large = _one_hot(torch.cat([drawn, torch.full((400,), 1)]))
    expected = DICE_WEIGHTS[1] * (1 - 2 * 100 / (500 + 100)) / sum(DICE_WEIGHTS[1:3])
    assert float(dice_loss(too_large, possible)) == pytest.approx(expected, abs=1e-3)
    split = 0.5 * (_one_hot(outside) + _one_hot(outside + 1))
    value = label_cross_entropy(split, possible[200:])
    assert float(value) == pytest.approx(math.log(2), abs=1e-5)


def test_cross_entropy_of_uniform_probabilities() -> None:
    label = torch.randint(4, (500,))
    uniform = torch.full((500, 4), 0.25)
    value = label_cross_entropy(uniform, _one_hot(label) > 0)
    assert float(value) == pytest.approx(1.3863, abs=1e-3)
