"""Reading a DICOM study: a folder, a zip or a file, in any nesting and order.

Which files belong together is decided by geometry and time (`dicom_grouping`, `dicom_timing`),
which view a plane shows by `view_recognition`. Names, IDs and dates of patients are compared, but
never kept, shown or written.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from NISFCore.data.assembly import FoundSlice, assemble_planes, unit_normal_affine
from NISFCore.data.dicom_files import (
    DicomHeader,
    FileSource,
    SkippedFiles,
    open_source,
    quiet_pydicom,
    read_headers,
)
from NISFCore.data.dicom_frames import TAGGED, FrameError, FrameRecord, frame_records
from NISFCore.data.dicom_grouping import (
    MIN_CINE_PHASES,
    Acquisition,
    group_by_plane,
    last_complete,
    without_exact_duplicates,
)
from NISFCore.data.dicom_identity import pseudonym, redacted, select_examination
from NISFCore.data.dicom_pixels import Image, PixelReader
from NISFCore.data.dicom_tagged import Repeats, phase_order, series_of_plane
from NISFCore.data.dicom_timing import NotCineError, phase_timing
from NISFCore.data.study import CineSlice, CineStudy, Provenance
from NISFCore.data.view_hints import described_view
from NISFCore.errors import NoSeriesError, StudyError
from NISFCore.views import View

ASSUMED_THICKNESS_MM = 8.0
"""Used only where SliceThickness is missing; never taken from the distance between slices."""

FoundPhases = tuple[FoundSlice, tuple[FrameRecord, ...]]
"""A slice and the images of its phases."""


def read_dicom(
    path: Path, *, views: Mapping[str, View] | None = None, select: str | None = None
) -> CineStudy:
    """Read the cine slices of one subject.

    Args:
        path: folder, zip or file.
        views: views that the user gives, by series number or name of its folder.
        select: which examination to read where there are several: its number in the question
            that `AmbiguousInputError` asks, or a folder inside the input.

    Raises:
        AmbiguousInputError: if there are several subjects or frames of reference.
        StudyError: if nothing usable is found; the message says what was found instead.
    """
    with open_source(path) as source:
        return read_source(source, path, views=views, select=select).study


def read_tagged_dicom(
    path: Path, *, views: Mapping[str, View] | None = None, select: str | None = None
) -> CineStudy:
    """Read the tagged slices of one subject; a plane with lines in two series is two slices.

    Args and errors as `read_dicom`.
    """
    with open_source(path) as source:
        return read_source(source, path, views=views, select=select, tagged=True).study


@dataclass(frozen=True)
class DicomStudy:
    """A study, and for every used slice, by name, the image that each of its phases came from."""

    study: CineStudy
    records: Mapping[str, tuple[FrameRecord, ...]]


def read_source(
    source: FileSource,
    path: Path,
    *,
    views: Mapping[str, View] | None = None,
    select: str | None = None,
    subject: str | None = None,
    tagged: bool = False,
) -> DicomStudy:
    """`read_dicom` of a source that is open already.

    Args:
        path: where the source lies; only its name is used.
        subject: the study's pseudonym; by default from the input's name.
        tagged: read the tagged series and leave the cines out, instead of the other way round.

    Raises:
        AmbiguousInputError, StudyError: as `read_dicom`.
    """
    skipped = SkippedFiles(list(source.problems))
    report: Counter[str] = Counter()
    records = _all_records(read_headers(source, skipped), report)
    if not records:
        raise NoSeriesError(_nothing_read(subject or path.name, skipped, report))
    usable = {None, TAGGED} if tagged else {None}
    candidates = [r for r in records if r.not_cine in usable]
    chosen = select_examination(candidates, records, select)
    unique, n_duplicates = without_exact_duplicates(chosen)
    planes, messages = _found_slices(unique, PixelReader(source), skipped, tagged)
    unused = _not_cine_messages([r for r in records if r.not_cine not in usable])
    damaged = [redacted(name, records) for name in skipped.damaged]
    warnings = [*skipped.messages(damaged), *_counted(report), *unused, *messages]
    if n_duplicates:
        warnings.append(f"{n_duplicates} exact duplicate(s) of images dropped")
    if not planes:
        kind = "tagged" if tagged else "cine"
        raise NoSeriesError(f"no {kind} series was found. " + "; ".join(warnings))
    study = assemble_planes(
        [[f for f, _ in plane] for plane in planes],
        subject=pseudonym(path, records) if subject is None else subject,
        views=views,
        warnings=warnings,
    )
    return DicomStudy(study, _records_by_name(study, [pair for plane in planes for pair in plane]))


def _records_by_name(
    study: CineStudy, found: Sequence[FoundPhases]
) -> dict[str, tuple[FrameRecord, ...]]:
    # Assembly renames and reorders the slices; their frames stay the same arrays.
    by_frames = {id(f.item.frames): records for f, records in found}
    return {s.name: by_frames[id(s.frames)] for s in study.slices}


def _all_records(headers: Iterable[DicomHeader], report: Counter[str]) -> list[FrameRecord]:
    """Records of all frames; those that do not say where they lie are counted by reason."""
    records: list[FrameRecord] = []
    for header in headers:
        try:
            with quiet_pydicom():
                records.extend(frame_records(header))
        except FrameError as error:
            report[str(error)] += 1
    return records


def _counted(report: Counter[str]) -> list[str]:
    return [f"{n} image(s) skipped: {reason}" for reason, n in sorted(report.items())]


def _not_cine_messages(records: Sequence[FrameRecord]) -> list[str]:
    """One line per series that says itself that it is no cine."""
    series = Counter((r.series, r.not_cine) for r in records if r.not_cine is not None)
    return [f"series {name}: {n} image(s) left out, {why}" for (name, why), n in series.items()]


def _nothing_read(name: str, skipped: SkippedFiles, report: Counter[str]) -> str:
    details = "; ".join([*skipped.messages(), *_counted(report)]) or "the input is empty"
    return f"{name}: no usable DICOM MR image was found. {details}"


def _found_slices(
    records: Sequence[FrameRecord], pixels: PixelReader, skipped: SkippedFiles, tagged: bool
) -> tuple[list[list[FoundPhases]], list[str]]:
    """For every plane that was filmed, in order of acquisition: one slice, or one for every
    direction of tags; and messages."""
    messages: list[str] = []
    planes: list[list[Repeats]] = []
    for plane in group_by_plane(records):
        cines = _cines(plane, messages)
        series, left_out = series_of_plane(cines, pixels, tagged)
        messages.extend(left_out)
        kept = [(_without_copies(group, pixels), tags) for group, tags in series]
        planes.append(sorted(kept, key=_order))
    found = []
    for plane_series in sorted((p for p in planes if p), key=lambda p: _order(p[0])):
        slices = [_found_slice(s, pixels, skipped, messages) for s in plane_series]
        found.append([pair for pair in slices if pair is not None])
    return [plane for plane in found if plane], _summarised(messages)


def _order(repeats: Repeats) -> tuple[float, int, int]:
    return last_complete(repeats[0]).order


def _cines(plane: Sequence[Acquisition], messages: list[str]) -> list[Acquisition]:
    """The acquisitions of a plane that are movies; the messages say why others are none. They must
    not stand for the cine that was scanned in the same plane, as perfusion often was."""
    cines = []
    for acquisition in plane:
        n, series = len(acquisition.records), acquisition.first.series
        if n < MIN_CINE_PHASES:
            messages.append(f"series {series} left out: {n} image(s) of a plane are no cine")
            continue
        try:
            phase_timing(acquisition.records)
        except NotCineError as error:
            messages.append(f"series {series} left out: {error}")
            continue
        cines.append(acquisition)
    return cines


def _found_slice(
    repeats: Repeats, pixels: PixelReader, skipped: SkippedFiles, messages: list[str]
) -> FoundPhases | None:
    """The slice of the last complete acquisition; where that is no slice, which a message tells, of
    one before. None if there is none."""
    left, tags = list(repeats[0]), repeats[1]
    while left:
        acquisition = last_complete(left)
        first = acquisition.first
        try:
            item, phases = _slice_of(acquisition, pixels, skipped)
        except (NotCineError, StudyError) as error:
            messages.append(f"series {first.series} left out: {error}")
            left = [a for a in left if a.records is not acquisition.records]
            continue
        description = described_view(first.description, PurePosixPath(first.file).parent.name)
        return FoundSlice(replace(item, tags=tags), description), phases
    return None


def _summarised(messages: Sequence[str]) -> list[str]:
    """Each message once, with how often it occurred."""
    return [m if n == 1 else f"{m} ({n} planes)" for m, n in Counter(messages).items()]


def _without_copies(repeats: list[Acquisition], pixels: PixelReader) -> list[Acquisition]:
    """Drop acquisitions that show the very same pixels under other UIDs."""
    if len(repeats) == 1:
        return repeats
    kept: list[Acquisition] = []
    seen: list[list[Image | None]] = []
    for acquisition in repeats:
        images = _images_or_none(acquisition, pixels)
        copy_of = next((k for k, other in enumerate(seen) if _same_images(images, other)), None)
        if copy_of is None:
            kept.append(acquisition)
            seen.append(images)
        else:
            kept[copy_of] = kept[copy_of].noted(
                f"series {acquisition.first.series} is an exact copy of "
                f"series {kept[copy_of].first.series}, dropped"
            )
    return kept


def _images_or_none(acquisition: Acquisition, pixels: PixelReader) -> list[Image | None]:
    try:
        return [pixels.read(r) for r in phase_order(acquisition)]
    except StudyError:  # told where the slice is read
        return [None]


def _same_images(a: Sequence[Image | None], b: Sequence[Image | None]) -> bool:
    return len(a) == len(b) and all(
        x is not None and y is not None and np.array_equal(x, y) for x, y in zip(a, b, strict=True)
    )


def _slice_of(
    acquisition: Acquisition, pixels: PixelReader, skipped: SkippedFiles
) -> tuple[CineSlice, tuple[FrameRecord, ...]]:
    """The slice and the image of each of its phases."""
    images = {id(r): pixels.read(r) for r in acquisition.records}
    readable = [r for r in acquisition.records if images[id(r)] is not None]
    skipped.damaged.extend(r.file for r in acquisition.records if images[id(r)] is None)
    if len(readable) < MIN_CINE_PHASES:
        raise StudyError(f"only {len(readable)} of {len(acquisition.records)} images are readable")
    timing = phase_timing(readable)
    frames = np.stack([images[id(r)] for r in timing.records])  # type: ignore[misc]
    if np.ptp(frames) == 0.0:
        raise StudyError("its images are empty: all pixels have one value")
    first = timing.records[0]
    thickness, thickness_notes = _thickness_mm(readable)
    notes = (*acquisition.notes, *timing.notes, *thickness_notes)
    n_lost = len(acquisition.records) - len(readable)
    if n_lost:
        notes = (*notes, f"{n_lost} damaged image(s) are missing from its phases")
    item = CineSlice(
        name=f"series {first.series}",
        view=View.OTHER,
        frames=frames,
        ras_from_ijk=unit_normal_affine(first.ras_from_pixel, thickness),
        thickness_mm=thickness,
        trigger_times_ms=timing.times_ms,
        rr_interval_ms=timing.rr_interval_ms,
        provenance=Provenance(_folder_of(first), first.series, notes),
    )
    return item, timing.records


def _folder_of(record: FrameRecord) -> str:
    """The folder of an image inside the input, without what names the patient."""
    return redacted(str(PurePosixPath(record.file).parent), [record])


def _thickness_mm(records: Sequence[FrameRecord]) -> tuple[float, tuple[str, ...]]:
    known = [r.thickness_mm for r in records if r.thickness_mm is not None and r.thickness_mm > 0]
    if known:
        return float(np.median(known)), ()
    return ASSUMED_THICKNESS_MM, (
        f"SliceThickness is missing: {ASSUMED_THICKNESS_MM:g} mm assumed",
    )
