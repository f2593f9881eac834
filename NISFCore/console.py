"""What the command line shows: progress bars, tables, messages; and cancelling by signal.

Nothing here loads torch or another large library: help must come at once.
"""

import io
import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TextIO

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from NISFCore.progress import (
    CancelToken,
    JsonProgress,
    ProgressEvent,
    ProgressReporter,
    SilentProgress,
)

if TYPE_CHECKING:
    from NISFCore.analysis.evaluation import Evaluation
    from NISFCore.fitting.quality import QualityReport
    from NISFCore.fitting.result import FitResult

ProgressStyle = Literal["console", "json", "none"]
LOG_EVERY_SECONDS = 30.0


class ConsoleProgress:
    """One bar per stage on standard error, with the last PSNR; nothing before the first event."""

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
        return self

    def __exit__(self, *exc: object) -> None:
        if self._tasks:
            self._bars.stop()

    def report(self, event: ProgressEvent) -> None:
        if not self._tasks:
            self._bars.start()  # not before: an empty set of bars shows as an empty line
        if event.stage not in self._tasks:
            task = self._bars.add_task(event.stage, total=event.total, figures="")
            self._tasks[event.stage] = task
        figures = "" if event.psnr_db is None else f"PSNR {event.psnr_db:.2f} dB"
        task = self._tasks[event.stage]
        self._bars.update(task, completed=event.step, total=event.total, figures=figures)
        if event.message:
            self._bars.console.print(f"{event.stage} {event.step}: {event.message}", markup=False)


class LogProgress:
    """For a file or a pipe, where bars show nothing until the end: a line now and then."""

    def __init__(
        self,
        stream: TextIO,
        every_seconds: float = LOG_EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._every, self._clock = stream, every_seconds, clock
        self._last = clock()

    def report(self, event: ProgressEvent) -> None:
        now = self._clock()
        if not event.message and now - self._last < self._every:
            return
        if not event.message:
            self._last = now
        figures = "" if event.psnr_db is None else f", PSNR {event.psnr_db:.2f} dB"
        said = f": {event.message}" if event.message else ""
        line = f"{event.stage} {event.step}/{event.total}, {event.seconds:.0f} s{figures}{said}"
        self._stream.write(line + "\n")
        self._stream.flush()


@contextmanager
def progress_reporter(style: ProgressStyle) -> Iterator[ProgressReporter]:
    """The reporter for `--progress`; JSON lines go to standard output."""
    if style == "console" and not sys.stderr.isatty():
        yield LogProgress(sys.stderr)
    elif style == "console":
        with ConsoleProgress(Console(stderr=True)) as reporter:
            yield reporter
    elif style == "json":
        yield JsonProgress(sys.stdout)
    else:
        yield SilentProgress()


@contextmanager
def cancel_on_signal(cancel_file: Path | None = None) -> Iterator[CancelToken]:
    """A token that Ctrl-C, a termination signal or the appearance of `cancel_file` cancels.

    A second signal has its usual effect. Outside the main thread signals are left alone.
    """
    token = CancelToken(cancel_file)
    before: dict[int, Any] = {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        token.cancel()
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.getsignal(number) or signal.SIG_DFL
            signal.signal(number, on_signal)
    try:
        yield token
    finally:
        for taken, handler in before.items():
            signal.signal(taken, handler)


def tolerate_any_encoding() -> None:
    """Let a terminal or pipe that cannot show a character show "?", rather than end a job that
    has done its work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def show(*things: RenderableType) -> None:
    """Print to standard output; lines are not broken, so that paths can be copied."""
    console = Console()
    for thing in things:
        console.print(thing, markup=False, highlight=False, soft_wrap=isinstance(thing, str))


def print_error(message: str) -> None:
    """Print to standard error."""
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object for people and programs."""
    sys.stdout.write(json.dumps(values, indent=2) + "\n")


def print_json_line(values: Mapping[str, Any]) -> None:
    """Print one JSON object as one line, at once."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def command_line(*parts: str | Path) -> str:
    """A command as it is typed, quoted where a path needs it."""
    texts = [str(part) for part in parts]
    return subprocess.list2cmdline(texts) if sys.platform == "win32" else shlex.join(texts)


def inspect_notes(found: Mapping[str, Any]) -> list[str]:
    """Lines below the table of slices: what was left out, assumed, and is missing.

    Args:
        found: from `inspect_study`.
    """
    rows = [row for row in found["slices"] if not row["included"]]
    return [
        *(f"left out: {row['name']} (series {row['series']}): {row['reason']}" for row in rows),
        *(f"! {text}" for text in found["warnings"]),
        *(f"assumed: {text}" for text in found["assumptions"]),
        *(f"missing: {text}" for text in found["missing"]),
    ]


def fit_table(result: "FitResult") -> Table:
    """What a fit found, slice by slice, and its figures."""
    table = Table(title=f"{len(result.study.slices)} slices, {result.prior.info.name}")
    for name in ("slice", "view", "moved mm", "turned °", "scale"):
        table.add_column(name, justify="left" if name in ("slice", "view") else "right")
    p = result.parameters
    rows = zip(result.study.slices, p.slice_motion, p.intensity_scale, strict=True)
    for s, motion, scale in rows:
        values = (f"{motion.distance_mm:.1f}", f"{motion.angle_deg:.1f}", f"{scale:.2f}")
        table.add_row(s.name, s.view.value, *values)
    table.caption = f"{_fit_figures(result)}. Research use only."
    return table


def fit_notes(result: "FitResult") -> list[str]:
    """Lines below the table of a fit: what was repaired, left out or assumed, and its quality."""
    return [*(f"! {text}" for text in result.study.warnings), *quality_notes(result.quality)]


def quality_notes(quality: "QualityReport | None") -> list[str]:
    """The verdict on a result, and a line for every flag that was raised."""
    if quality is None:
        return []
    return [quality.headline, *(f"  {flag.sentence}" for flag in quality.raised)]


def _fit_figures(result: "FitResult") -> str:
    figures = result.figures
    texts = [f"PSNR {figures['psnr_db']:.2f} dB"]
    if "intersection_ncc_after" in figures:  # slices that cross are needed
        before, after = figures["intersection_ncc_before"], figures["intersection_ncc_after"]
        texts.append(f"intersection NCC {before:.3f} → {after:.3f}")
    return "; ".join([*texts, f"{result.seconds['fit']:.1f} s"])


def batch_text(counts: Mapping[str, int]) -> str:
    """How many subjects of a batch ended how."""
    return ", ".join(f"{n} {status}" for status, n in counts.items())


def evaluation_table(evaluation: "Evaluation") -> Table:
    """The figures of an evaluation, a row each."""
    table = Table(title="Evaluation", caption="Research use only; not a medical device.")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, text in _evaluation_rows(evaluation):
        table.add_row(name, text)
    return table


def _evaluation_rows(evaluation: "Evaluation") -> Iterator[tuple[str, str]]:
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
