"""What the command line shows: progress bars, and cancelling by signal."""

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
