"""`manifest.json`: what NIfTI cannot say. Also the exact layout in which studies are written.

A manifest may name every file of a study or only correct some; only `image` is required. A file
may hold one slice or a whole stack. A study written by `write_nifti_study` comes back the same,
to the bit.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from NISFCore.config import from_json_object, to_json_object
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import ConfigError, StudyError
from NISFCore.files import new_folder, write_text_atomically
from NISFCore.views import View

MANIFEST_NAME = "manifest.json"
SCHEMA = "nisf-nifti-study"
VERSION = 1

MAX_AFFINE_ERROR_MM = 0.01
"""NIfTI keeps float32; a manifest may refine a file's affine, not contradict it."""


@dataclass(frozen=True)
class ManifestFile:
    """One image of a study. All paths are relative to the manifest.

    Attributes:
        image: 3D or 4D NIfTI file.
        view: its view; by name or geometry if absent.
        name: name of the slice (files of one slice only).
        labels: label map on the same grid, 3D or 4D.
        annotated: for each phase, whether its labels mean anything; by default where any is not 0.
        label_phase: phase of a 3D label map.
        thickness_mm, rr_interval_ms, trigger_times_ms: as in `CineSlice`, for all its slices.
        ras_from_ijk: the affine in float64 (files of one slice only).
        series, source, notes: provenance.
        reason: why the file is excluded, if it is.
    """

    image: str
    view: View | None = None
    name: str | None = None
    labels: str | None = None
    annotated: tuple[bool, ...] | None = None
    label_phase: int | None = None
    thickness_mm: float | None = None
    rr_interval_ms: float | None = None
    trigger_times_ms: tuple[float, ...] | None = None
    ras_from_ijk: tuple[tuple[float, ...], ...] | None = None
    series: str | None = None
    source: str | None = None
    notes: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The whole study.

    Attributes:
        label_numbers: number in the label files -> number of `NISFCore.labels.Label`.
        has_patient_orientation: overrides what the affines suggest.
        complete: all files are listed, in order, with names and views: nothing is recognised.
    """

    files: tuple[ManifestFile, ...] = ()
    schema: str = SCHEMA
    version: int = VERSION
    subject: str | None = None
    warnings: tuple[str, ...] = ()
    has_patient_orientation: bool | None = None
    label_numbers: dict[str, int] | None = None
    complete: bool = False


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, or None if it has none.

    Raises:
        StudyError: if it is not valid.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return None
    try:
        # Windows' editors begin a file with a mark, which "utf-8" alone would take for a character
        values = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(values, dict):
            raise ConfigError("expected a JSON object")
        _check_version(values)
        return from_json_object(Manifest, values)
    except (OSError, ValueError, ConfigError) as error:
        raise StudyError(f"{MANIFEST_NAME}: {error}") from error


def _check_version(values: dict[str, Any]) -> None:
    schema, version = values.get("schema", SCHEMA), values.get("version", VERSION)
    if (schema, version) != (SCHEMA, VERSION):
        raise ConfigError(f"got {schema} {version}, this program reads {SCHEMA} {VERSION}")


def write_nifti_study(study: CineStudy, folder: Path, *, compress: bool = False) -> None:
    """Write a study with its labels as NIfTI files and a manifest.

    Args:
        folder: a new or empty folder; it appears only when all is written.
        compress: write .nii.gz: smaller, but several times slower to read.

    Raises:
        OutputError: if the folder is not empty or cannot be written.
    """
    suffix = ".nii.gz" if compress else ".nii"
    with new_folder(folder) as temporary:
        files = [_write_slice(s, temporary, suffix, None) for s in study.slices]
        files += [_write_slice(e.slice, temporary, suffix, e.reason) for e in study.excluded]
        manifest = Manifest(
            files=tuple(files),
            subject=study.subject,
            warnings=study.warnings,
            has_patient_orientation=study.has_patient_orientation,
            complete=True,
        )
        text = json.dumps(to_json_object(manifest), indent=1, ensure_ascii=False)
        write_text_atomically(temporary / MANIFEST_NAME, text + "\n")


def _write_slice(item: CineSlice, folder: Path, suffix: str, reason: str | None) -> ManifestFile:
    stem = _safe_file_stem(item.name)
    image = f"{stem}{suffix}"
    _save(folder / image, _compact(item.frames), item)
    labels = None
    if item.labels is not None:
        labels = f"{stem}_seg{suffix}"
        _save(folder / labels, item.labels.values, item)
    return ManifestFile(
        image=image,
        view=item.view,
        name=item.name,
        labels=labels,
        annotated=None if item.labels is None else tuple(item.labels.annotated.tolist()),
        thickness_mm=item.thickness_mm,
        rr_interval_ms=item.rr_interval_ms,
        trigger_times_ms=tuple(item.trigger_times_ms.tolist()),
        ras_from_ijk=tuple(tuple(row) for row in item.ras_from_ijk.tolist()),
        series=item.provenance.series,
        source=item.provenance.source,
        notes=item.provenance.notes,
        reason=reason,
    )


def _safe_file_stem(name: str) -> str:
    """A slice's name as a file name on every system."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def _compact(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
    """Scanner images are whole numbers: int16 holds them exactly in half the space."""
    if np.abs(frames).max() < 2**15 and np.array_equal(frames, np.rint(frames)):
        return frames.astype(np.int16)
    return frames


def _save(path: Path, frames: npt.NDArray[np.generic], item: CineSlice) -> None:
    """Write `(n_phases, rows, cols)` as a 4D file of one slice."""
    data = np.transpose(frames, (2, 1, 0))[:, :, None, :]
    image = nib.Nifti1Image(data, item.ras_from_ijk)
    image.header.set_xyzt_units("mm", "msec")
    step = item.rr_interval_ms / item.n_phases
    image.header.set_zooms((*item.spacing_mm, item.thickness_mm, step))
    image.set_sform(item.ras_from_ijk, code=1)
    image.set_qform(item.ras_from_ijk, code=1, strip_shears=True)
    nib.save(image, path)
