"""`run_motion`: motion within simulated planes, from every initialisation; tables and figures.

OUT holds `benchmark.json` (figures, definitions, plan, machine, versions), `benchmark.md` (all
tables), `tables/*.csv` and `*.json`, `figures/trajectory.png`, and `parts/`, from which a run that
was killed continues.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from NISFCore.benchmark.machine import machine, versions
from NISFCore.benchmark.motion_arms import Race, best_rates
from NISFCore.benchmark.motion_figures import (
    FIGURES,
    MotionParts,
    Part,
    headline,
    missing,
)
from NISFCore.benchmark.motion_pictures import trajectories
from NISFCore.benchmark.motion_plan import TUNING_SEED, Arm, MotionPlan, PlannedSubject
from NISFCore.benchmark.motion_space import space_part
from NISFCore.benchmark.motion_tables import all_tables
from NISFCore.benchmark.motion_truth import PlaneTruth
from NISFCore.benchmark.run import Answer, Task, run_missing
from NISFCore.benchmark.store import COMPUTING_LAYERS, PartStore, code_hash, plain, text_hash
from NISFCore.config import to_json_object
from NISFCore.data.study import CineSlice
from NISFCore.errors import StudyError
from NISFCore.files import check_new_folder, write_bytes_atomically, write_text_atomically
from NISFCore.motion.config import DEFAULT
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.fit import fit_cine_plane, fit_tagged_plane
from NISFCore.motion.plane import plane_of
from NISFCore.motion.priors.file import MotionPrior, bundled_motion_prior, load_motion_prior
from NISFCore.motion.priors.subjects import drawn_kind, simulated_plane
from NISFCore.motion.result import MotionResult
from NISFCore.motion.tagged_plane import TaggedPlane, tagged_plane
from NISFCore.phantom.displacement import DisplacementTruth
from NISFCore.phantom.scanner import simulate_study
from NISFCore.phantom.tagging import SimulatedTagged
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress

PLAN_FILE = "plan.json"
BENCHMARK_FILE = "benchmark.json"


class MotionBench:
    """Computes parts."""

    def __init__(
        self, plan: MotionPlan, given: Sequence[Path], store: Path, cancel: CancelToken
    ) -> None:
        self.plan, self.cancel = plan, cancel
        self.priors, self._files = arm_priors(given)
        self.store = PartStore(store, self._key())

    def tasks(self) -> Iterator[Task]:
        """Every part of the plan."""
        yield Task("tuning", self._tuning)
        subjects = list(self.plan.subjects())
        for subject in subjects:
            yield Task(f"usual-{subject.number}", partial(self._usual, subject))
        for subject in subjects[: self.plan.n_raced]:
            yield Task(f"arms-{subject.number}", partial(self._arms, subject))
        for subject in subjects[: self.plan.n_cine]:
            yield Task(f"cine-{subject.number}", partial(self._cine, subject))
        for subject in self.plan.in_space():
            yield Task(f"space-{subject.number}", partial(self._space, subject))

    def parts(self) -> MotionParts:
        """All that is finished."""
        numbers = range(1, self.plan.n_subjects + 1)

        def all_of(name: str) -> list[Part]:
            found = [self.store.load(f"{name}-{k}") for k in numbers]
            return [values["part"] for values in found if values is not None]

        tuning = self.store.load("tuning") or {"part": {}}
        found = [all_of(name) for name in ("usual", "arms", "cine", "space")]
        return MotionParts(tuning["part"], *found)

    def _key(self) -> str:
        """Changes with everything that decides what the parts hold."""
        layers = (*COMPUTING_LAYERS, "motion", "benchmark")
        settings = json.dumps(to_json_object(self.plan), sort_keys=True)
        return text_hash(settings, code_hash(layers), *(f.read_bytes() for f in self._files))

    def _race(self, simulated: SimulatedTagged) -> Race:
        seen, truth = _seen(simulated)
        return Race(self.plan, seen, truth, self.priors, self.cancel)

    def _tuning(self) -> Answer:
        sweeps = []
        for k in range(self.plan.n_tuning):
            seed = TUNING_SEED + k
            race = self._race(simulated_plane(seed, drawn_kind(seed)))
            sweeps.append({arm.value: race.sweep(arm) for arm in Arm})
        return {"rates": best_rates(sweeps, self.plan), "sweeps": sweeps}, {}

    def _usual(self, subject: PlannedSubject) -> Answer:
        simulated = _simulated(subject)
        seen, truth = _seen(simulated)
        still, slices = seen.field(DEFAULT), list(simulated.study.slices)
        scores = scored(truth, still, partial(fit_tagged_plane, slices, cancel=self.cancel))
        return {
            "group": subject.group.value,
            "seed": subject.seed,
            "still_mm": truth.rmse_mm(still),
            **scores,
        }, {}

    def _arms(self, subject: PlannedSubject) -> Answer:
        race = self._race(_simulated(subject))
        tuning = self.store.load("tuning")
        assert tuning is not None  # the first part
        rates = tuning["part"]["rates"]
        arms = {arm.value: race.arm(arm, rates) for arm in Arm}
        return {"group": subject.group.value, "seed": subject.seed, "arms": arms}, {}

    def _cine(self, subject: PlannedSubject) -> Answer:
        cine, truth = self._untagged(subject)
        plane = plane_of(cine, None)
        still = plane.field(DEFAULT, cine.cycle_fractions.tolist(), is_cyclic=True)
        fit = partial(fit_cine_plane, cine, cancel=self.cancel)
        scores = scored(PlaneTruth.of(truth, plane), still, fit)
        return {"group": subject.group.value, **scores}, {}

    def _space(self, subject: PlannedSubject) -> Answer:
        return space_part(subject, self.cancel), {}

    def _untagged(self, subject: PlannedSubject) -> tuple[CineSlice, DisplacementTruth]:
        """The same heart and plane without tags."""
        drawn = subject.drawn()
        simulated = simulate_study(drawn.heart, drawn.protocol, subject.seed)
        return simulated.study.slices[0], DisplacementTruth(simulated.truth)


def _simulated(subject: PlannedSubject) -> SimulatedTagged:
    return simulated_plane(subject.seed, subject.kind, subject.change)


def _seen(simulated: SimulatedTagged) -> tuple[TaggedPlane, PlaneTruth]:
    """A plane as fits see it, and its truth."""
    seen = tagged_plane(list(simulated.study.slices), DEFAULT)
    return seen, PlaneTruth.of(simulated.truth, seen.plane)


FAILED = "failed"
"""In place of a flag: the fit ended with an error, and nothing moves."""


def scored(
    truth: PlaneTruth, still: DisplacementField, fit: Callable[[], MotionResult]
) -> dict[str, Any]:
    """Scores of a fit, its processor seconds and flags; those of `still` if it fails."""
    began = time.process_time()
    try:
        result = fit()
        field, codes = result.displacement_field, [flag.code for flag in result.flags]
    except StudyError:
        field, codes = still, [FAILED]
    seconds = time.process_time() - began
    return {**truth.scores(field), "seconds": seconds, "flags": codes}


def arm_priors(given: Sequence[Path]) -> tuple[dict[Arm, MotionPrior], list[Path]]:
    """The prior of each arm that needs one: a given file of its kind, or the bundled one.

    Raises:
        PriorError: if a file cannot be read.
    """
    by_kind = {load_motion_prior(path).info.kind: path for path in given}
    files = {
        arm: by_kind.get(arm.prior, bundled_motion_prior(arm.prior))
        for arm in Arm
        if arm.prior is not None
    }
    return {arm: load_motion_prior(path) for arm, path in files.items()}, list(files.values())


def run_motion(
    out: Path,
    plan: MotionPlan,
    *,
    priors: Sequence[Path] = (),
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Run what is missing of a plan and write tables, figures and `benchmark.json`; returns that.

    Args:
        priors: files made by `nisf motion train`, each in place of the bundled one of its kind.

    Raises:
        OutputError: if `out` holds something else, or cannot be written.
        PriorError: if a prior cannot be read.
        Cancelled: if asked; finished parts stay, and a later run goes on from them.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    check_new_folder(out, overwrite=True, marker=PLAN_FILE)
    bench = MotionBench(plan, priors, out / "parts", cancel)
    write_text_atomically(out / PLAN_FILE, json.dumps(to_json_object(plan), indent=1))
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # seconds are those of one thread
    try:
        run_missing(list(bench.tasks()), bench.store, progress, cancel)
    finally:
        torch.set_num_threads(n_threads)
    return write_results(out, bench)


def write_results(out: Path, bench: MotionBench) -> dict[str, Any]:
    """Tables, figure and `benchmark.json` from the finished parts."""
    parts = bench.parts()
    tables = all_tables(parts, bench.plan)
    for table in tables:
        write_text_atomically(out / "tables" / f"{table.name}.csv", table.csv())
        text = json.dumps(plain(table.to_json_object()), indent=1)
        write_text_atomically(out / "tables" / f"{table.name}.json", text)
    write_bytes_atomically(out / "figures" / "trajectory.png", trajectories(parts, bench.plan))
    content = summary(bench, parts)
    body = "\n".join([heading(content), *(table.markdown() for table in tables)])
    write_text_atomically(out / "benchmark.md", body)
    write_text_atomically(out / BENCHMARK_FILE, json.dumps(content, indent=1, allow_nan=False))
    return content


def summary(bench: MotionBench, parts: MotionParts) -> dict[str, Any]:
    """The content of `benchmark.json`."""
    figures = headline(parts)
    done = [bench.store.load(task.name) for task in bench.tasks()]
    content: Mapping[str, Any] = {
        "figures": figures,
        "missing": missing(figures),
        "definitions": {figure.key: figure.definition for figure in FIGURES},
        "plan": to_json_object(bench.plan),
        "priors": {arm.value: prior.info.name for arm, prior in bench.priors.items()},
        "rates": parts.tuning.get("rates", {}),
        "n_diverged": sum(
            steps["has_diverged"]
            for part in parts.arms
            for arm in part["arms"].values()
            for steps in arm.values()
            if isinstance(steps, dict) and "has_diverged" in steps
        ),
        "n_failed": sum(FAILED in scores["flags"] for scores in (*parts.usuals, *parts.cines)),
        "n_flagged": int(np.sum(["tag_wrapping" in p["flags"] for p in parts.usuals])),
        "benchmark_seconds": sum(p["part_seconds"] for p in done if p is not None),
        "machine": machine(),
        "versions": versions(),
    }
    return dict(plain(content))


def heading(content: dict[str, Any]) -> str:
    """What `benchmark.md` opens with."""
    where = content["machine"]
    return (
        f"# NISF motion benchmark\n\nTagged short-axis planes of simulated hearts that no prior "
        f"was trained on and nothing was tuned on. Descents of so many steps, each of its own: "
        f"Adam on all weights, same network, data terms and schedule, rates tuned per arm on other "
        f"hearts. Longitudinal strain is not shown by one short-axis plane. Measured on "
        f"{where['cpu']}, one thread, {content['benchmark_seconds']:.0f} s; "
        f"NISFCore {content['versions']['NISFCore']}. Research use only.\n"
    )
