"""Label files in NRRD: volumes, sequences of volumes, and 3D Slicer's segmentations.

A list axis, before or after the three spatial ones, holds the layers of a segmentation, else the
frames of a sequence; `axis N index values` in percent are its cycle fractions.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import numpy.typing as npt

from NISFCore.data.label_segments import Segment, merged_segments
from NISFCore.data.label_volume import (
    Array,
    LabelVolume,
    StoredVolume,
    is_identity,
    with_background,
)
from NISFCore.data.nifti_images import check_affine
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Affine, ras_from_lps

SUFFIXES = (".seq.seg.nrrd", ".seg.nrrd", ".seq.nrrd", ".nrrd", ".nhdr")

NRRD_ERRORS = (nrrd.NRRDError, OSError, EOFError, ValueError, KeyError, zlib.error)
"""What pynrrd and zlib raise on damaged files."""

_LAS_TO_RAS = np.diag([-1.0, 1.0, 1.0, 1.0])
_RAS_FROM_SPACE: dict[str, Affine] = {
    "left-posterior-superior": ras_from_lps(),
    "lps": ras_from_lps(),
    "right-anterior-superior": np.eye(4),
    "ras": np.eye(4),
    "left-anterior-superior": _LAS_TO_RAS,
    "las": _LAS_TO_RAS,
}


def open_nrrd(path: Path) -> tuple[dict[str, Any], Array]:
    """Header and data `[i, j, k, ...]` of a file.

    Raises:
        StudyError: if it is damaged.
    """
    try:
        with path.open("rb") as file:
            # pynrrd drops what is not ASCII; segments may have any name.
            lines = (line.decode("utf-8", "replace") for line in iter(file.readline, b""))
            header = nrrd.read_header(lines)
            return header, nrrd.read_data(header, file, str(path))
    except NRRD_ERRORS as error:
        reason = str(error).replace(str(path.parent), "").strip()
        raise StudyError(f"{path.name}: not a readable NRRD file ({reason})") from error


def read_label_nrrd(path: Path) -> tuple[StoredVolume, dict[str, Any]]:
    """The numbers of a file and its header.

    Raises:
        StudyError: if it is damaged, or not a volume or list of volumes.
    """
    header, data = open_nrrd(path)
    data, list_axis = _frames_first(path.name, header, data)
    ras_from_ijk, has_place = _geometry(path.name, header, list_axis)
    t = _cycle_fractions(header, list_axis, len(data))
    return StoredVolume(path.name, data, ras_from_ijk, has_place, t, list_axis == 0), header


def labels_of_segments(
    stored: StoredVolume, segments: Sequence[Segment], keeps_background: bool
) -> LabelVolume:
    """The labels of a file that has segments.

    Raises:
        StudyError: see `merged_segments`, or if nothing is painted.
    """
    name, data = stored.name, stored.data
    frames = [data] if stored.is_layered else [frame[None] for frame in data]
    merged = [merged_segments(name, layers, segments) for layers in frames]
    labels, painted = (np.stack([m[part] for m in merged]) for part in (0, 1))
    values, warnings = with_background(name, labels, painted, keeps_background)
    return LabelVolume.of(stored, values, (*merged[0][2], *warnings))


def _directions(header: dict[str, Any]) -> npt.NDArray[np.float64] | None:
    """`(n_axes, 3)`, NaN for axes that are not spatial; None if the file has none."""
    found = header.get("space directions")
    if found is None:
        return None
    rows = [np.full(3, np.nan) if row is None else row for row in found]
    directions = np.array(rows, dtype=np.float64)
    return directions if directions.ndim == 2 and directions.shape[1] == 3 else None


def _frames_first(name: str, header: dict[str, Any], data: Array) -> tuple[Array, int | None]:
    """The data as `(n, n_k, n_j, n_i)`, and which axis of the file was the list."""
    directions = _directions(header)
    lists: list[int] = []
    if directions is not None:
        lists = np.flatnonzero(np.isnan(directions).any(axis=1)).tolist()
    if data.ndim == 4 and directions is None:
        kinds = [str(kind) for kind in header.get("kinds", [])]
        lists = [0] if kinds[:1] == ["list"] else [3]
    if data.ndim == 2 and not lists:
        data = data[:, :, None]
    if data.size == 0 or data.ndim - len(lists) != 3 or len(lists) > 1:
        raise StudyError(
            f"{name}: got {data.ndim} axes of sizes {data.shape}, expected a volume of three axes "
            "or a list of volumes"
        )
    if not lists:
        return data.T[None], None
    axis = int(lists[0])
    return np.moveaxis(data, axis, -1).T, axis


def _geometry(name: str, header: dict[str, Any], list_axis: int | None) -> tuple[Affine, bool]:
    """`ras_from_ijk`, and whether the file tells where it lies."""
    directions, space = _directions(header), header.get("space")
    if directions is None or space is None:
        return np.eye(4), False
    to_ras = _RAS_FROM_SPACE.get(str(space).lower())
    if to_ras is None:
        raise StudyError(f"{name}: got space {space!r}, allowed: {', '.join(_RAS_FROM_SPACE)}")
    affine = np.eye(4)
    spatial = [i for i in range(len(directions)) if i != list_axis]
    affine[:3, : len(spatial)] = directions[spatial].T
    if len(spatial) == 2:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    ras_from_ijk = to_ras @ affine
    check_affine(name, ras_from_ijk)
    return ras_from_ijk, not is_identity(ras_from_ijk)


def _cycle_fractions(
    header: dict[str, Any], list_axis: int | None, n: int
) -> npt.NDArray[np.float64] | None:
    """Times of a sequence whose index is in percent of the cycle."""
    values = str(header.get(f"axis {list_axis} index values", "")).split()
    units = header.get("units", [])
    if list_axis is None or len(values) != n or "%" not in [str(u) for u in units]:
        return None
    try:
        return np.mod(np.array([float(v) for v in values]) / 100, 1.0)
    except ValueError:
        return None
