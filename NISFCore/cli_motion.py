"""The commands `nisf motion ...`: displacement of the tissue and its strain."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.table import Table
from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from NISFCore.cli_options import Job, OptionalPath, OptionalText

if TYPE_CHECKING:
    from NISFCore.motion.result import MotionResult

OptionalNumber = Annotated[int | None, arg(metavar="INT")]


@dataclass(frozen=True)
class FitMotion:
    """Follow the LV wall over the cycle in a fitted study; writes displacement, strain, models.

    Attributes:
        result: a folder made by `nisf fit`; it stays as it is.
        tagged: folder or zip of DICOM with tagged series of the same examination (others in it are
            left out): twist and circumferential strain then come from the tags.
        out: the motion folder; by default the folder motion in the result.
        overwrite: replace a motion that exists.
    """

    result: Positional[Path]
    tagged: OptionalPath = None
    out: OptionalPath = None
    overwrite: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore.export.motion_files import MOTION_FOLDER
        from NISFCore.motion_workflow import fit_motion

        with self.job.supervised() as supervision:
            found = fit_motion(
                self.result,
                self.out,
                tagged=self.tagged,
                overwrite=self.overwrite,
                **supervision,
            )
        _answer(self.job, found, self.out or self.result / MOTION_FOLDER)


@dataclass(frozen=True)
class ShowMotion:
    """Show the strain of a motion folder, and what to know of it.

    Attributes:
        motion: a folder made by `nisf motion fit`.
    """

    motion: Positional[Path]
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore.motion.storage import load_motion

        _answer(self.job, load_motion(self.motion), self.motion)


@dataclass(frozen=True)
class TrainMotion:
    """Learn a prior of the motion within tagged short-axis planes, on simulated hearts.

    Attributes:
        prior: population, one network for all; consensus, the robust mean of each heart's network;
            auto-decoder, one network and a code per heart; meta, a start that few steps lead far
            from; or modes, the consensus and its principal modes.
        out: the prior file, NAME.safetensors.
        subjects: simulated hearts to learn from; by default as the bundled priors.
        iterations: steps of the training; by default as the bundled priors.
        targets: truth, the exact motion of simulated tissue; or images, what a fit to images and
            labels finds. meta begins so, and goes on with images and labels themselves.
        seed: of hearts and weights.
        name: shown to users of the prior; by default that of the file.
        overwrite: replace a prior that exists.
    """

    prior: Literal["population", "consensus", "auto-decoder", "meta", "modes"]
    out: Path
    subjects: OptionalNumber = None
    iterations: OptionalNumber = None
    targets: Literal["truth", "images"] = "truth"
    seed: int = 1
    name: OptionalText = None
    overwrite: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore.motion.priors.config import PriorKind, Targets
        from NISFCore.motion.priors.training import train_motion_prior, usual_config

        config = usual_config(
            PriorKind(self.prior), self.subjects, self.iterations, Targets(self.targets), self.seed
        )
        name = self.out.stem if self.name is None else self.name
        with self.job.supervised() as supervision:
            prior = train_motion_prior(config, self.out, name, self.overwrite, **supervision)
        _, last = prior.info.training["curve"][-1]
        values = {"file": str(self.out), "last": last, "seconds": prior.info.training["seconds"]}
        self.job.answer(values, f"motion prior: {self.out}")


MotionCommand = (
    Annotated[FitMotion, subcommand("fit")]
    | Annotated[ShowMotion, subcommand("show")]
    | Annotated[TrainMotion, subcommand("train")]
)


@dataclass(frozen=True)
class Motion:
    """Cardiac motion: displacement of the tissue since end-diastole, and strain."""

    command: OmitSubcommandPrefixes[MotionCommand]

    @property
    def job(self) -> Job:
        """Of the command that was chosen."""
        return self.command.job

    def run(self) -> int | None:
        return self.command.run()


def _answer(job: Job, found: "MotionResult", folder: Path) -> None:
    peaks = _peaks(found)
    values: dict[str, Any] = {
        "folder": str(folder),
        **{key: value for key, (_, value) in peaks.items()},
        "flags": [flag.code for flag in found.flags],
    }
    table = Table(title="Peak strain", caption="Research use only; not a medical device.")
    table.add_column("whole LV wall")
    table.add_column("value", justify="right")
    for name, value in peaks.values():
        table.add_row(name, "not seen" if value is None else f"{value:.1f}")
    warnings = [f"note: {text}" for text in found.warnings]
    job.answer(values, table, *warnings, f"motion: {folder}")


def _peaks(found: "MotionResult") -> dict[str, tuple[str, float | None]]:
    """Key -> name and peak over the cycle; None if it cannot be told."""
    from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LONGITUDINAL, RADIAL

    curves = found.strain()
    torsion = curves.torsion_deg[abs(curves.torsion_deg).argmax()]
    values = {
        "gcs_percent": ("circumferential (%)", 100 * curves.peak(CIRCUMFERENTIAL)),
        "grs_percent": ("radial (%)", 100 * curves.peak(RADIAL)),
        "gls_percent": ("longitudinal (%)", 100 * curves.peak(LONGITUDINAL)),
        "torsion_deg": ("torsion (°)", float(torsion)),
    }
    return {key: (name, v if v == v else None) for key, (name, v) in values.items()}
