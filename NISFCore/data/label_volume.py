"""What one label file says, whatever its format: hard labels or probabilities per voxel and frame.

Hard labels are uint8 in the numbers of `NISFCore.labels`, `UNKNOWN` where nothing is said.
Probabilities are float32 with a last axis of `N_LABELS`, all 0 where nothing is said, else of sum
1. Nothing said is not background.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.data.nifti_labels import OUR_NUMBERS
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Affine
from NISFCore.labels import N_LABELS, UNKNOWN

MAX_SUM_ERROR = 0.02
"""By how much stored probabilities of a voxel may miss a sum of 1 (8-bit files)."""

IDENTITY_ERROR = 1e-6

Array = npt.NDArray[Any]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StoredVolume:
    """A file's numbers as they stand there.

    Attributes:
        data: `(n_frames, n_k, n_j, n_i)`, or with a further axis of `N_LABELS`.
        is_layered: the first axis holds the layers of one frame, not frames.
        name, ras_from_ijk, has_place, cycle_fractions: as in `LabelVolume`.
    """

    name: str
    data: Array
    ras_from_ijk: Affine
    has_place: bool
    cycle_fractions: npt.NDArray[np.float64] | None = None
    is_layered: bool = False


@dataclass(frozen=True)
class LabelVolume:
    """Attributes:
    name: of the file, without its folder.
    values: `(n_frames, n_k, n_j, n_i)` uint8, or `(n_frames, n_k, n_j, n_i, N_LABELS)` float32.
    ras_from_ijk: `(4, 4)`.
    has_place: False if the file does not tell where in the patient it lies.
    cycle_fractions: `(n_frames,)` where the file tells its times, else None.
    warnings: what was left out or assumed.
    """

    name: str
    values: npt.NDArray[np.uint8] | Probabilities
    ras_from_ijk: Affine
    has_place: bool = True
    cycle_fractions: npt.NDArray[np.float64] | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        stored: StoredVolume,
        values: npt.NDArray[np.uint8] | Probabilities,
        warnings: tuple[str, ...] = (),
    ) -> "LabelVolume":
        """What the numbers of a file mean, at its place and times."""
        t = stored.cycle_fractions
        return cls(stored.name, values, stored.ras_from_ijk, stored.has_place, t, warnings)

    @property
    def is_soft(self) -> bool:
        return self.values.ndim == 5

    @property
    def n_frames(self) -> int:
        return int(self.values.shape[0])

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(n_i, n_j, n_k)."""
        n_k, n_j, n_i = self.values.shape[1:4]
        return int(n_i), int(n_j), int(n_k)

    @property
    def said_frames(self) -> list[int]:
        """The frames that say anything at all."""
        return [i for i, frame in enumerate(self.values) if known_of(frame).any()]


def known_of(values: Array) -> npt.NDArray[np.bool_]:
    """Which voxels of hard `(n_k, n_j, n_i)` or soft `(..., N_LABELS)` labels are known."""
    if values.dtype == np.uint8:
        return np.asarray(values != UNKNOWN)
    return np.asarray(np.any(values > 0, axis=-1))


def is_identity(ras_from_ijk: Affine) -> bool:
    """Whether a geometry is what programs write that know none: unit voxels from the origin."""
    linear = np.abs(np.abs(ras_from_ijk[:3, :3]) - np.eye(3)).max()
    return bool(max(linear, np.abs(ras_from_ijk[:3, 3]).max()) < IDENTITY_ERROR)


def is_probabilities(data: Array) -> bool:
    """Whether `data` with labels on the last axis holds probabilities.

    They are of a float type and not all whole; whole ones (0 and 1 only) sum to 1 everywhere.
    """
    if data.ndim not in (4, 5) or data.shape[-1] != N_LABELS or data.dtype.kind != "f":
        return False
    if data.ndim == 5 or bool((data != np.rint(data)).any()):
        return True
    return bool((data.sum(axis=-1) == 1).all() and (data >= 0).all())


