"""One record for every image frame of a DICOM file, classic or enhanced multi-frame.

DICOM positions are LPS; they become RAS here, and nowhere else in the reader. A pixel (i, j) =
(column, row) lies at IPP + i · (IOP[:3] · PixelSpacing[1]) + j · (IOP[3:] · PixelSpacing[0])
(DICOM PS3.3 C.7.6.2.1.1).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import Dataset

from NISFCore.data.dicom_files import DAMAGED_FILE_ERRORS, DicomHeader
from NISFCore.geometry.spaces import Affine, Points, apply_affine, apply_direction, ras_from_lps

MAX_AXIS_ERROR = 0.02
"""Largest tolerated deviation of ImageOrientationPatient from a pair of perpendicular unit
vectors; smaller deviations are rounding in the header and are repaired."""

PHILIPS_FRAME_SEQUENCE = (0x2005, 0x140F)
"""Philips keeps the classic attributes of every enhanced frame here."""

_VELOCITY_TYPES = {"P", "PHASE", "PHASE MAP", "VELOCITY", "VELOCITY MAP", "PCA"}
_COMPONENT_TYPES = {"R", "I", "REAL", "IMAGINARY"}
_DERIVED_TYPES = {"MPR", "PROJECTION IMAGE", "CSA MPR", "SUBTRACTION", "T1 MAP", "T2 MAP"}
_VELOCITY_SEQUENCE = re.compile(r"_v\d+(in|ap|rl|fh)?", re.IGNORECASE)


def _word(words: str) -> re.Pattern[str]:
    """Matches whole words, where underscores and digits also separate."""
    return re.compile(rf"(?<![a-z])({words})(?![a-z])", re.IGNORECASE)


TAGGED = "tagging"
"""Why a tagged frame is no cine."""

_NOT_CINE_NAMES = {
    "a localiser": _word("locali[sz]er|scout|survey|planscan"),
    TAGGED: _word("tag(ging)?|tagged|spamm|cspamm"),
    "late enhancement": _word("lge|psir|late.?enhancement|de.?mri"),
    "perfusion": _word("perfusion|perf|first.?pass"),
    "drawn over by the scanner's evaluation": _word("inline.?vf"),
    "a parameter map": _word("(sh)?molli|t1.?map(ping)?|t2.?map(ping)?|t2.?star"),
}


class FrameError(ValueError):
    """A frame's header does not say where it lies."""


@dataclass(frozen=True)
class FrameRecord:
    """What the reader needs to know of one image frame. Identity is kept as an opaque key.

    Attributes:
        file, frame: where the pixels are; `frame` is None in a classic file.
        subject_key, frame_of_reference: who and which coordinate system; never shown.
        ras_from_pixel: `(4, 4)` with a unit normal as third column.
        acquisition_s: acquisition time, for ordering repeats only, never shown.
    """

    file: str
    frame: int | None
    sop_uid: str
    series_uid: str
    series_number: int | None
    description: str
    subject_key: tuple[str, str]
    frame_of_reference: str
    ras_from_pixel: Affine
    shape: tuple[int, int]
    thickness_mm: float | None
    trigger_time_ms: float | None
    nominal_interval_ms: float | None
    heart_rate_bpm: float | None
    acquisition_s: float | None
    acquisition_number: int | None
    instance_number: int | None
    temporal_position: int | None
    not_cine: str | None

    @property
    def series(self) -> str:
        """The series as the user knows it."""
        return "?" if self.series_number is None else str(self.series_number)

    @property
    def normal_ras(self) -> Points:
        return self.ras_from_pixel[:3, 2]

    @property
    def centre_ras(self) -> Points:
        rows, cols = self.shape
        return apply_affine(self.ras_from_pixel, [(cols - 1) / 2, (rows - 1) / 2, 0.0])


def frame_records(header: DicomHeader) -> list[FrameRecord]:
    """Records of all frames of a file.

    Raises:
        FrameError: if position, orientation or pixel size are missing or impossible.
    """
    try:
        return [_record(header, view) for view in _frame_views(header.dataset)]
    except FrameError:
        raise
    except DAMAGED_FILE_ERRORS as error:
        raise FrameError("damaged header") from error


