"""SE(3): group axioms, round trips and closed forms, near zero and near half a turn."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from NISFCore.geometry.rigid import (
    about_centre,
    best_rigid,
    composed_rotvec,
    invert_rigid,
    is_rigid,
    rigid,
    rigid_about,
    rigid_fraction,
    rotation_angle_deg,
    rotation_from_rotvec,
    rotvec_from_rotation,
)
from NISFCore.geometry.spaces import Affine, apply_affine, invert_affine
from Testing.Core.geometry.motions import (
    ANGLES_RAD,
    Array,
    angles_rad,
    random_rotation,
    rigid_motions,
    rotvecs,
    unit_vectors,
    vectors,
)

ATOL = 1e-9  # of coordinates of up to about 1000 mm in float64


def assert_is_rigid(A: Affine) -> None:
    np.testing.assert_allclose(A[:3, :3].T @ A[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(A[:3, :3]) > 0
    np.testing.assert_array_equal(A[3], [0, 0, 0, 1])


@given(rigid_motions(), rigid_motions())
def test_products_and_inverses_stay_in_the_group(a: Affine, b: Affine) -> None:
    assert_is_rigid(a @ b)
    assert_is_rigid(invert_rigid(a))


@given(rigid_motions())
def test_what_is_rigid(a: Affine) -> None:
    assert is_rigid(a)
    assert not is_rigid(a @ np.diag([1.0, 1.0, -1.0, 1.0]))
    assert not is_rigid(a @ np.diag([1.001, 1.0, 1.0, 1.0]))
    assert not is_rigid(a.T + np.eye(4))
    assert not is_rigid(a[:3])
    assert not is_rigid(np.where(np.eye(4) > 0, np.nan, a))


@given(rigid_motions(), rigid_motions(), rigid_motions())
def test_associative(a: Affine, b: Affine, c: Affine) -> None:
    np.testing.assert_allclose((a @ b) @ c, a @ (b @ c), atol=ATOL)


@given(rigid_motions())
def test_inverse(a: Affine) -> None:
    np.testing.assert_allclose(a @ invert_rigid(a), np.eye(4), atol=ATOL)
    np.testing.assert_allclose(invert_rigid(a) @ a, np.eye(4), atol=ATOL)
    np.testing.assert_allclose(invert_rigid(a), invert_affine(a), atol=ATOL)


@given(rigid_motions(), rigid_motions(), vectors(200.0))
def test_action_is_that_of_the_product(a: Affine, b: Affine, p: Array) -> None:
    np.testing.assert_allclose(
        apply_affine(a, apply_affine(b, p)), apply_affine(a @ b, p), atol=ATOL
    )


@given(rotvecs())
def test_rotvec_round_trip_through_the_rotation(rotvec: Array) -> None:
    R = rotation_from_rotvec(rotvec)
    back = rotvec_from_rotation(R)
    assert np.linalg.norm(back) <= np.pi + 1e-12
    # at half a turn v and -v are the same rotation: compare the rotations
    np.testing.assert_allclose(rotation_from_rotvec(back), R, atol=1e-12)


@given(unit_vectors, st.floats(0.0, np.pi - 1e-4))
def test_rotvec_is_unique_below_half_a_turn(axis: Array, angle: float) -> None:
    back = rotvec_from_rotation(rotation_from_rotvec(angle * axis))
    np.testing.assert_allclose(back, angle * axis, atol=1e-9)


@given(unit_vectors, angles_rad, vectors(100.0))
def test_rotation_against_rodrigues_formula(axis: Array, angle: float, p: Array) -> None:
    # v' = v cos a + (k x v) sin a + k (k.v) (1 - cos a)
    expected = (
        p * np.cos(angle)
        + np.cross(axis, p) * np.sin(angle)
        + axis * (axis @ p) * (1 - np.cos(angle))
    )
    np.testing.assert_allclose(rotation_from_rotvec(angle * axis) @ p, expected, atol=ATOL)


@pytest.mark.parametrize("angle", ANGLES_RAD)
def test_rotation_angle_in_degrees(angle: float) -> None:
    R = rotation_from_rotvec(angle * np.array([2.0, -1.0, 2.0]) / 3.0)
    # acos-free: exact near zero too
    assert rotation_angle_deg(R) == pytest.approx(np.rad2deg(angle), abs=1e-7)


def test_a_quarter_turn_about_z_turns_x_into_y() -> None:
    R = rotation_from_rotvec([0, 0, np.pi / 2])
    np.testing.assert_allclose(R @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@given(vectors(300.0), rotvecs(), vectors(50.0))
def test_rigid_about_moves_its_centre_by_the_translation(
    centre: Array, rotvec: Array, shift: Array
) -> None:
    moved = apply_affine(rigid_about(centre, rotvec, shift), centre)
    np.testing.assert_allclose(moved - centre, shift, atol=ATOL)


@given(vectors(300.0), rotvecs(), vectors(50.0))
def test_about_centre_inverts_rigid_about(centre: Array, rotvec: Array, shift: Array) -> None:
    motion = rigid_about(centre, rotvec, shift)
    back_rotvec, back_shift = about_centre(motion, centre)
    np.testing.assert_allclose(back_shift, shift, atol=ATOL)
    np.testing.assert_allclose(rigid_about(centre, back_rotvec, back_shift), motion, atol=ATOL)


@given(rigid_motions(), st.integers(3, 12), st.integers(0, 1000))
def test_best_rigid_finds_a_known_motion(motion: Affine, n: int, seed: int) -> None:
    source = np.random.default_rng(seed).normal(scale=40.0, size=(n, 3))
    found = best_rigid(source, apply_affine(motion, source))
    assert_is_rigid(found)
    np.testing.assert_allclose(apply_affine(found, source), apply_affine(motion, source), atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_best_rigid_of_points_in_a_plane_is_no_reflection(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(scale=40.0, size=(8, 3)) * [1, 1, 0]
    motion = rigid(random_rotation(rng), rng.normal(scale=30.0, size=3))
    found = best_rigid(source, apply_affine(motion, source))
    assert_is_rigid(found)
    np.testing.assert_allclose(found, motion, atol=1e-8)


def test_best_rigid_of_mirrored_points_stays_a_rotation() -> None:
    source = np.random.default_rng(0).normal(scale=40.0, size=(8, 3))
    assert_is_rigid(best_rigid(source, source * [1, 1, -1]))


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_best_rigid_of_degenerate_points_still_maps_them(scale: float) -> None:
    """On one line, or all in one place, the rotation is not unique, the image of the points is."""
    source = np.array([5.0, 0, 0]) + scale * np.outer(np.arange(4.0), [1, 2, 3])
    motion = rigid(rotation_from_rotvec([0.3, -0.2, 0.1]), [1, 2, 3])
    found = best_rigid(source, apply_affine(motion, source))
    assert_is_rigid(found)
    np.testing.assert_allclose(apply_affine(found, source), apply_affine(motion, source), atol=1e-9)


def test_best_rigid_ignores_points_without_weight() -> None:
    rng = np.random.default_rng(1)
    source = rng.normal(scale=40.0, size=(10, 3))
    motion = rigid(random_rotation(rng), [4, -2, 9])
    target = apply_affine(motion, source)
    target[7:] += 100.0
    weights = np.array([1.0] * 7 + [0.0] * 3)
    np.testing.assert_allclose(best_rigid(source, target, weights), motion, atol=1e-9)


def test_best_rigid_weights_count_like_repeated_points() -> None:
    rng = np.random.default_rng(2)
    source = rng.normal(scale=40.0, size=(6, 3))
    target = source + rng.normal(scale=3.0, size=(6, 3))
    counts = np.array([1, 2, 3, 1, 1, 4])
    repeated = best_rigid(np.repeat(source, counts, axis=0), np.repeat(target, counts, axis=0))
    np.testing.assert_allclose(best_rigid(source, target, counts), repeated, atol=1e-9)


def test_best_rigid_is_a_minimum() -> None:
    rng = np.random.default_rng(3)
    source = rng.normal(scale=40.0, size=(9, 3))
    target = apply_affine(rigid(random_rotation(rng), [3, 1, 2]), source)
    target += rng.normal(scale=2.0, size=target.shape)
    weights = rng.uniform(0.2, 2.0, size=9)

    def cost(motion: Affine) -> float:
        squares = ((apply_affine(motion, source) - target) ** 2).sum(axis=1)
        return float(weights @ squares)

    best = best_rigid(source, target, weights)
    for _ in range(50):
        nudge = rigid(random_rotation(rng, 1.0), rng.normal(scale=0.3, size=3))
        assert cost(nudge @ best) > cost(best)


@given(rigid_motions())
def test_a_rigid_fraction_begins_at_rest_and_ends_at_the_motion(motion: Affine) -> None:
    np.testing.assert_allclose(rigid_fraction(motion, 0.0), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(rigid_fraction(motion, 1.0), motion, atol=1e-6)


@given(rigid_motions(), st.floats(0, 1), st.floats(0, 1))
def test_rigid_fractions_add_up(motion: Affine, a: float, b: float) -> None:
    both = rigid_fraction(motion, a) @ rigid_fraction(motion, b)
    np.testing.assert_allclose(rigid_fraction(motion, a + b), both, atol=1e-6)


@given(rigid_motions(), rigid_motions(), st.floats(0, 1))
def test_a_rigid_fraction_does_not_depend_on_the_space(
    motion: Affine, other: Affine, fraction: float
) -> None:
    assume(np.rad2deg(np.linalg.norm(rotvec_from_rotation(motion[:3, :3]))) < 179)
    elsewhere = other @ motion @ invert_rigid(other)
    expected = other @ rigid_fraction(motion, fraction) @ invert_rigid(other)
    np.testing.assert_allclose(rigid_fraction(elsewhere, fraction), expected, atol=1e-5)


def test_half_of_a_quarter_turn_about_a_far_axis() -> None:
    """An eighth of a turn about the same axis, with half of the advance along it."""
    axis_point = np.array([100.0, 0.0, 0.0])
    whole = rigid_about(axis_point, [0, 0, np.pi / 2], [0, 0, 8.0])
    half = rigid_about(axis_point, [0, 0, np.pi / 4], [0, 0, 4.0])
    np.testing.assert_allclose(rigid_fraction(whole, 0.5), half, atol=1e-9)


def test_a_rigid_fraction_of_something_else() -> None:
    with pytest.raises(ValueError, match="expected a rigid"):
        rigid_fraction(np.diag([2.0, 1.0, 1.0, 1.0]), 0.5)


@given(rotvecs(), rotvecs())
def test_composed_rotation_is_the_product_of_matrices(second: Array, first: Array) -> None:
    composed = rotation_from_rotvec(composed_rotvec(second, first))
    product = rotation_from_rotvec(second) @ rotation_from_rotvec(first)
    np.testing.assert_allclose(composed, product, atol=1e-12)


def test_rotations_are_composed_row_by_row() -> None:
    second, first = np.array([[0.1, 0.0, 0.2], [0.0, 0.0, 0.0]]), np.array([[0.3, 0.1, 0.0]] * 2)
    composed = composed_rotvec(second, first)
    np.testing.assert_allclose(composed[1], first[1], atol=1e-12)
    np.testing.assert_allclose(composed[0], composed_rotvec(second[0], first[0]), atol=1e-12)