def checked_probabilities(name: str, data: Array) -> Probabilities:
    """Probabilities `(..., N_LABELS)` with sums of exactly 1, or 0 where nothing is said.

    Raises:
        StudyError: for negative or infinite values, for other sums, or if nothing is said.
    """
    p = np.asarray(data, dtype=np.float32)
    if not np.isfinite(p).all() or p.min() < 0:
        raise StudyError(f"{name}: probabilities must be finite and not negative")
    sums = p.sum(axis=-1, keepdims=True)
    wrong = (np.abs(sums - 1) > MAX_SUM_ERROR) & (sums > 0)
    if wrong.any():
        raise StudyError(
            f"{name}: got probabilities that sum to {sums[wrong][0]:.3g}, allowed: 1 over the last "
            f"axis (background, LV, myocardium, RV), or 0 where nothing is said"
        )
    if not (sums > 0).any():
        raise StudyError(f"{name}: all probabilities are 0; the file says nothing")
    return np.asarray(p / np.where(sums > 0, sums, 1), dtype=np.float32)


def label_table(name: str, label_values: Mapping[int, int] | None) -> dict[int, int]:
    """Number in a file -> label or `UNKNOWN`; 0 and 255 are always background and unknown.

    Raises:
        StudyError: if `label_values` names no label.
    """
    given = OUR_NUMBERS if label_values is None else label_values
    wrong = sorted({int(v) for v in given.values()} - {*range(N_LABELS), UNKNOWN})
    if wrong:
        raise StudyError(
            f"{name}: label_values names label(s) {wrong}, allowed: 0 background, 1 LV blood pool, "
            f"2 myocardium, 3 RV blood pool, {UNKNOWN} unknown"
        )
    return {0: 0, UNKNOWN: UNKNOWN, **{int(k): int(v) for k, v in given.items()}}


def labels_of_numbers(
    name: str, data: Array, label_values: Mapping[int, int] | None
) -> npt.NDArray[np.uint8]:
    """The numbers of a file as labels, 0 where it has 0.

    Raises:
        StudyError: if the numbers are not whole or have no known meaning.
    """
    if data.dtype.kind not in "buif":
        raise StudyError(f"{name}: got voxels of type {data.dtype}, expected one number each")
    table = label_table(name, label_values)
    numbers = np.unique(data)
    if not (np.isfinite(numbers).all() and np.array_equal(numbers, np.rint(numbers))):
        raise StudyError(
            f"{name}: got values that are not whole; label maps hold whole numbers, probabilities "
            f"have {N_LABELS} values per voxel on the last axis that sum to 1"
        )
    unknown = sorted({int(v) for v in numbers} - set(table))
    if unknown:
        raise StudyError(
            f"{name}: got label value(s) {_listed(unknown)}, allowed: {_listed(sorted(table))} "
            "(0 background, 1 LV blood pool, 2 myocardium, 3 RV blood pool, 255 unknown); for "
            "another numbering give label_values, e.g. {1: 3, 2: 2, 3: 1} for ACDC"
        )
    labels = np.zeros(data.shape, dtype=np.uint8)
    for number in numbers:
        labels[data == number] = table[int(number)]
    return labels


def with_background(
    name: str, labels: npt.NDArray[np.uint8], painted: npt.NDArray[np.bool_], keeps: bool
) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """What the voxels that nobody painted mean, per frame `(n_frames, n_k, n_j, n_i)`.

    They are background in a complete annotation (`keeps`), unknown in a partial one. A frame in
    which nothing at all is painted was not annotated, in either.

    Raises:
        StudyError: if no frame is painted.
    """
    is_annotated = np.asarray(painted.any(axis=(1, 2, 3)))
    if not is_annotated.any():
        raise StudyError(f"{name}: nothing is painted in it; remove it or paint some labels")
    is_said = painted | (is_annotated[:, None, None, None] & (keeps & (labels == 0)))
    n_empty = int((~is_annotated).sum())
    note = f"{name}: {n_empty} of {len(labels)} frames are empty and taken as not annotated"
    warnings = (note,) if n_empty and keeps else ()
    return np.where(is_said, labels, np.uint8(UNKNOWN)), warnings


def _listed(values: list[int]) -> str:
    shown = ", ".join(str(v) for v in values[:8])
    return f"{shown}, ..." if len(values) > 8 else shown