class _FrameView:
    """Looks an attribute up where classic and enhanced files keep it."""

    def __init__(self, dataset: Dataset, groups: tuple[Dataset, ...], frame: int | None) -> None:
        self.frame = frame
        self._dataset = dataset
        self._groups = groups

    def get(self, keyword: str, *sequences: str) -> Any:
        """Value of `keyword`: per frame, shared, then in the file itself; None if absent."""
        for item in self._items(sequences):
            value = item.get(keyword)
            if value is not None and value != "":
                return value
        return None

    def number(self, keyword: str, *sequences: str) -> float | None:
        """The same as a finite number; None also for what is none, which costs no image."""
        try:
            value = self.get(keyword, *sequences)
            number = np.nan if value is None else float(value)
        except (TypeError, ValueError):
            return None
        return number if np.isfinite(number) else None

    def numbers(self, keyword: str, n: int, *sequences: str) -> Points:
        """The same as `n` finite numbers; a `FrameError` names what is wrong."""
        value = self.get(keyword, *sequences)
        if value is None:
            raise FrameError(f"{keyword} is missing")
        numbers = np.asarray(value, dtype=np.float64).reshape(-1)
        if numbers.shape != (n,) or not np.isfinite(numbers).all():
            raise FrameError(f"{keyword} has not {n} finite values")
        return numbers

    def integer(self, keyword: str, *sequences: str) -> int | None:
        value = self.number(keyword, *sequences)
        return None if value is None else int(value)

    def text(self, keyword: str, *sequences: str) -> str:
        value = self.get(keyword, *sequences)
        return "" if value is None else str(value)

    def _items(self, sequences: tuple[str, ...]) -> Iterator[Dataset]:
        for group in self._groups:
            for name in sequences:
                sequence = group.get(name)
                if sequence:
                    yield sequence[0]
            if PHILIPS_FRAME_SEQUENCE in group and group[PHILIPS_FRAME_SEQUENCE].value:
                yield group[PHILIPS_FRAME_SEQUENCE].value[0]
        yield self._dataset


