"""One NIfTI file as an array `(n_phases, n_k, n_j, n_i)` with its RAS affine.

A NIfTI affine maps (i, j, k) to RAS mm (nibabel's convention and ours); data are stored
[i, j, k, t] and turned here once. What the header leaves open is assumed and said in `notes`.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Affine

SUFFIXES = (".nii", ".nii.gz")

NIFTI_ERRORS = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    OSError,
    EOFError,
    ValueError,
    zlib.error,
)
"""What nibabel and zlib raise on damaged files."""

AXIS_ALIGNED_DEG = 0.5
"""An oblique heart plane within this of the patient's axes has lost its orientation."""

MIN_DETERMINANT = 0.1
"""Of the unit axes: 1 if perpendicular, 0 if they lie in a plane."""

MIN_CYCLE_MS, MAX_CYCLE_MS = 300.0, 2000.0
"""A plausible duration of all phases together."""

MAX_STACK_PHASES_RATIO = 3.0
"""A third axis spaced more than this times the pixel size is a slice axis, not time."""


@dataclass(frozen=True)
class NiftiImage:
    """Attributes:
    data: `(n_phases, n_k, n_j, n_i)`, in the file's own type.
    ras_from_ijk: `(4, 4)`; the third column is the step from slice to slice.
    phase_step_ms: time between phases, or None where the header has no plausible value.
    has_orientation: False if the affine says nothing about how the patient lay.
    """

    name: str
    data: npt.NDArray[np.generic]
    ras_from_ijk: Affine
    phase_step_ms: float | None
    has_orientation: bool

    @property
    def n_phases(self) -> int:
        return int(self.data.shape[0])

    @property
    def n_slices(self) -> int:
        return int(self.data.shape[1])

    @property
    def slice_spacing_mm(self) -> float:
        """Distance of neighbouring slices along their normal."""
        A = self.ras_from_ijk
        normal = np.cross(A[:3, 0], A[:3, 1])
        return float(abs(A[:3, 2] @ normal) / np.linalg.norm(normal))


def nifti_stem(name: str) -> str:
    """A file's name without .nii or .nii.gz."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_nifti(path: Path) -> bool:
    is_named = path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")
    return is_named and not path.is_dir()


def load_nifti(path: Path, is_single_plane: bool = False) -> NiftiImage:
    """Read one file.

    Args:
        is_single_plane: the file is known to hold one plane, so that a third axis is time.

    Raises:
        StudyError: if the file is damaged, empty or has a shape that is no cine.
    """
    image, data = open_nifti(path)
    affine = np.asarray(image.affine, dtype=np.float64)
    data, axes = _four_axes(path.name, data, _slice_step_is_large(affine), is_single_plane)
    affine = _permuted(affine, axes)
    return NiftiImage(
        name=nifti_stem(path.name),
        data=np.transpose(data, (3, 2, 1, 0)),
        ras_from_ijk=affine,
        phase_step_ms=_phase_step_ms(image, data.shape[3]),
        has_orientation=_has_orientation(image, affine),
    )


def open_nifti(path: Path) -> tuple[nib.Nifti1Image, npt.NDArray[np.generic]]:
    """The file and its data as stored, `[i, j, k, ...]`; its affine can be inverted.

    Raises:
        StudyError: if the file is damaged.
    """
    try:
        # Not memory-mapped: a study must not keep its files open.
        image = nib.Nifti1Image.from_filename(path, mmap=False)
        data = np.asarray(image.dataobj)
    except NIFTI_ERRORS as error:
        reason = str(error).replace(str(path.parent), "").strip()
        raise StudyError(f"{path.name}: not a readable NIfTI file ({reason})") from error
    if data.dtype.kind not in "buif":
        raise StudyError(
            f"{path.name}: got voxels of type {data.dtype}, expected one real number each; save "
            "colours as grey values, complex numbers as magnitudes"
        )
    check_affine(path.name, np.asarray(image.affine, dtype=np.float64))
    return image, data


def check_affine(name: str, affine: Affine) -> None:
    """Raise a StudyError if voxels cannot be placed by `affine`, or hardly."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or (lengths == 0).any():
        raise StudyError(f"{name}: its affine is singular or not finite; it cannot be placed")
    if abs(np.linalg.det(affine[:3, :3] / lengths)) < MIN_DETERMINANT:
        raise StudyError(f"{name}: the axes of its affine are nearly parallel to each other")


def _slice_step_is_large(affine: Affine) -> bool:
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(steps[2] > MAX_STACK_PHASES_RATIO * min(steps[0], steps[1]))


def _four_axes(
    name: str, data: npt.NDArray[np.generic], third_is_slices: bool, is_single_plane: bool
) -> tuple[npt.NDArray[np.generic], tuple[int, int, int]]:
    """The data as [i, j, k, t], and which axes of the file i, j, k were."""
    if data.ndim > 4:
        extra = tuple(a for a in range(3, data.ndim) if data.shape[a] == 1)
        data = np.squeeze(data, axis=extra[: data.ndim - 4])
    if data.size == 0 or not 2 <= data.ndim <= 4:
        raise StudyError(f"{name}: got shape {data.shape}, expected (x, y, slices, phases)")
    if data.ndim == 3 and (is_single_plane or not third_is_slices) and 1 not in data.shape:
        data = data[:, :, None, :]  # 2D + t, stored without a slice axis
    data = data.reshape(data.shape + (1,) * (4 - data.ndim))
    sizes: tuple[int, ...] = data.shape
    thin = [a for a in range(3) if sizes[a] == 1]
    if thin and thin[0] < 2 and sizes[2] > 1:
        axes = (1, 2, 0) if thin[0] == 0 else (2, 0, 1)
        return np.transpose(data, (*axes, 3)), axes
    return data, (0, 1, 2)


def _permuted(affine: Affine, axes: tuple[int, int, int]) -> Affine:
    permuted = affine.copy()
    permuted[:3, :3] = affine[:3, list(axes)]
    return permuted


def _phase_step_ms(image: nib.Nifti1Image, n_phases: int) -> float | None:
    """pixdim[4] in ms if all phases then last as long as a heart beat; None otherwise."""
    if n_phases < 2:
        return None
    step = float(image.header["pixdim"][4])
    unit = str(image.header.get_xyzt_units()[1])
    factors = {"sec": (1000.0,), "msec": (1.0,), "usec": (0.001,)}.get(unit, (1.0, 1000.0))
    for factor in (*factors, 1.0, 1000.0):
        if MIN_CYCLE_MS <= step * factor * n_phases <= MAX_CYCLE_MS:
            return step * factor
    return None


def _has_orientation(image: nib.Nifti1Image, affine: Affine) -> bool:
    """False without a coded affine, or if every axis runs along an axis of the patient."""
    if int(image.header["sform_code"]) == 0 and int(image.header["qform_code"]) == 0:
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(affine[:3, :3] / lengths).max(axis=0)
    return bool((cosines < np.cos(np.deg2rad(AXIS_ALIGNED_DEG))).any())
