"""The commands `nisf fit` and `nisf refit`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from NISFCore.cli_options import Device, Job, Labels, OptionalPath, Reading, options_of
from NISFCore.console import command_line, fit_notes, fit_table
from NISFCore.errors import ConfigError

if TYPE_CHECKING:
    from NISFCore.fitting.result import FitResult


@dataclass(frozen=True)
class Fit:
    """Fit one study: aligned slices and a 4D heart.

    Attributes:
        input: a folder, zip or file of DICOM or NIfTI.
        out: the result folder.
        prior: a prior file; the bundled one by default.
        config: default (Gauss-Newton), paper (Adam), or a JSON file of settings.
        device: auto takes CUDA where it works.
        overwrite: replace a result that exists.
        evidence: whether a network's labels of single slices count beside their intensities.
    """

    input: Positional[Path]
    out: Path
    prior: OptionalPath = None
    config: str = "default"
    device: Device = "auto"
    overwrite: bool = False
    evidence: bool = True
    guidance: Annotated[Labels, arg(name="")] = Labels()
    reading: Annotated[Reading, arg(name="")] = Reading()
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore import workflows

        source, config = self.reading.of(self.input), workflows.fit_config(self.config)
        options = options_of(self, "prior", "device", "overwrite", "evidence")
        options["labels"] = self.guidance.given()
        with self.job.supervised() as supervision:
            result = workflows.fit_input(source, self.out, config=config, **options, **supervision)
        _answer_fit(self.job, result, self.out)


@dataclass(frozen=True)
class Refit:
    """Go on from a result with labels that somebody drew: a matter of seconds.

    Attributes:
        result: a folder made by `nisf fit`; it stays as it is.
        out: the new result folder.
        device: auto takes CUDA where it works.
        overwrite: replace a result that exists.
    """

    result: Positional[Path]
    out: Path
    device: Device = "auto"
    overwrite: bool = False
    guidance: Annotated[Labels, arg(name="")] = Labels()
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore import workflows

        labels = self.guidance.given()
        if labels is None:
            raise ConfigError("labels: none given; a refit needs --labels FILE@PHASE")
        options = options_of(self, "device", "overwrite")
        with self.job.supervised() as supervision:
            result = workflows.refit_result(self.result, self.out, labels, **options, **supervision)
        _answer_fit(self.job, result, self.out)


def _answer_fit(job: Job, result: "FitResult", out: Path) -> None:
    then = command_line("nisf", "export", out, "--out", f"{out}-export")
    values = {"folder": str(out), **result.figures, "warnings": list(result.study.warnings)}
    notes = [*fit_notes(result), f"result: {out}", f"next: {then}"]
    job.answer(values, fit_table(result), *notes)
