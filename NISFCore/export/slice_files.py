"""Aligned slices: their motions as transforms, and their images at the corrected place.

Per slice: `<name>.tfm` (ITK text, see `borders.itk_matrix_of_motion`), `<name>_aligned.nii.gz`
(the untouched pixels with the corrected geometry) and `<name>_resliced.nii.gz` (resampled onto the
plane as scanned, for viewers that need the original regular stack). All motions together, with
`outlier` telling why a motion stands out (empty if it does not): `motion.json`. The slices as
scanned stand beside them (see `scanned_slices`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from NISFCore.analysis.fitted import MotionUncertainty
from NISFCore.data.study import CineSlice
from NISFCore.export.borders import itk_matrix_of_motion
from NISFCore.export.nifti_files import nifti_stream
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import about_centre
from NISFCore.geometry.spaces import Affine, apply_affine, invert_affine

SUFFIXES = (".tfm", "_aligned.nii.gz", "_resliced.nii.gz")


def motion_record(
    cine: CineSlice,
    motion: Affine,
    intensity_scale: float,
    uncertainty: MotionUncertainty | None = None,
    index: int = 0,
) -> dict[str, Any]:
    """One slice's motion as JSON: matrix, rotation and translation about the slice's centre, and
    their standard errors, if known, in row `index` of `uncertainty`."""
    known = {}
    if uncertainty is not None:
        known["translation_sd_mm"] = uncertainty.translation_sd_mm[index].tolist()
        known["rotation_sd_deg"] = uncertainty.rotation_sd_deg[index].tolist()
    rotvec_rad, translation_mm = about_centre(motion, cine.centre_ras)
    return {
        "name": cine.name,
        "view": cine.view.value,
        "corrected_from_scanned_ras": motion.tolist(),
        "centre_ras_mm": cine.centre_ras.tolist(),
        "rotation_vector_rad": rotvec_rad.tolist(),
        "rotation_deg": float(np.rad2deg(np.linalg.norm(rotvec_rad))),
        "translation_mm": translation_mm.tolist(),
        "distance_mm": float(np.linalg.norm(translation_mm)),
        "intensity_scale": float(intensity_scale),
        **known,
    }


def itk_transform_text(corrected_from_scanned_ras: Affine) -> str:
    """The text of an ITK `.tfm` file for a rigid motion."""
    matrix = itk_matrix_of_motion(corrected_from_scanned_ras)
    parameters = [*matrix[:3, :3].ravel(), *matrix[:3, 3]]
    return (
        "#Insight Transform File V1.0\n"
        "#Transform 0\n"
        "Transform: AffineTransform_double_3_3\n"
        f"Parameters: {' '.join(f'{x:.17g}' for x in parameters)}\n"
        "FixedParameters: 0 0 0\n"
    )


def write_cine_nifti(
    path: Path, cine: CineSlice, frames: npt.NDArray[np.float32], ras_from_ijk: Affine
) -> None:
    """Write a cine `(n_phases, rows, cols)` as NIfTI `(cols, rows, 1, n_phases)`."""
    seconds = cine.rr_interval_ms / 1000 / cine.n_phases
    with nifti_stream(
        path,
        (1, *cine.shape),
        ras_from_ijk,
        cine.n_phases,
        seconds,
        np.float32,
        f"NISF cine slice, view {cine.view.value}",
    ) as stream:
        for frame in frames:
            stream.write(frame[None])


def resliced_frames(cine: CineSlice, motion: Affine) -> npt.NDArray[np.float32]:
    """The moved slice as it projects, along its normal, onto the plane as scanned.

    A slice is a plane: its motion out of that plane cannot be undone by resampling, only the
    part within the plane is. Bilinear; 0 outside the moved frame.
    """
    moved_ijk_from_ras = invert_affine(motion @ cine.ras_from_ijk)
    ijk = apply_affine(moved_ijk_from_ras, pixel_centres_ras(cine.ras_from_ijk, cine.shape))
    at = [ijk[..., 1], ijk[..., 0]]  # (row, column); the depth ijk[..., 2] is projected away
    return np.stack([map_coordinates(f, at, order=1, mode="grid-constant") for f in cine.frames])


def write_aligned_slice(folder: Path, stem: str, cine: CineSlice, motion: Affine) -> None:
    """Write the files of one slice, `stem` + each of `SUFFIXES` (see the module)."""
    transform, aligned, resliced = (folder / f"{stem}{suffix}" for suffix in SUFFIXES)
    transform.write_text(itk_transform_text(motion), encoding="ascii")
    write_cine_nifti(aligned, cine, cine.frames, motion @ cine.ras_from_ijk)
    write_cine_nifti(resliced, cine, resliced_frames(cine, motion), cine.ras_from_ijk)


def file_stems(names: Sequence[str]) -> list[str]:
    """Slice names as file names that are valid on every platform and differ from each other."""
    stems = ["".join(c if c.isalnum() or c in "-_" else "_" for c in name) for name in names]
    folded = [stem.casefold() for stem in stems]
    return [
        f"{index:02d}_{stem}" if folded.count(stem.casefold()) > 1 else stem
        for index, stem in enumerate(stems)
    ]
