"""Surfaces at ED: solved volumes and impossible hearts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.errors import ConfigError
from NISFCore.phantom import BeatingHeart, HeartParameters
from NISFCore.phantom.parameters import LVParameters, RVParameters
from NISFCore.phantom.shape import Angular, Profile, rv_quadrature, solve_shape, wall_thickness_mm


def test_closed_form_volume_is_the_integral() -> None:
    profile = Profile(600.0, 20.0, -45.0, 42.0, 0.6, 0.2)
    angular = Angular(0.1, -0.05, 0.2, 0.8, 0.6)
    theta = (torch.arange(200, dtype=torch.float64)[:, None] + 0.5) * (2 * np.pi / 200)
    n = 2000
    Z = -45.0 + (torch.arange(n, dtype=torch.float64) + 0.5) * (87.0 / n)
    area = profile.squared_radius(Z) * angular.factor(theta.cos(), theta.sin()) / 2
    integral = float(area.sum()) * (2 * np.pi / 200) * (87.0 / n) / 1000
    assert profile.volume_ml(angular.mean) == pytest.approx(integral, rel=1e-5)


def test_solved_shape_has_the_given_volumes(any_heart: BeatingHeart) -> None:
    p = any_heart.parameters
    assert any_heart.shape.edv_ml == pytest.approx(p.lv.edv_ml, rel=1e-9)
    assert any_heart.mass_g == pytest.approx(p.lv.mass_g, rel=1e-9)
    assert any_heart.volumes_ml(0.0)[1] == pytest.approx(p.rv.edv_ml, rel=1e-4)


def test_rv_quadrature_has_converged(any_heart: BeatingHeart) -> None:
    coarse = rv_quadrature(any_heart.shape).volume_ml()
    fine = rv_quadrature(any_heart.shape, 360, 240, 24).volume_ml()
    assert coarse == pytest.approx(fine, rel=3e-3)


def test_septal_excess_thickens_the_septum() -> None:
    lv = LVParameters(mass_g=150.0, septal_excess=0.2, septal_flattening=0.0)
    shape = solve_shape(HeartParameters(lv=lv, rv=RVParameters(angle_rad=0.0)))
    wall = wall_thickness_mm(shape, n_angles=4, n_levels=3)[:, 1]
    septum, lateral = float(wall[0]), float(wall[2])
    assert septum > lateral + 4.0


def test_too_little_muscle_is_an_error() -> None:
    with pytest.raises(ConfigError, match="mass_g"):
        solve_shape(HeartParameters(lv=LVParameters(edv_ml=250.0, mass_g=40.0)))


def test_impossible_rv_is_an_error() -> None:
    p = HeartParameters()
    with pytest.raises(ConfigError, match="edv_ml"):
        solve_shape(replace(p, rv=replace(p.rv, edv_ml=3000.0)))
