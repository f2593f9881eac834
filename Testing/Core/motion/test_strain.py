"""Strain in closed form: rotation none, a stretch exactly, directions and segments."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from NISFCore.geometry.rigid import rotation_from_rotvec
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LONGITUDINAL, RADIAL
from NISFCore.motion.config import FieldConfig
from NISFCore.motion.field import DisplacementField, Placement
from NISFCore.motion.regularisers import determinant, log_determinant, volume_penalty
from NISFCore.motion.strain import (
    deformation_gradient,
    directional_strain,
    displacement_ras,
    green_lagrange,
    rotation_rad,
    segment_means,
    strain_curves,
)
from Testing.Core.motion.movies import lv_frame, small_field

Array = npt.NDArray[np.float64]


def ring_points(height_mm: float = 0.0, n: int = 48, radius_mm: float = 25.0) -> Array:
    angle = 2 * np.pi * (np.arange(n) + 0.5) / n
    z = np.full(n, height_mm)
    return np.stack([radius_mm * np.cos(angle), radius_mm * np.sin(angle), z], axis=1)


def test_rotation_is_no_strain() -> None:
    R = rotation_from_rotvec([0.4, -1.0, 0.3])
    assert np.abs(green_lagrange(R)).max() < 1e-15


def test_a_stretch_has_its_strain_and_keeps_it_when_turned() -> None:
    stretch = 0.8
    F = np.diag([1.0, 1.0, stretch])
    E = np.diag([0.0, 0.0, (stretch**2 - 1) / 2])
    assert np.allclose(green_lagrange(F), E)
    assert np.allclose(green_lagrange(rotation_from_rotvec([0.2, 0.5, -0.1]) @ F), E)


def test_directions_are_right_handed_and_point_where_they_say() -> None:
    points = ring_points(12.0)
    D = lv_frame().directions(points)
    assert np.allclose(D @ np.swapaxes(D, 1, 2), np.eye(3))
    assert np.allclose(np.linalg.det(D), 1.0)
    outward = points * [1, 1, 0]
    assert np.allclose(D[:, RADIAL], outward / np.linalg.norm(outward, axis=1, keepdims=True))
    assert np.allclose(D[:, LONGITUDINAL], [0, 0, 1])


def test_each_strain_is_told_in_its_own_direction() -> None:
    points = ring_points()
    D = lv_frame().directions(points)
    values = (0.5, -0.2, -0.15)  # radial, circumferential, longitudinal
    stretch = np.sqrt(1 + 2 * np.array(values))
    F = np.einsum("nda,d,ndb->nab", D, stretch, D)
    assert np.allclose(directional_strain(F, D), values)


def test_segments_are_those_of_the_aha_model() -> None:
    frame = lv_frame()

    def at(angle_deg: float, height_mm: float) -> int:
        a = math.radians(angle_deg)
        return int(frame.segments(np.array([[math.cos(a), math.sin(a), height_mm]]))[0])

    # from the septum's middle towards anterior: anteroseptal, anterior, anterolateral, ...
    assert [at(d, 35.0) for d in (30, 90, 150, 210, 270, 330)] == [2, 1, 6, 5, 4, 3]
    assert [at(d, 0.0) for d in (30, 90, 150, 210, 270, 330)] == [8, 7, 12, 11, 10, 9]
    assert [at(d, -35.0) for d in (0, 90, 180, 270)] == [14, 13, 16, 15]
    assert at(0, -45.0) == 17


def test_segments_agree_with_the_phantom() -> None:
    from NISFCore.phantom import BeatingHeart, HeartParameters
    from NISFCore.phantom.segments import aha_segments

    heart = BeatingHeart(HeartParameters())
    shape, angle = heart.shape, heart.parameters.rv.angle_rad
    from NISFCore.motion.cardiac_frame import LVFrame

    frame = LVFrame(
        np.zeros(3),
        np.array([0.0, 0.0, 1.0]),
        np.array([math.cos(angle), math.sin(angle), 0.0]),
        shape.endo.z_apex_mm,
        shape.z_base_mm,
    )
    points = np.concatenate([ring_points(z) for z in np.linspace(shape.z_apex_mm, 30, 9)])
    material = heart.motion.to_cylinder(torch.tensor(points))
    on_axis = np.stack([material.x.numpy(), material.y.numpy(), material.Z.numpy()], axis=1)
    same = frame.segments(on_axis) == aha_segments(material, shape)
    assert same.mean() > 0.999


def test_segment_means_are_nan_where_nothing_is() -> None:
    values = np.arange(6.0).reshape(1, 2, 3)
    means = segment_means(values, np.array([7, 7], dtype=np.uint8))
    assert np.allclose(means[0, 6], [1.5, 2.5, 3.5])
    assert np.isnan(np.delete(means[0], 6, axis=0)).all()


def test_the_gradient_in_ras_is_that_of_the_displacement_in_ras() -> None:
    field = small_field().float()
    points, e = field.placement.ras_from_local(np.array([[5.0, 9.0], [-12.0, 3.0]])), 0.5
    F = deformation_gradient(field, points, [0.4])[0]
    for axis in range(3):
        step = e * np.eye(3)[axis]
        difference = displacement_ras(field, points + step, [0.4]) - displacement_ras(
            field, points - step, [0.4]
        )
        assert np.allclose(F[..., axis] - np.eye(3)[axis], difference[0] / (2 * e), atol=2e-4)


def test_rotation_is_measured_and_shifts_are_not() -> None:
    points = ring_points()
    R = rotation_from_rotvec([0.0, 0.0, 0.2])
    moved = (points @ R.T - points + [4.0, -2.0, 1.0])[None]
    assert rotation_rad(lv_frame(), points, moved) == pytest.approx([0.2])


def twisting_field(rate_rad_per_mm: float) -> DisplacementField:
    """u = rate z (e_z x X): fitted into a field's features by least squares."""
    placement = Placement(np.zeros(3), np.eye(3), 25.0)
    config = FieldConfig(3, (0.0, 1.0), n_features=300, omega=1.0)
    field = DisplacementField(config, placement).double()
    generator = torch.Generator().manual_seed(0)
    X = (torch.rand(3000, 3, generator=generator, dtype=torch.float64) - 0.5) * 90
    u = rate_rad_per_mm * X[:, 2:] * torch.stack([-X[:, 1], X[:, 0], 0 * X[:, 0]], dim=1)
    h = field.features((X / 25.0, None))[0]
    with torch.no_grad():
        field.coefficients.copy_(torch.linalg.lstsq(h, u / 25.0).solution)
    return field.float()


