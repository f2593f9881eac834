"""The coordinate spaces of NISF and the affine maps between them.

Convention: adjacent letters match, `points_ras = apply_affine(ras_from_ijk, points_ijk)`.
"""

from enum import Enum

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]
"""A 4x4 matrix, bottom row (0, 0, 0, 1)."""

Points = npt.NDArray[np.float64]
"""Points `(..., 3)`."""


class Space(str, Enum):
    """Where a coordinate lives."""

    IJK = "ijk"
    """Voxel index (column, row, slice); integers are voxel CENTRES. Arrays are stored [k, j, i]."""
    LPS = "lps"
    """DICOM patient space, mm, towards Left, Posterior, Superior. Exists only at file borders."""
    RAS = "ras"
    """Slicer and NIfTI patient space, mm, towards Right, Anterior, Superior. Used everywhere."""
    CANONICAL = "canonical"
    """Heart space, mm, rigid to RAS: origin inside the heart on the LV axis, +z from apex to base,
    +x from the LV towards the RV, +y = z × x (towards the anterior wall)."""


_FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])


def ras_from_lps() -> Affine:
    """The map RAS <- LPS. It is its own inverse."""
    return _FLIP_XY.copy()


def lps_from_ras() -> Affine:
    """The map LPS <- RAS. It is its own inverse."""
    return _FLIP_XY.copy()


def apply_affine(target_from_source: npt.ArrayLike, points: npt.ArrayLike) -> Points:
    """Map points `(..., 3)`."""
    A = np.asarray(target_from_source, dtype=np.float64)
    p = np.asarray(points, dtype=np.float64)
    return p @ A[:3, :3].T + A[:3, 3]


def apply_direction(target_from_source: npt.ArrayLike, directions: npt.ArrayLike) -> Points:
    """Map directions `(..., 3)`: the linear part only."""
    A = np.asarray(target_from_source, dtype=np.float64)
    return np.asarray(directions, dtype=np.float64) @ A[:3, :3].T


def invert_affine(target_from_source: npt.ArrayLike) -> Affine:
    """Return source_from_target, with an exact bottom row."""
    A = np.asarray(target_from_source, dtype=np.float64)
    inverse = np.eye(4)
    inverse[:3, :3] = np.linalg.inv(A[:3, :3])
    inverse[:3, 3] = -inverse[:3, :3] @ A[:3, 3]
    return inverse
