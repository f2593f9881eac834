"""One `nisf` command in a process of its own, supervised without ever blocking the caller.

A graphical program calls `Job.poll()` from a timer and `Job.cancel()` from a button. The worker
(`python -m NISFCore fit ... --progress json --cancel-file F`) writes one JSON object per line:

    {"event": "progress", "stage": ..., "step": ..., "total": ..., "seconds": ..., ...}
    {"event": "result", ...}  |  {"event": "error", "message": ...}  |  {"event": "cancelled", ...}

Cancelling creates F, which the worker looks at before every step; what still runs after a grace
time is killed, with all processes that it started. If the calling program dies, the worker ends
by itself (see `worker_guard`). No slicer, qt or torch here.
"""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from queue import Empty
from typing import Any

from NISFCore.progress import ProgressEvent
from NISFLib.worker_process import N_LOG_LINES, JobError, WorkerCommand, WorkerProcess

__all__ = ["N_LOG_LINES", "Job", "JobError", "JobOutcome", "JobState", "WorkerCommand"]

CANCEL_EXIT_CODE = 130
OUT_OF_MEMORY = re.compile(r"CUDA.*out of memory|OutOfMemoryError.*CUDA", re.IGNORECASE | re.DOTALL)

_PROGRESS_FIELDS = {f.name for f in fields(ProgressEvent)}


class JobState(Enum):
    """How a job ended."""

    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class JobOutcome:
    """The end of a job.

    Attributes:
        message: one sentence for the user if it failed or was cancelled, else empty.
        result: what the worker said of its result.
        log: last lines of everything else that the worker wrote.
    """

    state: JobState
    message: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    log: str = ""

    @property
    def is_out_of_memory(self) -> bool:
        """Whether a GPU had too little memory."""
        return OUT_OF_MEMORY.search(f"{self.message}\n{self.log}") is not None


class Job:
    """A worker process, from its start to its outcome. Call `close` when done with it."""

    def __init__(self, command: WorkerCommand, grace_seconds: float = 0.7) -> None:
        """Start the worker.

        Args:
            grace_seconds: how long a cancelled worker may take to end by itself.

        Raises:
            JobError: if it cannot be started.
        """
        self._grace_seconds = grace_seconds
        self._result: dict[str, Any] = {}
        self._message = ""
        self._cancel_timer: threading.Timer | None = None
        self._outcome: JobOutcome | None = None
        self._process = WorkerProcess(command)

    @property
    def process_id(self) -> int:
        return self._process.process_id

    @property
    def outcome(self) -> JobOutcome | None:
        """None while the job runs. Updated by `poll`."""
        return self._outcome

    def poll(self) -> list[ProgressEvent]:
        """What has been reported since the last call. Never waits."""
        has_ended = self._outcome is None and self._process.has_ended
        events = self._take_events()
        if has_ended:
            self._finish()
        return events

    def cancel(self) -> None:
        """Ask the worker to stop. Returns at once; the outcome comes through `poll`."""
        if self._cancel_timer is not None or self._outcome is not None:
            return
        self._process.ask_to_stop()
        self._cancel_timer = threading.Timer(self._grace_seconds, self._process.kill)
        self._cancel_timer.daemon = True
        self._cancel_timer.start()

    def close(self) -> None:
        """End the worker now if it still runs, and release everything. Safe to call twice."""
        if self._outcome is None:
            self.cancel()
            self._process.close()
            self._take_events()
            self._finish()

    def _take_events(self) -> list[ProgressEvent]:
        events: list[ProgressEvent] = []
        while True:
            try:
                event = self._understand(self._process.lines.get_nowait())
            except Empty:
                return events
            if event is not None:
                events.append(event)

    def _understand(self, line: str) -> ProgressEvent | None:
        """A line's progress event, if it is one; result and message are kept, the rest logged."""
        values = json_object(line)
        kind = values.pop("event", None)
        event = progress_event(values) if kind == "progress" else None
        if event is not None:
            return event
        if kind == "result":
            self._result = values
        elif kind in ("error", "cancelled"):
            self._message = str(values.get("message", ""))
        else:
            self._process.log.append(line)
        return None

    def _finish(self) -> None:
        if self._cancel_timer is not None:
            self._cancel_timer.cancel()
        self._process.close()
        state = self._final_state()
        message = self._message
        if state is JobState.CANCELLED:
            message = message or "cancelled by the user"
        elif state is JobState.FAILED:
            message = message or self._process.failure_message()
        self._outcome = JobOutcome(state, message, self._result, "\n".join(self._process.log))

    def _final_state(self) -> JobState:
        if self._process.return_code == 0:
            return JobState.DONE
        was_asked = self._cancel_timer is not None
        if was_asked or self._process.return_code == CANCEL_EXIT_CODE:
            return JobState.CANCELLED
        return JobState.FAILED


def progress_event(values: Mapping[str, Any]) -> ProgressEvent | None:
    """A line's values as an event; None if it is none (of another version, say)."""
    try:
        return ProgressEvent(**{k: v for k, v in values.items() if k in _PROGRESS_FIELDS})
    except TypeError:
        return None


def json_object(line: str) -> dict[str, Any]:
    """The JSON object in a line; empty if there is none."""
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
