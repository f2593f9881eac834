"""Files of labels as a user names them, and what is in them.

On the command line: `FILE`, `FILE@PHASE` or `FILE@SLICE:PHASE`. Read are NIfTI (`.nii`, `.nii.gz`;
3D, or 4D with the frames of the cycle on the last axis) and NRRD (`.nrrd`, `.nhdr`, sequences and
3D Slicer's `.seg.nrrd`). Label maps hold 0 background, 1 LV blood pool, 2 myocardium, 3 RV blood
pool, 255 unknown. Probabilities are NIfTI of a float type with a last axis of 4 (background, LV
blood pool, myocardium, RV blood pool): `(i, j, k, 4)` for one frame, `(i, j, k, t, 4)` for several.
A line of 3D Slicer's Markups (`.mrk.json`) is where the LV ends in a long-axis slice
(`valve_points`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NISFCore.data.label_nrrd import SUFFIXES as NRRD_SUFFIXES
from NISFCore.data.label_nrrd import labels_of_segments, read_label_nrrd
from NISFCore.data.label_segments import segments_of
from NISFCore.data.label_volume import (
    UNKNOWN,
    Array,
    LabelVolume,
    StoredVolume,
    checked_probabilities,
    is_identity,
    is_probabilities,
    labels_of_numbers,
    with_background,
)
from NISFCore.data.nifti_images import SUFFIXES as NIFTI_SUFFIXES
from NISFCore.data.nifti_images import is_nifti, open_nifti
from NISFCore.data.valve_points import SUFFIX as VALVE_SUFFIX
from NISFCore.errors import ConfigError, StudyError
from NISFCore.labels import N_LABELS

SUFFIXES = (".nii.gz", ".nii", *NRRD_SUFFIXES)

_SPECIFICATION = re.compile(r"^(?:(?P<slice>[^/\\]+):)?(?P<phase>[^/\\:]*)$")
_FRAME_IN_NAME = re.compile(r"[_-]frame[_-]?(\d+)$", re.IGNORECASE)
_PHASE_IN_NAME = re.compile(r"[_-]phase[_-]?(\d+)$", re.IGNORECASE)
_LABEL_IN_NAME = re.compile(r"[_-](?:gt|seg|segmentation|labels?|mask)$", re.IGNORECASE)


@dataclass(frozen=True)
class LabelFile:
    """One file of labels.

    Attributes:
        path: the file.
        phase: zero-based phase of the study that a file with one frame belongs to, if given.
        keeps_background: the annotation is complete, so that 0 means background; else what is not
            painted is unknown. Probabilities say what they say in both cases.
        slice_name: the only slice that the file is for, if given.
    """

    path: Path
    phase: int | None = None
    keeps_background: bool = False
    slice_name: str | None = None

    def __post_init__(self) -> None:
        if self.phase is not None and self.phase < 0:
            raise ConfigError(f"{self.path.name}: got phase {self.phase}, phases count from 0")

    @property
    def stem(self) -> str:
        """The file's name without its ending and without the marks of a label file."""
        return _LABEL_IN_NAME.sub("", file_stem(self.path.name))

    @property
    def phase_in_name(self) -> int | None:
        """The phase that the name ends with: `_frame01` is the first (as in ACDC), and so is
        `_phase00`; None if there is no such ending."""
        frame, phase = _FRAME_IN_NAME.search(self.stem), _PHASE_IN_NAME.search(self.stem)
        if frame is not None:
            return max(int(frame.group(1)) - 1, 0)
        return int(phase.group(1)) if phase is not None else None

    @property
    def named_slice(self) -> str:
        """The stem without its phase: the name of a slice, perhaps."""
        stem = _PHASE_IN_NAME.sub("", _FRAME_IN_NAME.sub("", self.stem))
        return _LABEL_IN_NAME.sub("", stem)


