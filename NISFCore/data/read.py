"""`read_study`: one entrance for every kind of input."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from NISFCore.data.dicom import read_dicom, read_tagged_dicom
from NISFCore.data.nifti import read_nifti
from NISFCore.data.nifti_images import is_nifti
from NISFCore.data.nifti_manifest import MANIFEST_NAME
from NISFCore.data.study import CineStudy
from NISFCore.data.sunnybrook import is_sunnybrook_study, read_sunnybrook
from NISFCore.data.ukb_zips import is_ukb_study, read_ukb
from NISFCore.errors import AmbiguousInputError, NoSeriesError, StudyError
from NISFCore.views import View


def read_study(
    path: Path, *, views: Mapping[str, View] | None = None, select: str | None = None
) -> CineStudy:
    """Read a study: a folder, zip or file of DICOM, or a folder or file of NIfTI.

    UK Biobank's pairs of zips and the Sunnybrook contours are recognised by their names; see
    docs/cohorts.md.

    Args:
        path: the input.
        views: views that the user gives, by series number, file stem or folder name.
        select: which of several examinations in a DICOM input; its question tells the choices.

    Raises:
        AmbiguousInputError: if the input holds more than one subject or frame of reference.
        StudyError: if it does not exist or holds nothing usable.
    """
    path = Path(path)
    if not path.exists():
        raise StudyError(f"there is no {path}; give a folder, a zip or a file that exists")
    if is_ukb_study(path):
        return read_ukb(path, views=views, select=select)
    if is_sunnybrook_study(path):
        return read_sunnybrook(path, views=views, select=select)
    if path.is_file():
        read = read_nifti(path, views=views) if is_nifti(path) else None
        return read or read_dicom(path, views=views, select=select)
    return _read_folder(path, views, select)


def _read_folder(path: Path, views: Mapping[str, View] | None, select: str | None) -> CineStudy:
    """The NIfTI study in a folder; where its NIfTI files are no more than labels or single frames,
    or lie below it, the images in DICOM if there are any."""
    if not any(path.iterdir()):
        raise StudyError(f"{path.name}: the folder is empty")
    folders = _folders_with_nifti(path)
    is_here = "." in folders or (path / MANIFEST_NAME).is_file()
    found = _nifti_or_problem(path, views) if is_here else None
    if isinstance(found, CineStudy) and any(s.n_phases > 1 or s.labels for s in found.slices):
        return found
    try:
        study = read_dicom(path, views=views, select=select)
    except NoSeriesError:
        if isinstance(found, CineStudy):
            return found
        if isinstance(found, StudyError):
            raise found from None
        if folders:
            raise _which_of(path, folders) from None
        raise
    unused = ("NIfTI files beside the DICOM images are not read as images",) if folders else ()
    return replace(study, warnings=(*study.warnings, *unused))


def _nifti_or_problem(path: Path, views: Mapping[str, View] | None) -> CineStudy | StudyError:
    try:
        return read_nifti(path, views=views)
    except StudyError as error:
        return error


def _which_of(path: Path, folders: list[str]) -> AmbiguousInputError:
    return AmbiguousInputError(
        f"{path.name} holds NIfTI files in {len(folders)} folder(s) below it; which one is "
        f"meant? Give one of them, such as '{folders[0]}'"
    )


def read_tagged(
    path: Path, *, views: Mapping[str, View] | None = None, select: str | None = None
) -> CineStudy:
    """Read the tagged series of an examination in DICOM; `read_study` leaves them out.

    Every slice says in `tags` which lines it shows. A plane that was imaged twice, with lines
    across each other, is two slices, "SA_01_tags_1" and "SA_01_tags_2".

    Args and errors as `read_study`.
    """
    path = Path(path)
    if not path.exists():
        raise StudyError(f"there is no {path}; give a folder, a zip or a file that exists")
    try:
        return read_tagged_dicom(path, views=views, select=select)
    except NoSeriesError:
        if is_nifti(path) or (path.is_dir() and "." in _folders_with_nifti(path)):
            message = f"{path.name} is NIfTI; tagged images are read from DICOM only"
            raise NoSeriesError(message) from None
        raise


def _folders_with_nifti(path: Path) -> list[str]:
    """`path`, as ".", and folders below it that hold NIfTI files, relative to it."""
    return sorted({p.parent.relative_to(path).as_posix() for p in path.rglob("*") if is_nifti(p)})
