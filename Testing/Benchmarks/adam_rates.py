"""Tune the Adam that the default solver is compared with: rates, batch sizes, numbers of steps.

    python -m Testing.Benchmarks.adam_rates --out DIR [--subjects 2]

The subjects are not those of `nisf benchmark`. Every setting is scored by the seconds that it needs
to a common Dice (the best final one of all settings, less 0.005) and by its final Dice; the setting
that gets there soonest belongs into `NISFCore/fitting/config.py:TUNED_ADAM`.
"""

import json
import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from NISFCore.benchmark.plan import ACCURACY_LEVEL_MM, QUICK
from NISFCore.benchmark.speed import (
    TOLERANCE,
    WatchedStep,
    Watcher,
    adam_of,
    curve,
    seconds_to_reach,
    watched_steps,
)
from NISFCore.benchmark.subjects import simulate
from NISFCore.files import write_text_atomically
from NISFCore.fitting.config import TUNED_ADAM, AdamConfig
from NISFCore.model.prior import load_prior
from NISFCore.progress import CancelToken

TUNING_SEED = 7_700_001


@dataclass(frozen=True)
class Settings:
    """What is tried.

    Attributes:
        out: folder for `adam_rates.json`.
        subjects: simulated subjects.
        prior: a prior file; the bundled one by default.
        rates: of latent, global pose and slices, in prior standard deviations per step.
        scale_rates: of the intensity scales.
        voxels, steps: per step, and in all.
    """

    out: Path
    subjects: int = 2
    prior: Path | None = None
    rates: tuple[float, ...] = (0.03, 0.1, 0.3)
    scale_rates: tuple[float, ...] = (0.1,)
    voxels: tuple[int, ...] = (512, 2048)
    steps: tuple[int, ...] = (75, 150, 300)


def candidates(settings: Settings) -> list[AdamConfig]:
    """Every combination; latent and pose rates independently of each other."""
    base = adam_of(TUNED_ADAM)
    assert base.tuning is not None  # TUNED_ADAM is the tuned one
    grid = product(
        settings.rates, settings.rates, settings.scale_rates, settings.voxels, settings.steps
    )
    return [
        replace(
            base,
            n_voxels=n_voxels,
            n_steps=n_steps,
            tuning=replace(
                base.tuning,
                latent_rate=latent,
                global_rate=pose,
                slice_rate=pose,
                scale_rate=scale,
            ),
        )
        for latent, pose, scale, n_voxels, n_steps in grid
    ]


def scored(curves: list[list[list[WatchedStep]]]) -> list[dict[str, Any]]:
    """One score per setting; `curves[setting][subject]`."""
    targets = [
        max(c[-1].dice for c in subject) - TOLERANCE for subject in zip(*curves, strict=True)
    ]
    scores = []
    for setting in curves:
        pairs = zip(setting, targets, strict=True)
        seconds = [seconds_to_reach(points, target) for points, target in pairs]
        reached = [s for s in seconds if s is not None]
        scores.append(
            {
                "seconds": float(np.mean(reached)) if len(reached) == len(seconds) else None,
                "n_reached": len(reached),
                "final_dice": float(np.mean([points[-1].dice for points in setting])),
            }
        )
    return scores


def main() -> None:
    """Try every setting on every subject; print the best first."""
    settings = tyro.cli(Settings)
    prior, plan = load_prior(settings.prior), replace(QUICK, seed=TUNING_SEED)
    configs = candidates(settings)
    watchers = [
        Watcher(simulate(plan, k, ACCURACY_LEVEL_MM), prior)
        for k in range(1, settings.subjects + 1)
    ]
    curves = [
        [
            curve(w, replace(TUNED_ADAM, adam=c), CancelToken(), watched_steps(c.n_steps, 20))
            for w in watchers
        ]
        for c in configs
    ]
    rows = [
        {"n_voxels": c.n_voxels, "n_steps": c.n_steps, **vars(c.tuning), **score}
        for c, score in zip(configs, scored(curves), strict=True)
    ]
    rows.sort(key=lambda row: (row["seconds"] is None, row["seconds"] or -row["final_dice"]))
    for row in rows:
        row["motion_prior"] = vars(row["motion_prior"])
        sys.stdout.write(json.dumps(row) + "\n")
    write_text_atomically(settings.out / "adam_rates.json", json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
