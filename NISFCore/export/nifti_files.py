"""NIfTI-1 files, gzipped and streamed phase by phase: `(i, j, k, phase)` in RAS, mm and seconds."""

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from NISFCore.export.phase_stream import PhaseStream
from NISFCore.geometry.spaces import Affine


def nifti_stream(
    path: Path,
    shape: tuple[int, int, int],
    ras_from_ijk: Affine,
    n_phases: int,
    seconds_per_phase: float,
    dtype: npt.DTypeLike,
    description: str = "",
) -> PhaseStream:
    """Open a 4D `.nii.gz` for writing phase by phase.

    Args:
        path: ends in `.nii.gz`.
        shape: `(n_k, n_j, n_i)` of every phase.
        ras_from_ijk: geometry of every phase.
        n_phases: how many will be written.
        seconds_per_phase: temporal spacing.
        dtype: of the stored voxels.
        description: ASCII, cut after 79 characters.
    """
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape((*shape[::-1], n_phases))
    header.set_sform(ras_from_ijk, code="scanner")
    header.set_qform(ras_from_ijk, code="scanner")
    zooms = np.linalg.norm(ras_from_ijk[:3, :3], axis=0)
    header.set_zooms((*zooms, seconds_per_phase))
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1, 0)
    header["descrip"] = description.encode("ascii")[:79]
    header["magic"] = b"n+1"
    header.set_data_offset(352)
    no_extensions = b"\0\0\0\0"
    packed = header.binaryblock + no_extensions
    return PhaseStream(path, shape, n_phases, np.dtype(dtype), packed_header=packed)
