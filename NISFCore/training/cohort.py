"""Reading a cohort: a folder of studies with labels -> voxel tables."""

from collections.abc import Callable
from pathlib import Path

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.cohort_layouts import STUDY_SUBFOLDERS, CohortSubject, find_cohort
from NISFCore.data.read import read_study
from NISFCore.data.study import CineStudy
from NISFCore.errors import CohortError, StudyError
from NISFCore.model.config import HeartRegion
from NISFCore.model.voxels import VoxelTable, voxel_table


def study_folders(cohort: Path) -> list[Path]:
    """What `read_study` is given for every subject, in the order of `find_cohort`.

    Raises:
        CohortError: if there is no subject.
    """
    return [study_folder(subject.path) for subject in find_cohort(cohort).subjects]


def read_cohort(
    cohort: Path,
    region: HeartRegion,
    on_subject: Callable[[int, int, str], None] | None = None,
) -> list[VoxelTable]:
    """Voxel tables of all subjects that can be used; frames are not kept.

    Args:
        on_subject: called with (index, total, message) after each subject; the message tells why
            a subject was left out, or is empty; the first also tells which layout was recognised
            and who was left out unread, unless the cohort is plainly one folder per subject.

    Raises:
        CohortError: if no subject is usable or none has labels.
    """
    found = find_cohort(cohort)
    said = "" if found.is_plain else found.message
    tables, problems = [], [*found.left_out]
    for index, subject in enumerate(found.subjects):
        message = ""
        try:
            tables.append(_table(read_study(study_folder(subject.path)), region))
        except StudyError as error:
            message = f"{_shown(subject)}: {error}"
            problems.append(message)
        if on_subject is not None:
            on_subject(index + 1, len(found.subjects), "; ".join(filter(None, (said, message))))
            said = ""
    if not tables:
        raise CohortError(f"none of {len(problems)} subjects is usable; first: {problems[0]}")
    if not any(bool(t.has_label.any()) for t in tables):
        raise CohortError(
            "no subject has label maps; a prior is learned from labelled studies "
            "(for NIfTI, put `<name>_seg.nii.gz` beside the images)"
        )
    return tables


def _table(study: CineStudy, region: HeartRegion) -> VoxelTable:
    return voxel_table(study, canonical_frame_of(study), region)


def _shown(subject: CohortSubject) -> str:
    study = study_folder(subject.path)
    inside = "" if study == subject.path else f"/{study.name}"
    return f"{subject.name}{inside}"


def study_folder(subject: Path) -> Path:
    """The folder of a subject's images: `images` or `dicom` in it, else the folder itself."""
    for name in STUDY_SUBFOLDERS:
        if (subject / name).is_dir():
            return subject / name
    return subject
