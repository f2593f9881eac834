"""What `nisf motion fit` does, as a function: the motion of a heart that was fitted before."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from NISFCore.analysis.surfaces import label_surfaces
from NISFCore.data.read import read_tagged
from NISFCore.data.study import CineStudy
from NISFCore.export.motion_files import MOTION_FOLDER, write_motion_folder
from NISFCore.files import check_new_folder
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.storage import load_result
from NISFCore.labels import Label
from NISFCore.motion.cine_study import fit_cine_study
from NISFCore.motion.config import DEFAULT, MotionConfig
from NISFCore.motion.result import MotionResult
from NISFCore.motion.storage import MOTION_FILE
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress


def fit_motion(
    result_folder: Path,
    out: Path | None = None,
    *,
    tagged: Path | None = None,
    config: MotionConfig = DEFAULT,
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> MotionResult:
    """Estimate the LV's motion in a fitted study and write a motion folder.

    Args:
        result_folder: what `nisf fit` wrote; it stays as it is, but for the new folder in it.
        out: where to write; `motion` in the result folder by default.
        tagged: folder or zip of DICOM that holds tagged series of the same examination; others in
            it are left out.
        overwrite: whether an earlier motion there may be replaced.

    Raises:
        NISFError: any of its kinds; nothing is written then.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    folder = result_folder / MOTION_FOLDER if out is None else out
    fitted = load_result(result_folder)
    check_new_folder(folder, overwrite, MOTION_FILE)
    study = None if tagged is None else read_tagged(tagged)
    result = motion_of(fitted, config, tagged=study, progress=progress, cancel=cancel)
    wall = label_surfaces(fitted.field, 0.0, labels=[Label.LV_MYOCARDIUM], cancel=cancel)
    cancel.check()
    write_motion_folder(
        result, wall[Label.LV_MYOCARDIUM], rr_interval_ms(fitted.study), folder, overwrite
    )
    return result


def motion_of(
    fitted: FitResult,
    config: MotionConfig = DEFAULT,
    *,
    tagged: CineStudy | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> MotionResult:
    """Estimate the LV's motion in a fitted study, with the fit's slices and labels.

    Args:
        tagged: tagged slices of the same examination, such as `read_tagged` gives.

    Raises:
        StudyError: see `fit_cine_study`.
        Cancelled: soon after a request.
    """
    along = fitted.canonical_from_ras[2, :3]
    study = corrected_study(fitted)
    return fit_cine_study(
        study, fitted.field, along, config, tagged=tagged, progress=progress, cancel=cancel
    )


def corrected_study(fitted: FitResult) -> CineStudy:
    """The slices where the fit found the heart to have been."""
    pairs = zip(fitted.study.slices, fitted.slice_motions, strict=True)
    slices = tuple(replace(s, ras_from_ijk=motion @ s.ras_from_ijk) for s, motion in pairs)
    return replace(fitted.study, slices=slices)


def rr_interval_ms(study: CineStudy) -> float:
    """Mean over the slices."""
    return float(np.mean([s.rr_interval_ms for s in study.slices]))
