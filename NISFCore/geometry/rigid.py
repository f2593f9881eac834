"""Rigid motion SE(3): rotation vectors (rad), translations (mm), 4x4 matrices. float64.

A slice motion is a rotation about the slice's own centre followed by a translation; rotating
about a far origin would couple the two.
"""

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from NISFCore.geometry.spaces import Affine, Points, apply_affine

Vector = npt.NDArray[np.float64]


def rotation_from_rotvec(rotvec_rad: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Rotation matrix `(3, 3)` of a rotation vector (axis times angle)."""
    return Rotation.from_rotvec(np.asarray(rotvec_rad, dtype=np.float64)).as_matrix()


def rotvec_from_rotation(rotation: npt.ArrayLike) -> Vector:
    """Rotation vectors of one or more rotation matrices `(..., 3, 3)`, angle in [0, pi]."""
    return Rotation.from_matrix(np.asarray(rotation, dtype=np.float64)).as_rotvec()


def composed_rotvec(second: npt.ArrayLike, first: npt.ArrayLike) -> Vector:
    """Rotation vectors `(..., 3)` of the rotations `first`, then `second`."""
    after = Rotation.from_rotvec(np.asarray(second, dtype=np.float64))
    before = Rotation.from_rotvec(np.asarray(first, dtype=np.float64))
    return np.asarray((after * before).as_rotvec())


def rigid(rotation: npt.ArrayLike, translation_mm: npt.ArrayLike) -> Affine:
    """The matrix x -> R x + t."""
    A = np.eye(4)
    A[:3, :3] = rotation
    A[:3, 3] = translation_mm
    return A


def rigid_about(
    centre: npt.ArrayLike, rotvec_rad: npt.ArrayLike, translation_mm: npt.ArrayLike
) -> Affine:
    """The motion x -> R (x - c) + c + t, all in one space."""
    c = np.asarray(centre, dtype=np.float64)
    R = rotation_from_rotvec(rotvec_rad)
    return rigid(R, c - R @ c + np.asarray(translation_mm, dtype=np.float64))


def about_centre(motion: npt.ArrayLike, centre: npt.ArrayLike) -> tuple[Vector, Vector]:
    """Split a rigid motion into (rotvec_rad, translation_mm) about `centre`.

    Inverse of `rigid_about`.
    """
    A = np.asarray(motion, dtype=np.float64)
    c = np.asarray(centre, dtype=np.float64)
    return rotvec_from_rotation(A[:3, :3]), apply_affine(A, c) - c


def invert_rigid(target_from_source: npt.ArrayLike) -> Affine:
    """Inverse of a rigid map, by transposition."""
    A = np.asarray(target_from_source, dtype=np.float64)
    return rigid(A[:3, :3].T, -A[:3, :3].T @ A[:3, 3])


def rigid_fraction(motion: npt.ArrayLike, fraction: float) -> Affine:
    """The part `exp(fraction * log(motion))` of a rigid motion: the screw that leads there.

    0 gives the identity, 1 the motion itself; parts add up, and the result does not depend on
    where the origin is (Murray, Li, Sastry 1994, section 2.3.2).

    Raises:
        ValueError: if `motion` is not rigid.
    """
    if not is_rigid(motion):
        raise ValueError(f"expected a rigid 4 x 4 motion, got {np.asarray(motion)}")
    A = np.asarray(motion, dtype=np.float64)
    rotvec = rotvec_from_rotation(A[:3, :3])
    velocity = np.linalg.solve(_screw_translation(rotvec), A[:3, 3])
    part = fraction * rotvec
    return rigid(rotation_from_rotvec(part), _screw_translation(part) @ (fraction * velocity))


def _screw_translation(rotvec_rad: Vector) -> npt.NDArray[np.float64]:
    """V `(3, 3)` of exp((w, v)) = (R(w), V(w) v): the mean of the rotations on the way to R."""
    angle = float(np.linalg.norm(rotvec_rad))
    x, y, z = rotvec_rad
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-4:  # the closed form divides 0 by 0 there; the series is exact to 1e-13
        return np.eye(3) + K / 2 + K @ K / 6
    first, second = (1 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3
    return np.eye(3) + first * K + second * K @ K


def is_rigid(matrix: npt.ArrayLike, tolerance: float = 1e-6) -> bool:
    """Whether a matrix is a 4x4 rigid motion: a proper rotation above a row (0, 0, 0, 1)."""
    A = np.asarray(matrix, dtype=np.float64)
    if A.shape != (4, 4) or not np.isfinite(A).all() or not np.array_equal(A[3], [0, 0, 0, 1]):
        return False
    R = A[:3, :3]
    return bool(np.allclose(R.T @ R, np.eye(3), atol=tolerance) and np.linalg.det(R) > 0)


def rotation_angle_deg(rotation: npt.ArrayLike) -> float:
    """Angle of a rotation matrix in degrees, in [0, 180]."""
    return float(np.rad2deg(np.linalg.norm(rotvec_from_rotation(rotation))))


def best_rigid(source: Points, target: Points, weights: npt.ArrayLike | None = None) -> Affine:
    """The rigid T that minimises sum of w |T source - target|^2 (Kabsch 1976).

    Args:
        source, target: corresponding points `(n, 3)`, n >= 3 and not all on one line.
        weights: `(n,)`, or None for equal weights.
    """
    w = np.ones(len(source)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / w.sum()
    source_mean, target_mean = w @ source, w @ target
    H = (source - source_mean).T @ ((target - target_mean) * w[:, None])
    U, _, Vt = np.linalg.svd(H)
    D = np.diag([1.0, 1.0, np.sign(np.linalg.det(Vt.T @ U.T))])
    R = Vt.T @ D @ U.T
    return rigid(R, target_mean - R @ source_mean)
