"""A progress reporter that tests look at."""

from collections.abc import Callable

from NISFCore.progress import ProgressEvent


class Keep:
    """Keeps the events of a job, and does something at each."""

    def __init__(self, action: Callable[[ProgressEvent], None] | None = None) -> None:
        self.events: list[ProgressEvent] = []
        self._action = action

    def report(self, event: ProgressEvent) -> None:
        self.events.append(event)
        if self._action is not None:
            self._action(event)
