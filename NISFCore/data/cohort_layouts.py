"""Finding the subjects of a cohort folder, in the layouts of public data sets and in plain ones.

A subject is recognised by names only; nothing is opened here. What the layouts look like stands in
docs/cohorts.md.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from NISFCore.data.nifti_images import is_nifti
from NISFCore.data.sunnybrook import NO_RV, is_sunnybrook_study
from NISFCore.data.ukb_zips import UkbZips, is_field_folder, is_ukb_zip, ukb_zips
from NISFCore.errors import CohortError

STUDY_SUBFOLDERS = ("images", "dicom")
"""Where the study of a subject folder lies; the subject folder itself if there is neither."""

MAX_LEVELS = 4
"""M&Ms lies deepest: cohort/OpenDataset/Training/Labeled/A0S9V9."""

PLAIN = "one folder per subject"
UKB, SUNNYBROOK, KAGGLE = "UK Biobank zips", "Sunnybrook", "Data Science Bowl 2015"

_NIFTI_LAYOUTS = (
    ("ACDC", re.compile(r"^patient\d+_(?:4d|frame\d+)", re.IGNORECASE)),
    ("M&Ms-2", re.compile(r"^\d+_(?:SA|LA)_(?:CINE|ED|ES)", re.IGNORECASE)),
    ("M&Ms", re.compile(r"^[A-Z]\d[A-Z]\d[A-Z]\d_sa", re.IGNORECASE)),
    ("UK Biobank converted to NIfTI", re.compile(r"^(?:sa|la_[234]ch|label_sa)\b", re.IGNORECASE)),
)
_KAGGLE_SERIES = re.compile(r"^(?:sax|[24]ch)_\d+$", re.IGNORECASE)
_NOT_A_SUBJECT = re.compile(r"contours|^__MACOSX$|^\.", re.IGNORECASE)


@dataclass(frozen=True)
class CohortSubject:
    """Attributes:
    name: what messages call it; for UK Biobank its place in the order, never its number.
    path: what `read_study` is given.
    layout: the layout that it was recognised by.
    """

    name: str
    path: Path
    layout: str


@dataclass(frozen=True)
class Cohort:
    """The subjects of a cohort folder.

    Attributes:
        left_out: subjects that were recognised but cannot be read, "name: reason".
        notes: what is odd with subjects that are read, "name: what".
    """

    subjects: tuple[CohortSubject, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """Which layout was recognised, how many subjects it has and which are left out."""
        counts = Counter(s.layout for s in self.subjects)
        found = ", ".join(
            f"{n} {'subject' if n == 1 else 'subjects'} as {layout}" for layout, n in counts.items()
        )
        parts = [f"recognised {found or 'no subjects'}", *self.notes]
        if self.left_out:
            parts.append(f"left out {len(self.left_out)}: " + "; ".join(self.left_out))
        return "; ".join(parts)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to say: one folder per subject, none left out."""
        layouts = {s.layout for s in self.subjects}
        return layouts <= {PLAIN} and not self.left_out and not self.notes


def find_cohort(root: Path) -> Cohort:
    """The subjects below `root`, in order of name.

    Raises:
        CohortError: if there is no such folder or no subject in it.
    """
    if not root.is_dir():
        raise CohortError(f"no folder {root}; a cohort is a folder with one folder per subject")
    zips = _ukb_paths(root, 0)
    subjects, notes, left_out = _ukb_subjects(root, zips)
    taken = _places_of(zips)
    subjects = [*(s for s in _walk(root, root, 0) if s.path not in taken), *subjects]
    if not subjects and not left_out:
        raise CohortError(
            f"{root} has no subject folders; make some with `nisf simulate`, or give a data set in "
            "a layout of docs/cohorts.md"
        )
    if any(s.layout == SUNNYBROOK for s in subjects):
        notes.append(NO_RV)
    return Cohort(tuple(subjects), tuple(left_out), tuple(notes))


# ---------------------------------------------------------------- folders


def _walk(folder: Path, root: Path, level: int) -> Iterator[CohortSubject]:
    """Subjects below a folder. A child of the root in which none is recognised is one itself."""
    for child in _folders(folder):
        layout = _layout_of(child, level)
        name = child.relative_to(root).as_posix()
        if layout is not None:
            yield CohortSubject(name, child, layout)
            continue
        below = [] if level + 1 >= MAX_LEVELS else list(_walk(child, root, level + 1))
        yield from below
        if level == 0 and not below:
            yield CohortSubject(name, child, PLAIN)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not _NOT_A_SUBJECT.search(p.name))


def _layout_of(folder: Path, level: int) -> str | None:
    """The layout by which a folder is a subject; None if it is none."""
    if level == 0 and any((folder / name).is_dir() for name in STUDY_SUBFOLDERS):
        return PLAIN
    files = [p for p in folder.iterdir() if p.is_file()]
    if any(is_ukb_zip(p) for p in files):
        return UKB
    if is_sunnybrook_study(folder):
        return SUNNYBROOK
    if _is_kaggle(folder):
        return KAGGLE
    names = [p.name for p in files if is_nifti(p)]
    known = (layout for layout, p in _NIFTI_LAYOUTS if any(p.match(n) for n in names))
    return next(known, PLAIN if names else None)


def _is_kaggle(folder: Path) -> bool:
    study = folder / "study"
    return study.is_dir() and any(_KAGGLE_SERIES.match(p.name) for p in study.iterdir())


# ---------------------------------------------------------------- UK Biobank


def _ukb_subjects(
    root: Path, paths: Sequence[Path]
) -> tuple[list[CohortSubject], list[str], list[str]]:
    """Subjects, notes, and who is left out.

    Zips are paired within their folder, and across folders that are named after the fields. In a
    folder of one participant, zips of another are a mistake; which one, nobody can tell.
    """
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        is_shared = path.parent == root or is_field_folder(path.parent)
        by_folder.setdefault(root if is_shared else path.parent, []).append(path)
    groups: list[tuple[str, UkbZips]] = []
    for folder, zips in sorted(by_folder.items()):
        found = ukb_zips(zips)
        if folder != root and len({z.eid for z in found}) > 1:
            groups.append(("its folder holds zips of several participants", found[0]))
        else:
            groups += [("", z) for z in found]
    return _numbered(groups)


def _places_of(zips: Sequence[Path]) -> set[Path]:
    """Folders that zips lie in, or the labels of their participants: no subjects themselves."""
    labels = {z.path.parent / z.eid for z in ukb_zips(zips)}
    return labels | {folder for path in zips for folder in path.parents}


def _ukb_paths(folder: Path, level: int) -> list[Path]:
    here = [p for p in sorted(folder.iterdir()) if is_ukb_zip(p)]
    below = [] if level >= MAX_LEVELS else _folders(folder)
    return [*here, *(p for f in below for p in _ukb_paths(f, level + 1))]


def _numbered(
    groups: Sequence[tuple[str, UkbZips]],
) -> tuple[list[CohortSubject], list[str], list[str]]:
    """Subjects under their place in the order."""
    subjects: list[CohortSubject] = []
    notes: list[str] = []
    left_out: list[str] = []
    for k, (problem, zips) in enumerate(groups, start=1):
        name = f"participant {k} (in order of name)"
        if problem:
            left_out.append(f"{name}: {problem}")
            continue
        subjects.append(CohortSubject(name, zips.path, UKB))
        notes += [f"{name}: {missing} is missing" for missing in zips.missing]
    return subjects, notes, left_out
