"""Progress events and cancellation, shared by every long job. Standard library only.

A job calls `reporter.report(ProgressEvent(...))` once per step and `cancel.check()` before each
step; how that is shown (console, JSON lines, a Slicer panel) is the caller's business.
"""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TextIO, TypeVar

from NISFCore.errors import Cancelled

T = TypeVar("T")


@dataclass(frozen=True)
class ProgressEvent:
    """One step of a job. `seconds` is the time since the job began."""

    stage: str
    step: int
    total: int
    seconds: float
    loss: float | None = None
    psnr_db: float | None = None
    message: str | None = None


class ProgressReporter(Protocol):
    """Receives the events of one job."""

    def report(self, event: ProgressEvent) -> None: ...


class SilentProgress:
    """Reports nothing: the default of library calls."""

    def report(self, event: ProgressEvent) -> None:
        del event


class JsonProgress:
    """Writes one JSON object per line, flushed at once, for a supervising process."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def report(self, event: ProgressEvent) -> None:
        values = {key: value for key, value in asdict(event).items() if value is not None}
        self._stream.write(json.dumps({"event": "progress", **values}) + "\n")
        self._stream.flush()


class CancelToken:
    """Asks a running job to stop, from another thread, a signal handler or another process.

    Another process cancels by creating `cancel_file`, which works alike on every platform.
    """

    def __init__(self, cancel_file: Path | None = None) -> None:
        self._event = threading.Event()
        self._file = cancel_file

    def cancel(self) -> None:
        """Ask the job to stop at its next step."""
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        return self._event.is_set() or (self._file is not None and self._file.exists())

    def check(self) -> None:
        """Raise `Cancelled` if the job was asked to stop."""
        if self.is_cancelled:
            raise Cancelled("cancelled by the user; nothing was written")


def interruptible(work: Callable[[], T], cancel: CancelToken) -> T:
    """Run `work` in a thread of its own and leave it behind if the user cancels: for work that
    writes nothing and has no steps at which to look for a cancel.

    Raises:
        Cancelled: within a tenth of a second of the request.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while not wait([future], timeout=0.05).done:
        cancel.check()
    return future.result()
