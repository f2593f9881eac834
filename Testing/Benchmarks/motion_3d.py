"""Motion in space of simulated hearts from several planes, against their exact displacement.

    python -m Testing.Benchmarks.motion_3d --out DIR [--subjects 1] [--first-seed N]

Every kind of heart is tagged in six short-axis and three long-axis planes (two series of lines
each), with true labels of all frames. Truth is the displacement of the whole LV wall, in space;
strain is scored at ES. Ways that are compared:

    still        nothing moves
    tagged       `fit_tagged_study` with all planes
    tagged_ed    the same with labels of ED only
    tagged_sa    the same with the short-axis planes alone
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from NISFCore.benchmark.motion_truth import SpaceTruth
from NISFCore.data.study import CineStudy
from NISFCore.motion.result import MotionResult
from NISFCore.motion.study_fit import fit_tagged_study
from NISFCore.phantom.motion_population import MotionKind, sample_motion_heart
from NISFCore.phantom.protocol import sample_protocol
from NISFCore.phantom.tag_pattern import TagKind, TagPattern
from NISFCore.phantom.tagging import simulate_tagged_study
from NISFCore.views import View
from Testing.Benchmarks.motion_runs import KINDS, run, timed, with_labels_of_ed

FIRST_SEED = 7_720_000


@dataclass(frozen=True)
class Settings:
    """What is run.

    Attributes:
        out: folder for `motion_3d.json`.
        subjects: of each kind.
        first_seed: of the hearts; the settings were chosen on seeds 100 to 103.
        kinds: of motion.
        ways: that are compared.
    """

    out: Path
    subjects: int = 1
    first_seed: int = FIRST_SEED
    kinds: tuple[MotionKind, ...] = KINDS
    ways: tuple[str, ...] = ("tagged", "tagged_ed", "tagged_sa")


def scored(truth: SpaceTruth, fit: Callable[[], MotionResult]) -> dict[str, Any]:
    """See `timed`."""
    return timed(truth.scores_of, fit)


def seen_by(study: CineStudy, way: str) -> CineStudy:
    """The study as a way sees it."""
    slices = study.slices
    if way == "tagged_sa":
        slices = tuple(s for s in slices if s.view is View.SA)
    if way == "tagged_ed":
        slices = tuple(with_labels_of_ed(s) for s in slices)
    return replace(study, slices=slices)


def subject(seed: int, kind: MotionKind, ways: tuple[str, ...]) -> dict[str, Any]:
    """All ways on one heart."""
    heart = sample_motion_heart(seed, kind)
    protocol = sample_protocol(seed, "tagged-3d")
    simulated = simulate_tagged_study(heart, TagPattern(kind=TagKind.LINES), protocol, seed)
    study = simulated.study
    truth = SpaceTruth.of(simulated.truth, study.slices[0].cycle_fractions)
    still = truth.still()
    fits = {way: scored(truth, partial(fit_tagged_study, seen_by(study, way))) for way in ways}
    return {"seed": seed, "kind": kind.value, "still": still, **fits}


def main() -> None:
    """Run all subjects, each written as soon as it is done."""
    settings = tyro.cli(Settings)
    seeds = range(settings.first_seed, settings.first_seed + settings.subjects)
    rows = (subject(seed, kind, settings.ways) for seed in seeds for kind in settings.kinds)
    run(rows, settings.out / "motion_3d.json")


if __name__ == "__main__":
    main()
