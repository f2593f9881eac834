"""The worker that stays: what it answers, what it survives, and when it ends."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import nrrd
import numpy as np
import pytest

from NISFCore import serving, workflows
from NISFCore.errors import ConfigError, StudyError
from NISFCore.export.nrrd_files import write_segmentation_nrrd
from NISFCore.fitting.config import FitConfig, GaussNewtonConfig
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.storage import load_result
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress
from NISFCore.serving import Inbox, Request, Server, serve
from NISFCore.workflows import StudyInput
from Testing.Core.fitting.teacher import teacher_study
from Testing.Core.teacher_files import small_prior, write_study

QUICK = FitConfig(GaussNewtonConfig(voxels=(512,) * 3))
QUICK_REFIT = FitConfig(
    GaussNewtonConfig(voxels=(512,) * 3, tempered_steps=0, settled_after=0, memory=0.5)
)
SILENT, NEVER = SilentProgress(), CancelToken()
FIRST_FRAME = "SA_03"


@pytest.fixture(autouse=True)
def small_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few voxels and steps: what is tested here is not how good a refit is."""
    monkeypatch.setattr("NISFCore.fitting.fit.N_PSNR_VOXELS", 2000)
    use_config(monkeypatch, QUICK_REFIT)


def use_config(monkeypatch: pytest.MonkeyPatch, config: FitConfig) -> None:
    """Let every refit take these settings."""
    defaults = workflows.refit_loaded.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "config", config)


@pytest.fixture(scope="module")
def result_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serving ä")
    study, result = write_study(folder / "study"), folder / "result"
    options: dict[str, Any] = {"prior": small_prior(), "config": QUICK, "device": "cpu"}
    workflows.fit_input(StudyInput(study), result, **options)
    return result


@pytest.fixture(scope="module")
def labels(result_folder: Path) -> Path:
    """The true labels of a slice at its first phase, a file of 3D Slicer's kind."""
    cine = next(s for s in teacher_study(n_phases=4).study.slices if s.name == FIRST_FRAME)
    assert cine.labels is not None
    path = result_folder.parent / "drawn.seg.nrrd"
    write_segmentation_nrrd(path, cine.labels.values[:1], cine.ras_from_ijk)
    return path


@pytest.fixture
def server(result_folder: Path) -> Server:
    return Server(result_folder, "cpu")


def answered(server: Server, kind: str, **values: Any) -> dict[str, Any]:
    return server.answer(Request(1, kind, values), SILENT, NEVER)


def frame(file: Path, phase: int = 0, **more: Any) -> dict[str, Any]:
    return {"file": str(file), "slice": FIRST_FRAME, "phase": phase, **more}


# What it answers ---------------------------------------------------------------------------------


def test_a_refit_is_written_and_the_first_result_stays(
    server: Server, result_folder: Path, labels: Path, tmp_path: Path
) -> None:
    before = (result_folder / "result.json").read_bytes()
    out = tmp_path / "refit ä"
    answer = answered(server, "refit", labels=[frame(labels)], out=str(out))
    assert answer["folder"] == str(out) and answer["psnr_db"] > 0
    refitted = load_result(out)
    assert refitted.settings["labels"]["frames"] == [{"slice": FIRST_FRAME, "phase": 0}]
    assert np.abs(refitted.parameters.latent - server._first.parameters.latent).max() > 1e-4
    assert (result_folder / "result.json").read_bytes() == before


def test_what_is_taken_back_leaves_no_trace(
    server: Server, result_folder: Path, labels: Path, tmp_path: Path
) -> None:
    """With fewer labels the answer is that of those alone, without any it is the first result."""
    once = frame(labels)
    answered(server, "refit", labels=[once], out=str(tmp_path / "a"))
    answered(server, "refit", labels=[once, frame(labels, 2)], out=str(tmp_path / "b"))
    answered(server, "refit", labels=[once], out=str(tmp_path / "c"))
    a, b, c = (load_result(tmp_path / name).parameters.latent for name in "abc")
    np.testing.assert_array_equal(a, c)
    assert np.abs(a - b).max() > 1e-4
    answer = answered(server, "refit", labels=[], out=str(tmp_path / "none"))
    assert answer["folder"] == str(result_folder)
    assert not (tmp_path / "none").exists()


def test_partial_labels_say_less(server: Server, labels: Path, tmp_path: Path) -> None:
    answered(server, "refit", labels=[frame(labels)], out=str(tmp_path / "a"))
    partial = frame(labels, complete=False)
    answered(server, "refit", labels=[partial], out=str(tmp_path / "b"))
    a, b = (load_result(tmp_path / name).parameters.latent for name in "ab")
    assert np.abs(a - b).max() > 1e-5


