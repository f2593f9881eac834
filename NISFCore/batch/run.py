"""`run_batch`: all subjects of a folder, several at once, to be gone on with after a kill.

Subjects are treated in processes of their own: whatever ends one (too little memory, a crash in a
library) ends that subject only, and the next one gets a fresh process. The summary is written anew
after every subject, or less often where it has so many rows that this would take long.
"""

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from NISFCore._version import __version__
from NISFCore.batch.plan import LOCK_FILE, BatchSettings, Subject, check_batch, plan_batch
from NISFCore.batch.subject import (
    CANCELLED,
    DONE,
    FAILED,
    Verdict,
    figures_of,
    is_complete,
    remove_leftovers,
    worker_process,
)
from NISFCore.errors import Cancelled, OutputError
from NISFCore.export.tables import csv_text
from NISFCore.files import locked, write_text_atomically
from NISFCore.model.prior import load_prior
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress

STAGE = "batch"
KEPT = "kept"
SUMMARY_CSV, SUMMARY_JSON = "summary.csv", "summary.json"
POLL_SECONDS = 0.1
CANCEL_GRACE_SECONDS = 0.7
MAX_SAVING_SHARE = 0.05
"""Of a batch's time that may go into writing its summary, which takes seconds at 50,000 rows."""

Ended = tuple[Subject, Verdict, float]
"""A subject, how it ended, and after how many seconds."""


