"""NIfTI files of a blob heart in the layouts of public datasets, written with nibabel alone."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from Testing.Core.generators.blob_heart import BlobHeart, Plane

Array = npt.NDArray[np.generic]


def ras_affine(planes: Sequence[Plane]) -> npt.NDArray[np.float64]:
    """RAS <- (column, row, slice) of equally spaced parallel planes, from their LPS description."""
    first = planes[0]
    A = np.eye(4)
    A[:3, 0] = first.i_lps * first.spacing_mm[1]
    A[:3, 1] = first.j_lps * first.spacing_mm[0]
    A[:3, 2] = first.normal_lps * first.thickness_mm
    if len(planes) > 1:
        A[:3, 2] = planes[1].position_lps - first.position_lps
    A[:3, 3] = first.position_lps
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ A


def volume(planes: Sequence[Plane], heart: BlobHeart) -> npt.NDArray[np.int16]:
    """`[column, row, slice, phase]`."""
    stacked = np.stack([p.images(heart) for p in planes], axis=1)
    return np.transpose(stacked, (3, 2, 1, 0)).astype(np.int16)


def save_nifti(
    path: Path, data: Array, affine: npt.NDArray[np.float64], phase_step: float = 0.0, code: int = 1
) -> Path:
    """Write one file; `phase_step` goes to pixdim[4] in seconds."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    if data.ndim == 4:
        image.header["pixdim"][4] = phase_step
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def blob_labels(planes: Sequence[Plane], heart: BlobHeart) -> npt.NDArray[np.uint8]:
    """Labels by brightness: 1 LV, 2 wall, 3 RV, `[column, row, slice, phase]`."""
    images = volume(planes, heart)
    labels = np.zeros(images.shape, dtype=np.uint8)
    for label, value in ((1, 800), (2, 200), (3, 700)):
        labels[images == value] = label
    return labels
