"""Worker processes one after the other, as one task of the user. No slicer, qt or torch here.

Every step is a `nisf` command; what it leads to (loading files into the scene) runs when it is
done, in the caller's thread. The caller polls; nothing here waits.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from NISFCore.errors import Cancelled, NISFError
from NISFCore.progress import ProgressEvent
from NISFLib.job import Job, JobOutcome, JobState, WorkerCommand
from NISFLib.service import ServiceTask

N_LOG_LINES = 500
YIELD_SECONDS = 0.001
"""Lets the threads that read the worker's output run, also where an application's event loop holds
the interpreter in between."""

Work = Job | ServiceTask
"""What a step waits for."""

StartJob = Callable[[WorkerCommand], Job]


@dataclass(frozen=True)
class Step:
    """One command and what follows it.

    Attributes:
        title: what the user reads meanwhile.
        then: called with the worker's result; may raise a NISFError.
        otherwise: asked once if the worker fails; another step is done in its place, None ends the
            task.
        begin: asks a worker that stays, in place of a process of its own for `command`.
    """

    title: str
    command: WorkerCommand
    then: Callable[[JobOutcome], None]
    otherwise: Callable[[JobOutcome], "Step | None"] = lambda outcome: None
    begin: Callable[[], Work] | None = None


@dataclass(frozen=True)
class Progress:
    """How far the task is.

    Attributes:
        title: of the step.
        stage: of the worker, or empty before its first report.
        fraction: of this stage, 0 to 1; None while that is unknown.
        remaining_s: of this stage; None while that is unknown.
    """

    title: str
    stage: str = ""
    fraction: float | None = None
    psnr_db: float | None = None
    remaining_s: float | None = None

    def text(self) -> str:
        """One line for people."""
        parts = [self.title]
        if self.stage and self.fraction is not None:
            parts.append(f"{self.stage} {100 * self.fraction:.0f} %")
        if self.psnr_db is not None:
            parts.append(f"PSNR {self.psnr_db:.1f} dB")
        if self.remaining_s is not None and self.remaining_s >= 1:
            parts.append(f"{self.remaining_s:.0f} s left")
        return ", ".join(parts)


@dataclass(frozen=True)
class Ending:
    """How a task ended; `message` is for the user."""

    state: JobState
    message: str = ""


class Runner:
    """At most one task at a time."""

    def __init__(self, start_job: StartJob = Job) -> None:
        self._start_job = start_job
        self._steps: list[Step] = []
        self._job: Work | None = None
        self._cancel_asked = False
        self._is_following_up = False
        self._stage_began: tuple[str, float] = ("", 0.0)
        self.progress: Progress | None = None
        self.log: deque[str] = deque(maxlen=N_LOG_LINES)

    @property
    def is_busy(self) -> bool:
        return bool(self._steps)

    def start(self, steps: list[Step]) -> None:
        """Begin a task.

        Raises:
            NISFError: if another one runs, or the worker cannot be started.
        """
        if self.is_busy:
            raise NISFError("something is running already; wait for it or cancel it")
        self._cancel_asked = False
        self.log.clear()
        self._begin(list(steps))

    def poll(self) -> Ending | None:
        """Take in what the worker said; the end of the task, once."""
        job = self._job
        if job is None or self._is_following_up:
            return None
        time.sleep(YIELD_SECONDS)
        for event in job.poll():
            self._note(event)
        return None if job.outcome is None else self._step_ended(job.outcome)

    def cancel(self) -> None:
        """Ask the task to stop; its end comes through `poll`."""
        if self.is_busy:
            self._cancel_asked = True
            if self._job is not None:
                self._job.cancel()

    def check_cancel(self) -> None:
        """For what follows a step, between its parts.

        Raises:
            Cancelled: if the user asked for it.
        """
        if self._cancel_asked:
            raise Cancelled("cancelled by the user")

    def report(self, stage: str, step: int, total: int) -> None:
        """Progress of what follows a step."""
        self._note(ProgressEvent(stage, step, total, 0.0))

    def close(self) -> None:
        """End everything at once; nothing is told."""
        self._cancel_asked = True
        if self._job is not None:
            self._job.close()
        self._clear()

    def _begin(self, steps: list[Step]) -> None:
        step = steps[0]
        self._job = self._start_job(step.command) if step.begin is None else step.begin()
        self._steps = steps
        self.progress = Progress(steps[0].title)
        self.log.append(f"{steps[0].title} (nisf {steps[0].command.arguments[0]})")

    def _step_ended(self, outcome: JobOutcome) -> Ending | None:
        self._keep_log(outcome)
        step, *rest = self._steps
        if outcome.state is not JobState.DONE:
            other = step.otherwise(outcome) if outcome.state is JobState.FAILED else None
            if other is None:
                return self._end(Ending(outcome.state, outcome.message))
            return self._go_on([other, *rest])
        failure = self._follow_up(step, outcome)
        if failure is not None:
            return self._end(failure)
        return self._go_on(rest) if rest else self._end(Ending(JobState.DONE))

    def _follow_up(self, step: Step, outcome: JobOutcome) -> Ending | None:
        self._is_following_up = True
        try:
            self.check_cancel()
            step.then(outcome)
            self.check_cancel()
        except Cancelled:
            return Ending(JobState.CANCELLED, "cancelled by the user")
        except (NISFError, OSError) as error:
            return Ending(JobState.FAILED, str(error))
        finally:
            self._is_following_up = False
        return None

    def _go_on(self, steps: list[Step]) -> Ending | None:
        try:
            self._begin(steps)
        except NISFError as error:
            return self._end(Ending(JobState.FAILED, str(error)))
        return None

    def _end(self, ending: Ending) -> Ending:
        if ending.message:
            self.log.append(ending.message)
        if self._job is not None:
            self._job.close()
        self._clear()
        return ending

    def _clear(self) -> None:
        self._steps, self._job, self.progress = [], None, None

    def _keep_log(self, outcome: JobOutcome) -> None:
        self.log.extend(line for line in outcome.log.splitlines() if line.strip())

    def _note(self, event: ProgressEvent) -> None:
        if not self._steps:  # ended while this was on its way
            return
        now = time.monotonic()
        if self._stage_began[0] != event.stage:
            self._stage_began = (event.stage, now)
        fraction = event.step / event.total if event.total > 0 else None
        remaining = None
        if fraction:
            remaining = (now - self._stage_began[1]) * (1 - fraction) / fraction
        self.progress = Progress(
            self._steps[0].title, event.stage, fraction, event.psnr_db, remaining
        )
        psnr = "" if event.psnr_db is None else f", PSNR {event.psnr_db:.2f} dB"
        message = f": {event.message}" if event.message else ""
        self.log.append(f"{event.stage} {event.step}/{event.total}{psnr}{message}")