def _frame_views(dataset: Dataset) -> list[_FrameView]:
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    n_frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if not per_frame:
        if n_frames > 1:
            raise FrameError("a multi-frame file without functional groups does not say where")
        return [_FrameView(dataset, (), None)]
    if len(per_frame) != n_frames:
        raise FrameError(f"{n_frames} frames, but functional groups for {len(per_frame)}")
    shared = tuple(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
    return [_FrameView(dataset, (group, *shared), k) for k, group in enumerate(per_frame)]


def _record(header: DicomHeader, view: _FrameView) -> FrameRecord:
    dataset = header.dataset
    name, protocol = view.text("SeriesDescription"), view.text("ProtocolName")
    return FrameRecord(
        file=header.file,
        frame=view.frame,
        sop_uid=f"{view.text('SOPInstanceUID')}/{view.frame}",
        series_uid=view.text("SeriesInstanceUID"),
        series_number=view.integer("SeriesNumber"),
        description=f"{name} {protocol}".strip(),
        subject_key=(view.text("PatientID").strip(), view.text("PatientName").strip()),
        frame_of_reference=view.text("FrameOfReferenceUID"),
        ras_from_pixel=_ras_from_pixel(view),
        shape=(int(dataset.Rows), int(dataset.Columns)),
        thickness_mm=view.number("SliceThickness", "PixelMeasuresSequence"),
        trigger_time_ms=_trigger_time_ms(view),
        nominal_interval_ms=_nominal_interval_ms(view),
        heart_rate_bpm=view.number("HeartRate"),
        acquisition_s=_acquisition_s(view),
        acquisition_number=view.integer("AcquisitionNumber"),
        instance_number=_instance_number(view),
        temporal_position=_temporal_position(view),
        # some scanners name the protocol of the whole examination ("function and LGE")
        not_cine=_not_cine(view, name or protocol),
    )


def _ras_from_pixel(view: _FrameView) -> Affine:
    position = view.numbers("ImagePositionPatient", 3, "PlanePositionSequence")
    orientation = view.numbers("ImageOrientationPatient", 6, "PlaneOrientationSequence")
    spacing = view.numbers("PixelSpacing", 2, "PixelMeasuresSequence")
    if not (spacing > 0).all():
        raise FrameError(f"PixelSpacing is {spacing[0]:g} x {spacing[1]:g} mm")
    i, j = _orthonormal(orientation)
    i, j = apply_direction(ras_from_lps(), i), apply_direction(ras_from_lps(), j)
    A = np.eye(4)
    A[:3, 0] = i * spacing[1]  # PixelSpacing = (between rows, between columns)
    A[:3, 1] = j * spacing[0]
    A[:3, 2] = np.cross(i, j)
    A[:3, 3] = apply_affine(ras_from_lps(), position)
    return A


def _orthonormal(orientation: Points) -> tuple[Points, Points]:
    """The row and column direction, rounding errors of the header removed."""
    i, j = orientation[:3], orientation[3:]
    gram = np.array([[i @ i, i @ j], [i @ j, j @ j]])
    if np.abs(gram - np.eye(2)).max() > MAX_AXIS_ERROR:
        raise FrameError("ImageOrientationPatient is not a pair of perpendicular unit vectors")
    i = i / np.linalg.norm(i)
    j = j - (j @ i) * i
    return i, j / np.linalg.norm(j)


def _trigger_time_ms(view: _FrameView) -> float | None:
    for keyword in (
        "NominalCardiacTriggerDelayTime",
        "ActualCardiacTriggerDelayTime",
        "CardiacTriggerDelayTime",
        "TriggerTime",
    ):
        value = view.number(keyword, "CardiacSynchronizationSequence", "CardiacTriggerSequence")
        if value is not None:
            return value
    return None


def _nominal_interval_ms(view: _FrameView) -> float | None:
    value = view.number("RRIntervalTimeNominal", "CardiacSynchronizationSequence")
    return view.number("NominalInterval") if value is None else value


def _instance_number(view: _FrameView) -> int | None:
    number = view.integer("InstanceNumber")
    # A multi-frame file has one InstanceNumber; its frames follow in order.
    return number if view.frame is None else 100_000 * (number or 0) + view.frame


def _temporal_position(view: _FrameView) -> int | None:
    value = view.integer("TemporalPositionIndex", "FrameContentSequence")
    return view.integer("TemporalPositionIdentifier") if value is None else value


def _acquisition_s(view: _FrameView) -> float | None:
    """Seconds since a fixed day, from whichever date and time the file has."""
    stamp = view.text("FrameAcquisitionDateTime", "FrameContentSequence") or view.text(
        "AcquisitionDateTime"
    )
    if not stamp:
        time = view.text("AcquisitionTime") or view.text("ContentTime")
        if not time:
            return None
        date = view.text("AcquisitionDate") or view.text("SeriesDate") or view.text("StudyDate")
        stamp = f"{date:0<8.8}{time}" if date else f"00000101{time}"
    return _seconds_of_stamp(stamp)


def _seconds_of_stamp(stamp: str) -> float | None:
    """Seconds of YYYYMMDDHHMMSS.FFFFFF. Months count 31 days: only order and nearness matter."""
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)?(\d\d(?:\.\d+)?)?(?:[+-]\d{4})?", stamp)
    if match is None:
        return None
    year, month, day, hour, minute = (int(g or 0) for g in match.groups()[:5])
    days = (year * 12 + month) * 31 + day
    return days * 86400.0 + hour * 3600 + minute * 60 + float(match.group(6) or 0)


def _not_cine(view: _FrameView, description: str) -> str | None:
    """Why this frame cannot belong to a cine, from its own words; None if it may."""
    types = {
        str(t).upper()
        for source in (view.get("FrameType", "MRImageFrameTypeSequence"), view.get("ImageType"))
        for t in ([source] if isinstance(source, str) else source or [])
    }
    if types & _VELOCITY_TYPES or _VELOCITY_SEQUENCE.search(view.text("SequenceName")):
        return "velocity encoding"
    if types & _COMPONENT_TYPES:
        return "real or imaginary part"
    if "LOCALIZER" in types:
        return "a localiser"
    if types & _DERIVED_TYPES:
        return "a derived image"
    if (view.integer("SamplesPerPixel") or 1) != 1:
        return "a colour image"
    if _is_inverted(view):
        return "inversion recovery (late enhancement, mapping, a search for the inversion time)"
    if _says_tagged(view):
        return TAGGED
    return next((why for why, name in _NOT_CINE_NAMES.items() if name.search(description)), None)


def _is_inverted(view: _FrameView) -> bool:
    """Whether the tissue was inverted before, which some write as an inversion time of 0 if not."""
    inverted = view.text("InversionRecovery", "MRModifierSequence") == "YES"
    return inverted or (view.number("InversionTime") or 0.0) > 0


def _says_tagged(view: _FrameView) -> bool:
    """Whether attributes other than the series' names say that the tissue was tagged."""
    if view.text("Tagging", "MRModifierSequence") in {"GRID", "LINE"}:
        return True
    names = f"{view.text('ScanOptions')} {view.text('SequenceName')}"
    return _NOT_CINE_NAMES[TAGGED].search(names) is not None
