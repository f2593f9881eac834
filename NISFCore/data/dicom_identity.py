"""One subject and one frame of reference per study: which of several, without naming anybody."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from NISFCore.data.dicom_frames import FrameRecord
from NISFCore.data.dicom_grouping import has_movie
from NISFCore.errors import AmbiguousInputError, StudyError

Examination = tuple[tuple[str, str], str]
"""Subject key and frame of reference; both stay inside this module."""

MIN_REDACTED_LENGTH = 3
"""Shorter parts of a name or ID in Latin letters blank out only what they are alone: "Li" is not
in "slice"."""

DATE = re.compile(
    r"(19|20)\d\d([-_. ]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"  # 20240229, 2024-02-29
    r"|(0[1-9]|[12]\d|3[01])([-_. ])(0[1-9]|1[0-2])\6(19|20)\d\d"  # 29.02.2024
)
"""Folders of an export are named after the day of birth or examination, UIDs contain it."""


def select_examination(
    candidates: Sequence[FrameRecord], records: Sequence[FrameRecord], select: str | None
) -> list[FrameRecord]:
    """The candidates of the one examination that is there, or that the user selected.

    Args:
        candidates: images that may be cine.
        records: all images; other people among them are a question, too.
        select: number of an examination, or a folder; None if not given.

    Raises:
        AmbiguousInputError: a question, if there are several and none was selected.
        StudyError: if the selection matches nothing.
    """
    relevant = list(candidates) or list(records)
    groups = _examinations(relevant)
    subjects = {r.subject_key for r in records}
    numbers = {exam: str(k) for k, exam in enumerate(groups, start=1)}
    if select is not None:
        return _selected(groups, numbers, select)
    if candidates and len(groups) > 1 and len(subjects) == 1:
        movies = [records for records in groups.values() if has_movie(records)]
        if len(movies) == 1:  # the others are localisers and the like, whatever they are called
            return movies[0]
    if len(groups) > 1 or len(subjects) > 1:
        raise AmbiguousInputError(_question(groups, len(subjects)))
    return list(candidates)


def _examinations(records: Sequence[FrameRecord]) -> dict[Examination, list[FrameRecord]]:
    """Images by subject and frame of reference, in order of the files.

    Images without a frame of reference join the only one that their subject has.
    """
    groups: dict[Examination, list[FrameRecord]] = {}
    for record in records:
        groups.setdefault((record.subject_key, record.frame_of_reference), []).append(record)
    for subject in {key for key, _ in groups}:
        named = [e for e in groups if e[0] == subject and e[1]]
        if len(named) == 1 and (subject, "") in groups:
            groups[named[0]].extend(groups.pop((subject, "")))
    return groups


def _selected(
    groups: dict[Examination, list[FrameRecord]], numbers: dict[Examination, str], select: str
) -> list[FrameRecord]:
    by_number = [exam for exam, number in numbers.items() if number == select.strip()]
    if by_number:
        return groups[by_number[0]]
    folder = PurePosixPath(select.replace("\\", "/").strip("/"))
    inside = {
        exam: [r for r in records if folder in PurePosixPath(r.file).parents]
        for exam, records in groups.items()
    }
    inside = {exam: records for exam, records in inside.items() if records}
    if not inside:
        raise StudyError(
            f"selection {select!r} matches nothing; allowed: a folder inside the input, or a "
            f"number from 1 to {len(groups)}"
        )
    if len(inside) > 1:
        raise AmbiguousInputError(_question(inside, len({e[0] for e in inside})))
    return next(iter(inside.values()))


def _question(groups: dict[Examination, list[FrameRecord]], n_subjects: int) -> str:
    subjects = list(dict.fromkeys(subject for subject, _ in groups))
    lines = [
        f"  {k}: subject {subjects.index(subject) + 1}, {_described(records)}"
        for k, ((subject, _), records) in enumerate(groups.items(), start=1)
    ]
    kinds = f"{n_subjects} subjects" if n_subjects > 1 else f"{len(groups)} frames of reference"
    return (
        f"the input holds images of {kinds}; which one is meant? Select by number or folder:\n"
        + "\n".join(lines)
    )


def _described(records: Sequence[FrameRecord]) -> str:
    """Numbers and folders of an examination; parts of the folders that name somebody are cut."""
    series = len({r.series_uid for r in records})
    folders = sorted({redacted(str(PurePosixPath(r.file).parent), [r]) for r in records})
    shown = ", ".join(f"'{f}'" for f in folders[:3]) + (", ..." if len(folders) > 3 else "")
    return f"{series} series, {len(records)} images, in {shown}"


def redacted(name: str, records: Iterable[FrameRecord]) -> str:
    """A path without those parts that contain the name or ID of one of the patients, or a date."""
    patterns = [_pattern(w) for key in {r.subject_key for r in records} for w in _words(key)]

    def tells(part: str) -> bool:
        return DATE.search(part) is not None or any(p.search(_folded(part)) for p in patterns)

    return "/".join("***" if tells(part) else part for part in PurePosixPath(name).parts) or "."


def _words(subject_key: tuple[str, str]) -> list[str]:
    """The ID, and the parts of the name, in whatever scripts it is given."""
    patient_id, name = subject_key
    words = [_folded(w) for w in (patient_id, *re.split(r"[\s^=]+", name))]
    return [w for w in words if w and (len(w) >= MIN_REDACTED_LENGTH or _may_be_short(w))]


def _may_be_short(word: str) -> bool:
    """A name of one or two characters, neither an initial nor a number."""
    return not word.isascii() or (len(word) > 1 and word.isalpha())


def _pattern(word: str) -> re.Pattern[str]:
    is_common = len(word) < MIN_REDACTED_LENGTH and word.isascii()
    around = r"(?<![a-z0-9]){}(?![a-z0-9])" if is_common else "{}"
    return re.compile(around.format(re.escape(word)))


def _folded(text: str) -> str:
    """Without case and accents: file systems and zips keep "ü" in one character or in two."""
    parts = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in parts if not unicodedata.combining(c))


def pseudonym(path: Path, records: Sequence[FrameRecord]) -> str:
    """A name for the study from the input's own name, unless that identifies a patient."""
    name = path.stem if path.is_file() else path.name
    cleaned = redacted(name, records) if name else ""
    return "subject" if not cleaned or "***" in cleaned or cleaned == "." else cleaned
