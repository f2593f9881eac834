"""The motion of the LV wall, without widgets: its fit in a worker, and its way into the scene."""

from collections.abc import Callable
from pathlib import Path

from NISFLib.job import JobOutcome
from NISFLib.refitting import RESULT_FILE, Refitting
from NISFLib.runner import Step
from NISFLib.scene import HeartScene, LoadProgress, SceneError
from NISFLib.settings import Settings
from NISFLib.work_folder import WorkFolder
from NISFLib.worker_python import nisf_command

MOTION_FOLDER, MOTION_FILE = "motion", "motion.json"
PARTLY_SHOWN = "Some phases are still those before the refit: refit again first."


class MotionFitting:
    """The motion in the present result's folder."""

    def __init__(
        self,
        heart: HeartScene,
        refitting: Refitting,
        work: WorkFolder,
        settings: Callable[[], Settings],
        progress: LoadProgress,
    ) -> None:
        """
        Args:
            refitting: knows the present result.
            settings: the user's current choices.
        """
        self._heart, self._refitting, self._settings = heart, refitting, settings
        self._work, self._progress = work, progress
        self._done_text = self._note = ""
        self._bullseye: tuple[bytes, Path | None] = (b"", None)

    def why_not_fit(self) -> str:
        """Why the motion cannot be fitted; empty if it can."""
        result = self._refitting.result
        if not self._heart.has_result or result is None or not (result / RESULT_FILE).is_file():
            return "Fit the study first."
        tagged = self._settings().tagged_path
        if tagged and not Path(tagged).exists():
            return f"There is no {tagged}; choose another folder, or clear the field."
        return PARTLY_SHOWN if self._refitting.is_partly_shown else ""

    def fit_step(self) -> Step:
        """Fit the motion of the present result into its folder, and show it."""
        result = self._refitting.result
        assert result is not None  # why_not_fit asked for it
        tagged = self._settings().tagged_path
        tags = ["--tagged", tagged] if tagged else []
        # only what `nisf motion fit` made is ever replaced
        command = nisf_command("motion", "fit", result, "--overwrite", *tags)

        def then(outcome: JobOutcome) -> None:
            self._heart.load_motion(result / MOTION_FOLDER, progress=self._progress)
            motion = self._heart.motion
            n_notes = 0 if motion is None else len(motion.warnings)
            notes = f" {n_notes} note(s): read them below." if n_notes else ""
            self._done_text = f"The motion of the LV wall is in the scene.{notes}"

        return Step("Fitting the motion", command, then)

    def show(self, result: Path) -> None:
        """Show the motion that a result holds already; one that cannot be shown can be fitted
        again, the heart is shown without it.

        Raises:
            Cancelled: if the user asked for it.
        """
        folder = result / MOTION_FOLDER
        if not (folder / MOTION_FILE).is_file():
            return
        try:
            self._heart.load_motion(folder, progress=self._progress)
        except SceneError as error:
            self._note = f"The motion is not shown: {error}"

    def done_text(self) -> str:
        """What was just done, told once; empty if it was nothing of this."""
        text, self._done_text = self._done_text, ""
        return text

    def note(self) -> str:
        """Why the motion of a heart that was just shown is not, told once; else empty."""
        text, self._note = self._note, ""
        return text

    def bullseye(self) -> Path | None:
        """A file with the picture of the motion in the scene, None without one.

        Raises:
            NISFError: if no temporary file can be written.
        """
        motion = self._heart.motion
        picture = b"" if motion is None else motion.bullseye
        if picture != self._bullseye[0]:
            path = self._work.new("bullseye").with_suffix(".png") if picture else None
            if path is not None:
                path.write_bytes(picture)
            self._bullseye = (picture, path)
        return self._bullseye[1]
