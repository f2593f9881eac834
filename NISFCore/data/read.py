"""`read_study`: one entrance for every kind of input."""

from collections.abc import Mapping
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
    if _is_nifti_study(path):
        return read_nifti(path, views=views)
    if path.is_dir() and not any(path.iterdir()):
        raise StudyError(f"{path.name}: the folder is empty")
    if path.is_dir() and (subjects := _folders_with_nifti(path)):
        raise AmbiguousInputError(
            f"{path.name} holds NIfTI files in {len(subjects)} folder(s) below it; which one is "
            f"meant? Give one of them, such as '{subjects[0]}'"
        )
    return read_dicom(path, views=views, select=select)


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
    if is_nifti(path) if path.is_file() else _is_nifti_study(path):
        raise NoSeriesError(f"{path.name} is NIfTI; tagged images are read from DICOM only")
    return read_tagged_dicom(path, views=views, select=select)


def _is_nifti_study(path: Path) -> bool:
    if path.is_file():
        return is_nifti(path)
    return (path / MANIFEST_NAME).is_file() or any(is_nifti(p) for p in path.iterdir())


def _folders_with_nifti(path: Path) -> list[str]:
    """Folders below `path` that hold NIfTI files, relative to it."""
    return sorted({p.parent.relative_to(path).as_posix() for p in path.rglob("*") if is_nifti(p)})
