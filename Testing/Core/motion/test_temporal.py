"""The temporal basis: still at ED, cyclic, inheriting, exact at knots."""

import pytest
import torch

from NISFCore.errors import ConfigError
from NISFCore.motion.temporal import check_knots, knots_of_frames, ramp_basis

KNOTS = torch.tensor([0.0, 0.1, 0.4, 0.7, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("is_cyclic", [False, True])
def test_ed_is_still(is_cyclic: bool) -> None:
    basis = ramp_basis(KNOTS, torch.zeros(1, dtype=torch.float64), is_cyclic)
    assert torch.equal(basis, torch.zeros(1, 4, dtype=torch.float64))


def test_at_knots_the_basis_sums_the_steps_before() -> None:
    assert torch.allclose(
        ramp_basis(KNOTS, KNOTS[1:], False), torch.tril(torch.ones(4, 4, dtype=torch.float64))
    )


def test_cyclic_motion_closes_whatever_the_steps_are() -> None:
    steps = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = ramp_basis(KNOTS, torch.tensor([1 - 1e-9], dtype=torch.float64), True) @ steps
    assert before.abs().max() < 1e-7
    t = torch.tensor([0.33, 1.33, -0.67], dtype=torch.float64)
    u = ramp_basis(KNOTS, t, True) @ steps
    assert torch.allclose(u[0], u[1]) and torch.allclose(u[0], u[2])


def test_times_that_nobody_looked_at_inherit_the_last_displacement() -> None:
    steps = torch.tensor([[1.0], [2.0], [0.0], [0.0]], dtype=torch.float64)
    u = ramp_basis(KNOTS, torch.tensor([0.4, 0.5, 1.0], dtype=torch.float64), False) @ steps
    assert torch.equal(u[:, 0], torch.full((3,), 3.0, dtype=torch.float64))


def test_knots_of_frames_begin_at_ed_and_close_a_cycle() -> None:
    assert knots_of_frames([0.02, 0.5], False) == (0.0, 0.02, 0.5)
    assert knots_of_frames([0.0, 0.5], True) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize("knots", [(0.0,), (0.1, 0.5), (0.0, 0.5, 0.5), (0.0, 1.2)])
def test_knots_that_make_no_basis_are_refused(knots: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="begin at 0"):
        check_knots(knots)
