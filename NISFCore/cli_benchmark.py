"""The `nisf benchmark` command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from NISFCore.cli_options import Job, OptionalPath


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


def figures_table(content: dict[str, Any]) -> Table:
    """The headline figures of a `benchmark.json`, or why they are missing."""
    table = Table(title=f"Benchmark: {content['plan']['name']}", caption="Research use only.")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for key, value in content["figures"].items():
        table.add_row(key, content["missing"][key] if value is None else f"{value:.3f}")
    return table
