"""Motion of fitted simulated studies, against their exact displacement.

    python -m Testing.Benchmarks.motion_from_fit --subjects DIR --fits DIR --out DIR

`--subjects` holds what `nisf simulate` wrote, `--fits` a result folder of `nisf fit` per subject,
under the subject's name. Scores are those of `Testing.Benchmarks.motion_3d`, at the fit's place of
the heart; subjects without a fit are passed over.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from NISFCore.benchmark.motion_truth import SpaceTruth
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.storage import RESULT_FILE, load_result
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.motion.cine_study import common_times
from NISFCore.motion_workflow import corrected_study, motion_of
from NISFCore.phantom.cohort import TRUTH_FOLDER
from NISFCore.phantom.displacement import DisplacementTruth
from NISFCore.phantom.truth import PhantomTruth
from Testing.Benchmarks.motion_3d import scored
from Testing.Benchmarks.motion_runs import run


@dataclass(frozen=True)
class Settings:
    """What is run.

    Attributes:
        subjects, fits: folders, see the module.
        out: folder for `motion_from_fit.json`.
    """

    subjects: Path
    fits: Path
    out: Path


def fit_from_true_mm(fitted: FitResult, truth: PhantomTruth) -> Points:
    """The fit's place of the heart less the true one `(3,)`: a motion common to all slices, which
    cannot be seen in them. Median over the slices, at their centres."""
    shifts = [
        apply_affine(motion, s.centre_ras)
        - apply_affine(truth.true_from_scanned_ras(s.name), s.centre_ras)
        for s, motion in zip(fitted.study.slices, fitted.slice_motions, strict=True)
    ]
    return np.asarray(np.median(shifts, axis=0))


def subject(folder: Path, fit: Path) -> dict[str, Any]:
    """Scores of one fitted subject."""
    fitted = load_result(fit)
    times = common_times(corrected_study(fitted).slices)
    known = DisplacementTruth.load(folder / TRUTH_FOLDER)
    truth = SpaceTruth.of(known, times)
    place = truth.points_ras + fit_from_true_mm(fitted, known.phantom)
    truth = replace(truth, points_ras=place)
    still = truth.still()
    return {
        "subject": folder.name,
        "still": still,
        "cine": scored(truth, partial(motion_of, fitted)),
    }


def main() -> None:
    """Run all subjects that were fitted."""
    settings = tyro.cli(Settings)
    fits = ((folder, settings.fits / folder.name) for folder in sorted(settings.subjects.iterdir()))
    rows = (subject(folder, fit) for folder, fit in fits if (fit / RESULT_FILE).is_file())
    run(rows, settings.out / "motion_from_fit.json")


if __name__ == "__main__":
    main()
