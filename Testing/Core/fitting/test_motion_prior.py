"""The prior of the unknowns, and how slice motion's part of it is learned."""

import math

import numpy as np
import pytest
import torch

from NISFCore.fitting.config import MotionPrior
from NISFCore.fitting.motion_prior import (
    learned_precision,
    prior_precision,
    uncrossed_precision,
)
from NISFCore.fitting.unknowns import GLOBAL, PER_SLICE
from NISFCore.labels import N_LABELS
from NISFCore.model.receive_gain import N_GAIN

N_LATENT, N_SLICES = 3, 12
SD = MotionPrior(slice_deg=1.0, slice_mm=3.0, slices_worth=4.0)
FIRST = N_LATENT + GLOBAL
N = FIRST + PER_SLICE * N_SLICES


def learned(motion: torch.Tensor, variance: float = 0.0) -> torch.Tensor:
    """The learned precision for slice motions `(12, 7)` known up to a variance."""
    theta = torch.zeros(N, dtype=torch.float64)
    theta[FIRST:] = motion.flatten()
    covariance = variance * torch.eye(N, dtype=torch.float64)
    return learned_precision(prior_precision(N_LATENT, N_SLICES, SD), theta, covariance, 3, SD)


def shift_covariance(precision: torch.Tensor, j: int = 0) -> np.ndarray:
    a = FIRST + PER_SLICE * j + 3
    return torch.linalg.inv(precision[a : a + 3, a : a + 3]).numpy()


def test_every_unknown_has_its_deviation() -> None:
    given = MotionPrior(5.0, 8.0, 1.0, 3.0, log_scale=0.1, log_gain=0.2, tissue_offset=0.07)
    sd = prior_precision(N_LATENT, 2, given).diagonal() ** -0.5
    rad = math.pi / 180
    per_slice = [1 * rad] * 3 + [3.0] * 3 + [0.1]
    expected = [1.0] * 3 + [5 * rad] * 3 + [8.0] * 3 + [0.2] * N_GAIN + [0.07] * N_LABELS
    expected += per_slice * 2
    assert sd.tolist() == pytest.approx(expected)


def test_still_slices_tighten_their_prior() -> None:
    precision = learned(torch.zeros(N_SLICES, PER_SLICE).double())
    expected = np.eye(3) * 9.0 * 4 / (4 + N_SLICES)
    np.testing.assert_allclose(shift_covariance(precision), expected, atol=1e-12)
    turn = float(precision[FIRST, FIRST]) ** -0.5
    assert turn == pytest.approx(math.radians(1.0) * math.sqrt(4 / (4 + N_SLICES)))


def test_motion_along_one_direction_loosens_that_direction() -> None:
    motion = torch.zeros(N_SLICES, PER_SLICE).double()
    along = torch.tensor([0.6, 0.0, 0.8]).double()
    motion[:, 3:6] = 8.0 * torch.tensor([1.0, -1.0] * 6).double()[:, None] * along
    S = shift_covariance(learned(motion), j=5)
    values, vectors = np.linalg.eigh(S)
    assert values == pytest.approx([36 / 16, 36 / 16, (36 + 12 * 64) / 16])
    assert abs(vectors[:, 2] @ along.numpy()) == pytest.approx(1.0)


def test_what_is_not_known_does_not_count_as_still() -> None:
    motion = torch.zeros(N_SLICES, PER_SLICE).double()
    S = shift_covariance(learned(motion, variance=4.0))
    np.testing.assert_allclose(S, np.eye(3) * (36 + 12 * 4) / 16)


def test_nothing_else_is_learned() -> None:
    before = prior_precision(N_LATENT, N_SLICES, SD)
    after = learned(torch.randn(N_SLICES, PER_SLICE).double())
    assert torch.equal(after[:FIRST], before[:FIRST])
    scales = [FIRST + PER_SLICE * j + 6 for j in range(N_SLICES)]
    assert torch.equal(after[scales], before[scales])


def test_slices_that_nothing_crosses_are_held_back_along_their_normal_only() -> None:
    normal = torch.tensor([[0.0, 0.6, 0.8]]).repeat(3, 1)
    held = uncrossed_precision(normal, N_LATENT, MotionPrior(uncrossed_mm=0.5))
    assert held.shape == (FIRST + 3 * PER_SLICE,) * 2
    own = held[FIRST : FIRST + PER_SLICE, FIRST : FIRST + PER_SLICE]
    along = torch.tensor([0.0, 0.6, 0.8]).double()
    np.testing.assert_allclose(own[3:6, 3:6] @ along, 4.0 * along, rtol=1e-6)
    np.testing.assert_allclose(own[3:6, 3:6] @ torch.tensor([1.0, 0, 0]).double(), 0.0)
    assert float(held.abs().sum()) == pytest.approx(3 * float(own[3:6, 3:6].abs().sum()))


def test_slices_that_another_one_crosses_are_not_held_back() -> None:
    tilted = [0.0, math.sin(math.radians(5.0)), math.cos(math.radians(5.0))]
    parallel = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], tilted])
    assert bool(uncrossed_precision(parallel, N_LATENT, SD).any())
    with_long_axis = torch.cat([parallel, torch.tensor([[1.0, 0.0, 0.0]])])
    assert not bool(uncrossed_precision(with_long_axis, N_LATENT, SD).any())
