"""The `nisf` program: one dataclass per command; each `run` calls the library and shows its answer.

Exit codes: 0 done, 2 wrong input or settings (one clear message), 130 cancelled.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from tyro.conf import Positional, arg, subcommand

from NISFCore import workflows
from NISFCore.analysis.contact_sheet import write_contact_sheet
from NISFCore.analysis.inspect import inspect_study, inspect_table
from NISFCore.console import (
    ProgressStyle,
    cancel_on_signal,
    evaluation_table,
    fit_table,
    progress_reporter,
)
from NISFCore.errors import Cancelled, NISFError
from NISFCore.export.settings import ExportSettings, parse_formats
from NISFCore.model.prior import load_prior
from NISFCore.phantom.cohort import CohortSettings, StudyFormat, simulate_cohort
from NISFCore.training.run import train_prior
from NISFCore.views import CARDIAC_VIEWS, View
from NISFCore.workflows import StudyInput

EXIT_ERROR, EXIT_CANCELLED = 2, 130
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Job:
    """Options of every long command.

    Attributes:
        progress: bars, one JSON object per line on standard output, or nothing.
        cancel_file: the job stops within a second once this file exists.
        overwrite: replace an output folder that holds something.
    """

    progress: ProgressStyle = "console"
    cancel_file: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Reading:
    """How a study is read.

    Attributes:
        views: views to use.
        view: correct a view, as NAME=VIEW, NAME a series number or file stem (repeatable).
        select: which examination, where the input holds several.
    """

    views: tuple[View, ...] = CARDIAC_VIEWS
    view: Annotated[tuple[str, ...], arg(metavar="NAME=VIEW ...")] = ()
    select: str | None = None

    def of(self, path: Path) -> StudyInput:
        overrides = workflows.view_overrides(self.view)
        return StudyInput(path, overrides, self.select, self.views)


@dataclass(frozen=True)
class Simulate:
    """Simulate hearts with known truth, as DICOM or NIfTI studies.

    Attributes:
        out: folder for one folder per subject; complete subjects in it are kept.
        subjects: number of subjects.
        seed: of the cohort; equal seeds give equal subjects.
        preset: clinical, with all imperfections; or cohort, aligned and cheap, for training.
        format: file format of the images.
        workers: processes.
    """

    out: Positional[Path]
    subjects: int = 1
    seed: int = 0
    preset: Literal["clinical", "cohort"] = "clinical"
    format: Literal["dicom", "nifti"] = "dicom"
    workers: int = 1
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        settings = CohortSettings(
            n_subjects=self.subjects,
            seed=self.seed,
            preset=self.preset,
            format=StudyFormat(self.format),
            n_workers=self.workers,
        )
        with progress_reporter(self.job.progress) as progress, _token(self.job) as cancel:
            simulate_cohort(self.out, settings, progress, cancel)


@dataclass(frozen=True)
class Inspect:
    """Show what a study holds, what was assumed and what is missing.

    Attributes:
        input: a folder, zip or file of DICOM or NIfTI.
        json: print JSON instead of a table.
        contact_sheet: where the picture of all slices goes.
    """

    input: Positional[Path]
    json: bool = False
    contact_sheet: Path = Path("contact-sheet.png")
    reading: Annotated[Reading, arg(name="")] = Reading()

    def run(self) -> None:
        study = self.reading.of(self.input).read()
        write_contact_sheet(study, self.contact_sheet)
        if self.json:
            _print_json(inspect_study(study) | {"contact_sheet": str(self.contact_sheet)})
            return
        console = Console()
        console.print(inspect_table(study))
        for warning in study.warnings:
            console.print(f"! {warning}", markup=False)
        console.print(f"contact sheet: {self.contact_sheet}", markup=False)


@dataclass(frozen=True)
class Train:
    """Train a prior on a cohort of labelled studies.

    Attributes:
        cohort: a folder with one folder per subject.
        out: the prior file; checkpoint and log are written beside it.
        config: default, paper, or a JSON file of settings.
        name: shown to users of the prior.
        device: cpu or cuda.
        resume: continue from the checkpoint of a killed training.
    """

    cohort: Positional[Path]
    out: Path
    config: str = "default"
    name: str | None = None
    device: Device = "auto"
    resume: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        config = workflows.training_config(self.config)
        with progress_reporter(self.job.progress) as progress, _token(self.job) as cancel:
            train_prior(
                self.cohort,
                self.out,
                config,
                name=self.name,
                device=self.device,
                resume=self.resume,
                progress=progress,
                cancel=cancel,
            )


@dataclass(frozen=True)
class Fit:
    """Fit one study: aligned slices and a 4D heart.

    Attributes:
        input: a folder, zip or file of DICOM or NIfTI.
        out: the result folder.
        prior: a prior file; the bundled one by default.
        config: default (Gauss-Newton), paper (Adam), or a JSON file of settings.
        device: auto takes CUDA where it works.
    """

    input: Positional[Path]
    out: Path
    prior: Path | None = None
    config: str = "default"
    device: Device = "auto"
    reading: Annotated[Reading, arg(name="")] = Reading()
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        source, config = self.reading.of(self.input), workflows.fit_config(self.config)
        with progress_reporter(self.job.progress) as progress, _token(self.job) as cancel:
            result = workflows.fit_input(
                source,
                self.out,
                prior=load_prior(self.prior),
                config=config,
                device=self.device,
                overwrite=self.job.overwrite,
                progress=progress,
                cancel=cancel,
            )
        if self.job.progress == "json":
            _print_json_line({"event": "result", "folder": str(self.out), **result.figures})
        else:
            Console().print(fit_table(result))


@dataclass(frozen=True)
class Export:
    """Export a result: super-resolved volumes, aligned slices, surfaces, tables and a report.

    Attributes:
        result: a folder made by `nisf fit`.
        out: the folder to write.
        spacing_mm: voxel size of exported volumes.
        phases: all, or a list of ED, ES and phase indices, e.g. ED,ES,7.
        formats: all, or a comma-separated list.
        truth: truth of a simulated study, for the report.
    """

    result: Positional[Path]
    out: Path
    spacing_mm: float = ExportSettings.spacing_mm
    phases: str = ExportSettings.phases
    formats: str = "all"
    truth: Path | None = None
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        settings = ExportSettings(
            spacing_mm=self.spacing_mm,
            phases=self.phases,
            formats=parse_formats(self.formats),
            overwrite=self.job.overwrite,
        )
        with progress_reporter(self.job.progress) as progress, _token(self.job) as cancel:
            workflows.export_folder(
                self.result, self.out, settings, truth=self.truth, progress=progress, cancel=cancel
            )


@dataclass(frozen=True)
class Evaluate:
    """Measure a result, against the truth of a simulated study where there is one.

    Attributes:
        result: a folder made by `nisf fit`.
        truth: the truth folder of the simulated subject.
        json: print JSON instead of a table.
    """

    result: Positional[Path]
    truth: Path | None = None
    json: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        with progress_reporter(self.job.progress) as progress, _token(self.job) as cancel:
            evaluation = workflows.evaluate_folder(
                self.result, self.truth, progress=progress, cancel=cancel
            )
        if self.json:
            _print_json(evaluation.to_json_object())
        else:
            Console().print(evaluation_table(evaluation))


@dataclass(frozen=True)
class Demo:
    """Simulate an unseen subject, read it back, fit, export and compare it with the truth.

    Attributes:
        out: folder for everything.
        seed: of the simulated subject.
        device: auto takes CUDA where it works.
    """

    out: Path = Path("demo-output")
    seed: int = workflows.DEMO_SEED
    device: Device = "auto"
    job: Annotated[Job, arg(name="")] = Job(overwrite=True)

    def run(self) -> None:
        with progress_reporter(self.job.progress) as progress, _token(self.job) as cancel:
            evaluation = workflows.run_demo(
                self.out,
                seed=self.seed,
                device=self.device,
                overwrite=self.job.overwrite,
                progress=progress,
                cancel=cancel,
            )
        console = Console()
        console.print(evaluation_table(evaluation))
        console.print(f"Look at {self.out / 'export' / 'report.html'}", markup=False)


Command = (
    Annotated[Demo, subcommand("demo")]
    | Annotated[Inspect, subcommand("inspect")]
    | Annotated[Fit, subcommand("fit")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Simulate, subcommand("simulate")]
    | Annotated[Train, subcommand("train")]
)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    command: Any = tyro.cli(
        Command,
        args=arguments,
        prog="nisf",
        description="NISF: the beating heart from cine MR slices. Research use only; "
        "not a medical device.",
    )
    try:
        command.run()
    except Cancelled as error:
        return _fail(command, "cancelled", str(error), EXIT_CANCELLED)
    except NISFError as error:
        return _fail(command, "error", str(error), EXIT_ERROR)
    return 0


def _fail(command: Any, event: str, message: str, code: int) -> int:
    job = getattr(command, "job", None)
    if job is not None and job.progress == "json":
        _print_json_line({"event": event, "message": message})
    else:
        Console(stderr=True).print(f"nisf: {message}", markup=False, highlight=False)
    return code


def _token(job: Job) -> Any:
    return cancel_on_signal(job.cancel_file)


def _print_json(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values, indent=2) + "\n")


def _print_json_line(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
