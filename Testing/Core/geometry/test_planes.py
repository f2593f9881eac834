"""Imaging planes and their intersections, against closed forms."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from NISFCore.geometry.planes import (
    Segment,
    centre_ras,
    corners_ras,
    intersection_line,
    intersection_segment,
    normal_ras,
    pixel_centres_ras,
)
from NISFCore.geometry.rigid import rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, apply_affine, invert_affine
from Testing.Core.geometry.motions import (
    plane_ras_from_ijk,
    random_rotation,
    rigid_motions,
)

SHAPE = (21, 41)  # rows, cols
IDENTITY = np.eye(3)
ABOUT_X = rotation_from_rotvec([np.pi / 2, 0, 0])  # i = x, j = z, normal = -y


def plane(rotation: np.ndarray, centre: tuple[float, float, float]) -> Affine:
    return plane_ras_from_ijk(rotation, centre, SHAPE, (2.0, 1.0))


@pytest.mark.parametrize("seed", range(3))
def test_centre_normal_and_corners_of_an_oblique_plane(seed: int) -> None:
    R = random_rotation(np.random.default_rng(seed))
    A = plane(R, (10, -20, 30))
    np.testing.assert_allclose(centre_ras(A, SHAPE), [10, -20, 30], atol=1e-12)
    np.testing.assert_allclose(normal_ras(A), R[:, 2], atol=1e-12)
    corners = corners_ras(A, SHAPE)
    np.testing.assert_allclose(corners.mean(axis=0), [10, -20, 30], atol=1e-12)
    sides = np.linalg.norm(np.diff(corners[[0, 1, 2, 3, 0]], axis=0), axis=1)
    # the pixel AREA: 41 columns of 2 mm, 21 rows of 1 mm
    np.testing.assert_allclose(sides, [82, 21, 82, 21], atol=1e-9)


def test_normal_is_a_unit_vector_whatever_the_third_column() -> None:
    A = plane(IDENTITY, (0, 0, 0))
    A[:3, 2] = 0
    np.testing.assert_allclose(normal_ras(A), [0, 0, 1])


def test_pixel_centres_are_indexed_row_column() -> None:
    A = plane(random_rotation(np.random.default_rng(4)), (1, 2, 3))
    points = pixel_centres_ras(A, SHAPE)
    assert points.shape == (*SHAPE, 3)
    row, column = 7, 30
    np.testing.assert_allclose(points[row, column], apply_affine(A, [column, row, 0]))
    np.testing.assert_allclose(points.mean(axis=(0, 1)), centre_ras(A, SHAPE), atol=1e-9)


def test_segment_points_and_length() -> None:
    segment = Segment(np.array([0.0, 0, 0]), np.array([3.0, 4.0, 0]))
    assert segment.length_mm == 5.0
    np.testing.assert_allclose(segment.points(3), [[0.0, 0, 0], [1.5, 2, 0], [3.0, 4, 0]])


def test_perpendicular_planes_meet_in_the_x_axis() -> None:
    a, b = plane(IDENTITY, (0, 0, 0)), plane(ABOUT_X, (0, 0, 0))
    line = intersection_line(a, b)
    assert line is not None
    point, direction = line
    np.testing.assert_allclose(np.abs(direction), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(point[1:], [0, 0], atol=1e-12)


def test_segment_is_clipped_to_both_frames() -> None:
    # a covers x in [-40, 40]; b is 6 mm further along x and covers [-34, 46]
    a, b = plane(IDENTITY, (0, 0, 0)), plane(ABOUT_X, (6, 0, 0))
    segment = intersection_segment(a, SHAPE, b, SHAPE)
    assert segment is not None
    ends = np.sort([segment.start_ras[0], segment.end_ras[0]])
    np.testing.assert_allclose(ends, [-34, 40], atol=1e-9)
    assert segment.length_mm == pytest.approx(74)


@pytest.mark.parametrize("angle_deg", [15.0, 30.0, 75.0])
def test_oblique_intersection_against_closed_form(angle_deg: float) -> None:
    """A plane through the x axis, tilted: the segment is the overlap along x, at y = z = 0."""
    tilted = rotation_from_rotvec([np.deg2rad(angle_deg), 0, 0])
    segment = intersection_segment(
        plane(IDENTITY, (0, 0, 0)), SHAPE, plane(tilted, (-10, 0, 0)), SHAPE
    )
    assert segment is not None
    np.testing.assert_allclose(
        np.sort([segment.start_ras[0], segment.end_ras[0]]), [-40, 30], atol=1e-9
    )
    np.testing.assert_allclose(segment.start_ras[1:], 0, atol=1e-9)


def test_diagonal_intersection_against_closed_form() -> None:
    """A plane whose trace runs at 45 degrees leaves a square frame at its corners."""
    shape = (21, 21)
    a = plane_ras_from_ijk(IDENTITY, (0, 0, 0), shape, (1.0, 1.0))
    diagonal = rotation_from_rotvec([0, 0, np.pi / 4]) @ ABOUT_X
    b = plane_ras_from_ijk(diagonal, (0, 0, 0), (99, 99), (1.0, 1.0))
    segment = intersection_segment(a, shape, b, (99, 99))
    assert segment is not None
    assert segment.length_mm == pytest.approx(20 * np.sqrt(2))


def test_parallel_planes_do_not_meet() -> None:
    a, b = plane(IDENTITY, (0, 0, 0)), plane(IDENTITY, (0, 0, 10))
    assert intersection_line(a, b) is None
    assert intersection_segment(a, SHAPE, b, SHAPE) is None
    assert intersection_segment(a, SHAPE, a, SHAPE) is None


@pytest.mark.parametrize(("angle_deg", "meets"), [(9.9, False), (10.1, True)])
def test_the_smallest_angle(angle_deg: float, meets: bool) -> None:
    b = plane(rotation_from_rotvec([0, np.deg2rad(angle_deg), 0]), (0, 0, 0))
    assert (intersection_line(plane(IDENTITY, (0, 0, 0)), b) is not None) is meets


@pytest.mark.parametrize("shift", [(100, 0, 0), (0, 30, 0), (0, 0, 30)])
def test_frames_that_do_not_reach_each_other(shift: tuple[float, float, float]) -> None:
    a, b = plane(IDENTITY, (0, 0, 0)), plane(ABOUT_X, shift)
    assert intersection_line(a, b) is not None
    assert intersection_segment(a, SHAPE, b, SHAPE) is None


@given(rigid_motions(), rigid_motions(), st.integers(0, 100))
def test_intersections_lie_in_both_frames(a: Affine, b: Affine, seed: int) -> None:
    centre = np.random.default_rng(seed).normal(scale=5.0, size=3)
    a, b = plane(a[:3, :3], (0, 0, 0)), plane(b[:3, :3], tuple(centre))
    segment = intersection_segment(a, SHAPE, b, SHAPE)
    assume(segment is not None)
    assert segment is not None
    for ras_from_ijk in (a, b):
        ijk = apply_affine(invert_affine(ras_from_ijk), segment.points(5))
        np.testing.assert_allclose(ijk[:, 2], 0, atol=1e-8)
        assert np.all(ijk[:, :2] >= -1e-8)
        assert np.all(ijk[:, 0] <= SHAPE[1] - 1 + 1e-8)
        assert np.all(ijk[:, 1] <= SHAPE[0] - 1 + 1e-8)


@given(rigid_motions(), rigid_motions())
def test_intersection_does_not_depend_on_the_order(a: Affine, b: Affine) -> None:
    a, b = plane(a[:3, :3], (0, 0, 0)), plane(b[:3, :3], (3, 4, 5))
    forward = intersection_segment(a, SHAPE, b, SHAPE)
    backward = intersection_segment(b, SHAPE, a, SHAPE)
    assert (forward is None) == (backward is None)
    if forward is not None and backward is not None:
        assert forward.length_mm == pytest.approx(backward.length_mm, abs=1e-8)


@given(rigid_motions(), rigid_motions(), rigid_motions())
def test_intersection_moves_with_the_planes(a: Affine, b: Affine, motion: Affine) -> None:
    a, b = plane(a[:3, :3], (0, 0, 0)), plane(b[:3, :3], (3, 4, 5))
    still = intersection_segment(a, SHAPE, b, SHAPE)
    moved = intersection_segment(motion @ a, SHAPE, motion @ b, SHAPE)
    if still is None or moved is None or still.length_mm < 1e-3:
        assert (still is None or still.length_mm < 1e-3) and (
            moved is None or moved.length_mm < 1e-2
        )
        return
    ends = apply_affine(motion, [still.start_ras, still.end_ras])
    np.testing.assert_allclose(ends, [moved.start_ras, moved.end_ras], atol=1e-6)