def file_stem(name: str) -> str:
    """A file's name without the endings of label files."""
    for suffix in (*SUFFIXES, VALVE_SUFFIX):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def parse_label_file(text: str, keeps_background: bool = False) -> LabelFile:
    """`FILE`, `FILE@PHASE`, `FILE@SLICE:PHASE` or `FILE@SLICE:` (a file with its own frames).

    Raises:
        ConfigError: if what follows the @ is no phase.
    """
    name, at, specification = text.rpartition("@")
    match = _SPECIFICATION.match(specification)
    if not at or not match or file_stem(specification) != specification:
        return LabelFile(Path(text), None, keeps_background)
    phase, slice_name = match.group("phase"), match.group("slice")
    if phase.isascii() and phase.isdigit():
        return LabelFile(Path(name), int(phase), keeps_background, slice_name)
    if slice_name and not phase:
        return LabelFile(Path(name), None, keeps_background, slice_name)
    hint = ""
    if phase.upper() in ("ED", "ES"):
        hint = f"; which phase is {phase.upper()} is known after a fit only: look for its number"
    raise ConfigError(
        f"labels: got {specification!r} after the @ of {Path(name).name}, allowed: the zero-based "
        f"number of a phase, or SLICE:PHASE{hint}"
    )


def read_label_file(file: LabelFile, label_values: Mapping[int, int] | None = None) -> LabelVolume:
    """What a file says, on its own grid.

    Args:
        label_values: number in the file -> label or 255 for unknown; None is our numbering.
            Segmentations need none, their segments have names.

    Raises:
        StudyError: if the file is missing, damaged, of another kind, says nothing, or holds values
            that are no labels.
    """
    path = file.path
    if not path.is_file():
        raise StudyError(f"{path.name}: no such file; give the labels as FILE or FILE@PHASE")
    if is_nifti(path):
        return _from_nifti(file, label_values)
    if not path.name.lower().endswith(NRRD_SUFFIXES):
        known = ", ".join((*NIFTI_SUFFIXES, *NRRD_SUFFIXES, VALVE_SUFFIX))
        raise StudyError(f"{path.name}: unknown kind of label file, allowed: {known}")
    stored, header = read_label_nrrd(path)
    segments = segments_of(path.name, header)
    if segments:
        return labels_of_segments(stored, segments, file.keeps_background)
    return _hard(stored, file.keeps_background, label_values)


def _from_nifti(file: LabelFile, label_values: Mapping[int, int] | None) -> LabelVolume:
    image, data = open_nifti(file.path)
    name, ras_from_ijk = file.path.name, np.asarray(image.affine, dtype=np.float64)
    is_coded = int(image.header["sform_code"]) != 0 or int(image.header["qform_code"]) != 0
    has_place = is_coded and not is_identity(ras_from_ijk)
    if is_probabilities(data):
        p = checked_probabilities(name, _as_five(data).transpose(3, 2, 1, 0, 4))
        return LabelVolume(name, p, ras_from_ijk, has_place)
    stored = StoredVolume(name, _as_four(name, data).T, ras_from_ijk, has_place)
    return _hard(stored, file.keeps_background, label_values)


def _as_five(data: Array) -> Array:
    """Probabilities as [i, j, k, t, label]."""
    return data if data.ndim == 5 else data[:, :, :, None, :]


def _as_four(name: str, data: Array) -> Array:
    """Labels as [i, j, k, t]."""
    while data.ndim > 4 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.size == 0 or not 2 <= data.ndim <= 4:
        raise StudyError(
            f"{name}: got shape {data.shape}, expected (i, j, k) or (i, j, k, frames), or for "
            f"probabilities of a float type a further axis of {N_LABELS}"
        )
    return data.reshape(data.shape + (1,) * (4 - data.ndim))


def _hard(
    stored: StoredVolume, keeps_background: bool, label_values: Mapping[int, int] | None
) -> LabelVolume:
    labels = labels_of_numbers(stored.name, stored.data, label_values)
    painted = np.asarray(stored.data != 0) & (labels != UNKNOWN)
    values, warnings = with_background(stored.name, labels, painted, keeps_background)
    return LabelVolume.of(stored, values, warnings)
