"""Finding and opening DICOM files in a folder or a zip.

Nothing is ever extracted to disk, so paths inside a zip cannot escape; sizes are checked before
anything is unpacked. Names in messages are relative to the input, never absolute.
"""

import io
import os
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import pydicom
from pydicom.errors import InvalidDicomError

from NISFCore.errors import StudyError

MAX_ENTRY_BYTES = 4 * 2**30
"""Largest single file inside a zip."""

MAX_ZIP_BYTES = 32 * 2**30
"""Largest sum of the unpacked sizes of a zip."""

MAX_ZIP_ENTRIES = 500_000

MAX_ZIP_RATIO = 200
"""Largest unpacked : packed ratio of an entry above `RATIO_CHECK_BYTES`; images reach about 20."""

RATIO_CHECK_BYTES = 16 * 2**20

# What pydicom and the decoders below it raise on damaged files.
DAMAGED_FILE_ERRORS = (
    InvalidDicomError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    ArithmeticError,
    NotImplementedError,
    RuntimeError,
    RecursionError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


class FileSource(Protocol):
    """Files by relative name, in a folder or a zip."""

    @property
    def problems(self) -> Sequence[str]:
        """What could not be opened, in words that name nothing."""
        ...

    def names(self) -> list[str]:
        """Relative names, sorted, with forward slashes."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open one file for reading."""
        ...

    def close(self) -> None: ...


class FolderSource:
    """All files below a folder, also those inside its zips; or one single file."""

    def __init__(self, path: Path) -> None:
        self._root = path if path.is_dir() else path.parent
        self.problems: list[str] = []
        files = self._files_below(path) if path.is_dir() else [path]
        names = {p.relative_to(self._root).as_posix(): p for p in files}
        self._zips = {n: z for n, p in names.items() if (z := self._inner_zip(p)) is not None}
        self._inner = {f"{z}/{n}": (s, n) for z, s in self._zips.items() for n in s.names()}
        self._files = {n: p for n, p in names.items() if n not in self._zips}

    def _files_below(self, folder: Path) -> list[Path]:
        closed: list[OSError] = []
        files = [
            Path(parent) / name
            for parent, _, names in os.walk(folder, onerror=closed.append)
            for name in names
        ]
        if closed:
            n, why = len(closed), closed[0].strerror
            self.problems.append(f"{n} folder(s) inside could not be opened ({why}): not searched")
        return sorted(p for p in files if p.is_file())

    def _inner_zip(self, path: Path) -> "ZipSource | None":
        """A zip beside other files; a damaged one counts as a file that is not DICOM."""
        if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
            return None
        try:
            return ZipSource(path, "a zip inside the folder was left out")
        except StudyError as error:
            self.problems.append(str(error))
            return None

    def names(self) -> list[str]:
        return sorted([*self._files, *self._inner])

    def open(self, name: str) -> BinaryIO:
        if name in self._inner:
            source, inner_name = self._inner[name]
            return source.open(inner_name)
        return self._files[name].open("rb")

    def close(self) -> None:
        for source in self._zips.values():
            source.close()


class ZipSource:
    """All files of a zip, read in memory one at a time.

    `shown` is what messages call it, where its own name tells who the subject is.
    """

    problems: Sequence[str] = ()

    def __init__(self, path: Path, shown: str | None = None) -> None:
        name = shown or path.name
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise StudyError(f"{name}: not a readable zip file; copy it again") from error
        except OSError as error:
            raise StudyError(f"{name}: cannot be opened: {error.strerror or error}") from error
        self._entries = {e.filename: e for e in self._zip.infolist() if not e.is_dir()}
        _check_zip(name, list(self._entries.values()))

    def names(self) -> list[str]:
        return sorted(self._entries)

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self._zip.read(self._entries[name]))

    def close(self) -> None:
        self._zip.close()


