"""Motion within one short-axis plane of simulated hearts, against their exact displacement.

    python -m Testing.Benchmarks.motion_2d --out DIR [--subjects 2] [--first-seed N]

Every kind of heart is tagged (two series of lines) and imaged as a cine at the same plane. Truth is
the displacement of the tissue that lies in the plane at ED, its components in the plane; strain is
scored at ES over the wall. Ways that are compared:

    still        nothing moves
    phase        the Gauss-Newton start on tag phase alone
    tagged_ed    phase and intensity, labels of ED only
    tagged       the same with labels of all frames (`fit_tagged_plane` as it comes)
    tagged_off   the same with every later frame's labels off by up to a pixel along each axis
    cine         images and labels of the untagged cine (`fit_cine_plane`)
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from NISFCore.benchmark.motion_truth import PlaneTruth
from NISFCore.data.study import CineSlice
from NISFCore.motion.config import DEFAULT
from NISFCore.motion.fit import fit_cine_plane, fit_tagged_plane
from NISFCore.motion.gauss_newton import start_from_phase
from NISFCore.motion.plane import plane_of
from NISFCore.motion.result import MotionResult
from NISFCore.motion.tagged import observe, tagged_series
from NISFCore.phantom.displacement import DisplacementTruth
from NISFCore.phantom.motion_population import MotionKind, sample_motion_heart
from NISFCore.phantom.protocol import sample_protocol
from NISFCore.phantom.scanner import simulate_study
from NISFCore.phantom.tag_pattern import TagKind, TagPattern
from NISFCore.phantom.tagging import simulate_tagged_study
from NISFCore.progress import CancelToken
from Testing.Benchmarks.motion_runs import KINDS, run, timed, with_labels_of_ed

FIRST_SEED = 7_710_000


@dataclass(frozen=True)
class Settings:
    """What is run.

    Attributes:
        out: folder for `motion_2d.json`.
        subjects: of each kind.
        first_seed: of the hearts; the settings were chosen on seeds 100 to 103.
        kinds: of motion.
    """

    out: Path
    subjects: int = 2
    first_seed: int = FIRST_SEED
    kinds: tuple[MotionKind, ...] = KINDS


def phase_only(slices: list[CineSlice], truth: PlaneTruth) -> dict[str, Any]:
    """The start alone."""
    plane, config = plane_of(slices[0], None), DEFAULT.start
    seen = [
        observe(tagged_series(s, plane.mask), plane.mask, plane.placement, config.band_width)
        for s in slices
    ]
    times = seen[0].times
    field = plane.field(DEFAULT, times.tolist(), is_cyclic=False)
    began = time.process_time()
    start_from_phase(field, seen, plane.local_points(), config, CancelToken())
    seconds = time.process_time() - began
    return {**truth.scores(field), "cpu_seconds": seconds}


def with_labels_off(cine: CineSlice, seed: int) -> CineSlice:
    """Labels of later frames shifted by up to a pixel along each axis, each frame's by itself."""
    assert cine.labels is not None  # simulated
    rng, values = np.random.default_rng(seed), cine.labels.values.copy()
    for j in range(1, len(values)):
        values[j] = np.roll(values[j], rng.integers(-1, 2, size=2), axis=(0, 1))
    return replace(cine, labels=replace(cine.labels, values=values))


def scored(truth: PlaneTruth, fit: Callable[[], MotionResult]) -> dict[str, Any]:
    """See `timed`."""
    return timed(lambda result: truth.scores(result.displacement_field), fit)


def subject(seed: int, kind: MotionKind) -> dict[str, Any]:
    """All ways on one heart."""
    heart = sample_motion_heart(seed, kind)
    protocol = sample_protocol(seed, "tagged-2d")
    simulated = simulate_tagged_study(heart, TagPattern(kind=TagKind.LINES), protocol, seed)
    slices = list(simulated.study.slices)
    truth = PlaneTruth.of(simulated.truth, plane_of(slices[0], None))
    untagged = simulate_study(heart, protocol, seed)
    cine = untagged.study.slices[0]
    cine_truth = PlaneTruth.of(DisplacementTruth(untagged.truth), plane_of(cine, None))
    first, *others = slices
    ed, off = with_labels_of_ed(first), with_labels_off(first, seed)
    times = first.cycle_fractions.tolist()
    return {
        "seed": seed,
        "kind": kind.value,
        "still": truth.scores(truth.plane.field(DEFAULT, times, is_cyclic=False)),
        "phase": phase_only(slices, truth),
        "tagged_ed": scored(truth, partial(fit_tagged_plane, [ed, *others])),
        "tagged": scored(truth, partial(fit_tagged_plane, slices)),
        "tagged_off": scored(truth, partial(fit_tagged_plane, [off, *others])),
        "cine": scored(cine_truth, partial(fit_cine_plane, cine)),
    }


def main() -> None:
    """Run all subjects, each written as soon as it is done."""
    settings = tyro.cli(Settings)
    seeds = range(settings.first_seed, settings.first_seed + settings.subjects)
    rows = (subject(seed, kind) for seed in seeds for kind in settings.kinds)
    run(rows, settings.out / "motion_2d.json")


if __name__ == "__main__":
    main()
