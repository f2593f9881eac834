"""Conversions from RAS to the conventions of files, by name, and back.

NRRD and ITK-style files are in LPS; NIfTI is in RAS already; meshes are written in LPS, since that
is what 3D Slicer takes an unmarked mesh to be, and say so in the file.
"""

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import Affine, Points, apply_affine, lps_from_ras, ras_from_lps


def lps_from_ijk(ras_from_ijk: npt.ArrayLike) -> Affine:
    """Voxel geometry for a NRRD file with `space: left-posterior-superior`."""
    return lps_from_ras() @ np.asarray(ras_from_ijk, dtype=np.float64)


def ras_from_ijk_of_lps(lps_from_ijk: npt.ArrayLike) -> Affine:
    """Inverse of `lps_from_ijk`."""
    return ras_from_lps() @ np.asarray(lps_from_ijk, dtype=np.float64)


def points_lps_from_ras(points_ras: Points) -> Points:
    """Mesh points for a file in LPS."""
    return apply_affine(lps_from_ras(), points_ras)


def itk_matrix_of_motion(corrected_from_scanned_ras: Affine) -> Affine:
    """The matrix that an ITK transform file holds for a rigid motion.

    ITK files describe resampling, in LPS: they map points of the corrected space to where the
    scanned image has them. Slicer inverts that on loading, so its transform node moves the
    scanned slice to its corrected place.
    """
    return lps_from_ras() @ invert_rigid(corrected_from_scanned_ras) @ ras_from_lps()


def motion_of_itk_matrix(scanned_from_corrected_lps: Affine) -> Affine:
    """Inverse of `itk_matrix_of_motion`."""
    return invert_rigid(ras_from_lps() @ scanned_from_corrected_lps @ lps_from_ras())
