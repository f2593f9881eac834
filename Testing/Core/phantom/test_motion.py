"""The beating map: conserved wall volume, exact inverse, exact ejection."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from NISFCore.errors import ConfigError
from NISFCore.phantom import BeatingHeart, HeartParameters, Mode, sample_heart
from NISFCore.phantom.parameters import LVParameters, MotionParameters, RVParameters
from NISFCore.phantom.timing import activation, twist_activation

TIMES = (0.12, 0.3, 0.5, 0.9)


def points_in_box(n: int, seed: int, half_mm: float = 75.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, 3, generator=generator, dtype=torch.float64) - 0.5) * 2 * half_mm


def points_with(heart: BeatingHeart, label: int, n: int = 60) -> Tensor:
    """Material points well inside a tissue: their neighbours have the same label."""
    points = points_in_box(20_000, seed=label)
    keep = heart.labels(points, 0.0) == label
    for axis in range(3):
        for step in (-0.5, 0.5):
            shifted = points.clone()
            shifted[:, axis] += step
            keep &= heart.labels(shifted, 0.0) == label
    assert int(keep.sum()) >= n
    return points[keep][:n]


def determinants(heart: BeatingHeart, points: Tensor, time: float) -> Tensor:
    def total(p: Tensor) -> Tensor:
        return heart.spatial_from_material(p, time).sum(dim=0)

    J = torch.autograd.functional.jacobian(total, points)
    assert isinstance(J, Tensor)
    return torch.linalg.det(J.permute(1, 0, 2))


@pytest.mark.parametrize("time", TIMES)
def test_wall_volume_is_conserved(any_heart: BeatingHeart, time: float) -> None:
    det = determinants(any_heart, points_with(any_heart, 2), time)
    assert (det - 1).abs().max() < 1e-6


def test_cavity_shrinks_by_the_ejection_fraction() -> None:
    heart = BeatingHeart(HeartParameters())
    det = determinants(heart, points_with(heart, 1), heart.parameters.motion.es_fraction)
    assert torch.allclose(det, torch.full_like(det, 0.40), atol=1e-9)


@pytest.mark.parametrize("time", TIMES)
def test_inverse_round_trip(any_heart: BeatingHeart, time: float) -> None:
    points = points_in_box(4000, seed=3)
    there_and_back = any_heart.material_from_spatial(
        any_heart.spatial_from_material(points, time), time
    )
    assert (there_and_back - points).abs().max() < 1e-6
    back_and_there = any_heart.spatial_from_material(
        any_heart.material_from_spatial(points, time), time
    )
    assert (back_and_there - points).abs().max() < 1e-6


def test_identity_at_end_diastole(any_heart: BeatingHeart) -> None:
    points = points_in_box(1000, seed=4)
    assert any_heart.displacement(points, 0.0).abs().max() < 1e-9


def test_motion_is_continuous_in_space(any_heart: BeatingHeart) -> None:
    """No tears: neighbours 1 um apart stay neighbours, across every internal border."""
    points = points_in_box(20_000, seed=5)
    step = torch.tensor([6e-4, -6e-4, 5e-4], dtype=torch.float64)
    moved = any_heart.spatial_from_material(points, 0.35)
    neighbours = any_heart.spatial_from_material(points + step, 0.35)
    assert (moved - neighbours).norm(dim=1).max() < 0.05


def test_cycle_closes_smoothly() -> None:
    p = MotionParameters()
    t = torch.tensor([0.0, 1.0, 0.999999, 1e-6], dtype=torch.float64)
    for curve in (activation, twist_activation):
        assert curve(t, p).abs().max() < 1e-12
    assert torch.allclose(
        activation(torch.tensor([0.3, 1.3, -0.7]), p), activation(torch.tensor([0.3] * 3), p)
    )


def test_activation_is_one_only_at_end_systole() -> None:
    p = MotionParameters()
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)[:-1]
    a = activation(t, p)
    assert float(a.min()) >= -1e-12
    assert float(a.max()) == pytest.approx(1.0, abs=1e-12)
    assert float(t[a.argmax()]) == pytest.approx(p.es_fraction, abs=2e-3)
    diastasis = (t > p.filling_end) & (t < p.kick_start)
    assert torch.allclose(a[diastasis], torch.tensor(p.diastasis_volume, dtype=torch.float64))


def test_base_plane_moves_to_the_apex_and_apex_twists_anticlockwise(
    average_heart: BeatingHeart,
) -> None:
    shape, p = average_heart.shape, average_heart.parameters.motion
    z_base, z_apex = shape.z_base_mm, shape.z_apex_mm
    base = torch.tensor([[0.0, 0.0, z_base]], dtype=torch.float64)
    lengths = (z_base - z_apex) * p.long_axis_shortening
    u = average_heart.displacement(base, p.es_fraction)[0]
    assert float(u[2]) == pytest.approx(-lengths, abs=0.5)  # the bent axis tilts it a little
    material = average_heart.motion.form.forward(
        torch.tensor([[8.0, 0.0, z_apex + 12.0]], dtype=torch.float64)
    )
    moved = average_heart.motion.to_cylinder(
        average_heart.spatial_from_material(material, p.es_fraction)
    )
    # Seen from the apex (looking along +z), anticlockwise is a negative turn about +z.
    assert math.atan2(float(moved.s), float(moved.c)) < -0.08


def test_regional_dysfunction_moves_less() -> None:
    healthy = HeartParameters(lv=LVParameters(ef_percent=40.0), rv=RVParameters(ef_percent=38.0))
    scar = replace(
        healthy.motion, scar_depth=0.9, scar_angle_rad=math.pi, scar_height=0.6, scar_length=0.5
    )
    heart = BeatingHeart(replace(healthy, motion=scar))
    shape = heart.shape
    Z = shape.z_apex_mm + 0.6 * (shape.z_base_mm - shape.z_apex_mm)
    at = torch.tensor([[-22.0, 0.0, Z], [22.0, 0.0, Z]], dtype=torch.float64)
    u = heart.displacement(heart.motion.form.forward(at), scar.es_fraction)[:, :2].norm(dim=1)
    assert float(u[0]) < 0.5 * float(u[1])
    assert heart.volumes_ml(scar.es_fraction)[0] == pytest.approx(0.6 * 145.0)


def test_impossible_function_is_an_error() -> None:
    lv = LVParameters(ef_percent=75.0)
    motion = MotionParameters(scar_depth=0.95, scar_length=2.0)
    with pytest.raises(ConfigError, match="scar_depth"):
        BeatingHeart(HeartParameters(lv=lv, motion=motion))
    with pytest.raises(ConfigError, match="ef_percent"):
        BeatingHeart(HeartParameters(rv=RVParameters(ef_percent=95.0)))


def test_gradients_flow_to_points() -> None:
    heart = BeatingHeart(sample_heart(2, Mode.HYPERTROPHIC))
    points = points_in_box(500, seed=6).requires_grad_()
    heart.material_from_spatial(points, 0.3).square().sum().backward()
    assert points.grad is not None
    assert bool(torch.isfinite(points.grad).all())