@dataclass(frozen=True)
class BatchSummary:
    """How a batch ended.

    Attributes:
        rows: one per subject that was looked at: subject, status (done, kept, failed), seconds,
            the figures, message.
    """

    rows: tuple[dict[str, Any], ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of subjects done, kept (complete before) and failed."""
        found = Counter(row["status"] for row in self.rows)
        return {status: found[status] for status in (DONE, KEPT, FAILED)}

    def save(self, folder: Path) -> None:
        """Write `summary.csv` and `summary.json`, each atomically."""
        write_text_atomically(folder / SUMMARY_CSV, csv_text(self.rows) if self.rows else "")
        values = {
            "software": f"NISFCore {__version__}",
            "research_use_only": True,
            "counts": self.counts,
            "subjects": list(self.rows),
        }
        write_text_atomically(folder / SUMMARY_JSON, json.dumps(values, indent=2) + "\n")


def run_batch(
    input_root: Path,
    out_root: Path,
    settings: BatchSettings | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> BatchSummary:
    """Fit, and export, every subject that is not complete yet.

    Args:
        input_root: a folder with one folder, or zip, per subject.
        out_root: results and summary; a batch in it is gone on with.
        progress: one event per subject.

    Raises:
        NISFError: if nothing can begin (no subjects, no prior, other settings than before, another
            batch at work in `out_root`). What happens to one subject is in the summary.
        Cancelled: if asked; complete subjects stay.
    """
    settings = settings or BatchSettings()
    load_prior(settings.prior)  # no subject is begun with a prior that cannot be used
    check_batch(input_root, out_root, settings)
    with locked(out_root / LOCK_FILE, "another batch is running in it"):
        subjects = plan_batch(input_root, out_root, settings)
        batch = _Batch(subjects, out_root, progress or SilentProgress())
        _run_to_the_end(batch, settings, cancel or CancelToken(), len(subjects))
    return batch.summary


def _run_to_the_end(
    batch: "_Batch", settings: BatchSettings, cancel: CancelToken, n_subjects: int
) -> None:
    try:
        batch.run(settings, cancel)
    except Cancelled as error:
        n = sum(row["status"] != FAILED for row in batch.rows.values())
        raise Cancelled(
            f"cancelled by the user; {n} of {n_subjects} subjects are complete: run it again to "
            "go on"
        ) from error


class _Batch:
    """The rows so far."""

    def __init__(self, subjects: list[Subject], out_root: Path, progress: ProgressReporter) -> None:
        self._subjects, self._out, self._progress = subjects, out_root, progress
        self._began = time.monotonic()
        self._save_from = self._began
        self.rows: dict[str, dict[str, Any]] = {}

    @property
    def summary(self) -> BatchSummary:
        """In order of subjects."""
        return BatchSummary(tuple(self.rows[s.name] for s in self._subjects if s.name in self.rows))

    def run(self, settings: BatchSettings, cancel: CancelToken) -> None:
        try:
            self._run(settings, cancel)
        except BaseException:
            with suppress(OutputError):
                self.summary.save(self._out)
            raise
        self.summary.save(self._out)

    def _run(self, settings: BatchSettings, cancel: CancelToken) -> None:
        waiting = []
        for subject in self._subjects:
            cancel.check()
            if is_complete(subject, settings):
                self._note(subject, Verdict(KEPT), 0.0)
            else:
                waiting.append(subject)
        for subject, verdict, seconds in _in_processes(waiting, settings, cancel):
            self._note(subject, verdict, seconds)

    def _note(self, subject: Subject, verdict: Verdict, seconds: float) -> None:
        if verdict.status == FAILED:
            remove_leftovers(subject)
        about = {"subject": subject.name, "status": verdict.status, "seconds": round(seconds, 2)}
        self.rows[subject.name] = {**about, **figures_of(subject), "message": verdict.message}
        self._save_if_due()
        text = f"{subject.name}: {verdict.status}"
        message = f"{text}: {verdict.message}" if verdict.message else text
        seconds = time.monotonic() - self._began
        event = ProgressEvent(STAGE, len(self.rows), len(self._subjects), seconds, message=message)
        self._progress.report(event)

    def _save_if_due(self) -> None:
        """Not being able to is no reason to stop before the end: on Windows a program that shows
        the table keeps it from being written."""
        began = time.monotonic()
        if began < self._save_from:
            return
        with suppress(OutputError):
            self.summary.save(self._out)
        ended = time.monotonic()
        self._save_from = ended + (ended - began) / MAX_SAVING_SHARE


class _Worker:
    """A process and the subject that it works on."""

    def __init__(self, settings: BatchSettings, cancel_file: Path) -> None:
        """Start it by spawning, which works alike on every platform."""
        context = get_context("spawn")
        self.channel, theirs = context.Pipe()
        n_threads = max(1, (os.cpu_count() or 1) // settings.n_workers)
        self._process: SpawnProcess = context.Process(
            target=worker_process, args=(settings, cancel_file, n_threads, theirs), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the channel
        self.subject: Subject | None = None
        self._began = 0.0

    def give(self, subject: Subject) -> None:
        self.subject, self._began = subject, time.monotonic()
        with suppress(OSError):  # it has just died: `take` will tell
            self.channel.send(subject)

    def take(self) -> Ended:
        """The end of its subject, which is there already."""
        subject, self.subject = self.subject, None
        assert subject is not None
        return subject, self._verdict(), time.monotonic() - self._began

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def stop(self, grace_seconds: float) -> None:
        """Let it end by itself within the grace time, else kill it."""
        self.channel.close()
        self._process.join(grace_seconds)
        self._process.kill()
        self._process.join()
        if self.subject is not None:
            remove_leftovers(self.subject)

    def _verdict(self) -> Verdict:
        try:
            verdict: Verdict = self.channel.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            return Verdict(FAILED, f"its process ended with exit code {code}; out of memory?")
        return verdict


def _in_processes(
    subjects: list[Subject], settings: BatchSettings, cancel: CancelToken
) -> Iterator[Ended]:
    """The end of every subject, as it comes.

    Raises:
        Cancelled: when asked, or when a subject was; no process is left behind then.
    """
    waiting, workers = list(subjects), list[_Worker]()
    with tempfile.TemporaryDirectory(prefix="nisf-batch-") as folder:
        cancel_file = Path(folder) / "cancel"
        try:
            while waiting or any(w.subject for w in workers):
                cancel.check()
                _give_out(waiting, workers, settings, cancel_file)
                for worker in _ended(workers):
                    subject, verdict, seconds = worker.take()
                    if verdict.status == CANCELLED:
                        raise Cancelled("cancelled by the user")
                    yield subject, verdict, seconds
        finally:
            cancel_file.touch()
            deadline = time.monotonic() + CANCEL_GRACE_SECONDS
            for worker in workers:
                worker.stop(max(0.0, deadline - time.monotonic()))


def _give_out(
    waiting: list[Subject], workers: list[_Worker], settings: BatchSettings, cancel_file: Path
) -> None:
    """Give every worker that has nothing to do a subject; start those that are missing."""
    for dead in [w for w in workers if w.subject is None and not w.is_alive]:
        workers.remove(dead)
        dead.stop(0.0)
    n_busy = sum(w.subject is not None for w in workers)
    while len(workers) < min(settings.n_workers, n_busy + len(waiting)):
        workers.append(_Worker(settings, cancel_file))
    for worker in workers:
        if worker.subject is None and waiting:
            worker.give(waiting.pop(0))


def _ended(workers: list[_Worker]) -> list[_Worker]:
    """Workers that have something to say about their subject."""
    busy = [w for w in workers if w.subject is not None]
    ready = wait([w.channel for w in busy], POLL_SECONDS)
    return [w for w in busy if w.channel in ready]
