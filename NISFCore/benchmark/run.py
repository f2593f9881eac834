"""`run_benchmark`: every part that is missing, then tables, figures and `benchmark.json`.

OUT holds `benchmark.json` (figures, definitions, plan, machine, versions), `benchmark.md` (all
tables), `tables/*.csv` and `*.json`, `figures/*.png`, and `parts/`, from which a run that was
killed continues.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from NISFCore.benchmark.accuracy import accuracy
from NISFCore.benchmark.classical import classical
from NISFCore.benchmark.export_speed import export_speed
from NISFCore.benchmark.figures import FIGURES, Part, Parts, headline, reasons
from NISFCore.benchmark.held_out import held_out
from NISFCore.benchmark.machine import machine, versions
from NISFCore.benchmark.misalignment import before_after
from NISFCore.benchmark.pictures import all_pictures
from NISFCore.benchmark.plan import ACCURACY_LEVEL_MM, BenchmarkPlan
from NISFCore.benchmark.process import process_seconds
from NISFCore.benchmark.profiles import profile_arrays
from NISFCore.benchmark.psf_ablation import psf_ablation
from NISFCore.benchmark.speed import speed
from NISFCore.benchmark.store import Arrays, PartStore, code_hash, plain, text_hash
from NISFCore.benchmark.subjects import simulate
from NISFCore.benchmark.tables import all_tables
from NISFCore.config import to_json_object
from NISFCore.errors import Cancelled
from NISFCore.evidence.network import BUNDLED_NETWORK, load_slice_network
from NISFCore.files import check_new_folder, write_bytes_atomically, write_text_atomically
from NISFCore.fitting.config import DEFAULT, FitConfig
from NISFCore.fitting.fit import fit_study
from NISFCore.fitting.result import FitResult
from NISFCore.model.prior import BUNDLED_PRIOR, Prior, load_prior
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress

PLAN_FILE = "plan.json"
BENCHMARK_FILE = "benchmark.json"
STAGE = "benchmark"
Answer = tuple[dict[str, Any], Arrays]


@dataclass(frozen=True)
class Task:
    """One part: its name, and what computes it."""

    name: str
    work: Callable[[], Answer]


@dataclass(frozen=True)
class Fitted:
    """A subject at one level, and its fit."""

    simulated: SimulatedStudy
    result: FitResult


class Bench:
    """Computes parts; keeps the last subject, which several parts in a row share."""

    def __init__(
        self, plan: BenchmarkPlan, prior: Path | None, config: FitConfig, cancel: CancelToken
    ) -> None:
        self.plan, self.config, self.cancel = plan, config, cancel
        self.prior_file = prior
        self.prior: Prior = load_prior(prior)
        self.network = load_slice_network()
        self._last: tuple[int, float, Fitted] | None = None

    def key(self) -> str:
        """Changes with everything that decides what the parts hold."""
        plan = replace(self.plan, n_subjects=1, n_classical=0, n_held_out=0, n_psf=0, n_speed=0)
        settings = json.dumps([to_json_object(plan), to_json_object(self.config)], sort_keys=True)
        own = (BUNDLED_NETWORK.read_bytes(), code_hash())
        return text_hash(settings, (self.prior_file or BUNDLED_PRIOR).read_bytes(), *own)

    def tasks(self) -> Iterator[Task]:
        """Every part of the plan, subject by subject."""
        yield Task("process", self._process)
        yield Task("export", self._export)
        for number in range(1, self.plan.n_subjects + 1):
            yield from self._subject_tasks(number)

    def _subject_tasks(self, number: int) -> Iterator[Task]:
        plan = self.plan
        yield Task(f"accuracy-{number}", partial(self._accuracy, number))
        if number == 1:
            yield Task("profiles-1", self._profiles)
        optional = (
            ("classical", plan.n_classical, self._classical),
            ("held_out", plan.n_held_out, self._held_out),
            ("psf", plan.n_psf, self._psf),
            ("speed", plan.n_speed, self._speed),
        )
        for name, n, work in optional:
            if number <= n:
                yield Task(f"{name}-{number}", partial(work, number))
        for level in sorted(plan.levels_mm, key=lambda mm: mm != ACCURACY_LEVEL_MM):
            yield Task(alignment_name(number, level), partial(self._align, number, level))

    def fitted(self, number: int, level_mm: float) -> Fitted:
        """A subject at a level, simulated and fitted unless it is the last one that was asked."""
        if self._last is not None and self._last[:2] == (number, level_mm):
            return self._last[2]
        simulated = simulate(self.plan, number, level_mm, self.cancel)
        result = fit_study(
            simulated.study,
            self.prior,
            self.config,
            network=self.network,
            device="cpu",
            cancel=self.cancel,
        )
        self._last = (number, level_mm, Fitted(simulated, result))
        return self._last[2]

    def _at_4_mm(self, number: int) -> Fitted:
        return self.fitted(number, ACCURACY_LEVEL_MM)

    def _accuracy(self, number: int) -> Answer:
        found = self._at_4_mm(number)
        figures = accuracy(found.result, found.simulated, self.plan, self.cancel)
        return figures | {"seconds": found.result.seconds}, {}

    def _profiles(self) -> Answer:
        return {}, profile_arrays(self._at_4_mm(1).result)

    def _align(self, number: int, level_mm: float) -> Answer:
        found = self.fitted(number, level_mm)
        return before_after(found.result, found.simulated.truth), {}

    def _classical(self, number: int) -> Answer:
        found = self._at_4_mm(number)
        return classical(found.result, found.simulated, self.plan, self.cancel), {}

    def _held_out(self, number: int) -> Answer:
        simulated = self._at_4_mm(number).simulated
        return held_out(simulated, self.prior, self.network, self.cancel, self.config)

    def _psf(self, number: int) -> Answer:
        simulated = self._at_4_mm(number).simulated
        return psf_ablation(simulated, self.prior, self.cancel, self.config)

    def _speed(self, number: int) -> Answer:
        simulated = self._at_4_mm(number).simulated
        return speed(simulated, self.prior, self.plan, self.cancel, self.config), {}

    def _process(self) -> Answer:
        return process_seconds(self.plan, self.prior_file, self.cancel), {}

    def _export(self) -> Answer:
        return export_speed(self._at_4_mm(1).result, self.plan, self.cancel), {}


def run_benchmark(
    out: Path,
    plan: BenchmarkPlan,
    *,
    prior: Path | None = None,
    config: FitConfig = DEFAULT,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Run what is missing of a plan and write tables, figures and `benchmark.json`; returns that.

    Args:
        prior: a prior file; the bundled one by default.
        config: of the fit that is measured; must be the Gauss-Newton solver.

    Raises:
        OutputError: if `out` holds something else, or cannot be written.
        PriorError: if the prior cannot be read.
        Cancelled: if asked; finished parts stay, and a later run goes on from them.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    check_new_folder(out, overwrite=True, marker=PLAN_FILE)
    bench = Bench(plan, prior, config, cancel)
    write_text_atomically(out / PLAN_FILE, json.dumps(to_json_object(plan), indent=1))
    store = PartStore(out / "parts", bench.key())
    tasks = list(bench.tasks())
    try:
        run_missing(tasks, store, progress, cancel)
    except Cancelled as error:
        n_done = sum(store.load(task.name) is not None for task in tasks)
        raise Cancelled(
            f"cancelled by the user; {n_done} of {len(tasks)} parts are finished: "
            "run it again to go on"
        ) from error
    return write_results(out, plan, bench, store)


def run_missing(
    tasks: Sequence[Task], store: PartStore, progress: ProgressReporter, cancel: CancelToken
) -> None:
    """Compute the parts that the store does not have.

    Raises:
        Cancelled: within a part, as soon as that looks; the part is then not stored.
    """
    began = monotonic()
    progress.report(ProgressEvent(STAGE, 0, len(tasks), 0.0))
    for k, task in enumerate(tasks, start=1):
        cancel.check()
        if store.load(task.name) is None:
            started = monotonic()
            values, arrays = task.work()
            store.save(task.name, {"part": values, "part_seconds": monotonic() - started}, arrays)
        progress.report(ProgressEvent(STAGE, k, len(tasks), monotonic() - began))


def write_results(out: Path, plan: BenchmarkPlan, bench: Bench, store: PartStore) -> dict[str, Any]:
    """Tables, figures and `benchmark.json` from the finished parts."""
    parts = gathered(plan, store)
    tables = all_tables(parts)
    arrays = {name: store.arrays(f"{name}-1") for name in ("profiles", "held_out", "psf")}
    for table in tables:
        write_text_atomically(out / "tables" / f"{table.name}.csv", table.csv())
        text = json.dumps(plain(table.to_json_object()), indent=1)
        write_text_atomically(out / "tables" / f"{table.name}.json", text)
    for name, png in all_pictures(parts, arrays).items():
        write_bytes_atomically(out / "figures" / name, png)
    content = summary(plan, bench, store, parts)
    body = "\n".join([heading(content), *(table.markdown() for table in tables)])
    write_text_atomically(out / "benchmark.md", body)
    write_text_atomically(out / BENCHMARK_FILE, json.dumps(content, indent=1, allow_nan=False))
    return content


def gathered(plan: BenchmarkPlan, store: PartStore) -> Parts:
    """All finished parts of a plan."""
    numbers = range(1, plan.n_subjects + 1)

    def of(name: str) -> Part | None:
        found = store.load(name)
        return None if found is None else found["part"]

    def all_of(name: str) -> list[Part]:
        return [part for k in numbers if (part := of(f"{name}-{k}")) is not None]

    alignment = {
        level: [p for k in numbers if (p := of(alignment_name(k, level))) is not None]
        for level in plan.levels_mm
    }
    return Parts(
        accuracy=all_of("accuracy"),
        alignment=alignment,
        classical=all_of("classical"),
        held_out=all_of("held_out"),
        psf=all_of("psf"),
        speed=all_of("speed"),
        process=of("process") or {},
        export=of("export") or {},
    )


def summary(plan: BenchmarkPlan, bench: Bench, store: PartStore, parts: Parts) -> dict[str, Any]:
    """The content of `benchmark.json`."""
    figures = headline(parts)
    done = [store.load(task.name) for task in bench.tasks()]
    return plain(
        {
            "figures": figures,
            "missing": reasons(parts, figures),
            "definitions": {figure.key: figure.definition for figure in FIGURES},
            "plan": to_json_object(plan),
            "prior": {"name": bench.prior.info.name, "n_subjects": bench.prior.info.n_subjects},
            "fit_seconds_mean": float(np.mean([p["seconds"]["fit"] for p in parts.accuracy])),
            "benchmark_seconds": sum(p["part_seconds"] for p in done if p is not None),
            "machine": machine(),
            "versions": versions() | {"sources": code_hash()},
        }
    )


def heading(content: dict[str, Any]) -> str:
    """What `benchmark.md` opens with."""
    plan, where = content["plan"], content["machine"]
    return (
        f"# NISF benchmark: {plan['name']}\n\n"
        f"{plan['n_subjects']} simulated test subjects (cohort seed {plan['seed']}, not used in "
        f"any training), {plan['n_phases']} phases; prior: {content['prior']['name']}. "
        f"Measured on {where['cpu']}, {where['n_threads']} threads of {where['n_cores']} cores, "
        f"GPU: {where['gpu'] or 'none'}; NISFCore {content['versions']['NISFCore']}, torch "
        f"{content['versions']['torch']}. Research use only.\n"
    )


def alignment_name(number: int, level_mm: float) -> str:
    """Name of a part of Table 2."""
    return f"alignment-{number}-{level_mm:g}mm"
