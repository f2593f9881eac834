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
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from NISFCore.errors import NISFError
from NISFCore.progress import ProgressEvent

GUARD = Path(__file__).with_name("worker_guard.py")
CANCEL_FILE = "cancel"
CANCEL_EXIT_CODE = 130
N_LOG_LINES = 200
DRAIN_SECONDS = 1.0
"""How long to wait for the end of the output after the worker itself has ended."""

_PROGRESS_FIELDS = {f.name for f in fields(ProgressEvent)}


class JobError(NISFError):
    """The worker process could not be started."""


class JobState(Enum):
    """How a job ended."""

    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class WorkerCommand:
    """What the worker runs: `python -m module arguments...`.

    Attributes:
        python: the interpreter, e.g. PythonSlicer.
        arguments: command and options, without `--progress` and `--cancel-file`.
        environment: variables added to this process's own, e.g. PYTHONPATH.
    """

    python: Path
    arguments: tuple[str, ...]
    module: str = "NISFCore"
    environment: Mapping[str, str] = field(default_factory=dict)


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
        self._folder = Path(tempfile.mkdtemp(prefix="nisf-job-"))
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._log: deque[str] = deque(maxlen=N_LOG_LINES)
        self._result: dict[str, Any] = {}
        self._message = ""
        self._cancel_timer: threading.Timer | None = None
        self._ended_at: float | None = None
        self._outcome: JobOutcome | None = None
        self._process = self._start(command)
        assert self._process.stdout is not None and self._process.stderr is not None
        self._readers = [
            _reader(self._process.stdout, self._lines.put),
            _reader(self._process.stderr, self._log.append),
        ]

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def outcome(self) -> JobOutcome | None:
        """None while the job runs. Updated by `poll`."""
        return self._outcome

    def poll(self) -> list[ProgressEvent]:
        """What has been reported since the last call. Never waits."""
        has_ended = self._outcome is None and self._has_ended()
        events = self._take_events()
        if has_ended:
            self._finish()
        return events

    def cancel(self) -> None:
        """Ask the worker to stop. Returns at once; the outcome comes through `poll`."""
        if self._cancel_timer is not None or self._outcome is not None:
            return
        with suppress(FileNotFoundError):  # the worker has just ended and taken it away
            (self._folder / CANCEL_FILE).touch()
        self._cancel_timer = threading.Timer(self._grace_seconds, self._kill)
        self._cancel_timer.daemon = True
        self._cancel_timer.start()

    def close(self) -> None:
        """End the worker now if it still runs, and release everything. Safe to call twice."""
        if self._outcome is None:
            self.cancel()
            self._kill()
            self._process.wait()
            for reader in self._readers:
                reader.join(DRAIN_SECONDS)
            self._take_events()
            self._finish()

    def _start(self, command: WorkerCommand) -> subprocess.Popen[bytes]:
        cancel_file = str(self._folder / CANCEL_FILE)
        guard = [str(command.python), str(GUARD), str(os.getpid()), cancel_file]
        options = ["--progress", "json", "--cancel-file", cancel_file]
        environment = {**os.environ, "PYTHONUTF8": "1", **command.environment}
        try:
            return subprocess.Popen(
                [*guard, command.module, *command.arguments, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # a process group of its own, to be killed as a whole
                creationflags=_windows_flags(),
            )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise JobError(f"cannot start {command.python}: {error.strerror or error}") from error

    def _take_events(self) -> list[ProgressEvent]:
        events: list[ProgressEvent] = []
        while True:
            try:
                event = self._understand(self._lines.get_nowait())
            except Empty:
                return events
            if event is not None:
                events.append(event)

    def _understand(self, line: str) -> ProgressEvent | None:
        """A line's progress event, if it is one; result and message are kept, the rest logged."""
        values = _json_object(line)
        kind = values.pop("event", None)
        if kind == "progress":
            try:
                return ProgressEvent(**{k: v for k, v in values.items() if k in _PROGRESS_FIELDS})
            except TypeError:
                kind = None
        if kind == "result":
            self._result = values
        elif kind in ("error", "cancelled"):
            self._message = str(values.get("message", ""))
        else:
            self._log.append(line)
        return None

    def _has_ended(self) -> bool:
        """Whether the worker has ended and its output was read to the end, or nearly so: a
        process that it left behind can hold the pipes open for ever."""
        if self._process.poll() is None:
            return False
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        is_read = not any(reader.is_alive() for reader in self._readers)
        return is_read or time.monotonic() - self._ended_at > DRAIN_SECONDS

    def _finish(self) -> None:
        if self._cancel_timer is not None:
            self._cancel_timer.cancel()
        _kill_tree(self._process)  # what the worker may have left behind
        shutil.rmtree(self._folder, ignore_errors=True)
        state = self._final_state()
        message = self._message
        if state is JobState.CANCELLED:
            message = message or "cancelled by the user"
        elif state is JobState.FAILED:
            message = message or self._failure_message()
        self._outcome = JobOutcome(state, message, self._result, "\n".join(self._log))

    def _final_state(self) -> JobState:
        if self._process.returncode == 0:
            return JobState.DONE
        was_asked = self._cancel_timer is not None
        if was_asked or self._process.returncode == CANCEL_EXIT_CODE:
            return JobState.CANCELLED
        return JobState.FAILED

    def _failure_message(self) -> str:
        code = self._process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        last = next((line for line in reversed(self._log) if line.strip()), "it said nothing")
        return f"the worker {how}: {last.strip()}"

    def _kill(self) -> None:
        if self._process.poll() is None:
            _kill_tree(self._process)


def _reader(stream: IO[bytes], put: Any) -> threading.Thread:
    """A thread that passes on every line: a pipe that nobody reads would stop the worker."""

    def read() -> None:
        with stream:
            for line in stream:
                put(line.decode("utf-8", errors="replace").rstrip("\r\n"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _json_object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _windows_flags() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    return 0


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and everything that it started."""
    if sys.platform == "win32":
        command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False, creationflags=_windows_flags())
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # all gone; macOS says it of zombies this way
        return
