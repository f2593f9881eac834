"""Spaces and the maps between them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from NISFCore.geometry.spaces import (
    Affine,
    apply_affine,
    apply_direction,
    invert_affine,
    lps_from_ras,
    ras_from_lps,
)
from Testing.Core.geometry.motions import Array, rigid_motions, vectors


@st.composite
def image_affines(draw: st.DrawFn) -> Affine:
    """ras_from_ijk of an oblique image with anisotropic voxels."""
    spacing = [draw(st.floats(0.5, 12.0)) for _ in range(3)]
    return draw(rigid_motions()) @ np.diag([*spacing, 1.0])


def test_lps_and_ras_differ_by_the_signs_of_x_and_y() -> None:
    np.testing.assert_array_equal(apply_affine(ras_from_lps(), [1, 2, 3]), [-1, -2, 3])
    np.testing.assert_array_equal(apply_affine(lps_from_ras(), [1, 2, 3]), [-1, -2, 3])
    np.testing.assert_array_equal(ras_from_lps() @ lps_from_ras(), np.eye(4))


def test_the_maps_are_fresh_copies() -> None:
    ras_from_lps()[0, 0] = 7.0
    assert ras_from_lps()[0, 0] == -1.0


@given(image_affines(), vectors(200.0))
def test_points_round_trip(ras_from_ijk: Affine, ijk: Array) -> None:
    back = apply_affine(invert_affine(ras_from_ijk), apply_affine(ras_from_ijk, ijk))
    np.testing.assert_allclose(back, ijk, atol=1e-8)


@given(image_affines())
def test_the_inverse_has_an_exact_bottom_row(ras_from_ijk: Affine) -> None:
    np.testing.assert_array_equal(invert_affine(ras_from_ijk)[3], [0, 0, 0, 1])
    np.testing.assert_allclose(invert_affine(ras_from_ijk) @ ras_from_ijk, np.eye(4), atol=1e-8)


@given(image_affines(), vectors(100.0), vectors(100.0))
def test_directions_are_differences_of_points(A: Affine, p: Array, d: Array) -> None:
    expected = apply_affine(A, p + d) - apply_affine(A, p)
    np.testing.assert_allclose(apply_direction(A, d), expected, atol=1e-8)


def test_leading_axes_are_kept() -> None:
    points = np.arange(24.0).reshape(2, 4, 3)
    A = np.diag([2.0, 3.0, 4.0, 1.0])
    A[:3, 3] = [1, 2, 3]
    moved = apply_affine(A, points)
    assert moved.shape == (2, 4, 3)
    np.testing.assert_array_equal(moved[1, 2], points[1, 2] * [2, 3, 4] + [1, 2, 3])


def test_plain_lists_and_integers_are_accepted() -> None:
    assert apply_affine(np.eye(4, dtype=int), [1, 2, 3]).dtype == np.float64
