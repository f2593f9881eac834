"""The Sunnybrook Cardiac Data: DICOM studies and where their contours lie.

Two layouts are in use. The challenge's: `.../SC-HF-I-1/IM-0004-0048.dcm`, with contours in
`.../SC-HF-I-01/contours-manual/IRCCI-expert/`. The Cardiac Atlas Project's:
`SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0003-0048.dcm` with the same contours in
`SCD_ManualContours`, and `scd_patientdata.csv` telling which subject is which. Contours may also
lie inside the subject's folder.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from NISFCore.data.dicom import DicomStudy, read_source
from NISFCore.data.dicom_files import open_source
from NISFCore.data.study import CineStudy
from NISFCore.data.sunnybrook_contours import (
    ImageContours,
    LeftOut,
    contoured_series,
    find_contours,
    image_number,
    slice_labels,
)
from NISFCore.views import View

PATIENT_TABLE = "scd_patientdata.csv"
CONTOUR_FOLDER = "contours-manual"
EXPERT_FOLDER = "IRCCI-expert"
MAX_LEVELS_UP = 3
"""How far above a subject's folder its contours are looked for."""

_CASE = re.compile(r"^SC-(HF-I|HF-NI|HYP|N)-0*(\d+)$", re.IGNORECASE)
_ATLAS_ID = re.compile(r"^SCD\d{7}$", re.IGNORECASE)

# Below a common ancestor: SC-HF-I-01, or that in a folder (of a folder) of contours.
_CONTOUR_PLACES = ("SC-*", "*[Cc]ontours*/SC-*", "*[Cc]ontours*/*[Cc]ontours*/SC-*")

NO_RV = "Sunnybrook contours show no right ventricle: what lies outside of the left may be one"


def is_sunnybrook_study(path: Path) -> bool:
    """True for a subject's folder that has (or is named after one that has) images."""
    if not path.is_dir() or not (_CASE.match(path.name) or _ATLAS_ID.match(path.name)):
        return False
    return any(p.suffix.lower() == ".dcm" for p in path.rglob("*"))


def read_sunnybrook(
    path: Path, *, views: Mapping[str, View] | None = None, select: str | None = None
) -> CineStudy:
    """Read a subject's folder with its contours.

    Args:
        path: folder named SC-... or SCD...
        views, select: as `read_study`.

    Raises:
        StudyError: if there is no usable cine. Contours that cannot be used are warnings.
    """
    with open_source(path) as source:
        read = read_source(source, path, views=views, select=select)
    folder = contour_folder(path)
    if folder is None:
        said = "no contours were found for this subject: the study has no labels"
        return replace(read.study, warnings=(*read.study.warnings, said))
    return _with_contours(read, find_contours(folder))


def contour_folder(path: Path) -> Path | None:
    """Where the contours of a subject's folder lie, or None."""
    inside = _drawn_by_the_expert(path)
    if inside is not None:
        return inside
    ancestors = list(path.resolve().parents)[:MAX_LEVELS_UP]
    case = _case(path.name) or next(
        (c for a in ancestors if (c := _case_of_table(a / PATIENT_TABLE, path.name))), None
    )
    places = [p for a in ancestors for pattern in _CONTOUR_PLACES for p in sorted(a.glob(pattern))]
    found = (_drawn_by_the_expert(p) for p in places if case is not None and _case(p.name) == case)
    return next((f for f in found if f is not None), None)


def _drawn_by_the_expert(path: Path) -> Path | None:
    folder = path / CONTOUR_FOLDER
    return next((f for f in (folder / EXPERT_FOLDER, folder) if _has_contours(f)), None)


def _has_contours(folder: Path) -> bool:
    return folder.is_dir() and bool(find_contours(folder))


def _case(name: str) -> tuple[str, int] | None:
    """Group and number: images are in SC-HF-I-1, contours in SC-HF-I-01."""
    match = _CASE.match(name.strip())
    return None if match is None else (match.group(1).upper(), int(match.group(2)))


def _case_of_table(table: Path, atlas_id: str) -> tuple[str, int] | None:
    """The case behind a number of the Cardiac Atlas Project."""
    if not table.is_file():
        return None
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = [r for r in csv.DictReader(file) if r.get("PatientID") == atlas_id]
    return _case(rows[0].get("OriginalID") or "") if rows else None


def _with_contours(read: DicomStudy, contours: Mapping[int, ImageContours]) -> CineStudy:
    short_axis = {s.name: read.records[s.name] for s in read.study.of_view(View.SA)}
    series = contoured_series(list(short_axis.values()), contours)
    drawn_on = {n: r for n, r in short_axis.items() if r[0].series_uid == series}
    numbers = {image_number(record) for records in drawn_on.values() for record in records}
    left_out = LeftOut(no_image=[n for n in contours if n not in numbers])
    labels = {n: slice_labels(r, contours, left_out) for n, r in drawn_on.items()}
    slices = tuple(replace(s, labels=labels.get(s.name)) for s in read.study.slices)
    n_phases = sum(int(found.annotated.sum()) for found in labels.values() if found is not None)
    said = [f"{n_phases} image(s) have contours", *left_out.messages()]
    if n_phases:
        said.append(NO_RV)
    return replace(read.study, slices=slices, warnings=(*read.study.warnings, *said))
