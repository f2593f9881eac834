"""Terms of the refinement: Jacobians against differences, distances and windows in closed form."""

import numpy as np
import pytest
import torch
from torch import Tensor

from NISFCore.errors import StudyError
from NISFCore.motion.config import DescentConfig, MotionConfig, StartConfig
from NISFCore.motion.contours import signed_distances, wall_contours
from NISFCore.motion.descent import opened_until, rate_factor
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.plane import Plane, plane_of
from NISFCore.motion.refinement import (
    ContourTerm,
    FrameTerm,
    TissuePoints,
    VolumeTerm,
    between,
    check_followed,
    huber_weight,
    noise_weight,
    tissue_points,
    trust_between,
)
from NISFCore.motion.similarity import local_windows
from Testing.Core.motion.movies import INNER_MM, OUTER_MM, Ring

RING = Ring(n_phases=4)
SMALL = MotionConfig(start=StartConfig(n_features=10))
LOOSE = 1e6
"""A Huber limit that is never reached: weights are then constant, and rows differentiable."""


def still_field() -> tuple[DisplacementField, Plane]:
    plane = plane_of(RING.tagged(45.0), None)
    return plane.field(SMALL, [float(t) for t in RING.times], is_cyclic=False), plane


def some_coefficients(tissue: TissuePoints) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return 0.2 * torch.randn(tissue.features.shape[1], 2, generator=generator)


def jacobian_error(term: FrameTerm, C: Tensor, step: float = 0.02) -> float:
    """Largest relative error of directional derivatives along random directions."""
    generator, worst = torch.Generator().manual_seed(5), 0.0
    _, J = term.rows(0.25, C)
    for _ in range(4):
        d = torch.randn(C.shape, generator=generator)
        difference = term.rows(0.25, C + step * d)[0] - term.rows(0.25, C - step * d)[0]
        expected, got = difference / (2 * step), J @ d.flatten()
        error = (expected - got).square().mean().sqrt() / expected.square().mean().sqrt()
        worst = max(worst, float(error))
    return worst


def test_the_contours_jacobian_is_the_residuals_derivative() -> None:
    field, plane = still_field()
    for contour in wall_contours(plane.cine, plane.placement):
        border = tissue_points(field, contour.points)
        term = ContourTerm(border, contour, 1.0, LOOSE)
        # gradients are smoothed over a pixel, values are interpolated between pixels
        assert jacobian_error(term, some_coefficients(border)) < 0.1


def test_the_volumes_jacobian_is_the_residuals_derivative() -> None:
    field, plane = still_field()
    tissue = tissue_points(field, plane.local_points())
    term = VolumeTerm(field, tissue.points, 3.0)
    assert jacobian_error(term, some_coefficients(tissue)) < 0.01


def test_signed_distances_are_those_to_a_circle() -> None:
    n, radius = 61, 15.0
    j, i = np.meshgrid(np.arange(n) - 30.0, np.arange(n) - 30.0, indexing="ij")
    r = np.hypot(i, j)
    signed = signed_distances((r < radius)[None], (1.0, 1.0))[0]
    near = np.abs(r - radius) < 5
    # distances are from pixel centre to pixel centre: within a pixel of those to the line
    assert np.abs(signed - (r - radius))[near].max() <= 1.0
    far = np.abs(r - radius) > 1
    assert (np.sign(signed) == np.sign(r - radius))[far].all()


def test_contours_are_the_walls_borders() -> None:
    _, plane = still_field()
    inner, outer = wall_contours(plane.cine, plane.placement)
    assert inner.is_inner and not outer.is_inner
    assert inner.points.norm(dim=1).numpy() == pytest.approx(INNER_MM, abs=0.6)
    assert outer.points.norm(dim=1).numpy() == pytest.approx(OUTER_MM, abs=0.6)


def test_local_correlation_sees_no_brightness_and_no_contrast() -> None:
    generator = torch.Generator().manual_seed(1)
    points = 10 * torch.rand(80, 2, generator=generator)
    template = torch.randn(80, generator=generator)
    windows = local_windows(points, 3.0, 0.5)
    assert len(windows.weights) == 40
    same = windows.correlation(torch.stack([template, 7 + 0.1 * template, -template]), template)
    assert same[0].numpy() == pytest.approx(1.0, abs=1e-3)
    assert same[1].numpy() == pytest.approx(1.0, abs=1e-3)
    assert same[2].numpy() == pytest.approx(-1.0, abs=1e-3)


def test_weights_make_large_residuals_linear_and_noise_small() -> None:
    r = torch.tensor([0.5, 1.0, 4.0])
    assert torch.allclose((huber_weight(r, 1.0) * r).square(), torch.tensor([0.25, 1.0, 4.0]))
    assert noise_weight(torch.full((9,), 0.01)) == 1.0
    assert noise_weight(torch.linspace(-4, 4, 99)) < 0.1


def test_frames_are_opened_one_after_another() -> None:
    times = torch.linspace(0, 0.9, 10)
    config = DescentConfig(n_steps=100, opening_share=0.5, final_rate=0.1)
    opened = [opened_until(k, times, config) for k in range(100)]
    assert opened == sorted(opened) and opened[0] < 0.2
    assert opened[25] == pytest.approx(0.6, abs=0.11) and opened[50] == pytest.approx(0.9)
    assert rate_factor(0, config) == 1.0 and rate_factor(100, config) == pytest.approx(0.1)


def test_between_two_frames_on_either_side_a_cubic_is_exact() -> None:
    times = torch.tensor([0.0, 0.07, 0.15, 0.2, 0.31, 0.4])
    weights = between(times, 3)
    assert float(weights[3]) == 0 and float(weights.sum()) == pytest.approx(1)
    cubic = 2 - 3 * times + 5 * times**2 - 20 * times**3
    assert float(weights @ cubic) == pytest.approx(float(cubic[3]), abs=1e-4)
    # fewer on one side: a parabola
    parabola = 1 + times - 4 * times**2
    assert float(between(times, 1) @ parabola) == pytest.approx(float(parabola[1]), abs=1e-4)


def test_a_cubic_counts_less_the_farther_frames_lie_apart() -> None:
    assert trust_between(torch.arange(30) / 30, 3) == 1.0
    few = torch.arange(12) / 12
    # what it is wrong by at the top of a beat, frame for frame
    missed = [
        1 - float(between(t, len(t) // 2) @ (torch.pi * t).sin().square())
        for t in (torch.arange(25) / 24, torch.arange(13) / 12)
    ]
    assert missed[1] > 10 * missed[0] > 0
    assert trust_between(few, 3) < 0.01


def test_displacements_that_no_heart_makes_are_an_error() -> None:
    possible = torch.tensor([[3.0, 4.0], [0.0, -40.0]])
    check_followed(possible, 25.0, 0.4)
    for impossible in (60.0, torch.inf, torch.nan):
        with pytest.raises(StudyError, match="40%"):
            check_followed(torch.tensor([[0.0, impossible]]), 25.0, 0.4)