def test_a_rendering_follows_the_refit(server: Server, labels: Path, tmp_path: Path) -> None:
    wanted = {"spacing_mm": 6.0, "phases": "1", "quick": True}
    answered(server, "render", out=str(tmp_path / "before"), **wanted)
    answered(server, "refit", labels=[frame(labels)], out=str(tmp_path / "refit"))
    answered(server, "render", out=str(tmp_path / "after"), **wanted)
    manifests = [_json(tmp_path / name / "manifest.json") for name in ("before", "after")]
    assert [m["phases"] for m in manifests] == [[1], [1]]
    before, after = (
        (tmp_path / name / "sequences" / "labels.seq.nrrd").read_bytes()
        for name in ("before", "after")
    )
    assert before != after
    assert (tmp_path / "after" / "function.json").is_file()


def test_a_quick_curve_is_near_the_fine_one(server: Server, tmp_path: Path) -> None:
    for name, is_quick in (("quick", True), ("fine", False)):
        wanted = {"spacing_mm": 6.0, "phases": "0", "quick": is_quick}
        answered(server, "render", out=str(tmp_path / name), **wanted)
    quick, fine = (_json(tmp_path / name / "function.json") for name in ("quick", "fine"))
    assert quick["edv_ml"] == pytest.approx(fine["edv_ml"], rel=0.04)
    assert quick["edv_ml"] != fine["edv_ml"]


def test_proposals_leave_out_what_is_taken(server: Server) -> None:
    first = answered(server, "propose", n=2)["proposals"]
    taken = [[p["slice_name"], p["phase"]] for p in first]
    second = answered(server, "propose", n=2, taken=taken)["proposals"]
    assert len(first) == 2 and len(second) == 2
    assert not {tuple(t) for t in taken} & {(p["slice_name"], p["phase"]) for p in second}
    json.dumps(first, allow_nan=False)


def test_a_map_of_certainty(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "sure ä.nrrd"
    answered(server, "certainty", phase=2, spacing_mm=6.0, out=str(path))
    percent, header = nrrd.read(str(path))
    assert percent.dtype == np.uint8 and percent.max() == 100 and 25 <= percent.min() < 100
    assert header["space"] == "left-posterior-superior"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ConfigError, match="allowed: 0 to 3"):
        answered(server, "certainty", phase=4, out=str(path))


def test_wrong_requests_name_what_is_allowed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allowed: refit, render, propose, certainty"):
        answered(server, "shutdown")
    with pytest.raises(ConfigError, match="unknown setting colour"):
        answered(server, "render", out=str(tmp_path / "x"), colour="red")
    with pytest.raises(StudyError, match="no such file"):
        missing = frame(tmp_path / "nothing.nrrd")
        answered(server, "refit", labels=[missing], out=str(tmp_path / "y"))
    assert not any(tmp_path.iterdir())


