"""Motion of fitted simulated studies, against their exact displacement.

    python -m Testing.Benchmarks.motion_from_fit --subjects DIR --fits DIR --out DIR

`--subjects` holds what `nisf simulate` wrote, `--fits` a result folder of `nisf fit` per subject,
under the subject's name. Scores are those of `Testing.Benchmarks.motion_3d`; subjects without a fit
are passed over.
"""

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from NISFCore.files import write_text_atomically
from NISFCore.fitting.storage import RESULT_FILE, load_result
from NISFCore.motion.cine_study import common_times
from NISFCore.motion_workflow import corrected_study, motion_of
from NISFCore.phantom.cohort import TRUTH_FOLDER
from NISFCore.phantom.displacement import DisplacementTruth
from Testing.Benchmarks.motion_3d import Truth, means, timed


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


def subject(folder: Path, fit: Path) -> dict[str, Any]:
    """Scores of one fitted subject."""
    fitted = load_result(fit)
    times = common_times(corrected_study(fitted).slices)
    truth = Truth.of(DisplacementTruth.load(folder / TRUTH_FOLDER), times)
    still = truth.scores(np.zeros((1, 1, 3)), np.zeros_like(truth.strain))
    return {
        "subject": folder.name,
        "still": still,
        "cine": timed(truth, partial(motion_of, fitted)),
    }


def main() -> None:
    """Run all subjects that were fitted."""
    settings = tyro.cli(Settings)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for folder in sorted(settings.subjects.iterdir()):
        fit = settings.fits / folder.name
        if not (fit / RESULT_FILE).is_file():
            continue
        rows.append(subject(folder, fit))
        sys.stdout.write(json.dumps(rows[-1]) + "\n")
        sys.stdout.flush()
        content = {"means": means(rows), "subjects": rows}
        text = json.dumps(content, indent=1)
        write_text_atomically(settings.out / "motion_from_fit.json", text)


if __name__ == "__main__":
    main()
