"""A worker that stays: a result is read once, and requests about it are answered one by one.

A request is one line of JSON; `Server.answer` does the work, `serve` reads and answers:

    {"id": 1, "refit": {"labels": [{"file": F, "slice": S, "phase": 7}], "out": RESULT}}
    {"id": 2, "render": {"out": EXPORT, "spacing_mm": 3.0, "phases": "ED,ES,7", "quick": true}}
    {"id": 3, "propose": {"n": 3, "taken": [["SA_01", 0]]}}
    {"id": 4, "certainty": {"phase": 7, "spacing_mm": 3.0, "out": FILE}}
    {"cancel": 2}

    {"event": "ready"}
    {"event": "progress", ...}                            of the request that is worked on
    {"event": "answer", "id": 1, ...}
    {"event": "failed", "id": 1, "message": ...}          the worker goes on
    {"event": "stopped", "id": 1, "message": ...}         cancelled; the worker goes on

Every refit begins at the result that was read first and takes all labels that it is given: what is
taken back leaves no trace. The worker ends when its input ends, so that it dies with its parent.
"""

import json
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from NISFCore import workflows
from NISFCore.analysis.fitted import n_cycle_phases
from NISFCore.analysis.proposals import ed_and_es, proposed_annotations
from NISFCore.analysis.quick_curve import quick_volume_curve
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve
from NISFCore.config import from_json_object
from NISFCore.data.label_files import LabelFile
from NISFCore.errors import Cancelled, ConfigError, NISFError
from NISFCore.export import tables
from NISFCore.export.confidence import write_certainty
from NISFCore.export.settings import ExportSettings, parse_formats
from NISFCore.export.writer import export_result
from NISFCore.files import write_text_atomically
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.storage import load_result
from NISFCore.progress import CancelToken, ProgressReporter

SCENE_FORMATS = "seq.nrrd,motion,tables"
"""What a scene that shows the slices already needs of a refit."""
QUICK_FORMATS = "seq.nrrd,motion"
IDLE_SECONDS = 0.2
"""How often an idle worker looks whether it is to end."""

Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class GivenFrame:
    """Labels of one slice at one phase.

    Attributes:
        file: where they are.
        slice: name of the slice.
        phase: of that slice, from 0.
        complete: what is not painted is background; else it is unknown.
    """

    file: str
    slice: str
    phase: int
    complete: bool = True

    @property
    def label_file(self) -> LabelFile:
        return LabelFile(Path(self.file), self.phase, self.complete, self.slice)


@dataclass(frozen=True)
class Refit:
    """All labels that count now, and the new result folder. Without labels it is the first
    result again, and nothing is written."""

    labels: tuple[GivenFrame, ...]
    out: str


@dataclass(frozen=True)
class Render:
    """Export the present result for a scene; `quick` with a `quick_volume_curve`, and without
    standard errors and profiles."""

    out: str
    spacing_mm: float = 3.0
    phases: str = "all"
    quick: bool = False


@dataclass(frozen=True)
class Propose:
    """The `n` frames whose labels would tell most; `taken` are (slice, phase) that have some."""

    n: int = 1
    taken: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Certainty:
    """A map of how sure the labels of one phase of the cycle are, as NRRD in percent."""

    out: str
    phase: int
    spacing_mm: float = 3.0


@dataclass(frozen=True)
class Request:
    """One line of the input."""

    id: int
    kind: str
    values: dict[str, Any]


class Server:
    """One result, and what has become of it."""

    def __init__(self, folder: Path, device: str = "auto") -> None:
        """
        Raises:
            ResultError: if the folder holds no result.
        """
        self._first = load_result(folder)
        self._result: FitResult = self._first
        self._first_folder, self._device = folder, device
        self._quick_curve: VolumeCurve | None = None

    def answer(
        self, request: Request, progress: ProgressReporter, cancel: CancelToken
    ) -> dict[str, Any]:
        """Do what is asked; what the answer holds.

        Raises:
            NISFError: any of its kinds; what was there stays as it was.
        """
        kinds: dict[str, tuple[type, Callable[..., dict[str, Any]]]] = {
            "refit": (Refit, self._refit),
            "render": (Render, self._render),
            "propose": (Propose, self._propose),
            "certainty": (Certainty, self._certainty),
        }
        if request.kind not in kinds:
            raise ConfigError(f"request: got {request.kind!r}, allowed: {', '.join(kinds)}")
        wanted, do = kinds[request.kind]
        cancel.check()
        return do(from_json_object(wanted, request.values), progress, cancel)

    def _refit(
        self, wanted: Refit, progress: ProgressReporter, cancel: CancelToken
    ) -> dict[str, Any]:
        result, folder = self._first, self._first_folder
        if wanted.labels:
            labels = workflows.GivenLabels(tuple(frame.label_file for frame in wanted.labels))
            folder = Path(wanted.out)
            result = workflows.refit_loaded(
                self._first,
                folder,
                labels,
                device=self._device,
                overwrite=True,
                progress=progress,
                cancel=cancel,
            )
        self._result, self._quick_curve = result, None
        return {"folder": str(folder), **result.figures, "warnings": list(result.study.warnings)}

    def _render(
        self, wanted: Render, progress: ProgressReporter, cancel: CancelToken
    ) -> dict[str, Any]:
        formats = parse_formats(QUICK_FORMATS if wanted.quick else SCENE_FORMATS)
        # without surfaces the grid itself is the lattice that the heart is sampled on
        settings = ExportSettings(wanted.spacing_mm, wanted.phases, formats, wanted.spacing_mm)
        curve = self._curve(progress, cancel) if wanted.quick else None
        if not wanted.quick:
            self._result = workflows.for_export(self._result, settings, progress, cancel)
        out = Path(wanted.out)
        export_result(self._result, out, settings, progress=progress, cancel=cancel, curve=curve)
        if curve is not None:
            _write_figures(out, curve)
        return {"folder": wanted.out}

    def _propose(
        self, wanted: Propose, progress: ProgressReporter, cancel: CancelToken
    ) -> dict[str, Any]:
        times = ed_and_es(self._curve(progress, cancel))
        found = proposed_annotations(
            self._result, wanted.n, times, taken=wanted.taken, progress=progress, cancel=cancel
        )
        return {"proposals": [vars(proposal) for proposal in found]}

    def _certainty(
        self, wanted: Certainty, progress: ProgressReporter, cancel: CancelToken
    ) -> dict[str, Any]:
        n_phases = n_cycle_phases(self._result.study)
        if not 0 <= wanted.phase < n_phases:
            raise ConfigError(f"certainty: got phase {wanted.phase}, allowed: 0 to {n_phases - 1}")
        t = float(uniform_cycle_fractions(n_phases)[wanted.phase])
        write_certainty(self._result, Path(wanted.out), wanted.spacing_mm, t, cancel)
        return {"file": wanted.out}

    def _curve(self, progress: ProgressReporter, cancel: CancelToken) -> VolumeCurve:
        """The present result's quick volume curve, measured once."""
        if self._quick_curve is None:
            n_phases = n_cycle_phases(self._result.study)
            field = self._result.field
            self._quick_curve = quick_volume_curve(field, n_phases, progress, cancel)
        return self._quick_curve


