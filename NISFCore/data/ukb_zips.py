"""UK Biobank's original layout: one study from `<eid>_20208_2_0.zip` and `<eid>_20209_2_0.zip`.

Field 20208 holds the long-axis cines, 20209 the short-axis cines; the two numbers after it are the
visit and the item. The zips lie together in a folder per participant, all in one folder, or in one
folder per field. They are read in memory, never unpacked. An eid is a participant's number: it
reaches no message and no output.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from NISFCore.data.dicom import read_source
from NISFCore.data.dicom_files import ZipSource
from NISFCore.data.study import CineStudy
from NISFCore.data.ukb_labels import with_labels
from NISFCore.errors import AmbiguousInputError
from NISFCore.views import View

LONG_AXIS_FIELD, SHORT_AXIS_FIELD = "20208", "20209"
FIELD_NAMES = {
    LONG_AXIS_FIELD: "the long-axis zip (field 20208)",
    SHORT_AXIS_FIELD: "the short-axis zip (field 20209)",
}
MANIFESTS = ("manifest.csv", "manifest.cvs")
"""Tables of the zips' files (misspelt in many of them); the headers say the same."""

_ZIP = re.compile(r"^(\d+)_(20208|20209)_(\d+_\d+)\.zip$", re.IGNORECASE)
_FIELD_FOLDER = re.compile(r"(?<!\d)2020[89](?!\d)")


@dataclass(frozen=True)
class UkbZips:
    """The zips of one examination, by field; a field whose zip is missing is not there."""

    eid: str
    visit: str
    zips: Mapping[str, Path]

    @property
    def path(self) -> Path:
        """The zip that `read_study` is given for all of them."""
        return self.zips.get(SHORT_AXIS_FIELD) or self.zips[LONG_AXIS_FIELD]

    @property
    def missing(self) -> list[str]:
        """What is missing, in words."""
        return [name for field, name in FIELD_NAMES.items() if field not in self.zips]


def is_ukb_zip(path: Path) -> bool:
    return _ZIP.match(path.name) is not None and path.is_file()


def is_ukb_study(path: Path) -> bool:
    """True for such a zip, and for a folder that directly holds some."""
    return is_ukb_zip(path) or (path.is_dir() and any(is_ukb_zip(p) for p in path.iterdir()))


def is_field_folder(path: Path) -> bool:
    """True for a folder that is named after a field, such as `20209` or `20209_short_axis`."""
    return _FIELD_FOLDER.search(path.name) is not None


def ukb_zips(paths: Sequence[Path]) -> list[UkbZips]:
    """Zips grouped to examinations, in order of eid and visit."""
    groups: dict[tuple[str, str], dict[str, Path]] = {}
    for path in sorted(paths):
        match = _ZIP.match(path.name)
        if match is not None:
            eid, field, visit = match.groups()
            groups.setdefault((eid, visit), {})[field] = path
    return [UkbZips(eid, visit, zips) for (eid, visit), zips in sorted(groups.items())]


def zips_of(path: Path) -> UkbZips:
    """The examination that a zip, or a folder of zips, belongs to.

    Raises:
        AmbiguousInputError: if a folder holds zips of several participants or visits.
    """
    if path.is_file():
        return ukb_zips([path, *_partners(path)])[0]
    found = ukb_zips([p for p in path.iterdir() if is_ukb_zip(p)])
    if len(found) > 1:
        n_eids = len({z.eid for z in found})
        raise AmbiguousInputError(
            f"the folder holds UK Biobank zips of {n_eids} participant(s) and {len(found)} "
            "examinations, which are never mixed; which one is meant? Give one zip: the other "
            "of the same participant and visit is found beside it"
        )
    return found[0]


def _partners(path: Path) -> list[Path]:
    """Zips of the same participant and visit: beside it, or in the folder of the other field."""
    match = _ZIP.match(path.name)
    if match is None:
        return []
    eid, field, visit = match.groups()
    folders = [path.parent]
    if is_field_folder(path.parent):
        folders += [p for p in path.parent.parent.iterdir() if p.is_dir() and is_field_folder(p)]
    names = [f"{eid}_{other}_{visit}.zip" for other in FIELD_NAMES if other != field]
    return [folder / name for name in names for folder in folders if (folder / name).is_file()]


def read_ukb(
    path: Path, *, views: Mapping[str, View] | None = None, select: str | None = None
) -> CineStudy:
    """Read one examination from its two zips, with label maps beside them.

    Args:
        path: one of the zips, or the folder that holds them (and no others).
        views, select: as `read_study`; a series' folder is "20208" or "20209".

    Raises:
        AmbiguousInputError: if several participants or examinations are mixed.
        StudyError: if a zip is damaged or nothing is usable, or label maps fit no slice.
    """
    zips = zips_of(path)
    with _opened(zips) as source:
        read = read_source(source, path, views=views, select=select, subject="subject")
    warnings = [f"{name} is missing: only the other was read" for name in zips.missing]
    study = replace(read.study, warnings=(*warnings, *read.study.warnings))
    return with_labels(study, zips.path.parent, zips.eid)


@contextmanager
def _opened(zips: UkbZips) -> Iterator["_ZipsTogether"]:
    sources: dict[str, ZipSource] = {}
    try:
        for field, path in zips.zips.items():
            sources[field] = ZipSource(path, FIELD_NAMES[field])
        yield _ZipsTogether(sources)
    finally:
        for source in sources.values():
            source.close()


class _ZipsTogether:
    """Files of several zips, each below the name of its field."""

    problems: Sequence[str] = ()

    def __init__(self, sources: Mapping[str, ZipSource]) -> None:
        self._sources = sources

    def names(self) -> list[str]:
        names = [(field, n) for field, source in self._sources.items() for n in source.names()]
        return sorted(f"{field}/{n}" for field, n in names if not _is_manifest(n))

    def open(self, name: str) -> BinaryIO:
        field, _, inner = name.partition("/")
        return self._sources[field].open(inner)

    def close(self) -> None:
        for source in self._sources.values():
            source.close()


def _is_manifest(name: str) -> bool:
    return PurePosixPath(name).name.lower() in MANIFESTS
