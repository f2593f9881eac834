"""The commands `nisf motion ...`: displacement of the tissue and its strain."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table
from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from NISFCore.cli_options import Job, OptionalPath

if TYPE_CHECKING:
    from NISFCore.motion.result import MotionResult


@dataclass(frozen=True)
class FitMotion:
    """Follow the LV wall over the cycle in a fitted study; writes displacement, strain, models.

    Attributes:
        result: a folder made by `nisf fit`; it stays as it is.
        out: the motion folder; by default the folder motion in the result.
        overwrite: replace a motion that exists.
    """

    result: Positional[Path]
    out: OptionalPath = None
    overwrite: bool = False
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        from NISFCore.export.motion_files import MOTION_FOLDER
        from NISFCore.motion_workflow import fit_motion

        with self.job.supervised() as supervision:
            found = fit_motion(self.result, self.out, overwrite=self.overwrite, **supervision)
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


MotionCommand = Annotated[FitMotion, subcommand("fit")] | Annotated[ShowMotion, subcommand("show")]


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