def _json(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


# The conversation --------------------------------------------------------------------------------


class Talk:
    """A server's other end: lines can be sent while it works."""

    def __init__(self, server: Any, cancel_file: Path | None = None) -> None:
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self.events: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.log = StringIO()
        end = CancelToken(cancel_file)
        arguments = (server, self._stream(), self.events.put, self.log, SILENT, end)
        self.thread = threading.Thread(target=serve, args=arguments, daemon=True)
        self.thread.start()
        assert self.next() == {"event": "ready"}

    def _stream(self) -> Iterator[bytes]:
        while (line := self._lines.get()) is not None:
            yield line

    def send(self, values: Any) -> None:
        self._lines.put(json.dumps(values).encode() + b"\n")

    def next(self) -> dict[str, Any]:
        return self.events.get(timeout=120)

    def end(self) -> None:
        self._lines.put(None)


class Odd:
    """Does what the request's kind says, without any heart."""

    def __init__(self) -> None:
        self.began = threading.Event()

    def answer(
        self, request: Request, progress: ProgressReporter, cancel: CancelToken
    ) -> dict[str, Any]:
        if request.kind == "crash":
            raise RuntimeError("CUDA out of memory")
        if request.kind == "refuse":
            raise StudyError("no slice lies there; check the labels")
        self.began.set()
        while request.kind == "endless":
            cancel.check()
            time.sleep(0.01)
        return {"did": request.kind}


def test_failures_are_told_and_survived() -> None:
    talk = Talk(Odd())
    talk.send({"id": 1, "crash": {}})
    event = talk.next()
    assert event["event"] == "failed" and event["id"] == 1
    assert event["message"] == "crash failed unexpectedly: RuntimeError: CUDA out of memory"
    assert "Traceback" in talk.log.getvalue()
    talk.send({"id": 2, "refuse": {}})
    message = "no slice lies there; check the labels"
    assert talk.next() == {"event": "failed", "id": 2, "message": message}
    for nonsense in ([1], {"id": "x", "work": {}}, {"id": 3}, {"id": 3, "a": {}, "b": {}}):
        talk.send(nonsense)
        assert "got a line that is none" in talk.next()["message"]
    talk.send({"id": 4, "work": {}})
    assert talk.next() == {"event": "answer", "id": 4, "did": "work"}
    talk.end()
    talk.thread.join(10)
    assert not talk.thread.is_alive()


@pytest.mark.timed
def test_a_cancel_is_heard_during_the_work_and_means_one_request() -> None:
    talk = Talk(Odd())
    talk.send({"id": 1, "endless": {}})
    began = time.monotonic()
    talk.send({"cancel": 1})
    event = talk.next()
    assert event["event"] == "stopped" and event["id"] == 1
    assert time.monotonic() - began < 10.0
    talk.send({"cancel": 3})  # before it was asked for, as a fast user's may come
    talk.send({"id": 2, "work": {}})
    talk.send({"id": 3, "endless": {}})
    assert talk.next() == {"event": "answer", "id": 2, "did": "work"}
    assert talk.next()["event"] == "stopped"
    talk.end()


@pytest.mark.timed
@pytest.mark.parametrize("how", ["end of input", "cancel file"])
def test_it_ends_in_the_midst_of_a_request(how: str, tmp_path: Path) -> None:
    odd = Odd()
    talk = Talk(odd, tmp_path / "cancel")
    talk.send({"id": 1, "endless": {}})
    assert odd.began.wait(60)  # a request that is not yet taken up goes without an answer
    if how == "end of input":
        talk.end()
    else:
        (tmp_path / "cancel").touch()
    assert talk.next()["event"] == "stopped"
    talk.thread.join(10)
    assert not talk.thread.is_alive()


@pytest.mark.timed
def test_an_idle_worker_ends_by_its_cancel_file(tmp_path: Path) -> None:
    talk = Talk(Odd(), tmp_path / "cancel")
    (tmp_path / "cancel").touch()
    talk.thread.join(10)
    assert not talk.thread.is_alive()


def test_a_cancelled_refit_writes_nothing(
    server: Server, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled between its steps; the next request finds the result as it was."""
    began = threading.Event()
    endless = FitConfig(GaussNewtonConfig(voxels=(512,) * 100_000, settled_after=100_000))
    use_config(monkeypatch, endless)

    class Watch:
        def report(self, event: object) -> None:
            began.set()

    lines: SimpleQueue[bytes | None] = SimpleQueue()

    def stream() -> Iterable[bytes]:
        while (line := lines.get()) is not None:
            yield line

    events: SimpleQueue[dict[str, Any]] = SimpleQueue()
    out = tmp_path / "refit"
    request = {"id": 7, "refit": {"labels": [frame(labels)], "out": str(out)}}
    lines.put(json.dumps(request).encode())
    arguments = (server, stream(), events.put, StringIO(), Watch())
    thread = threading.Thread(target=serve, args=arguments, daemon=True)
    thread.start()
    assert began.wait(120)
    lines.put(b'{"cancel": 7}')
    assert events.get(timeout=60) == {"event": "ready"}
    assert events.get(timeout=60)["event"] == "stopped"
    lines.put(None)
    thread.join(10)
    assert not any(tmp_path.iterdir())
    present: FitResult = server._result
    assert present is server._first


def test_a_pipe_that_breaks_is_the_end() -> None:
    def broken() -> Iterator[bytes]:
        yield b"\n"
        raise OSError("the pipe has been ended")

    inbox = Inbox(broken())
    until = time.monotonic() + 10
    while not inbox.is_over and time.monotonic() < until:
        time.sleep(0.01)
    assert inbox.is_over and inbox.next_line() is None


def test_the_inbox_waits_without_reading_ahead() -> None:
    inbox = Inbox([b'{"id": 1, "work": {}}\n'])
    while not inbox.is_over:
        time.sleep(0.01)
    assert inbox.token(1).is_cancelled and inbox.next_line() is None
    assert serving.parsed_request(b'{"id": 5, "render": {"out": "x"}}') == Request(
        5, "render", {"out": "x"}
    )
