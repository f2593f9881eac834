"""Options that several commands of the `nisf` program share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from rich.console import RenderableType
from tyro.conf import UseAppendAction, arg

from NISFCore.console import (
    ProgressStyle,
    cancel_on_signal,
    print_json_line,
    progress_reporter,
    show,
)
from NISFCore.progress import CancelToken, ProgressReporter
from NISFCore.views import CARDIAC_VIEWS, ImageSide, View

if TYPE_CHECKING:
    from NISFCore.workflows import GivenLabels, StudyInput

Device = Literal["auto", "cpu", "cuda"]
OptionalPath = Annotated[Path | None, arg(metavar="PATH")]
OptionalText = Annotated[str | None, arg(metavar="TEXT")]


class Supervision(TypedDict):
    """The arguments by which every long job is watched and stopped."""

    progress: ProgressReporter
    cancel: CancelToken


@dataclass(frozen=True)
class Job:
    """Options of every long command.

    Attributes:
        progress: bars (a line now and then where there is no terminal), one JSON object per line
            on standard output, or nothing.
        cancel_file: the job stops within a second once this file exists.
    """

    progress: ProgressStyle = "console"
    cancel_file: OptionalPath = None

    @contextmanager
    def supervised(self) -> Iterator[Supervision]:
        """Show progress, and cancel by signal or file, while the block runs."""
        with (
            progress_reporter(self.progress) as progress,
            cancel_on_signal(self.cancel_file) as cancel,
        ):
            yield {"progress": progress, "cancel": cancel}

    def answer(self, values: dict[str, Any], *shown: RenderableType) -> None:
        """The job's last words: `values` for programs, or what is `shown` to people."""
        if self.progress == "json":
            print_json_line({"event": "result", **values})
        else:
            show(*shown)


@dataclass(frozen=True)
class Reading:
    """How a study is read.

    Attributes:
        views: views to use.
        view: correct a view, NAME being a series number or file stem (may be given repeatedly).
        select: which examination, where the input holds several.
        leave_out: a slice not to use, by the name that `nisf inspect` shows (may be given
            repeatedly).
        rv_side: where the RV lies in the short-axis images, seen from the LV, as `nisf inspect`
            shows them; needed where the files do not say how the patient lay.
        base_slice: name of the short-axis slice at the base's end of the stack; the same.
    """

    views: tuple[View, ...] = CARDIAC_VIEWS
    view: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VIEW")] = ()
    select: OptionalText = None
    leave_out: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = ()
    rv_side: ImageSide | None = None
    base_slice: OptionalText = None

    def of(self, path: Path) -> "StudyInput":
        from NISFCore import workflows

        overrides = workflows.view_overrides(self.view)
        orientation = workflows.GivenOrientation(self.rv_side, self.base_slice)
        return workflows.StudyInput(
            path, overrides, self.select, self.views, self.leave_out, orientation
        )


@dataclass(frozen=True)
class Labels:
    """Labels that guide a fit.

    Attributes:
        labels: a file of labels (NIfTI, NRRD, .seg.nrrd) or of a valve's two hinges in a long-axis
            slice (.mrk.json), as FILE, FILE@PHASE with the zero-based number of the phase, or
            FILE@SLICE:PHASE (may be given repeatedly).
        partial: the files show strokes: what is not painted is unknown. By default they are
            complete: what is not painted is background.
        numbers: numbering of label maps: 1 LV blood pool, 2 myocardium, 3 RV blood pool, or that of
            ACDC, 1 RV blood pool, 2 myocardium, 3 LV blood pool.
    """

    labels: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="FILE@PHASE")] = ()
    partial: bool = False
    numbers: Literal["lv-myo-rv", "acdc"] = "lv-myo-rv"

    def given(self) -> "GivenLabels | None":
        """None if there are none."""
        if not self.labels:
            return None
        from NISFCore.data.label_files import parse_label_file
        from NISFCore.data.nifti_labels import ACDC_NUMBERS
        from NISFCore.workflows import GivenLabels

        files = tuple(parse_label_file(text, not self.partial) for text in self.labels)
        return GivenLabels(files, ACDC_NUMBERS if self.numbers == "acdc" else None)


def options_of(command: Any, *names: str) -> dict[str, Any]:
    """Options of a command that the library takes under the same names."""
    return {name: getattr(command, name) for name in names}
