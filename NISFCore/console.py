"""What the command line shows: progress bars and tables; and cancelling by signal."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from NISFCore.analysis.evaluation import Evaluation
from NISFCore.fitting.result import FitResult
from NISFCore.progress import (
    CancelToken,
    JsonProgress,
    ProgressEvent,
    ProgressReporter,
    SilentProgress,
)

ProgressStyle = Literal["console", "json", "none"]


class ConsoleProgress:
    """One bar per stage on standard error, with the last loss and PSNR."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "ConsoleProgress":
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def report(self, event: ProgressEvent) -> None:
        if event.stage not in self._tasks:
            task = self._bars.add_task(event.stage, total=event.total, figures="")
            self._tasks[event.stage] = task
        figures = "" if event.psnr_db is None else f"PSNR {event.psnr_db:.2f} dB"
        task = self._tasks[event.stage]
        self._bars.update(task, completed=event.step, total=event.total, figures=figures)
        if event.message:
            self._bars.console.print(f"{event.stage} {event.step}: {event.message}", markup=False)


@contextmanager
def progress_reporter(style: ProgressStyle) -> Iterator[ProgressReporter]:
    """The reporter for `--progress`; JSON lines go to standard output."""
    if style == "console":
        with ConsoleProgress(Console(stderr=True)) as reporter:
            yield reporter
    elif style == "json":
        yield JsonProgress(sys.stdout)
    else:
        yield SilentProgress()


@contextmanager
def cancel_on_signal(cancel_file: Path | None = None) -> Iterator[CancelToken]:
    """A token that Ctrl-C, a termination signal or the appearance of `cancel_file` cancels."""
    token = CancelToken(cancel_file)

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        token.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield token
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def fit_table(result: FitResult) -> Table:
    """What a fit found, slice by slice, and its figures."""
    table = Table(title=f"{len(result.study.slices)} slices, {result.prior.info.name}")
    for name in ("slice", "view", "moved mm", "turned °", "scale"):
        table.add_column(name, justify="left" if name in ("slice", "view") else "right")
    p = result.parameters
    rows = zip(result.study.slices, p.slice_motion, p.intensity_scale, strict=True)
    for s, motion, scale in rows:
        values = (f"{motion.distance_mm:.1f}", f"{motion.angle_deg:.1f}", f"{scale:.2f}")
        table.add_row(s.name, s.view.value, *values)
    table.caption = (
        f"PSNR {result.figures['psnr_db']:.2f} dB; intersection NCC "
        f"{result.figures['intersection_ncc_before']:.3f} → "
        f"{result.figures['intersection_ncc_after']:.3f}; "
        f"{result.seconds['fit']:.1f} s. Research use only."
    )
    return table


def evaluation_table(evaluation: Evaluation) -> Table:
    """The figures of an evaluation, a row each."""
    table = Table(title="Evaluation", caption="Research use only; not a medical device.")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, text in _evaluation_rows(evaluation):
        table.add_row(name, text)
    return table


def _evaluation_rows(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    for name in ("slice_motion_mm", "slice_motion_deg", "intersection_ncc", "intersection_dice"):
        value = getattr(evaluation, name)
        if value is not None:
            yield name, f"{_number(value.before)} → {_number(value.after)}"
    for name in ("dice_3d", "dice_3d_anchored", "dice_in_plane"):
        dice = getattr(evaluation, name)
        if dice is not None:
            yield f"{name} LV / myo / RV", " / ".join(f"{v:.3f}" for v in dice.values())
    yield "psnr_db, ssim", f"{_number(evaluation.psnr_db)}, {_number(evaluation.ssim)}"
    for name, volume in evaluation.volumes.items():
        truth = "" if volume.truth is None else f" (truth {volume.truth:.1f})"
        yield name, f"{volume.estimate:.1f}{truth}"
    for name, seconds in evaluation.seconds.items():
        yield f"seconds: {name}", f"{seconds:.1f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
