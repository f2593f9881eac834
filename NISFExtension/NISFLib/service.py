"""A worker that stays (`nisf serve`): one request after the other, none blocks the caller.

`Service.request` gives a task with the manners of a `Job` (poll, cancel, outcome, close), so that a
`Runner` does it as a step. A request that does not obey its cancel within a grace time costs the
worker; the next request starts another one. If the calling program dies, the worker's input ends
and with it the worker (and see `worker_guard`). No slicer, qt or torch here.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty
from typing import Any

from NISFCore.errors import NISFError
from NISFCore.progress import ProgressEvent
from NISFLib.job import JobOutcome, JobState, WorkerCommand, json_object, progress_event
from NISFLib.worker_process import WorkerProcess

END_SECONDS = 1.0
"""How long a worker that is not needed any more may take to end by itself."""

FINAL = {"answer": JobState.DONE, "failed": JobState.FAILED, "stopped": JobState.CANCELLED}


class Service:
    """One persistent worker, started when it is first needed, and again after a crash."""

    def __init__(
        self,
        command: WorkerCommand,
        grace_seconds: float = 0.7,
        start: Callable[[WorkerCommand], WorkerProcess] | None = None,
    ) -> None:
        """
        Args:
            command: `serve RESULT ...`.
            grace_seconds: how long a cancelled request may go on.
            start: of the process; given by tests.
        """
        self.command, self.grace_seconds = command, grace_seconds
        self._start = start or (lambda wanted: WorkerProcess(wanted, with_input=True))
        self._process: WorkerProcess | None = None
        self._n_requests = 0

    @property
    def process_id(self) -> int | None:
        """Of the worker, None if none runs."""
        return None if self._process is None else self._process.process_id

    def warm(self) -> None:
        """Start the worker, so that the first request need not wait for it.

        Raises:
            JobError: if it cannot be started.
        """
        if self._process is not None and self._process.has_ended:
            self.close()
        if self._process is None:
            self._process = self._start(self.command)

    def request(self, kind: str, values: Mapping[str, Any]) -> "ServiceTask":
        """Ask the worker for something; it is begun when what was asked before is done.

        Raises:
            JobError: if the worker cannot be started.
        """
        self.warm()
        assert self._process is not None
        self._n_requests += 1
        return ServiceTask(self, self._process, self._n_requests, kind, values)

    def close(self) -> None:
        """End the worker. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.close_input()
            process.wait(END_SECONDS)
            process.close()

    def give_up(self) -> None:
        """Kill a worker that does not answer."""
        process, self._process = self._process, None
        if process is not None:
            process.close()


class ServiceTask:
    """One request, from its asking to its outcome."""

    def __init__(
        self,
        service: Service,
        process: WorkerProcess,
        number: int,
        kind: str,
        values: Mapping[str, Any],
    ) -> None:
        self._service, self._process, self._number = service, process, number
        self._cancelled_at: float | None = None
        self._lock = threading.Lock()
        self._outcome: JobOutcome | None = None
        self._timer: threading.Timer | None = None
        self._send({"id": number, kind: dict(values)})

    @property
    def outcome(self) -> JobOutcome | None:
        """None while the request is worked on. Updated by `poll`."""
        return self._outcome

    def poll(self) -> list[ProgressEvent]:
        """What has been reported since the last call. Never waits."""
        if self._outcome is not None:
            return []
        has_ended = self._process.has_ended
        events: list[ProgressEvent] = []
        with suppress(Empty):
            while self._outcome is None:
                event = self._understand(self._process.lines.get_nowait())
                if event is not None:
                    events.append(event)
        if has_ended and self._outcome is None:
            self._worker_died()
        return events

    def cancel(self) -> None:
        """Ask the worker to stop this. Returns at once; the outcome comes through `poll`."""
        if self._outcome is not None or self._timer is not None:
            return
        self._send({"cancel": self._number})
        self._timer = threading.Timer(self._service.grace_seconds, self._process.kill)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """End this now: a worker that still works on it is killed."""
        if self._outcome is None:
            self._service.give_up()
            self._finish(JobState.CANCELLED, "cancelled by the user", {})

    def _send(self, values: Mapping[str, Any]) -> None:
        with self._lock:
            self._process.write_line(json.dumps(values))

    def _understand(self, line: str) -> ProgressEvent | None:
        values = json_object(line)
        kind = values.pop("event", None)
        if kind == "progress":
            return progress_event(values)
        if kind in FINAL and values.pop("id", None) == self._number:
            self._finish(FINAL[kind], str(values.pop("message", "")), values)
        elif kind == "error":  # the worker could not begin
            self._process.log.append(str(values.get("message", "")))
        elif kind is None:
            self._process.log.append(line)
        return None

    def _worker_died(self) -> None:
        was_asked = self._timer is not None
        message = "cancelled by the user" if was_asked else self._process.failure_message()
        self._service.give_up()
        self._finish(JobState.CANCELLED if was_asked else JobState.FAILED, message, {})

    def _finish(self, state: JobState, message: str, result: Mapping[str, Any]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        log = "\n".join(self._process.log)
        self._process.log.clear()
        self._outcome = JobOutcome(state, message, result, log)


def wait_for(task: ServiceTask, seconds: float) -> JobOutcome:
    """The outcome, waited for: for scripts without an event loop.

    Raises:
        NISFError: if it takes longer; the task is cancelled then.
    """
    until = time.monotonic() + seconds
    while task.outcome is None:
        if time.monotonic() > until:
            task.close()
            raise NISFError(f"the worker did not answer within {seconds:.0f} seconds")
        task.poll()
        time.sleep(0.01)
    return task.outcome
