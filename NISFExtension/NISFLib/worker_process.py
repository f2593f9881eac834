"""The process of a worker: started under its guard, read by threads, killed with all its children.

Standard library only; what its lines mean is `job`'s and `service`'s business.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from NISFCore.errors import NISFError

GUARD = Path(__file__).with_name("worker_guard.py")
CANCEL_FILE = "cancel"
N_LOG_LINES = 200
DRAIN_SECONDS = 1.0
"""How long to wait for the end of the output after the worker itself has ended."""


class JobError(NISFError):
    """The worker process could not be started."""


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


class WorkerProcess:
    """A worker, its lines and its log. Call `close` when done with it.

    Attributes:
        lines: of its standard output, as they come.
        log: last lines of its standard error, and whatever else is added.
    """

    def __init__(self, command: WorkerCommand, with_input: bool = False) -> None:
        """Start the worker.

        Args:
            with_input: whether it reads lines that `write_line` sends.

        Raises:
            JobError: if it cannot be started.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="nisf-job-"))
        self.lines: SimpleQueue[str] = SimpleQueue()
        self.log: deque[str] = deque(maxlen=N_LOG_LINES)
        self._ended_at: float | None = None
        self._is_closed = False
        self._process = self._start(command, with_input)
        assert self._process.stdout is not None and self._process.stderr is not None
        self._readers = [
            _reader(self._process.stdout, self.lines.put),
            _reader(self._process.stderr, self.log.append),
        ]

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def return_code(self) -> int:
        """Only once it has ended."""
        return int(self._process.returncode)

    @property
    def has_ended(self) -> bool:
        """Whether the worker has ended and its output was read to the end, or nearly so: a
        process that it left behind can hold the pipes open for ever."""
        if self._process.poll() is None:
            return False
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        is_read = not any(reader.is_alive() for reader in self._readers)
        return is_read or time.monotonic() - self._ended_at > DRAIN_SECONDS

    def write_line(self, text: str) -> None:
        """Send a line to the worker; one that has ended does not hear it."""
        stream = self._process.stdin
        assert stream is not None
        with suppress(OSError, ValueError):  # broken or closed: `has_ended` will tell
            stream.write(text.encode("utf-8") + b"\n")
            stream.flush()

    def close_input(self) -> None:
        """Tell the worker that nothing more comes."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def ask_to_stop(self) -> None:
        """Create the cancel file."""
        with suppress(FileNotFoundError):  # the worker has just ended and taken it away
            (self._folder / CANCEL_FILE).touch()

    def wait(self, seconds: float) -> None:
        """Give the worker some time to end."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def kill(self) -> None:
        """Kill it with everything that it started, if it still runs."""
        if self._process.poll() is None:
            _kill_tree(self._process)

    def close(self) -> None:
        """End it if it still runs, and release everything. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._process.poll() is None:
            self.ask_to_stop()
        _kill_tree(self._process)  # also what the worker may have left behind
        self._process.wait()
        for reader in self._readers:
            reader.join(DRAIN_SECONDS)
        self.close_input()
        shutil.rmtree(self._folder, ignore_errors=True)

    def failure_message(self) -> str:
        """How it ended, and the last that it said."""
        code = self._process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        last = next((line for line in reversed(self.log) if line.strip()), "it said nothing")
        return f"the worker {how}: {last.strip()}"

    def _start(self, command: WorkerCommand, with_input: bool) -> subprocess.Popen[bytes]:
        cancel_file = str(self._folder / CANCEL_FILE)
        guard = [str(command.python), str(GUARD), str(os.getpid()), cancel_file]
        options = ["--progress", "json", "--cancel-file", cancel_file]
        environment = {**os.environ, "PYTHONUTF8": "1", **command.environment}
        try:
            return subprocess.Popen(
                [*guard, command.module, *command.arguments, *options],
                stdin=subprocess.PIPE if with_input else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # a process group of its own, to be killed as a whole
                creationflags=_windows_flags(),
            )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise JobError(f"cannot start {command.python}: {error.strerror or error}") from error


def _reader(stream: IO[bytes], put: Callable[[str], None]) -> threading.Thread:
    """A thread that passes on every line: a pipe that nobody reads would stop the worker."""

    def read() -> None:
        with stream:
            for line in stream:
                put(line.decode("utf-8", errors="replace").rstrip("\r\n"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


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