def _check_zip(name: str, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse encrypted zips and those that unpack to absurd sizes."""
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise StudyError(f"{name}: the zip is encrypted; unpack it to a folder first")
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ZIP_ENTRIES or total > MAX_ZIP_BYTES:
        raise StudyError(
            f"{name}: {len(entries)} files, {total / 2**30:.0f} GiB unpacked; allowed: "
            f"{MAX_ZIP_ENTRIES} files, {MAX_ZIP_BYTES / 2**30:.0f} GiB. Give one study per zip"
        )
    for entry in entries:
        packed_too_well = entry.file_size > MAX_ZIP_RATIO * max(entry.compress_size, 1)
        if entry.file_size > MAX_ENTRY_BYTES or (
            packed_too_well and entry.file_size > RATIO_CHECK_BYTES
        ):
            raise StudyError(
                f"{name}: an entry unpacks to {entry.file_size / 2**20:.0f} MiB from "
                f"{entry.compress_size / 2**20:.1f} MiB; refused as a possible zip bomb"
            )


@contextmanager
def open_source(path: Path) -> Iterator[FileSource]:
    """Open a folder, a zip or a single file as a source of files."""
    source: FileSource = ZipSource(path) if is_zip(path) else FolderSource(path)
    try:
        yield source
    finally:
        source.close()


def is_zip(path: Path) -> bool:
    """True for an existing file that is, or claims to be, a zip."""
    return path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path))


@dataclass(frozen=True)
class DicomHeader:
    """One DICOM file without its pixels. `file` is its name relative to the input."""

    file: str
    dataset: pydicom.Dataset


@dataclass
class SkippedFiles:
    """What was not read, and why. Names are relative to the input."""

    problems: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    n_not_dicom: int = 0
    not_mr: Counter[str] = field(default_factory=Counter)

    def messages(self, damaged: Sequence[str] = ()) -> list[str]:
        """One line for each kind of file that was skipped.

        Args:
            damaged: what to call the damaged files; not at all where nobody knows whose they are.
        """
        lines = [*self.problems]
        if self.damaged:
            shown = ", ".join(damaged[:5]) + (", ..." if len(damaged) > 5 else "")
            line = f"{len(self.damaged)} damaged file(s) skipped"
            lines.append(f"{line}: {shown}" if shown else line)
        if self.n_not_dicom:
            lines.append(f"{self.n_not_dicom} file(s) skipped that are not DICOM")
        lines.extend(
            f"{n} object(s) of kind {kind} skipped: not MR images"
            for kind, n in sorted(self.not_mr.items())
        )
        return lines


def read_headers(source: FileSource, skipped: SkippedFiles) -> Iterator[DicomHeader]:
    """Headers of all MR images of a source, one at a time: private elements make thousands of them
    large. Everything else is noted in `skipped`."""
    for name in source.names():
        if _is_not_a_study_file(name):
            continue
        header = _read_header(source, name, skipped)
        if header is not None:
            yield header


def _is_not_a_study_file(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1] == "DICOMDIR"


def _read_header(source: FileSource, name: str, skipped: SkippedFiles) -> DicomHeader | None:
    try:
        with source.open(name) as file:
            if not _looks_like_dicom(file):
                skipped.n_not_dicom += 1
                return None
            with quiet_pydicom():
                dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
                return _mr_image(DicomHeader(name, dataset), skipped)
    except DAMAGED_FILE_ERRORS:
        skipped.damaged.append(name)
        return None


def _mr_image(header: DicomHeader, skipped: SkippedFiles) -> DicomHeader | None:
    modality = str(header.dataset.get("Modality", "") or "unknown")
    if modality != "MR":
        skipped.not_mr[modality] += 1
        return None
    if not header.dataset.get("Rows") or not header.dataset.get("Columns"):
        skipped.not_mr["MR without an image"] += 1
        return None
    return header


def _looks_like_dicom(file: BinaryIO) -> bool:
    """True with the DICOM preamble, or without one but with a first tag of group 0002 or 0008."""
    start = file.read(132)
    file.seek(0)
    if start[128:132] == b"DICM":
        return True
    # Little endian (02 00 / 08 00) or big endian; element numbers of these groups are small.
    return len(start) == 132 and start[:2] in (b"\x02\x00", b"\x08\x00") and start[3] == 0


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings about unusual values from the user; what matters is reported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
