"""Interpolation over the cardiac cycle, by hand."""

import numpy as np

from NISFCore.data.cycle import interpolate_cycle


def test_time_is_interpolated_around_the_cycle() -> None:
    t = np.array([0.1, 0.4, 0.9])
    values = np.array([[1.0], [4.0], [3.0]])
    result = interpolate_cycle(values, t, np.array([0.1, 0.25, 0.9, 0.0, 0.95]))[:, 0]
    assert np.allclose(result, [1, 2.5, 3, 2, 2.5])
    shuffled = interpolate_cycle(values[[2, 0, 1]], t[[2, 0, 1]], np.array([0.25]))
    assert np.allclose(shuffled, 2.5)


def test_a_single_phase_is_constant_in_time() -> None:
    result = interpolate_cycle(np.array([[7.0]]), np.array([0.3]), np.array([0.0, 0.3, 0.8]))
    assert np.allclose(result, 7)
