"""Short-axis stacks alone: how far their slices are moved, with and without holding them back.

    python -m Testing.Benchmarks.short_axis_only --out DIR [--subjects 4]

Simulated subjects of the benchmark's cohort, of which only the short-axis slices are fitted, with
breath-holds that differ by 0, 4 and 8 mm: mean error of the slices' places before and after the
fit, and Dice in 3D+t, the rigid motion common to all slices removed. `held back` is the fit as it
comes, `free` lets slices move through their planes as if others crossed them. `DIR` gets
`short_axis_only.json` and `.md`.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from NISFCore.analysis.dense import compare_dense
from NISFCore.analysis.evaluation import motion_errors
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.benchmark.plan import QUICK
from NISFCore.benchmark.subjects import simulate
from NISFCore.evidence.network import SliceNetwork, load_slice_network
from NISFCore.files import write_text_atomically
from NISFCore.fitting.config import FitConfig, GaussNewtonConfig, MotionPrior
from NISFCore.fitting.fit import fit_study
from NISFCore.labels import LABEL_INFO
from NISFCore.model.prior import Prior, load_prior
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.views import View

LEVELS_MM = (0.0, 4.0, 8.0)
WAYS = {"free": MotionPrior(uncrossed_mm=1e3), "held back": MotionPrior()}
N_TIMES, SPACING_MM = 4, 2.5


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        out: folder for the tables.
        subjects: simulated hearts.
    """

    out: Path
    subjects: int = 4


def figures(
    simulated: SimulatedStudy, prior: Prior, network: SliceNetwork, motion: MotionPrior
) -> dict[str, float]:
    """Of one fit to the short axes of a study."""
    config = FitConfig(replace(GaussNewtonConfig(), motion_prior=motion))
    study = simulated.study.restricted_to((View.SA,))
    result = fit_study(study, prior, config, network=network, device="cpu")
    before, after = motion_errors(result, simulated.truth)
    t = uniform_cycle_fractions(N_TIMES)
    T = after.truth_from_estimate
    dense = compare_dense(result.field, simulated.truth, T, t, SPACING_MM)
    return {"before_mm": before.mean_mm, "after_mm": after.mean_mm, **dense.dice}


def table(rows: list[dict[str, float | str]]) -> str:
    """Markdown: means over the subjects."""
    keys = ["before_mm", "after_mm", *(info.key for info in LABEL_INFO.values())]
    lines = [f"| level mm | way | {' | '.join(keys)} |", "|---" * (2 + len(keys)) + "|"]
    for level in LEVELS_MM:
        for way in WAYS:
            own = [r for r in rows if r["level_mm"] == level and r["way"] == way]
            means = (np.mean([float(r[key]) for r in own]) for key in keys)
            lines.append(f"| {level:g} | {way} | {' | '.join(f'{m:.3f}' for m in means)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit all subjects both ways."""
    settings = tyro.cli(Settings, description=__doc__)
    prior, network = load_prior(None), load_slice_network()
    rows: list[dict[str, float | str]] = []
    for number in range(1, settings.subjects + 1):
        for level in LEVELS_MM:
            simulated = simulate(QUICK, number, level)
            for way, motion in WAYS.items():
                found = figures(simulated, prior, network, motion)
                rows.append({"subject": str(number), "level_mm": level, "way": way, **found})
    settings.out.mkdir(parents=True, exist_ok=True)
    write_text_atomically(settings.out / "short_axis_only.json", json.dumps(rows, indent=1))
    write_text_atomically(settings.out / "short_axis_only.md", table(rows))


if __name__ == "__main__":
    main()
