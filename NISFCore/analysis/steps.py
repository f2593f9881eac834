"""Progress and cancellation of a job that knows its number of steps."""

import time

from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress


class Steps:
    """Counts the steps of one stage: `tick` once per step, before its work is begun.

    Args:
        stage: name of the stage, as it is shown to the user.
        total: number of steps.
        progress: receives one event per step; None is silent.
        cancel: asked before every step; None cannot be cancelled.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        progress: ProgressReporter | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        self._stage, self._total, self._step = stage, total, 0
        self._progress = progress or SilentProgress()
        self._cancel = cancel or CancelToken()
        self._start = time.perf_counter()

    @property
    def cancel(self) -> CancelToken:
        return self._cancel

    def tick(self) -> None:
        """Begin the next step.

        Raises:
            Cancelled: if the job was asked to stop.
        """
        self._cancel.check()
        self._step += 1
        seconds = time.perf_counter() - self._start
        self._progress.report(ProgressEvent(self._stage, self._step, self._total, seconds))
