"""Reading a cohort: a folder of studies with labels -> voxel tables."""

from collections.abc import Callable
from pathlib import Path

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.read import read_study
from NISFCore.data.study import CineStudy
from NISFCore.errors import CohortError, StudyError
from NISFCore.model.config import HeartRegion
from NISFCore.model.voxels import VoxelTable, voxel_table

STUDY_SUBFOLDERS = ("images", "dicom")
"""Where the study of a subject folder lies; the subject folder itself if there is neither."""


def study_folders(cohort: Path) -> list[Path]:
    """The study folder of every subject, in name order.

    Raises:
        CohortError: if there is no subject.
    """
    if not cohort.is_dir():
        raise CohortError(f"no folder {cohort}; a cohort is a folder with one folder per subject")
    subjects = sorted(p for p in cohort.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not subjects:
        raise CohortError(f"{cohort} has no subject folders; make some with `nisf simulate`")
    return [study_folder(subject) for subject in subjects]


def read_cohort(
    cohort: Path,
    region: HeartRegion,
    on_subject: Callable[[int, int, str], None] | None = None,
) -> list[VoxelTable]:
    """Voxel tables of all subjects that can be used; frames are not kept.

    Args:
        on_subject: called with (index, total, message) after each subject; the message tells why
            a subject was left out, or is empty.

    Raises:
        CohortError: if no subject is usable or none has labels.
    """
    folders = study_folders(cohort)
    tables, problems = [], []
    for index, folder in enumerate(folders):
        message = ""
        try:
            tables.append(_table(read_study(folder), region))
        except StudyError as error:
            message = f"{folder.parent.name}/{folder.name}: {error}"
            problems.append(message)
        if on_subject is not None:
            on_subject(index + 1, len(folders), message)
    if not tables:
        raise CohortError(f"none of {len(folders)} subjects is usable; first: {problems[0]}")
    if not any(bool(t.has_label.any()) for t in tables):
        raise CohortError(
            "no subject has label maps; a prior is learned from labelled studies "
            "(for NIfTI, put `<name>_seg.nii.gz` beside the images)"
        )
    return tables


def _table(study: CineStudy, region: HeartRegion) -> VoxelTable:
    return voxel_table(study, canonical_frame_of(study), region)


def study_folder(subject: Path) -> Path:
    """The folder of a subject's images: `images` or `dicom` in it, else the folder itself."""
    for name in STUDY_SUBFOLDERS:
        if (subject / name).is_dir():
            return subject / name
    return subject