def _write_figures(folder: Path, curve: VolumeCurve) -> None:
    """The tables of a quick rendering: without standard errors and profiles, which take longer
    than all the rest of it."""
    function = VentricularFunction.from_curve(curve)
    write_text_atomically(folder / "volumes.csv", tables.volumes_csv(curve))
    write_text_atomically(folder / "function.json", tables.function_json(function, curve, {}))


class Inbox:
    """Reads requests in a thread of its own, so that a cancel is heard during the work. Works on
    pipes of every platform: nothing is polled but a queue."""

    def __init__(self, stream: Iterable[bytes], end: CancelToken | None = None) -> None:
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._cancelled: set[int] = set()
        self._has_ended = False
        self._end = end or CancelToken()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: Iterable[bytes]) -> None:
        try:
            with suppress(OSError):  # a pipe that broke has ended
                for line in stream:
                    number = _cancelled_number(line)
                    if number is None:
                        self._lines.put(line)
                    else:
                        self._cancelled.add(number)
        finally:  # else the worker would outlive its parent
            self._has_ended = True
            self._lines.put(None)

    @property
    def is_over(self) -> bool:
        """Whether the parent is gone or wants an end."""
        return self._has_ended or self._end.is_cancelled

    def next_line(self) -> bytes | None:
        """The next request, waited for; None at the end."""
        while not self.is_over:
            try:
                return self._lines.get(timeout=IDLE_SECONDS)
            except Empty:
                continue
        return None

    def token(self, number: int) -> CancelToken:
        """Cancels request `number` when its cancel line comes, or all is over."""
        return _RequestToken(lambda: self.is_over or number in self._cancelled)


class _RequestToken(CancelToken):
    """A token that asks."""

    def __init__(self, asks: Callable[[], bool]) -> None:
        super().__init__()
        self._asks = asks

    @property
    def is_cancelled(self) -> bool:
        return super().is_cancelled or self._asks()


def serve(
    server: Server,
    stream: Iterable[bytes],
    say: Say,
    log: IO[str],
    progress: ProgressReporter,
    end: CancelToken | None = None,
) -> None:
    """Answer requests until the input ends.

    Args:
        say: writes one event.
        log: where the traceback of an unforeseen error goes.
        end: ends it as well, in the midst of a request too.
    """
    inbox = Inbox(stream, end)
    say({"event": "ready"})
    while (line := inbox.next_line()) is not None:
        try:
            request = parsed_request(line)
        except ConfigError as error:
            say({"event": "failed", "id": None, "message": str(error)})
            continue
        say(_outcome(server, request, progress, inbox.token(request.id), log))


def _outcome(
    server: Server,
    request: Request,
    progress: ProgressReporter,
    cancel: CancelToken,
    log: IO[str],
) -> dict[str, Any]:
    """The event that ends a request."""
    try:
        return {
            "event": "answer",
            "id": request.id,
            **server.answer(request, progress, cancel),
        }
    except Cancelled as error:
        return {"event": "stopped", "id": request.id, "message": str(error)}
    except NISFError as error:
        return {"event": "failed", "id": request.id, "message": str(error)}
    except Exception as error:  # noqa: BLE001 - the result and the next request must survive it
        traceback.print_exc(file=log)
        message = f"{request.kind} failed unexpectedly: {type(error).__name__}: {error}"
        return {"event": "failed", "id": request.id, "message": message}


def parsed_request(line: bytes) -> Request:
    """A line as a request.

    Raises:
        ConfigError: if it is none.
    """
    values = _object(line)
    number = values.pop("id", None)
    if type(number) is not int or len(values) != 1:
        raise ConfigError(
            'request: got a line that is none, expected {"id": NUMBER, KIND: {SETTINGS}}'
        )
    ((kind, settings),) = values.items()
    return Request(number, kind, settings)


def _cancelled_number(line: bytes) -> int | None:
    number = _object(line).get("cancel")
    return number if type(number) is int else None


def _object(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line.decode("utf-8"))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
