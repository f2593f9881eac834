"""The commands that need simulated subjects of known truth: `nisf benchmark`, `nisf calibrate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from NISFCore.cli_options import Device, Job, OptionalPath, Reading
from NISFCore.errors import ConfigError


@dataclass(frozen=True)
class Benchmark:
    """Measure fits on simulated test subjects that no training saw, beside what else there is; or
    on a real study against reference surfaces or label maps.

    Attributes:
        plan: quick, the figures of a few subjects in minutes; full, every table of the
            documentation in hours; real, the fits of STUDY against --reference; or motion,
            cardiac motion from tags with every initialisation, in minutes.
        study: a folder, zip or file of DICOM or NIfTI; for real only.
        out: folder for tables and figures; a run of quick or full that was stopped goes on from
            what is in it.
        reference: for real: a folder or zip of surfaces (OBJ, PLY, STL, VTK, VTP, named
            NAME_LV_ENDOCARDIAL_PHASE and so on), or a file or folder of label maps.
        numbers: numbering of label maps: as our own, of ACDC, or 1 LV, 2 myocardium, 4 RV.
        space: coordinates of surfaces.
        subjects: another number of test subjects; for motion, of each of six groups.
        prior: a prior file; the bundled one by default. For motion: one made by `nisf motion
            train`, in place of the bundled one of its kind.
        config: of the fits of real: default, or a JSON file of settings.
    """

    plan: Positional[Literal["quick", "full", "real", "motion"]]
    out: Path
    study: Positional[OptionalPath] = None
    reference: OptionalPath = None
    numbers: Literal["lv-myo-rv", "acdc", "rv-4"] = "lv-myo-rv"
    space: Literal["lps", "ras"] = "lps"
    subjects: Annotated[int | None, arg(metavar="INT")] = None
    prior: OptionalPath = None
    config: str = "default"
    reading: Annotated[Reading, arg(name="")] = Reading()
    job: Annotated[Job, arg(name="")] = Job()

    def run(self) -> None:
        runs = {"real": self._real, "motion": self._motion}
        content = runs.get(self.plan, self._simulated)()
        values = {"folder": str(self.out), "figures": content["figures"]}
        notes = f"figures: {self.out / 'benchmark.json'}", f"look at {self.out / 'benchmark.md'}"
        self.job.answer(values, figures_table(content, self.plan), *notes)

    def _real(self) -> dict[str, Any]:
        from NISFCore.benchmark.real import RealSettings, run_real
        from NISFCore.workflows import fit_config

        if self.study is None or self.reference is None:
            raise ConfigError(
                "benchmark real: needs a study and its reference: "
                "nisf benchmark real STUDY --reference SURFACES_OR_LABEL_MAPS --out DIR"
            )
        source, config = self.reading.of(self.study), fit_config(self.config)
        settings = RealSettings(source, self.reference, self.numbers, self.space, config)
        with self.job.supervised() as supervision:
            return run_real(self.out, settings, prior=self.prior, **supervision)

    def _simulated(self) -> dict[str, Any]:
        from NISFCore.benchmark.plan import PLANS
        from NISFCore.benchmark.run import run_benchmark

        self._check_no_study()
        plan = PLANS[self.plan]
        plan = plan if self.subjects is None else plan.with_subjects(self.subjects)
        with self.job.supervised() as supervision:
            return run_benchmark(self.out, plan, prior=self.prior, **supervision)

    def _motion(self) -> dict[str, Any]:
        from NISFCore.benchmark.motion import run_motion
        from NISFCore.benchmark.motion_plan import MotionPlan

        self._check_no_study()
        plan = MotionPlan() if self.subjects is None else MotionPlan(n_per_group=self.subjects)
        priors = [] if self.prior is None else [self.prior]
        with self.job.supervised() as supervision:
            return run_motion(self.out, plan, priors=priors, **supervision)

    def _check_no_study(self) -> None:
        if self.study is not None or self.reference is not None:
            raise ConfigError(
                f"benchmark {self.plan}: takes no study and no reference; for those: "
                "nisf benchmark real STUDY --reference SURFACES_OR_LABEL_MAPS --out DIR"
            )


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


def figures_table(content: dict[str, Any], name: str) -> Table:
    """The headline figures of a `benchmark.json`, or why they are missing."""
    table = Table(title=f"Benchmark: {name}", caption="Research use only.")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for key, value in content["figures"].items():
        table.add_row(key, content["missing"][key] if value is None else f"{value:.3f}")
    return table
