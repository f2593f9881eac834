"""Kinds of motion: regions, delays and amplitudes, and that every map stays what it promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from NISFCore.errors import ConfigError
from NISFCore.phantom import BeatingHeart, HeartParameters, sample_motion_heart
from NISFCore.phantom.motion_population import MotionKind
from NISFCore.phantom.parameters import MotionParameters
from NISFCore.phantom.scanner import phantom_volumes
from NISFCore.phantom.timing import activation, delayed_activation

from .test_motion import determinants, points_in_box, points_with

TIMES = (0.05, 0.2, 0.35, 0.5, 0.95)


@pytest.fixture(scope="module", params=list(MotionKind), ids=[k.value for k in MotionKind])
def heart(request: pytest.FixtureRequest) -> BeatingHeart:
    return BeatingHeart(sample_motion_heart(5, request.param))


def delayed_heart(delay: float = 0.12) -> BeatingHeart:
    motion = MotionParameters(delay=delay, delay_angle_rad=np.pi)
    return BeatingHeart(replace(HeartParameters(), motion=motion))


def mid_wall(angle_rad: float, heart: BeatingHeart) -> Tensor:
    """A material point `(1, 3)` of the wall half-way up, at an angle about the LV axis."""
    shape = heart.shape
    Z = torch.tensor([(shape.z_apex_mm + shape.z_base_mm) / 2], dtype=torch.float64)
    direction = torch.tensor([np.cos(angle_rad), np.sin(angle_rad)], dtype=torch.float64)
    c, s = direction[:1], direction[1:]
    R = (
        (shape.endo.squared_radius(Z) * shape.endo_angular.factor(c, s)).sqrt()
        + (shape.epi.squared_radius(Z) * shape.epi_angular.factor(c, s)).sqrt()
    ) / 2
    return heart.motion.form.forward(torch.stack([R * c, R * s, Z], dim=1))


@pytest.mark.parametrize("time", TIMES)
def test_every_kind_is_invertible_and_keeps_the_walls_volume(
    heart: BeatingHeart, time: float
) -> None:
    points = points_in_box(2000, seed=7)
    moved = heart.spatial_from_material(points, time)
    assert (heart.material_from_spatial(moved, time) - points).abs().max() < 1e-6
    assert (determinants(heart, points_with(heart, 2), time) - 1).abs().max() < 1e-6


def test_every_kind_rests_at_end_diastole(heart: BeatingHeart) -> None:
    points = points_in_box(500, seed=8)
    for time in (0.0, 1.0):
        assert heart.displacement(points, time).abs().max() < 1e-9


def test_late_walls_do_not_tear() -> None:
    """Neighbours 1 um apart stay neighbours while one side contracts before the other."""
    heart, points = delayed_heart(), points_in_box(10_000, seed=9)
    step = torch.tensor([6e-4, -6e-4, 5e-4], dtype=torch.float64)
    moved = heart.spatial_from_material(points, 0.2)
    neighbours = heart.spatial_from_material(points + step, 0.2)
    assert (moved - neighbours).norm(dim=1).max() < 0.05


def test_a_delayed_side_follows_later_by_the_delay() -> None:
    p = MotionParameters()
    t = torch.linspace(0.05, 0.75, 200, dtype=torch.float64)
    late = delayed_activation(t + 0.1, p, torch.tensor(0.1, dtype=torch.float64))
    before_kick = t + 0.1 < p.kick_start
    assert torch.allclose(late[before_kick], activation(t, p)[before_kick], atol=1e-12)
    none = torch.zeros((), dtype=torch.float64)
    assert torch.allclose(delayed_activation(t, p, none), activation(t, p))


def test_lateral_wall_is_late_where_the_delay_faces_it() -> None:
    """The time of half of the inward motion: later on the delayed side by about the delay."""
    heart = delayed_heart(0.12)
    times = torch.linspace(0.0, 0.5, 251, dtype=torch.float64)

    def half_time(angle_rad: float) -> float:
        start = heart.motion.to_cylinder(mid_wall(angle_rad, heart)).R
        inward = torch.stack(
            [
                start
                - heart.motion.to_cylinder(
                    heart.spatial_from_material(mid_wall(angle_rad, heart), float(t))
                ).R
                for t in times
            ]
        )[:, 0]
        return float(times[int((inward > inward.max() / 2).nonzero()[0])])

    assert half_time(np.pi) - half_time(0.0) == pytest.approx(0.12, abs=0.03)


def test_volumes_of_a_dyssynchronous_heart_are_those_of_its_cavity() -> None:
    """Quadrature of the closed form against the mean determinant of the map in the cavity."""
    heart = delayed_heart(0.15)
    points = points_in_box(60_000, seed=1)
    cavity = points[heart.labels(points, 0.0) == 1][:4000]
    for time in (0.2, 0.36, 0.45):
        volume, edv = heart.volumes_ml(time)[0], heart.volumes_ml(0.0)[0]
        share = float(determinants(heart, cavity, time).mean())
        assert volume / edv == pytest.approx(share, abs=0.01)


def test_dyssynchrony_ejects_less_and_later() -> None:
    together, apart = BeatingHeart(HeartParameters()), delayed_heart(0.15)
    assert phantom_volumes(together).ef_percent == pytest.approx(60.0)
    assert phantom_volumes(apart).ef_percent < 58.0
    assert phantom_volumes(apart).rv_ef_percent == pytest.approx(56.0, abs=0.01)
    assert apart.es_fraction > together.es_fraction + 0.02
    a, b = (apart.volumes_ml(apart.es_fraction + step)[0] for step in (-0.03, 0.03))
    assert apart.volumes_ml(apart.es_fraction)[0] < min(a, b)


def test_a_delay_that_would_run_into_the_atrial_kick_is_an_error() -> None:
    with pytest.raises(ConfigError, match="delay"):
        delayed_heart(0.5)
    with pytest.raises(ConfigError, match="delay"):
        delayed_heart(-0.1)


def test_amplitudes_differ_as_their_names_say() -> None:
    points = points_in_box(2000, seed=2, half_mm=50.0)

    def moves_mm(kind: MotionKind) -> float:
        heart = BeatingHeart(sample_motion_heart(12, kind))
        wall = points[heart.labels(points, 0.0) == 2]
        return float(heart.displacement(wall, heart.es_fraction).norm(dim=1).mean())

    moved = {kind: moves_mm(kind) for kind in MotionKind}
    assert moved[MotionKind.LARGE] > 1.2 * moved[MotionKind.HEALTHY]
    assert moved[MotionKind.SMALL] < 0.5 * moved[MotionKind.HEALTHY]


def test_only_the_dysfunctional_have_scars_and_only_the_dyssynchronous_delays() -> None:
    for kind in MotionKind:
        motion = sample_motion_heart(21, kind).motion
        assert (motion.scar_depth >= 0.6) == (kind is MotionKind.DYSFUNCTIONAL)
        assert (motion.scar_depth == 0) == (kind is not MotionKind.DYSFUNCTIONAL)
        assert (motion.delay > 0.03) == (kind is MotionKind.DYSSYNCHRONOUS)


def test_equal_seeds_give_equal_hearts_and_unknown_kinds_are_errors() -> None:
    assert sample_motion_heart(3, "large") == sample_motion_heart(3, MotionKind.LARGE)
    assert sample_motion_heart(3, "large") != sample_motion_heart(4, "large")
    with pytest.raises(ConfigError, match="dyssynchronous"):
        sample_motion_heart(1, "sideways")
