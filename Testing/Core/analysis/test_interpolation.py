"""Interpolation matrices against closed forms."""

import numpy as np
import pytest

from NISFCore.analysis.interpolation import (
    GridMap,
    axis_matrix,
    cell_extremes,
    corner_extremes,
    interpolated,
    lagrange_weights,
)
from NISFCore.geometry.grids import Grid, box_grid
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec

FINE, COARSE = (box_grid(np.eye(4), np.zeros(3), [12.0, 10.0, 8.0], mm) for mm in (0.5, 2.0))


def cubic(points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(points, -1, 0)
    return (0.01 * x**3 - 0.2 * x * y**2 + z**3 * 0.03 + x * y * z - 4).astype(np.float32)


def test_cubic_polynomials_are_exact() -> None:
    between = GridMap.between(COARSE, FINE)
    values = interpolated(cubic(COARSE.points_ras()), between.matrices())
    assert values.shape == FINE.shape
    np.testing.assert_allclose(values, cubic(FINE.points_ras()), atol=1e-3)


def test_channels_and_parts_of_a_grid() -> None:
    between = GridMap.between(COARSE, FINE)
    volume = np.stack([cubic(COARSE.points_ras()), -cubic(COARSE.points_ras())])
    along_k, along_j, along_i = between.matrices()
    part = interpolated(volume, (along_k[5:9], along_j, along_i[:4]))
    whole = interpolated(volume, between.matrices())
    np.testing.assert_allclose(part, whole[:, 5:9, :, :4], atol=1e-4)


@pytest.mark.parametrize("n_from", [1, 2, 3, 4, 9])
def test_weights_sum_to_one_and_keep_the_samples(n_from: int) -> None:
    matrix = axis_matrix(n_from, np.linspace(-1, n_from, 23))
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    at_samples = axis_matrix(n_from, np.arange(float(n_from)))
    np.testing.assert_allclose(at_samples, np.eye(n_from), atol=1e-6)


def test_lagrange_weights_reproduce_uneven_nodes() -> None:
    nodes, x = np.array([[0.0, 0.1, 0.4, 0.5]]), np.array([0.2])
    weights = lagrange_weights(nodes, x)
    assert weights[0] @ (nodes[0] ** 3) == pytest.approx(0.008)


def test_grids_with_other_axes_are_refused() -> None:
    turned = rigid(rotation_from_rotvec([0, 0, 0.1]), [0, 0, 0])
    with pytest.raises(ValueError, match="axes of other directions"):
        GridMap.between(COARSE, Grid(turned @ FINE.ras_from_ijk, FINE.shape))


def test_extremes_of_cells_and_corners() -> None:
    values = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert [x.tolist() for x in cell_extremes(values)] == [[[[7.0]]], [[[0.0]]]]
    on_a_sample = (np.array([1]),) * 3
    high, low = corner_extremes(values, on_a_sample, on_a_sample)
    assert high.tolist() == low.tolist() == [[[7.0]]]
    below, above = (np.array([0]),) * 3, (np.array([0]), np.array([0]), np.array([1]))
    high, low = corner_extremes(values, below, above)
    assert (high - low).tolist() == [[[1.0]]]
