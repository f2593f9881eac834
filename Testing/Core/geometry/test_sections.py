"""Sections of meshes against closed forms, on oblique planes."""

import numpy as np
import pytest

from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.sections import section_mask
from NISFCore.geometry.spaces import apply_affine, invert_affine
from Testing.Core.generators.surface_meshes import ellipsoid

AXES_MM = np.array([24.0, 20.0, 38.0])


@pytest.mark.parametrize("seed", range(6))
def test_an_ellipsoid_on_oblique_planes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, triangles = ellipsoid(AXES_MM, n=60)
    pose = rigid(rotation_from_rotvec(rng.normal(size=3)), rng.normal(size=3) * 20)
    plane = rigid(rotation_from_rotvec(rng.normal(size=3)), np.zeros(3))
    plane[:3, :3] = plane[:3, :3] * [1.1, 0.9, 6.0]
    shape = (150, 120)
    middle = plane[:3, :3] @ [(shape[1] - 1) / 2, (shape[0] - 1) / 2, 0]
    plane[:3, 3] = pose[:3, 3] + rng.normal(size=3) * 5 - middle
    mask = section_mask(apply_affine(pose, points), triangles, plane, shape)
    own = apply_affine(invert_affine(pose), pixel_centres_ras(plane, shape)) / AXES_MM
    distance = np.linalg.norm(own, axis=-1)
    assert mask[distance < 0.99].all()
    assert not mask[distance > 1.01].any()
    assert mask.any()


def test_a_plane_beside_the_mesh_is_empty_and_one_through_its_corners_is_not() -> None:
    points, triangles = ellipsoid(AXES_MM, n=10)
    plane = np.diag([1.0, 1.0, 5.0, 1.0])
    plane[:3, 3] = [-30.0, -30.0, 60.0]
    assert not section_mask(points, triangles, plane, (61, 61)).any()
    plane[2, 3] = 0.0  # a ring of vertices lies exactly here, and pixel rows run through vertices
    mask = section_mask(points, triangles, plane, (61, 61))
    assert mask[30, 30] and not mask[:, 0].any() and not mask[:, -1].any()
    area = np.pi * AXES_MM[0] * AXES_MM[1]
    assert mask.sum() == pytest.approx(area, rel=0.03)


def test_only_the_part_on_the_image_is_seen() -> None:
    points, triangles = ellipsoid(AXES_MM, n=30)
    plane = np.diag([1.0, 1.0, 5.0, 1.0])
    whole, left = np.array(plane), np.array(plane)
    whole[:3, 3], left[:3, 3] = [-30.0, -30.0, 0.3], [10.0, -30.0, 0.3]
    full = section_mask(points, triangles, whole, (61, 61))
    part = section_mask(points, triangles, left, (61, 21))
    np.testing.assert_array_equal(part, full[:, 40:])
