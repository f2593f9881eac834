"""The `nisf` program: one dataclass per command; each `run` calls the library and shows its answer.

Exit codes: 0 done, 1 some subjects of a batch failed, 2 wrong input or settings (one clear
message), 130 cancelled. Answers go to standard output, bars and messages to standard error; with
`--progress json` everything is one JSON object per line on standard output.

The libraries behind a command (torch, VTK, ...) take seconds to load, so each `run` imports what
it needs: help, and mistakes on the command line, are answered at once.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg, subcommand

from NISFCore._version import __version__
from NISFCore.cli_benchmark import Benchmark, Calibrate
from NISFCore.cli_evidence import TrainSlices
from NISFCore.cli_fit import Fit, Refit
from NISFCore.cli_motion import Motion
from NISFCore.cli_options import (
    Device,
    Job,
    OptionalPath,
    OptionalText,
    Reading,
    options_of,
)
from NISFCore.cli_serve import Serve
from NISFCore.console import (
    batch_text,
    evaluation_table,
    inspect_notes,
    print_error,
    print_json,
    print_json_line,
    show,
    tolerate_any_encoding,
)
from NISFCore.errors import Cancelled, NISFError
from NISFCore.export.settings import ExportSettings, parse_formats
from NISFCore.views import CARDIAC_VIEWS, View

EXIT_DONE, EXIT_SOME_FAILED, EXIT_ERROR, EXIT_CANCELLED = 0, 1, 2, 130


@dataclass(frozen=True)
class Simulate:
    """Simulate hearts with known truth, as DICOM or NIfTI studies.

    Attributes:
        out: folder for one folder per subject; complete subjects in it are kept.
        subjects: number of subjects.
        seed: of the cohort; equal seeds give equal subjects.
        preset: clinical, with all imperfections; cohort, aligned and cheap, for training; or
            tagged: one, three short-axis slices, or six with the long axes (DICOM only).
        tagged: tagged slices of the same heart beside the others, in the same folder.
        tags: lines, two series per slice, or a grid; of tagged slices.
        format: file format of the images.
        workers: processes.
    """

    out: Positional[Path]
    subjects: int = 1
    seed: int = 0
    preset: Literal["clinical", "cohort", "tagged-2d", "tagged-3sa", "tagged-3d"] = "clinical"
    tagged: Literal["none", "tagged-2d", "tagged-3sa", "tagged-3d"] = "none"
    tags: Literal["lines", "grid"] = "grid"
    format: Literal["dicom", "nifti"] = "dicom"
    workers: int = 1
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore.phantom.cohort import CohortSettings, StudyFormat, simulate_cohort
        from NISFCore.phantom.tag_pattern import TagKind

        settings = CohortSettings(
            self.subjects,
            self.seed,
            self.preset,
            StudyFormat(self.format),
            n_workers=self.workers,
            tags=TagKind(self.tags),
            tagged=None if self.tagged == "none" else self.tagged,
        )
        with self.job.supervised() as supervision:
            folders = simulate_cohort(self.out, settings, **supervision)
        values = {"folder": str(self.out), "subjects": [f.name for f in folders]}
        self.job.answer(values, f"{len(folders)} subject(s) in {self.out}")


@dataclass(frozen=True)
class Inspect:
    """Show what a study holds, what was assumed and what is missing.

    Attributes:
        input: a folder, zip or file of DICOM or NIfTI.
        json: print JSON instead of a table.
        contact_sheet: where the picture of all slices goes; None for no picture.
        slices: folder for the slices as sequences for 3D Slicer; an earlier one is replaced.
    """

    input: Positional[Path]
    json: bool = False
    contact_sheet: Path | None = Path("contact-sheet.png")
    slices: OptionalPath = None
    reading: Annotated[Reading, arg(name="")] = Reading()
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore import workflows
        from NISFCore.analysis import contact_sheet, inspect

        with self.job.supervised() as supervision:
            study = workflows.inspect_input(self.reading.of(self.input), self.slices, **supervision)
        found = inspect.inspect_study(study)
        if self.contact_sheet is not None:
            contact_sheet.write_contact_sheet(study, self.contact_sheet)
            found["contact_sheet"] = str(self.contact_sheet)
        if self.json and self.job.progress != "json":
            print_json(found)
            return
        files = [f"contact sheet: {self.contact_sheet}", f"slices: {self.slices}"]
        wanted = [self.contact_sheet is not None, self.slices is not None]
        shown = [text for text, is_wanted in zip(files, wanted, strict=True) if is_wanted]
        self.job.answer(found, inspect.inspect_table(study), *inspect_notes(found), *shown)


@dataclass(frozen=True)
class Train:
    """Train a prior on a cohort of labelled studies.

    Attributes:
        cohort: a folder with one folder per subject.
        out: the prior file, NAME.safetensors; checkpoint and log are written beside it.
        config: default, aligned (slices are known to fit together), fine-tune (what a start gets by
            default), paper, or a JSON file.
        start: a prior file to begin with, or "bundled": few subjects suffice then.
        name: shown to users of the prior; by default that of the file.
        device: auto takes CUDA where it works.
        resume: continue from the checkpoint of a killed training, if there is one.
        overwrite: replace a prior that exists.
    """

    cohort: Positional[Path]
    out: Path
    config: OptionalText = None
    start: OptionalText = None
    name: OptionalText = None
    device: Device = "auto"
    resume: bool = False
    overwrite: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore import workflows
        from NISFCore.model.prior import load_prior
        from NISFCore.training.run import train_prior

        options = options_of(self, "name", "device", "resume", "overwrite")
        if self.start is not None:
            options["start"] = load_prior(None if self.start == "bundled" else Path(self.start))
        usual = "default" if self.start is None else "fine-tune"
        config = workflows.training_config(self.config or usual)
        with self.job.supervised() as supervision:
            train_prior(self.cohort, self.out, config, **options, **supervision)
        self.job.answer({"file": str(self.out)}, f"prior: {self.out}")


@dataclass(frozen=True)
class Export:
    """Export a result: super-resolved volumes, aligned slices, surfaces, tables and a report.

    Attributes:
        result: a folder made by `nisf fit`.
        out: the folder to write.
        spacing_mm: voxel size of exported volumes.
        phases: all, or a list of ED, ES and phase indices, e.g. ED,ES,7.
        formats: a comma-separated list; all stands for every format but confidence.
        truth: truth of a simulated study, for the report.
        overwrite: replace an export that exists.
    """

    result: Positional[Path]
    out: Path
    spacing_mm: float = ExportSettings.spacing_mm
    phases: str = ExportSettings.phases
    formats: str = "all"
    truth: OptionalPath = None
    overwrite: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore import workflows

        settings = ExportSettings(
            self.spacing_mm, self.phases, parse_formats(self.formats), overwrite=self.overwrite
        )
        with self.job.supervised() as supervision:
            manifest = workflows.export_folder(
                self.result, self.out, settings, truth=self.truth, **supervision
            )
        files = [self.out / file["path"] for file in manifest["files"]]
        values = {"folder": str(self.out), "n_files": len(files)}
        reports = [f"look at {file}" for file in files if file.suffix == ".html"]
        self.job.answer(values, f"{len(files)} files in {self.out}", *reports)


@dataclass(frozen=True)
class Batch:
    """Fit many subjects, each in a process of its own; run it again to go on after a stop.

    Exit code 0 if all are done, 1 if some failed (`summary.csv` says which and why).

    Attributes:
        input_root: a folder with one folder or zip per subject.
        out_root: a folder for results and summary.
        prior: a prior file; the bundled one by default.
        config: default (Gauss-Newton), paper (Adam), or a JSON file of settings.
        device: auto takes CUDA where it works.
        views: views to use.
        motion: follow the LV wall as well, for strain (half a minute per subject); by the tagged
            series where a subject has any.
        formats: what to export of every subject: none, all, or a comma-separated list.
        spacing_mm: voxel size of exported volumes.
        phases: all, or a list of ED, ES and phase indices, e.g. ED,ES,7.
        workers: subjects at once.
        keep_names: call subjects as their folders are called (only if that identifies nobody);
            by default they are numbered.
    """

    input_root: Positional[Path]
    out_root: Positional[Path]
    prior: OptionalPath = None
    config: str = "default"
    device: Device = "auto"
    views: tuple[View, ...] = CARDIAC_VIEWS
    motion: bool = False
    formats: str = "tables"
    spacing_mm: float = ExportSettings.spacing_mm
    phases: str = ExportSettings.phases
    workers: int = 1
    keep_names: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> int:
        from NISFCore import workflows
        from NISFCore.batch import plan, run

        formats = () if self.formats == "none" else parse_formats(self.formats)
        options = options_of(
            self, "prior", "device", "views", "motion", "spacing_mm", "phases", "keep_names"
        )
        config = workflows.fit_config(self.config)
        settings = plan.BatchSettings(
            config=config, formats=formats, n_workers=self.workers, **options
        )
        with self.job.supervised() as supervision:
            summary = run.run_batch(self.input_root, self.out_root, settings, **supervision)
        table = self.out_root / run.SUMMARY_CSV
        values = {"folder": str(self.out_root), "summary": str(table), **summary.counts}
        self.job.answer(values, batch_text(summary.counts), f"summary: {table}")
        return EXIT_SOME_FAILED if summary.counts["failed"] else EXIT_DONE


@dataclass(frozen=True)
class Evaluate:
    """Measure a result, against the truth of a simulated study where there is one.

    Attributes:
        result: a folder made by `nisf fit`.
        truth: the truth folder of the simulated subject.
        json: print JSON instead of a table.
    """

    result: Positional[Path]
    truth: OptionalPath = None
    json: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore import workflows

        with self.job.supervised() as supervision:
            evaluation = workflows.evaluate_folder(self.result, self.truth, **supervision)
        if self.json:
            print_json(evaluation.to_json_object())
        else:
            self.job.answer(evaluation.to_json_object(), evaluation_table(evaluation))


@dataclass(frozen=True)
class Demo:
    """Simulate an unseen subject, read it back, fit, export and compare it with the truth.

    Attributes:
        out: folder for everything; an earlier demo in it is replaced.
        seed: of the simulated subject; by default one that no bundled prior has seen.
        device: auto takes CUDA where it works.
        overwrite: replace an earlier demo.
    """

    out: Path = Path("demo-output")
    seed: Annotated[int | None, arg(metavar="INT")] = None
    device: Device = "auto"
    overwrite: bool = True
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore import workflows

        options = options_of(self, "seed", "device", "overwrite")
        with self.job.supervised() as supervision:
            evaluation = workflows.run_demo(self.out, **options, **supervision)
        report = self.out / "export" / "report.html"
        values = {"folder": str(self.out), "report": str(report)}
        self.job.answer(values, evaluation_table(evaluation), f"look at {report}")


Command = (
    Annotated[Demo, subcommand("demo")]
    | Annotated[Inspect, subcommand("inspect")]
    | Annotated[Fit, subcommand("fit")]
    | Annotated[Refit, subcommand("refit")]
    | Annotated[Serve, subcommand("serve")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Batch, subcommand("batch")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Motion, subcommand("motion")]
    | Annotated[Benchmark, subcommand("benchmark")]
    | Annotated[Simulate, subcommand("simulate")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Calibrate, subcommand("calibrate")]
    | Annotated[TrainSlices, subcommand("train-slices")]
)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    try:
        try:
            return _main(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who read it had enough (`| head`): else Python says so at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def _main(arguments: list[str] | None) -> int:
    tolerate_any_encoding()
    # numpy's threads and torch's wait for work by spinning: beside each other they cost a third,
    # and beside other busy programs, such as Slicer playing a cine, a fit takes five times as long
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        show(f"nisf {__version__}")
        return EXIT_DONE
    command: Any = tyro.cli(
        Command,
        args=arguments,
        prog="nisf",
        description="NISF: the beating heart from cine MR slices. Research use only; "
        f"not a medical device. Version {__version__} (nisf --version).",
    )
    return _run(command)


def _run(command: Any) -> int:
    try:
        return int(command.run() or EXIT_DONE)
    except Cancelled as error:
        return _fail(command, "cancelled", str(error), EXIT_CANCELLED)
    except KeyboardInterrupt:  # before the job took over the signals, or asked twice
        return _fail(command, "cancelled", "cancelled by the user", EXIT_CANCELLED)
    except NISFError as error:
        return _fail(command, "error", str(error), EXIT_ERROR)


def _fail(command: Any, event: str, message: str, code: int) -> int:
    job = getattr(command, "job", None)
    if job is not None and job.progress == "json":
        print_json_line({"event": event, "message": message})
    else:
        print_error(f"nisf: {message}")
    return code