def test_torsion_is_the_base_against_the_apex() -> None:
    points = np.concatenate([ring_points(z) for z in np.linspace(-30, 30, 13)])
    curves = strain_curves(twisting_field(0.002), lv_frame(), points, [0.0, 1.0], True)
    top, bottom = points[:, 2] >= 10, points[:, 2] <= -10
    # small angles: the mean turn of each third
    expected = np.rad2deg(0.002 * (points[top, 2].mean() - points[bottom, 2].mean()))
    assert curves.torsion_deg[0] == pytest.approx(0.0, abs=1e-6)
    assert curves.torsion_deg[1] == pytest.approx(expected, rel=0.02)


def test_what_was_not_seen_is_nan() -> None:
    curves = strain_curves(twisting_field(0.002), lv_frame(), ring_points(), [0.0, 1.0], False)
    assert np.isnan(curves.whole[:, LONGITUDINAL]).all() and np.isnan(curves.torsion_deg).all()
    assert np.isnan(curves.peak(LONGITUDINAL))
    assert np.isfinite(curves.whole[:, CIRCUMFERENTIAL]).all()


@pytest.mark.parametrize("n", [2, 3])
def test_determinants_are_those_of_linear_algebra(n: int) -> None:
    generator = torch.Generator().manual_seed(2)
    F = torch.eye(n) + 0.3 * torch.randn(50, n, n, generator=generator)
    assert torch.allclose(determinant(F), torch.linalg.det(F), atol=1e-5)
    safe = F[torch.linalg.det(F) > 0.1]
    assert torch.allclose(log_determinant(safe), torch.linalg.slogdet(safe)[1], atol=1e-4)


def test_the_penalty_knows_the_plane_from_space() -> None:
    plane = torch.diag_embed(torch.tensor([[[1.3, 1.0], [1.0, 1.3]]]))  # both of determinant 1.3
    assert volume_penalty(plane) < 1e-12
    space = torch.diag_embed(torch.tensor([[[1.25, 1.0, 0.8], [1.3, 1.0, 1.0]]]))
    assert volume_penalty(space) == pytest.approx(math.log(1.3) ** 2 / 2, rel=1e-5)


def test_a_folded_field_is_pushed_back() -> None:
    F = torch.diag_embed(torch.tensor([[[1.0, -0.2, 1.0]]])).requires_grad_()
    volume_penalty(F).backward()
    assert F.grad is not None and torch.isfinite(F.grad).all()
    assert F.grad[0, 0, 1, 1] < 0  # a larger determinant costs less
