"""The commands that need simulated subjects of known truth: `nisf benchmark`, `nisf calibrate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from NISFCore.cli_options import Device, Job, OptionalPath


@dataclass(frozen=True)
class Benchmark:
    """Measure fits on simulated test subjects that no training saw, beside what else there is.

    Attributes:
        plan: quick, a few subjects in minutes; or full, every table of the documentation in hours.
        out: folder for tables and figures; a run that was stopped goes on from what is in it.
        subjects: another number of test subjects.
        prior: a prior file; the bundled one by default.
    """

    plan: Positional[Literal["quick", "full"]]
    out: Path
    subjects: Annotated[int | None, arg(metavar="INT")] = None
    prior: OptionalPath = None
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore.benchmark.plan import PLANS
        from NISFCore.benchmark.run import BENCHMARK_FILE, run_benchmark

        plan = PLANS[self.plan]
        plan = plan if self.subjects is None else plan.with_subjects(self.subjects)
        with self.job.supervised() as supervision:
            content = run_benchmark(self.out, plan, prior=self.prior, **supervision)
        values = {"folder": str(self.out), "figures": content["figures"]}
        tables = self.out / "benchmark.md"
        notes = f"figures: {self.out / BENCHMARK_FILE}", f"look at {tables}"
        self.job.answer(values, figures_table(content), *notes)


@dataclass(frozen=True)
class Calibrate:
    """Measure on simulated subjects how far a prior's standard errors are to be trusted, and write
    the factors that make them true into the prior.

    Attributes:
        prior: the prior file; only its header changes.
        subjects: number of simulated subjects that are fitted.
        device: auto takes CUDA where it works.
    """

    prior: Positional[Path]
    subjects: int = 24
    device: Device = "auto"
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore.benchmark.calibration import CalibrationSettings, calibrated
        from NISFCore.model.prior import load_prior

        settings = CalibrationSettings(n_subjects=self.subjects, device=self.device)
        with self.job.supervised() as supervision:
            prior = calibrated(load_prior(self.prior), settings, **supervision)
            prior.save(self.prior)
        factors = vars(prior.info.calibration)
        texts = ", ".join(f"{name} {value:.2f}" for name, value in factors.items())
        self.job.answer({"file": str(self.prior), **factors}, f"calibration: {texts}")


def figures_table(content: dict[str, Any]) -> Table:
    """The headline figures of a `benchmark.json`, or why they are missing."""
    table = Table(title=f"Benchmark: {content['plan']['name']}", caption="Research use only.")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for key, value in content["figures"].items():
        table.add_row(key, content["missing"][key] if value is None else f"{value:.3f}")
    return table
