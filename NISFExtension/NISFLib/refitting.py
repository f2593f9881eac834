"""Annotate and refit, without widgets: annotations of the scene, the worker that stays, proposals.

The first result of a fit stays as it is: every refit begins there with all annotations that are
included, so that one that is excluded or deleted leaves no trace in the next refit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from NISFLib.choices import PREVIEW_MM
from NISFLib.job import JobOutcome, WorkerCommand
from NISFLib.render_info import RenderInfo
from NISFLib.runner import Step
from NISFLib.scene import HeartScene, LoadProgress, LoadSettings
from NISFLib.service import Service
from NISFLib.settings import Settings
from NISFLib.work_folder import WorkFolder
from NISFLib.worker_python import nisf_command

RESULT_FILE = "result.json"
REFIT_ENDING = "-refit"
"""Refits of a result that is kept in a folder go beside it, under its name with this ending."""

ALL = "all"


@dataclass(frozen=True)
class Proposal:
    """A frame that is worth annotating next.

    Attributes:
        frame: of the slice, from 0.
        moment: "ED" or "ES".
        expected_gain: share of the volumes' variance that its labels would take away, 0 to 1.
    """

    slice_name: str
    frame: int
    moment: str
    expected_gain: float

    def text(self) -> str:
        """One line for people."""
        gain = f"about {100 * self.expected_gain:.0f} % less variance of the volumes"
        return f"Next: {self.slice_name} at {self.moment} ({gain})"


class Refitting:
    """One result, what was drawn on its slices, and what has become of it.

    Attributes:
        result: the folder of the present result, a refit's or the first one's.
        rendered: what the last refit rendered into the scene, None before one.
        proposals: what to annotate next, best first; empty if it is not known.
        is_partly_shown: whether some phases of the scene are still those before the last refit.
        refit_seconds: from the asking to the present phase in the scene, of the last refit.
    """

    def __init__(
        self,
        heart: HeartScene,
        work: WorkFolder,
        settings: Callable[[], Settings],
        progress: LoadProgress,
        new_service: Callable[[WorkerCommand], Service] = Service,
    ) -> None:
        self._heart, self._work, self._settings = heart, work, settings
        self._progress, self.new_service = progress, new_service
        self._service: Service | None = None
        self._first: Path | None = None
        self.result: Path | None = None
        self.rendered: RenderInfo | None = None
        self.proposals: tuple[Proposal, ...] = ()
        self.is_partly_shown, self.refit_seconds = False, 0.0
        self._done_text = ""

    # What there is

    def begin_with(self, result: Path | None) -> None:
        """Another first result, or none: the worker of the one before ends."""
        self.close()
        for old in {self._first, self.result} - {result}:
            self._work.discard(old)
        self._first = self.result = result
        self.rendered, self.proposals, self.is_partly_shown = None, (), False

    def close(self) -> None:
        """End the worker."""
        service, self._service = self._service, None
        if service is not None:
            service.close()

    def why_not_annotate(self) -> str:
        """Why no slice can be annotated; empty if one can."""
        return "" if self._heart.slices else "Read a study first."

    def why_not_refit(self) -> str:
        """Why a refit is not possible; empty if it is."""
        if not self._has_result():
            return "Fit the study first."
        used = any(item.is_used for item in self._heart.annotations)
        if not used and self.result == self._first and not self.is_partly_shown:
            return "Annotate a slice first."
        return ""

    def why_not_ask(self) -> str:
        """Why the worker cannot tell how sure the fit is, or what to annotate next."""
        return "" if self._has_result() else "Fit the study first."

    def _has_result(self) -> bool:
        first = self._first
        return self._heart.has_result and first is not None and (first / RESULT_FILE).is_file()

    def done_text(self) -> str:
        """What was just done, told once; empty if it was nothing of this."""
        text, self._done_text = self._done_text, ""
        return text

    # What is done

    def annotate(self, slice_name: str, is_valve: bool = False) -> Any:
        """The node to draw in, of a slice at the present phase: a segmentation, or the line of a
        valve. The worker starts meanwhile: it is ready when the user is.

        Raises:
            NISFError: if there is no such slice, or the worker cannot be started.
        """
        settings = self._settings()
        from_fit = settings.annotate_from_fit and self._heart.has_result
        if is_valve:
            node = self._heart.place_valve(slice_name)
        else:
            node = self._heart.annotate(slice_name, from_fit, not settings.annotate_partial)
        if self._has_result():
            self._worker().warm()
        return node

    def refit_steps(self, phase: int, phases: str = ALL) -> list[Step]:
        """Refit, then show the present phase, what to annotate next, and at last all phases.

        Args:
            phase: of the cycle, shown first.
            phases: of the cycle that the scene holds.

        Raises:
            SceneError: if annotations cannot be written.
        """
        folder = self._work.new("annotations")
        written = self._heart.write_annotations(folder)
        labels = [
            {"file": str(w.path), "slice": w.slice_name, "phase": w.frame, "complete": w.complete}
            for w in written
        ]
        began = time.monotonic()

        def refitted(outcome: JobOutcome) -> None:
            self._work.discard(folder)
            self._adopt(Path(str(outcome.result["folder"])))
            self.is_partly_shown, self.proposals = True, ()

        def shown(outcome: JobOutcome) -> None:
            self._show(outcome)
            self.refit_seconds = time.monotonic() - began

        def all_shown(outcome: JobOutcome) -> None:
            rendered = Path(str(outcome.result["folder"]))
            self.rendered = RenderInfo.of(rendered, LoadSettings(), is_final=False)
            self._show(outcome)
            self.is_partly_shown = False
            self._done_text = _refit_text(len(labels), self.refit_seconds)

        values = {"labels": labels, "out": str(self._refit_folder())}
        return [
            self._step("Refitting", "refit", lambda: values, refitted),
            self._step("Showing", "render", lambda: self._render(str(phase), True), shown),
            self.propose_step(),
            self._step("All phases", "render", lambda: self._render(phases, False), all_shown),
        ]

    def propose_step(self) -> Step:
        """Ask what to annotate next."""

        def values() -> dict[str, Any]:
            items = self._heart.annotations
            taken = [[item.slice_name, item.frame] for item in items if not item.problem]
            return {"n": 3, "taken": taken}

        def then(outcome: JobOutcome) -> None:
            self.proposals = tuple(
                Proposal(p["slice_name"], int(p["phase"]), p["moment"], float(p["expected_gain"]))
                for p in outcome.result["proposals"]
            )
            if self.proposals:
                self._done_text = f"{self.proposals[0].text()}."

        return self._step("Next slice", "propose", values, then)

    def certainty_step(self, phase: int) -> Step:
        """Show how sure the labels of a phase of the cycle are."""
        path = self._work.new("certainty").with_suffix(".nrrd")

        def then(outcome: JobOutcome) -> None:
            self._heart.show_certainty(path)
            path.unlink(missing_ok=True)
            self._done_text = "Amber: where a label may be wrong, the stronger the less sure."

        values = {"phase": phase, "spacing_mm": PREVIEW_MM, "out": str(path)}
        return self._step("Certainty", "certainty", lambda: values, then)

    def _step(
        self,
        title: str,
        kind: str,
        values: Callable[[], dict[str, Any]],
        then: Callable[[JobOutcome], None],
    ) -> Step:
        service = self._worker()
        return Step(title, service.command, then, begin=lambda: service.request(kind, values()))

    def _worker(self) -> Service:
        if self._service is None:
            assert self._first is not None  # why_not_... asked for it
            device = self._settings().device.value
            command = nisf_command("serve", self._first, "--device", device)
            self._service = self.new_service(command)
        return self._service

    def _render(self, phases: str, quick: bool) -> dict[str, Any]:
        out = str(self._work.new("render"))
        return {"out": out, "spacing_mm": PREVIEW_MM, "phases": phases, "quick": quick}

    def _show(self, outcome: JobOutcome) -> None:
        folder = Path(str(outcome.result["folder"]))
        self._heart.update_result(folder, progress=self._progress)
        self._work.discard(folder)

    def _refit_folder(self) -> Path:
        """Where the next refit goes: beside a first result that is kept, else a temporary place."""
        first = self._first
        if first is None or self._work.holds(first):
            return self._work.new("refit")
        return first.with_name(first.name + REFIT_ENDING)

    def _adopt(self, result: Path) -> None:
        if self.result not in (result, self._first):
            self._work.discard(self.result)
        self.result = result


def _refit_text(n_labels: int, seconds: float) -> str:
    if n_labels == 0:
        return "Back to the fit without annotations."
    what = "1 annotation" if n_labels == 1 else f"{n_labels} annotations"
    return f"Refitted with {what}; this phase was shown after {seconds:.1f} s."
