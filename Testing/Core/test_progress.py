"""Progress events as JSON lines, and cancelling from a thread and through a file."""

import io
import json
import threading
import time
from pathlib import Path

import pytest

from NISFCore.errors import Cancelled
from NISFCore.progress import (
    CancelToken,
    JsonProgress,
    ProgressEvent,
    SilentProgress,
    interruptible,
)


class FlushCounter(io.StringIO):
    """Counts how often a line was pushed out."""

    n_flushes = 0

    def flush(self) -> None:
        self.n_flushes += 1
        super().flush()


def test_json_progress_writes_one_flushed_line_per_event() -> None:
    stream = FlushCounter()
    reporter = JsonProgress(stream)
    reporter.report(ProgressEvent("fit", 1, 10, 0.5))
    reporter.report(ProgressEvent("fit", 2, 10, 1.0, loss=3.5, psnr_db=21.0, message="a\nb ä"))
    first, second = stream.getvalue().splitlines()
    assert json.loads(first) == {
        "event": "progress",
        "stage": "fit",
        "step": 1,
        "total": 10,
        "seconds": 0.5,
    }
    assert json.loads(second)["message"] == "a\nb ä"
    assert json.loads(second)["psnr_db"] == 21.0
    assert stream.n_flushes == 2
    assert stream.getvalue().isascii()  # safe on a pipe of any encoding


def test_silent_progress_accepts_events() -> None:
    SilentProgress().report(ProgressEvent("fit", 1, 1, 0.0))


def test_a_token_is_quiet_until_asked() -> None:
    token = CancelToken()
    token.check()
    assert not token.is_cancelled


def test_cancel_from_another_thread() -> None:
    token = CancelToken()
    thread = threading.Thread(target=token.cancel)
    thread.start()
    thread.join()
    with pytest.raises(Cancelled):
        token.check()


def test_cancel_through_a_file(tmp_path: Path) -> None:
    file = tmp_path / "stop ä"
    token = CancelToken(file)
    token.check()
    file.touch()
    assert token.is_cancelled
    with pytest.raises(Cancelled):
        token.check()


def test_interruptible_work_gives_its_answer_or_its_error() -> None:
    assert interruptible(lambda: 42, CancelToken()) == 42
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0, CancelToken())


@pytest.mark.timed
def test_interruptible_work_is_left_behind() -> None:
    token, finish = CancelToken(), threading.Event()
    threading.Timer(0.1, token.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        interruptible(lambda: finish.wait(60), token)
    assert time.monotonic() - began < 1.0
    finish.set()
