"""What the commands do, as functions: each joins the layers for one job and computes nothing of
its own. Scripts and the Slicer worker call them as the command line does.

What a fit does not need (plots, meshes, the simulator) is imported by the functions that do: it
takes as long to load as a third of a fit.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from NISFCore.analysis.checked import checked
from NISFCore.analysis.evaluation import Evaluation, evaluate
from NISFCore.config import from_json_object
from NISFCore.data.anatomy import GivenOrientation
from NISFCore.data.guidance import Guidance, read_guidance
from NISFCore.data.label_files import LabelFile
from NISFCore.data.read import read_study
from NISFCore.data.retelling import retold_study
from NISFCore.data.study import CineStudy
from NISFCore.errors import ConfigError
from NISFCore.evidence.network import load_slice_network
from NISFCore.export.scanned_slices import SLICES_FILE, write_scanned_slices
from NISFCore.export.settings import INTENSITY_FORMATS, ExportSettings
from NISFCore.files import check_new_folder, new_folder, write_text_atomically
from NISFCore.fitting import config as fit_configs
from NISFCore.fitting.config import FitConfig
from NISFCore.fitting.fit import fit_study, refit_study
from NISFCore.fitting.intensity_detail import with_intensity_detail
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.storage import RESULT_FILE, load_result, save_result
from NISFCore.model.prior import Prior, load_prior
from NISFCore.progress import (
    CancelToken,
    ProgressEvent,
    ProgressReporter,
    SilentProgress,
    interruptible,
)
from NISFCore.training import config as training_configs
from NISFCore.training.config import TrainingConfig
from NISFCore.views import CARDIAC_VIEWS, View

SUMMARY_FILE = "summary.json"
DEMO_SPACING_MM = 2.5
DEMO_SEED = 7_700_016
"""A heart that no training saw (the bundled prior's cohort has seed 1), imaged in 25 phases: the
shortest cine that the simulated scanner takes, to keep the demo short."""
DEMO_EVALUATION_PHASES, DEMO_EVALUATION_MM = 20, 3.0


@dataclass(frozen=True)
class StudyInput:
    """A study and how to read it.

    Attributes:
        path: folder, zip or file.
        view_overrides: views given by the user, by series number or file stem.
        select: which examination, where the input holds several.
        views: the views to use.
        leave_out: names of slices that are not used.
        orientation: what the user says of the short-axis images, where files do not.
        subject: what to call the study; by default it is called after its input.
        hidden: words of the input's path for which `subject` stands in all that is kept.
    """

    path: Path
    view_overrides: Mapping[str, View] = field(default_factory=dict)
    select: str | None = None
    views: tuple[View, ...] = CARDIAC_VIEWS
    leave_out: tuple[str, ...] = ()
    orientation: GivenOrientation = GivenOrientation()
    subject: str | None = None
    hidden: tuple[str, ...] = ()

    def read(self, cancel: CancelToken | None = None) -> CineStudy:
        """The study, restricted to `views` and without `leave_out`.

        Raises:
            StudyError: see `read_study`, `CineStudy.without` and `CineStudy.restricted_to`.
            Cancelled: at once when asked.
        """

        def work() -> CineStudy:
            return read_study(
                self.path, views=dict(self.view_overrides) or None, select=self.select
            )

        study = work() if cancel is None else interruptible(work, cancel)
        if self.subject is not None:
            study = retold_study(study, self.hidden, self.subject)
        return study.without(self.leave_out).restricted_to(self.views)


def inspect_input(
    source: StudyInput,
    slices: Path | None = None,
    *,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> CineStudy:
    """Read a study, and write its slices as sequences into a folder where one is given.

    Raises:
        NISFError: any of its kinds; nothing is written then.
    """
    if slices is not None:
        check_new_folder(slices, True, SLICES_FILE)
    study = source.read(cancel)
    if slices is not None:
        with new_folder(slices, True, SLICES_FILE) as folder:
            write_scanned_slices(study, folder, progress, cancel)
    return study


@dataclass(frozen=True)
class GivenLabels:
    """Files of labels that are to guide a fit.

    Attributes:
        files: in any order; together they must not contradict each other.
        numbers: number in label maps -> label; our own numbering by default.
    """

    files: tuple[LabelFile, ...]
    numbers: Mapping[int, int] | None = None

    def placed_on(self, study: CineStudy) -> Guidance:
        """
        Raises:
            StudyError: if a file cannot be read, placed or timed.
        """
        return read_guidance(study, self.files, self.numbers)


def fit_input(
    source: StudyInput,
    out: Path,
    *,
    labels: GivenLabels | None = None,
    prior: Prior | Path | None = None,
    config: FitConfig = fit_configs.DEFAULT,
    evidence: bool = True,
    device: str = "auto",
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> FitResult:
    """Read a study, fit it and write the result folder.

    Args:
        labels: what somebody drew in this study.
        prior: a prior, or its file; the bundled one by default.
        evidence: whether the bundled slice network's labels count beside the intensities.

    Raises:
        NISFError: any of its kinds; nothing is written then.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    check_new_folder(out, overwrite, RESULT_FILE)
    prior = prior if isinstance(prior, Prior) else load_prior(prior)
    began = time.monotonic()
    progress.report(ProgressEvent("read", 0, 1, 0.0))
    study = source.read(cancel)
    read_seconds = time.monotonic() - began
    progress.report(ProgressEvent("read", 1, 1, read_seconds))
    result = fit_study(
        study,
        prior,
        config,
        guidance=labels.placed_on(study) if labels else None,
        anatomy=source.orientation.hint_for(study),
        network=load_slice_network() if evidence and config.gauss_newton else None,
        device=device,
        progress=progress,
        cancel=cancel,
    )
    result = checked(replace(result, seconds={"read": read_seconds} | result.seconds))
    cancel.check()
    save_result(result, out, overwrite)
    return result


def refit_result(
    folder: Path,
    out: Path,
    labels: GivenLabels,
    *,
    config: FitConfig = fit_configs.REFIT,
    device: str = "auto",
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> FitResult:
    """Go on from a result folder with labels that somebody drew, and write another one.

    Args:
        folder: what an earlier fit wrote; it stays as it is.
        labels: all labels that are to be used, those of an earlier refit among them.

    Raises:
        NISFError: any of its kinds; nothing is written then.
    """
    check_new_folder(out, overwrite, RESULT_FILE)
    before = load_result(folder)
    options: dict[str, Any] = {"config": config, "device": device, "overwrite": overwrite}
    return refit_loaded(before, out, labels, **options, progress=progress, cancel=cancel)


def refit_loaded(
    before: FitResult,
    out: Path,
    labels: GivenLabels,
    *,
    config: FitConfig = fit_configs.REFIT,
    device: str = "auto",
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> FitResult:
    """As `refit_result`, from a result that is in memory already."""
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    check_new_folder(out, overwrite, RESULT_FILE)
    guidance = labels.placed_on(before.study)
    result = refit_study(before, guidance, config, device=device, progress=progress, cancel=cancel)
    result = checked(result)
    cancel.check()
    save_result(result, out, overwrite)
    return result


def export_folder(
    result_folder: Path,
    out: Path,
    settings: ExportSettings,
    *,
    truth: Path | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Export a result folder, with its motion where there is one; with a truth, the report holds
    the comparison with it."""
    from NISFCore.export.motion_section import motion_folder_of
    from NISFCore.export.writer import export_result
    from NISFCore.phantom.truth import PhantomTruth

    result = for_export(load_result(result_folder), settings, progress, cancel)
    evaluation = None
    if truth is not None:
        evaluation = evaluate(result, PhantomTruth.load(truth), progress=progress, cancel=cancel)
    motion = motion_folder_of(result_folder)
    return export_result(
        result, out, settings, evaluation, progress=progress, cancel=cancel, motion=motion
    )


def for_export(
    result: FitResult,
    settings: ExportSettings,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> FitResult:
    """The result with the study's own intensities, where the export shows intensities."""
    if result.detail is not None or not settings.wants(*INTENSITY_FORMATS):
        return result
    return with_intensity_detail(result, progress=progress, cancel=cancel)


def evaluate_folder(
    result_folder: Path,
    truth: Path | None = None,
    *,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> Evaluation:
    """All figures of a result folder, against a simulated study's truth where one is given."""
    from NISFCore.phantom.truth import PhantomTruth

    known = None if truth is None else PhantomTruth.load(truth)
    result = with_intensity_detail(load_result(result_folder), progress=progress, cancel=cancel)
    return evaluate(result, known, progress=progress, cancel=cancel)


def run_demo(
    out: Path,
    *,
    seed: int | None = None,
    prior: Prior | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> Evaluation:
    """Simulate an unseen subject as DICOM, read, fit, export and evaluate it.

    Leaves `simulated/`, `result/`, `export/` (with `report.html`) and `summary.json` in `out`.

    Args:
        seed: of the subject; `DEMO_SEED` by default.
        overwrite: whether an earlier demo in `out` may be replaced.
    """
    from NISFCore.export.writer import export_result
    from NISFCore.phantom.cohort import TRUTH_FOLDER, CohortSettings, simulate_cohort
    from NISFCore.phantom.truth import PhantomTruth

    prior = prior or load_prior()
    with new_folder(out, overwrite, SUMMARY_FILE) as folder:
        settings = CohortSettings(n_subjects=1, seed=DEMO_SEED if seed is None else seed)
        (subject,) = simulate_cohort(folder / "simulated", settings, progress, cancel)
        source = StudyInput(subject / "dicom")
        result_folder = folder / "result"
        result = fit_input(
            source, result_folder, prior=prior, device=device, progress=progress, cancel=cancel
        )
        exported = ExportSettings(spacing_mm=DEMO_SPACING_MM)
        result = for_export(result, exported, progress, cancel)
        evaluation = evaluate(
            result,
            PhantomTruth.load(subject / TRUTH_FOLDER),
            spacing_mm=DEMO_EVALUATION_MM,
            n_phases=DEMO_EVALUATION_PHASES,
            progress=progress,
            cancel=cancel,
        )
        began = time.monotonic()
        export_result(
            result, folder / "export", exported, evaluation, progress=progress, cancel=cancel
        )
        seconds = evaluation.seconds | {"export": time.monotonic() - began}
        evaluation = replace(evaluation, seconds=seconds)
        text = json.dumps(evaluation.to_json_object(), indent=2, allow_nan=False)
        write_text_atomically(folder / SUMMARY_FILE, text)
    return evaluation


def training_config(name_or_file: str) -> TrainingConfig:
    """A named training configuration, or one read from a JSON file of its settings.

    Raises:
        ConfigError: if it is neither.
    """
    if name_or_file in training_configs.CONFIGS:
        return training_configs.CONFIGS[name_or_file]
    return from_json_object(TrainingConfig, _json_file(name_or_file, training_configs.CONFIGS))


def fit_config(name_or_file: str) -> FitConfig:
    """A named fit configuration, or one read from a JSON file of its settings.

    Raises:
        ConfigError: if it is neither.
    """
    if name_or_file in fit_configs.CONFIGS:
        return fit_configs.CONFIGS[name_or_file]
    return from_json_object(FitConfig, _json_file(name_or_file, fit_configs.CONFIGS))


def _json_file(name_or_file: str, names: Mapping[str, object]) -> dict[str, Any]:
    path = Path(name_or_file)
    if not path.is_file():
        allowed = ", ".join(names)
        raise ConfigError(f"config: got {name_or_file!r}; allowed: {allowed}, or a JSON file")
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors mark it
    except (OSError, ValueError) as error:
        raise ConfigError(f"config: cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"config: {path} holds no JSON object")
    return values


def view_overrides(texts: tuple[str, ...]) -> dict[str, View]:
    """Parse `NAME=VIEW` pairs.

    Raises:
        ConfigError: for anything else.
    """
    overrides = {}
    for text in texts:
        name, _, view = text.partition("=")
        try:
            overrides[name] = View(view)
        except ValueError:
            allowed = ", ".join(v.value for v in View)
            raise ConfigError(
                f"view: got {text!r}, expected NAME=VIEW with VIEW of {allowed}"
            ) from None
    return overrides
