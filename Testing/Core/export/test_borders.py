"""RAS to file conventions and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from NISFCore.export.borders import (
    itk_matrix_of_motion,
    lps_from_ijk,
    motion_of_itk_matrix,
    points_lps_from_ras,
    ras_from_ijk_of_lps,
)
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, apply_affine

numbers = st.lists(st.floats(-3, 3, allow_nan=False), min_size=6, max_size=6)


def _motion(values: list[float]) -> Affine:
    return rigid(rotation_from_rotvec(values[:3]), np.array(values[3:]) * 20)


@given(numbers)
def test_geometry_round_trip(values: list[float]) -> None:
    A = _motion(values) @ np.diag([1.4, 1.7, 8.0, 1.0])
    assert np.allclose(ras_from_ijk_of_lps(lps_from_ijk(A)), A)


@given(numbers)
def test_itk_round_trip(values: list[float]) -> None:
    motion = _motion(values)
    assert np.allclose(motion_of_itk_matrix(itk_matrix_of_motion(motion)), motion)


def test_lps_flips_the_first_two_coordinates() -> None:
    assert np.array_equal(points_lps_from_ras(np.array([[1.0, 2, 3]])), [[-1, -2, 3]])
    assert np.array_equal(lps_from_ijk(np.eye(4))[:3, :3], np.diag([-1, -1, 1]))


@given(numbers)
def test_itk_maps_corrected_points_to_scanned_points_in_lps(values: list[float]) -> None:
    motion = _motion(values)
    scanned_ras = np.array([[10.0, -20, 30], [1, 2, 3]])
    corrected_ras = apply_affine(motion, scanned_ras)
    mapped = apply_affine(itk_matrix_of_motion(motion), points_lps_from_ras(corrected_ras))
    assert np.allclose(mapped, points_lps_from_ras(scanned_ras))
