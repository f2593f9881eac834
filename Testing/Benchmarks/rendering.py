"""Coarse-to-fine against dense rendering of a fitted heart, in one run.

    python -m Testing.Benchmarks.rendering --out DIR [--study DICOM]

Without `--study` a subject is simulated. Writes `rendering.json` and prints its figures. Peak
memory is that of Python's and numpy's allocations in a second, unmeasured rendering.
"""

import argparse
import json
import platform
import tempfile
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import torch

from NISFCore._version import __version__
from NISFCore.analysis.export_speed import measure_export_speedup
from NISFCore.analysis.rendering import render_phases
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.field import HeartField
from NISFCore.phantom.cohort import CohortSettings, simulate_cohort
from NISFCore.workflows import StudyInput, fit_input

SEED = 7_700_101
N_PHASES_FOR_MEMORY = 3


def fitted(study: Path | None, folder: Path) -> FitResult:
    """The fit of a study, or of a simulated subject that no training saw."""
    if study is None:
        (subject,) = simulate_cohort(folder / "cohort", CohortSettings(n_subjects=1, seed=SEED))
        study = subject / "dicom"
    return fit_input(StudyInput(study), folder / "result")


def peak_bytes(field: HeartField, spacing_mm: float) -> int:
    """Peak of what Python and numpy allocate while some phases are rendered."""
    tracemalloc.start()
    times = [k / N_PHASES_FOR_MEMORY for k in range(N_PHASES_FOR_MEMORY)]
    for _ in render_phases(field, field.box.grid(spacing_mm), times):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--spacing-mm", type=float, default=1.0)
    parser.add_argument("--phases", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        field = fitted(options.study, Path(folder)).field
    speed = measure_export_speedup(field, options.spacing_mm, options.phases)
    figures = asdict(speed) | {
        "peak_bytes": peak_bytes(field, options.spacing_mm),
        "n_threads": torch.get_num_threads(),
        "machine": f"{platform.machine()} {platform.system()}",
        "versions": {"nisf": __version__, "torch": torch.__version__},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=2)
    (options.out / "rendering.json").write_text(text + "\n", encoding="utf-8")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
