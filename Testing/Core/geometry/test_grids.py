"""Regular grids: spacing, volume, order of axes and coverage of a box."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from NISFCore.geometry.field import FieldSamples, HeartBox
from NISFCore.geometry.grids import Grid, box_grid
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, apply_affine, invert_affine
from Testing.Core.geometry.motions import Array, rigid_motions, vectors

SHAPE = (4, 5, 6)


def oblique_grid() -> Grid:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    A = np.eye(4)
    A[:3, :3] = rotation * [1.5, 2.0, 8.0]
    A[:3, 3] = [10, -20, 30]
    return Grid(A, SHAPE)


def test_spacing_volume_and_count() -> None:
    grid = oblique_grid()
    assert grid.spacing_mm == pytest.approx((1.5, 2.0, 8.0))
    assert grid.voxel_volume_ml == pytest.approx(1.5 * 2.0 * 8.0 / 1000)
    assert grid.n_voxels == 4 * 5 * 6


def test_points_are_indexed_k_j_i() -> None:
    grid = oblique_grid()
    points = grid.points_ras()
    assert points.shape == (*SHAPE, 3)
    for k, j, i in [(0, 0, 0), (3, 4, 5), (1, 2, 3)]:
        np.testing.assert_allclose(points[k, j, i], apply_affine(grid.ras_from_ijk, [i, j, k]))
    np.testing.assert_array_equal(grid.slab_points_ras(2), points[2])


def test_an_empty_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Grid\.shape: got \(0, 5, 6\)"):
        Grid(np.eye(4), (0, 5, 6))


@given(rigid_motions(), vectors(80.0), vectors(60.0), st.floats(0.7, 9.0))
def test_box_grid_covers_the_box_tightly(
    ras_from_box: Affine, low: Array, size: Array, spacing_mm: float
) -> None:
    high = low + np.abs(size)
    grid = box_grid(ras_from_box, low, high, spacing_mm)
    assert grid.spacing_mm == pytest.approx((spacing_mm,) * 3)
    n_k, n_j, n_i = grid.shape
    box_from_ijk = invert_affine(ras_from_box) @ grid.ras_from_ijk
    first = apply_affine(box_from_ijk, [0, 0, 0])
    last = apply_affine(box_from_ijk, [n_i - 1, n_j - 1, n_k - 1])
    tolerance = 1e-6
    assert np.all(first <= low + tolerance)
    assert np.all(last >= high - tolerance)
    assert np.all((last - first) - (high - low) < spacing_mm + tolerance)
    np.testing.assert_allclose((first + last) / 2, (low + high) / 2, atol=tolerance)


def test_a_box_of_whole_spacings_gets_no_extra_voxel() -> None:
    # 0.3 / 0.1 is 2.9999999999999996 or 3.0000000000000004, depending on how it is computed
    assert box_grid(np.eye(4), [0, 0, 0], [0.3, 0.6, 0.9], 0.1).shape == (10, 7, 4)


def test_a_box_without_size_is_one_voxel() -> None:
    grid = box_grid(np.eye(4), [1, 2, 3], [1, 2, 3], 2.0)
    assert grid.shape == (1, 1, 1)
    np.testing.assert_allclose(grid.points_ras()[0, 0, 0], [1, 2, 3])


@pytest.mark.parametrize("spacing_mm", [0.0, -1.0, float("nan")])
def test_spacing_must_be_positive(spacing_mm: float) -> None:
    with pytest.raises(ValueError, match="spacing_mm: got"):
        box_grid(np.eye(4), [0, 0, 0], [1, 1, 1], spacing_mm)


def test_a_ball_counted_on_the_grid_has_its_volume() -> None:
    """Voxel volume, spacing and coverage together: 4/3 pi r^3, turned and off centre."""
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    ras_from_box = np.eye(4)
    ras_from_box[:3, :3] = rotation
    ras_from_box[:3, 3] = [40, -10, 5]
    radius = 25.0
    box = HeartBox(ras_from_box, np.full(3, -radius), np.full(3, radius))
    grid = box.grid(1.0)
    inside = np.linalg.norm(grid.points_ras() - [40, -10, 5], axis=-1) <= radius
    expected_ml = 4 / 3 * np.pi * radius**3 / 1000
    assert inside.sum() * grid.voxel_volume_ml == pytest.approx(expected_ml, rel=5e-3)


def test_labels_of_samples_are_the_most_probable() -> None:
    p = np.array([[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1]], dtype=np.float32)
    samples = FieldSamples(np.zeros(2, dtype=np.float32), p)
    assert samples.labels.tolist() == [2, 0]
    assert samples.labels.dtype == np.uint8


def test_a_slab_is_the_same_points() -> None:
    grid = box_grid(rigid(rotation_from_rotvec([0.3, -0.5, 0.2]), [4, 5, 6]), [0] * 3, [20] * 3, 3)
    np.testing.assert_allclose(grid.slab(slice(2, 5)).points_ras(), grid.points_ras()[2:5])
