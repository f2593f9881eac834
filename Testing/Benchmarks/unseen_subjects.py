"""Fit simulated subjects that no training saw and report the mean and the worst of every figure.

    python -m Testing.Benchmarks.unseen_subjects --out DIR [--subjects 8] [--seed 7700001]

Each subject goes the whole way: simulated as DICOM, read, fitted with the bundled (or a given)
prior, evaluated against its truth. `DIR/unseen_subjects.json` holds every figure of every subject,
`DIR/unseen_subjects.md` the table.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from NISFCore.analysis.evaluation import evaluate
from NISFCore.files import write_text_atomically
from NISFCore.model.prior import load_prior
from NISFCore.phantom.cohort import IMAGE_FOLDERS, TRUTH_FOLDER, CohortSettings, simulate_cohort
from NISFCore.phantom.truth import PhantomTruth
from NISFCore.workflows import StudyInput, fit_config, fit_input

LABELS = ("lv_blood_pool", "lv_myocardium", "rv_blood_pool")
LOWER_IS_WORSE = ("dice", "psnr", "ssim", "intersection")


@dataclass(frozen=True)
class Settings:
    """What is run.

    Attributes:
        out: folder for studies, results and tables; complete ones in it are kept.
        subjects, seed: the simulated cohort.
        prior: a prior file; the bundled one by default.
        config: of the fit: default, paper, or a JSON file.
    """

    out: Path
    subjects: int = 8
    seed: int = 7_700_001
    prior: Path | None = None
    config: str = "default"


def run(settings: Settings) -> list[dict[str, float]]:
    """Figures of every subject."""
    cohort = CohortSettings(n_subjects=settings.subjects, seed=settings.seed)
    folders = simulate_cohort(settings.out / "simulated", cohort)
    return [_figures(folder, settings) for folder in folders]


def _figures(folder: Path, settings: Settings) -> dict[str, float]:
    result = fit_input(
        StudyInput(folder / IMAGE_FOLDERS[CohortSettings.format]),
        settings.out / "results" / folder.name,
        prior=load_prior(settings.prior),
        config=fit_config(settings.config),
        overwrite=True,
    )
    truth = PhantomTruth.load(folder / TRUTH_FOLDER)
    return flat(evaluate(result, truth).to_json_object())


def flat(evaluation: dict[str, Any]) -> dict[str, float]:
    """One level of numbers, with absolute errors for the volumes."""
    figures: dict[str, float] = {}
    for key in ("dice_3d", "dice_3d_anchored", "dice_in_plane"):
        figures |= {f"{key}_{label}": evaluation[key][label] for label in LABELS}
    for key in ("slice_motion_mm", "slice_motion_deg", "intersection_ncc", "intersection_dice"):
        figures |= {f"{key}_{when}": evaluation[key][when] for when in ("before", "after")}
    figures |= {key: evaluation[key] for key in ("psnr_db", "ssim")}
    for name, volume in evaluation["volumes"].items():
        figures[f"{name}_error"] = abs(volume["estimate"] - volume["truth"])
    return figures | {f"seconds_{key}": value for key, value in evaluation["seconds"].items()}


def table(rows: list[dict[str, float]]) -> str:
    """Markdown table: mean and worst over the subjects."""
    lines = [f"| figure ({len(rows)} subjects) | mean | worst |", "|---|---|---|"]
    for key in rows[0]:
        values = np.array([row[key] for row in rows])
        worst = values.min() if key.startswith(LOWER_IS_WORSE) else values.max()
        lines.append(f"| {key} | {values.mean():.3f} | {worst:.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and write both files."""
    settings = tyro.cli(Settings)
    rows = run(settings)
    text = table(rows)
    write_text_atomically(settings.out / "unseen_subjects.json", json.dumps(rows, indent=2))
    write_text_atomically(settings.out / "unseen_subjects.md", text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
