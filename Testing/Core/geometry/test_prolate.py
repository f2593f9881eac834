"""Directions in a closed wall: exact on ellipsoids, whose normals are known."""

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.prolate import Foci, foci_of_wall, wall_directions

ALONG = np.array([0.0, 0.0, 1.0])
RADIAL, CIRCUMFERENTIAL, LONGITUDINAL = range(3)
Array = npt.NDArray[np.float64]


def half_ellipsoid(across_mm: float, along_mm: float, middle_mm: float) -> Array:
    """Points `(n, 3)` from the closed end, below, to the middle."""
    angle, polar = np.meshgrid(np.linspace(0, 2 * np.pi, 12), np.linspace(0.05, np.pi / 2, 15))
    rho = across_mm * np.sin(polar).ravel()
    z = middle_mm - along_mm * np.cos(polar).ravel()
    return np.stack([rho * np.cos(angle.ravel()), rho * np.sin(angle.ravel()), z], axis=1)


def directions_at(points: Array, foci: Foci | None) -> Array:
    return wall_directions(points * [1, 1, 0], points[:, 2], ALONG, foci)


def foci_at(points: Array) -> Foci | None:
    return foci_of_wall(points[:, 2], np.linalg.norm(points[:, :2], axis=1))


def test_foci_of_an_ellipsoid_are_its_own() -> None:
    foci = foci_at(half_ellipsoid(30.0, 50.0, 12.0))
    assert foci is not None
    assert np.allclose(foci, (12.0 - 40.0, 12.0 + 40.0))  # 30, 40, 50


def test_radial_is_the_normal_of_the_ellipsoid() -> None:
    points = half_ellipsoid(30.0, 50.0, 12.0)
    D = directions_at(points, foci_at(points))
    normal = (points - [0, 0, 12.0]) / np.array([30.0, 30.0, 50.0]) ** 2
    assert np.allclose(D[:, RADIAL], normal / np.linalg.norm(normal, axis=1, keepdims=True))
    assert np.allclose(D @ np.swapaxes(D, 1, 2), np.eye(3))
    assert np.allclose(np.linalg.det(D), 1.0)
    assert np.abs(D[:, CIRCUMFERENTIAL] @ ALONG).max() < 1e-12


def test_at_the_closed_end_the_wall_lies_across_the_axis() -> None:
    D = directions_at(np.array([[1e-3, 0.0, -60.0]]), Foci(-40.0, 40.0))[0]
    assert np.allclose(D[RADIAL], -ALONG, atol=1e-3)
    assert np.allclose(D[LONGITUDINAL], [1, 0, 0], atol=1e-3)  # from the end outwards


def test_a_sphere_has_radii() -> None:
    points = half_ellipsoid(40.0, 40.0, -3.0)
    D = directions_at(points, foci_at(points))
    assert np.allclose(D[:, RADIAL], (points - [0, 0, -3.0]) / 40.0, atol=1e-3)


def test_without_foci_the_axis_is_longitudinal() -> None:
    points = half_ellipsoid(30.0, 50.0, 0.0)
    D = directions_at(points, None)
    assert np.allclose(D[:, LONGITUDINAL], ALONG)
    assert np.abs(D[:, RADIAL] @ ALONG).max() < 1e-12


def test_a_slab_or_a_funnel_has_no_foci() -> None:
    points = half_ellipsoid(30.0, 50.0, 0.0)
    assert foci_at(points[points[:, 2] > -15.0]) is None
    heights = np.linspace(0.0, 60.0, 40)
    assert foci_of_wall(heights, 20 + 0.01 * heights**2) is None
