"""What the panel does, without its widgets: actions, their state, and why one is not possible.

Nothing blocks but the loading of files into the scene, which reports progress and can be
cancelled. The heart is asked for everything that is in the scene: nothing of it is remembered here
that a scene close, a restored scene or a deleted node could make wrong.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from NISFCore.errors import NISFError
from NISFLib.choices import PREVIEW_FORMATS, PREVIEW_MM, SCENE_FORMATS, Device
from NISFLib.input_sources import InputSources
from NISFLib.job import JobOutcome, JobState
from NISFLib.motion_fitting import MotionFitting
from NISFLib.panel_state import PARTLY, SEVERAL, WELCOME, PanelState
from NISFLib.refitting import RESULT_FILE, Refitting
from NISFLib.render_info import ExportNeeds, RenderInfo, load_settings
from NISFLib.runner import Ending, Runner, Step
from NISFLib.scene import HeartScene, n_hearts
from NISFLib.settings import Settings
from NISFLib.study_table import StudyTable
from NISFLib.work_folder import WorkFolder
from NISFLib.worker_python import nisf_command


class Controller:
    """One study at a time, from its files to its labels."""

    def __init__(
        self,
        heart: HeartScene,
        settings: Callable[[], Settings],
        sources: InputSources,
        work: WorkFolder | None = None,
        runner: Runner | None = None,
        breathe: Callable[[], None] = lambda: None,
        missing: Callable[[], str] = lambda: "",
    ) -> None:
        """
        Args:
            settings: the user's current choices.
            breathe: called between the parts of what must run here, to keep the window alive.
            missing: why the worker cannot run yet (packages that the user did not want), or empty.
        """
        self.heart, self._settings, self._sources = heart, settings, sources
        self.runner = runner or Runner()
        self._work = work or WorkFolder()
        self._breathe, self._missing = breathe, missing
        self._input: Path | None = None
        self._read_from: object = None
        self._study: Path | None = None
        self.refitting = Refitting(heart, self._work, settings, self._progress)
        self.motion = MotionFitting(heart, self.refitting, self._work, settings, self._progress)
        self.table = StudyTable()
        self.rendered: RenderInfo | None = None
        self.n_cycle_phases = 0
        self._written_to = ""
        self._status, self._is_error = WELCOME, False

    # State

    @property
    def state(self) -> PanelState:
        """The state now."""
        progress = self.runner.progress
        return PanelState(
            status=self._status if progress is None else progress.text(),
            is_error=self._is_error and progress is None,
            is_busy=self.runner.is_busy,
            fraction=None if progress is None else progress.fraction,
            why_not_read=self._busy() or self._sources.why_not(self._settings()),
            why_not_fit=self._busy() or self._why_not_fit(),
            why_not_export=self._busy() or self._why_not_export(),
            why_not_annotate=self._busy() or self.refitting.why_not_annotate(),
            why_not_refit=self._busy() or self.refitting.why_not_refit(),
            why_not_ask=self._busy() or self.refitting.why_not_ask(),
            why_not_fit_motion=self._busy() or self.motion.why_not_fit(),
        )

    def _busy(self) -> str:
        return "Wait, or cancel what is running." if self.runner.is_busy else ""

    def _why_not_fit(self) -> str:
        settings = self._settings()
        if self._input is None or self._read_from != self._sources.identity(settings):
            return "Read the study first."
        if reason := settings.why_not_fit():
            return reason
        if not self.table.used(settings.corrections, settings.views):
            return "No slice is left to fit: include some, or use more views."
        return ""

    def _why_not_export(self) -> str:
        return "" if self.heart.has_result else "Fit the study first."

    def export_needs(self) -> ExportNeeds | None:
        """What the export that is chosen now needs; None while that is not known."""
        if self.rendered is None:
            return None
        settings = self._settings()
        n_cycle = max(self.n_cycle_phases, len(self.rendered.phases))
        n_phases = settings.phases.count(n_cycle)
        return self.rendered.needs(settings.spacing_mm, n_phases, n_cycle, load_settings(settings))

    # Actions. Each tells of a failure in the state, never by an exception.

    def read(self) -> None:
        """Read the study, or a result folder, and show it."""
        self._attempt(self._read)

    def fit(self) -> None:
        """Fit the study that was read, and show the heart."""
        self._attempt(self._fit)

    def export(self) -> None:
        """Render at the chosen spacing into the scene, then write the chosen files."""
        self._attempt(self._export)

    def refit(self) -> None:
        """Refit with all annotations that are included, and show the heart."""
        self._attempt(self._refit)

    def fit_motion(self) -> None:
        """Estimate the motion of the LV wall in the present result, and show it."""
        self._attempt(self._fit_motion)

    def propose(self) -> None:
        """Ask which slice to annotate next."""
        self._attempt(lambda: self._ask(self.refitting.propose_step))

    def show_certainty(self) -> None:
        """Show how sure the labels of the present phase are."""
        step = self.refitting.certainty_step
        self._attempt(lambda: self._ask(lambda: step(self._cycle_phase())))

    def annotate(self, slice_name: str, is_valve: bool = False) -> Any:
        """The node to draw in, of a slice at the present phase; None if there is none."""
        made: list[Any] = []
        self._attempt(lambda: made.append(self._annotated(slice_name, is_valve)))
        return made[0] if made else None

    def cancel(self) -> None:
        """Ask what runs to stop; the end comes through `poll`."""
        self.runner.cancel()

    def poll(self) -> bool:
        """Take in what happened; True if a task has just ended."""
        ending = self.runner.poll()
        if ending is not None:
            self._ended(ending)
        return ending is not None

    def scene_closed(self) -> None:
        """The scene is empty: end what would be loaded into it, and begin anew."""
        was_busy = self.runner.is_busy
        self.runner.close()
        self._forget()
        self._say("The scene was closed; the work was stopped." if was_busy else WELCOME)

    def scene_restored(self) -> None:
        """Something was read into the scene: it may hold a heart of ours. What was read or fitted
        here stays: a user may add other data at any time."""
        if self.runner.is_busy:
            return
        self.heart.restore()
        if n_hearts(self.heart.nodes) > 1:
            self._say(SEVERAL, is_error=True)
        elif self.heart.has_result and self._input is None and self.refitting.result is None:
            self._say("Restored from the scene. Read the study again to fit it anew.")

    def close(self) -> None:
        """The module goes: no process and no temporary file stays."""
        self.runner.close()
        self.refitting.close()
        self._work.remove()

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            if reason := self._missing():
                raise NISFError(reason)
            action()
        except (NISFError, OSError) as error:
            self._say(str(error), is_error=True)

    def _read(self) -> None:
        settings = self._settings()
        if reason := self._sources.why_not(settings):
            raise NISFError(reason)
        chosen = self._sources.prepare(settings, self._work)
        if (chosen / RESULT_FILE).is_file():
            self._forget()
            self.runner.start([self._preview_step(chosen, None)])
            return
        study = self._work.new("study")
        words: list[str | Path] = [chosen, "--slices", study, "--contact-sheet", "None"]
        words += settings.corrections.view_words()
        if settings.examination:
            words += ["--select", settings.examination]
        identity = self._sources.identity(settings)

        def then(outcome: JobOutcome) -> None:
            self.heart.load_study(study, progress=self._progress)
            self._forget()
            self._input, self._study, self._read_from = chosen, study, identity
            self.table = StudyTable.from_inspection(outcome.result)

        self.runner.start([Step("Reading", nisf_command("inspect", *words), then)])

    def _fit(self) -> None:
        settings = self._settings()
        if reason := self._why_not_fit():
            raise NISFError(reason)
        result = (
            Path(settings.result_folder) if settings.result_folder else self._work.new("result")
        )
        steps = [
            self._fit_step(result, settings, settings.device),
            self._preview_step(result, self._study),
        ]
        self.runner.start(steps)

    def _fit_step(self, result: Path, settings: Settings, device: Device) -> Step:
        assert self._input is not None
        words: list[str | Path] = [self._input, "--out", result, "--device", device.value]
        words += ["--config", self._config(settings), *settings.corrections.words()]
        words += ["--views", *sorted(view.value for view in settings.views)]
        if settings.prior_path:
            words += ["--prior", settings.prior_path]
        if settings.examination:
            words += ["--select", settings.examination]
        if settings.result_folder:
            words.append("--overwrite")  # only what `nisf fit` made is ever replaced

        def otherwise(outcome: JobOutcome) -> Step | None:
            if device is not Device.AUTO or not outcome.is_out_of_memory:
                return None
            self.runner.log.append("The GPU has too little memory: fitting on the CPU instead.")
            return self._fit_step(result, settings, Device.CPU)

        title = "Fitting on the CPU" if device is Device.CPU else "Fitting"
        return Step(title, nisf_command("fit", *words), lambda outcome: None, otherwise)

    def _config(self, settings: Settings) -> str:
        if settings.config_path:
            return settings.config_path
        config = settings.quality.config
        if isinstance(config, str):
            return config
        path = self._work.new("fit").with_suffix(".json")
        path.write_text(json.dumps(config), encoding="utf-8")
        return str(path)

    def _preview_step(self, result: Path, study: Path | None) -> Step:
        """A first look at a result: soon rather than fine."""
        return self._render_step(result, PREVIEW_MM, "all", study, PREVIEW_FORMATS)

    def _render_step(
        self,
        result: Path,
        spacing_mm: float,
        phases: str,
        study: Path | None,
        formats: str = SCENE_FORMATS,
    ) -> Step:
        settings = self._settings()
        folder = self._work.new("render")
        words = ["--out", str(folder), "--spacing-mm", str(spacing_mm), "--phases", phases]
        command = nisf_command("export", result, *words, "--formats", formats)
        has_surfaces = formats == SCENE_FORMATS
        load = load_settings(settings, has_surfaces)

        def then(outcome: JobOutcome) -> None:
            self.heart.load_result(folder, study, load, progress=self._progress)
            if not has_surfaces:  # the first look at another fit
                self.refitting.begin_with(result)
            self.motion.show(result)
            self.rendered = RenderInfo.of(folder, load, has_surfaces)
            if phases == "all":
                self.n_cycle_phases = len(self.rendered.phases)
            self._work.discard(folder)

        return Step("Rendering", command, then)

    def _export(self) -> None:
        settings = self._settings()
        if reason := self._why_not_export():
            raise NISFError(reason)
        self._sources.check_export(settings)
        if self._is_rendered(settings):
            self._write_files(settings)
            nothing = "The scene shows this already; choose a folder and files to write them."
            self._say(self._written_text() or nothing)
            return
        if needs := self.export_needs():
            needs.check_memory()
        result = self.refitting.result
        if result is None or not (result / RESULT_FILE).is_file():
            raise NISFError(
                "the result of this fit is not there any more, so that only what the scene shows "
                "can be written: fit again for another spacing or other phases"
            )
        phases = settings.phases.words(self._cycle_phase())
        step = self._render_step(result, settings.spacing_mm, phases, self._study)
        load = step.then

        def then(outcome: JobOutcome) -> None:
            load(outcome)
            self._write_files(settings)

        self.runner.start([Step(step.title, step.command, then)])

    def _annotated(self, slice_name: str, is_valve: bool) -> Any:
        if reason := self._busy() or self.refitting.why_not_annotate():
            raise NISFError(reason)
        self.heart.playing = False  # what is drawn belongs to one frame
        node = self.refitting.annotate(slice_name, is_valve)
        what = "Drag the two points to the valve's hinges in" if is_valve else "Paint"
        self._say(f"{what} {slice_name}, then come back and refit.")
        return node

    def _refit(self) -> None:
        if reason := self._busy() or self.refitting.why_not_refit():
            raise NISFError(reason)
        shown, phases = self.rendered, "all"
        if shown is not None and shown.wanted != "all":
            phases = ",".join(map(str, shown.phases))
        self.runner.start(self.refitting.refit_steps(self._cycle_phase(), phases))

    def _fit_motion(self) -> None:
        if reason := self._busy() or self.motion.why_not_fit():
            raise NISFError(reason)
        self.runner.start([self.motion.fit_step()])

    def _ask(self, step: Callable[[], Step]) -> None:
        if reason := self._busy() or self.refitting.why_not_ask():
            raise NISFError(reason)
        self.runner.start([step()])

    def _is_rendered(self, settings: Settings) -> bool:
        """Whether the scene shows what the export asks for already."""
        if self.rendered is None:  # restored from a file: what it shows is all there is
            return self.refitting.result is None
        phases = settings.phases.words(self._cycle_phase())
        return self.rendered.shows(settings.spacing_mm, phases, load_settings(settings))

    def _cycle_phase(self) -> int:
        """The index, within the whole cycle, of the phase that the scene shows."""
        if self.rendered is None:
            return self.heart.phase
        return self.rendered.cycle_phase(self.heart.phase)

    def _write_files(self, settings: Settings) -> None:
        self._sources.write(self.heart, settings, self._progress)
        if settings.export_folder and (settings.formats or settings.bundle):
            self._written_to = settings.export_folder

    def _written_text(self) -> str:
        """Where files were just written; told once."""
        folder, self._written_to = self._written_to, ""
        return f"Written to {folder}." if folder else ""

    def _progress(self, stage: str, step: int, total: int) -> None:
        self.runner.report(stage, step, total)
        self._breathe()
        self.runner.check_cancel()

    def _ended(self, ending: Ending) -> None:
        self.rendered = self.refitting.rendered or self.rendered
        self.refitting.rendered = None
        if ending.state is JobState.DONE:
            self._say(self._success_text())
        elif ending.state is JobState.CANCELLED:
            self._say(f"Cancelled. {PARTLY}" if self.refitting.is_partly_shown else "Cancelled.")
        else:
            self._say(ending.message, is_error=True)

    def _success_text(self) -> str:
        if text := self.refitting.done_text() or self.motion.done_text():
            return text
        heart = self.heart
        if heart.has_result:
            n_outliers = sum(s.is_outlier for s in heart.slices)
            outliers = f"; {n_outliers} slice(s) need a look" if n_outliers else ""
            done = f"Done: {heart.n_phases} phases in the scene{outliers}."
            return " ".join(filter(None, (done, self._written_text(), self.motion.note())))
        n = sum(row.recognised for row in self.table.rows)
        return f"Read: {n} slices. Check the table, then fit."

    def _say(self, text: str, is_error: bool = False) -> None:
        self._status, self._is_error = text, is_error

    def _forget(self) -> None:
        self._work.discard(self._study)
        self.refitting.begin_with(None)
        self._input = self._study = self.rendered = self._read_from = None
        self.table = StudyTable()
        self._say(WELCOME)
