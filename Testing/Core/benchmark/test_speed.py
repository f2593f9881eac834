"""Reading times off curves."""

import math

import pytest

from NISFCore.benchmark.speed import (
    WatchedStep,
    charged,
    plateau,
    seconds_to_reach,
    watched_steps,
)


def curve(*dice: float) -> list[WatchedStep]:
    """One point per second, from 1 s."""
    return [WatchedStep(k, float(k), d, 20.0) for k, d in enumerate(dice, start=1)]


def test_the_time_to_a_dice_is_interpolated() -> None:
    assert seconds_to_reach(curve(0.5, 0.7, 0.9), 0.8) == pytest.approx(2.5)
    assert seconds_to_reach(curve(0.5, 0.7, 0.9), 0.9) == pytest.approx(3.0)
    assert seconds_to_reach(curve(0.95, 0.96), 0.9) == 1.0


def test_a_solver_that_ends_below_has_not_reached_it() -> None:
    assert seconds_to_reach(curve(0.5, 0.9, 0.85), 0.88) is None
    assert seconds_to_reach([], 0.5) is None


def test_the_plateau_is_the_last_fifth() -> None:
    points = curve(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    assert plateau(points, 10) == pytest.approx((0.8 + 0.9 + 1.0) / 3)


def test_a_path_can_be_charged_other_seconds() -> None:
    points = charged(curve(0.5, 0.7), 0.2)
    assert [p.seconds for p in points] == pytest.approx([0.2, 0.4])
    assert [p.dice for p in points] == [0.5, 0.7]


def test_long_solvers_are_watched_early_and_late() -> None:
    steps = watched_steps(2500)
    assert {1, 2, 2500} <= steps
    assert len([k for k in steps if k >= 2000]) >= 6
    assert len(steps) <= 40
    gaps = [math.log(b / a) for a, b in zip(sorted(steps), sorted(steps)[1:], strict=False)]
    assert max(gaps) <= math.log(2) + 1e-9


def test_a_time_can_be_that_to_a_psnr() -> None:
    points = [WatchedStep(k, float(k), 0.5, 20.0 + k) for k in (1, 2, 3)]
    assert seconds_to_reach(points, 22.5, "psnr_db") == pytest.approx(2.5)
    assert plateau(points, 3, "psnr_db") == pytest.approx(23.0)
