"""What the terminal shows, and cancelling by signal."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from NISFCore.analysis.evaluation import Evaluation, evaluate
from NISFCore.console import (
    ConsoleProgress,
    LogProgress,
    cancel_on_signal,
    command_line,
    evaluation_table,
    fit_table,
    inspect_notes,
    progress_reporter,
    show,
)
from NISFCore.fitting.result import FitResult
from NISFCore.progress import JsonProgress, ProgressEvent, SilentProgress
from Testing.Core.analysis.hearts import small_case
from Testing.Core.fitting.results import made_result

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals end a process on Windows")


def printed(thing: Any, width: int = 80) -> str:
    """A renderable as text of a terminal without colours."""
    stream = io.StringIO()
    Console(file=stream, width=width).print(thing)
    return stream.getvalue()


@pytest.fixture(scope="module")
def result() -> FitResult:
    made = made_result(3).result
    figures = {"intersection_ncc_before": 0.71234, "intersection_ncc_after": 0.9}
    return replace(made, figures=made.figures | figures)


@pytest.fixture(scope="module")
def evaluations() -> tuple[Evaluation, Evaluation]:
    """With and without a truth."""
    fitted, truth = small_case()
    return evaluate(fitted, truth, 8.0, 4), evaluate(fitted, None, 8.0, 4)


def test_the_table_of_a_fit(result: FitResult) -> None:
    text = printed(fit_table(result))
    for cine, motion in zip(result.study.slices, result.parameters.slice_motion, strict=True):
        (line,) = [x for x in text.splitlines() if cine.name in x]
        assert f"{motion.distance_mm:.1f}" in line
        assert f"{motion.angle_deg:.1f}" in line
    caption = " ".join(text.split())
    assert "PSNR 20.00 dB; intersection NCC 0.712 → 0.900; 0.3 s. Research use only." in caption
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_table_of_a_fit_without_crossing_slices(result: FitResult) -> None:
    text = " ".join(printed(fit_table(replace(result, figures={"psnr_db": 31.5}))).split())
    assert "PSNR 31.50 dB; 0.3 s." in text
    assert "NCC" not in text


def test_the_table_of_an_evaluation(evaluations: tuple[Evaluation, Evaluation]) -> None:
    known, unknown = (printed(evaluation_table(e), 100) for e in evaluations)
    motion = evaluations[0].slice_motion_mm
    assert motion is not None
    assert f"{motion.before:.3f} → {motion.after:.3f}" in known
    volumes = evaluations[0].volumes["edv_ml"]
    assert f"{volumes.estimate:.1f} (truth {volumes.truth:.1f})" in known
    assert "dice_3d LV / myo / RV" in known
    assert "truth" not in unknown
    assert "dice_3d" not in unknown
    assert "slice_motion" not in unknown
    assert "Research use only" in known


def test_the_notes_below_the_table_of_slices() -> None:
    row = {"name": "SA_01", "series": "3", "included": True, "reason": ""}
    other = {"name": "OTHER_01", "series": "9", "included": False, "reason": "tilted 15°"}
    found = {
        "slices": [row, other],
        "warnings": ["2 files skipped"],
        "assumptions": ["RV is typical"],
        "missing": ["no LA_2CH view"],
    }
    assert inspect_notes(found) == [
        "left out: OTHER_01 (series 9): tilted 15°",
        "! 2 files skipped",
        "assumed: RV is typical",
        "missing: no LA_2CH view",
    ]


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """No markup, no breaking: paths and patients' files can be named anything."""
    odd = "result: /tmp/[bold]a[/bold]/" + "long " * 40 + "end"
    show(odd, "12 %")
    assert capsys.readouterr().out == f"{odd}\n12 %\n"


def test_commands_can_be_pasted() -> None:
    path = Path("my study") / "it's ä.nii"
    text = command_line("nisf", "fit", path, "--out", "result")
    if sys.platform != "win32":
        assert shlex.split(text) == ["nisf", "fit", str(path), "--out", "result"]
    assert command_line("nisf", "fit", "plain") == "nisf fit plain"


def test_bars_show_stages_figures_and_messages() -> None:
    stream = io.StringIO()
    with ConsoleProgress(Console(file=stream, width=100, color_system=None)) as bars:
        for step in (1, 2):
            bars.report(ProgressEvent("fit", step, 2, 0.5, loss=1.0, psnr_db=20.0 + step))
        bars.report(ProgressEvent("render", 3, 7, 0.1, message="[odd] message"))
    text = stream.getvalue()
    assert "2/2" in text
    assert "PSNR 22.00 dB" in text
    assert "3/7" in text
    assert "render 3: [odd] message" in text


def test_progress_styles(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_reporter("none") as silent:
        assert isinstance(silent, SilentProgress)
    with progress_reporter("console") as bars:
        bars.report(ProgressEvent("fit", 1, 1, 0.1))
    assert capsys.readouterr().out == ""  # standard output is for answers
    with progress_reporter("json") as lines:
        assert isinstance(lines, JsonProgress)
        lines.report(ProgressEvent("fit", 1, 1, 0.1))
    assert json.loads(capsys.readouterr().out)["stage"] == "fit"


@pytest.fixture
def handlers() -> Iterator[dict[int, Any]]:
    """Python's own signal handlers, wherever the tests were started (a shell lets what it runs in
    the background ignore interrupts); those of before are put back after it."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield {int(n): signal.getsignal(n) for n in before}
    for number, handler in before.items():
        signal.signal(number, handler)


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels(number: signal.Signals, handlers: dict[int, Any]) -> None:
    with cancel_on_signal() as token:
        assert not token.is_cancelled
        os.kill(os.getpid(), number)
        assert token.is_cancelled
    assert {n: signal.getsignal(n) for n in handlers} == handlers


@POSIX
def test_a_second_interrupt_is_not_held_back(handlers: dict[int, Any]) -> None:
    with pytest.raises(KeyboardInterrupt), cancel_on_signal():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert {n: signal.getsignal(n) for n in handlers} == handlers


def test_a_file_cancels(tmp_path: Path) -> None:
    with cancel_on_signal(tmp_path / "stop") as token:
        assert not token.is_cancelled
        (tmp_path / "stop").touch()
        assert token.is_cancelled


def test_handlers_come_back_after_a_failure(handlers: dict[int, Any]) -> None:
    with pytest.raises(ZeroDivisionError), cancel_on_signal():
        raise ZeroDivisionError
    assert {n: signal.getsignal(n) for n in handlers} == handlers


def test_other_threads_leave_signals_alone(handlers: dict[int, Any]) -> None:
    seen: list[bool] = []

    def work() -> None:
        with cancel_on_signal() as token:
            seen.append({n: signal.getsignal(n) for n in handlers} == handlers)
            token.cancel()
            seen.append(token.is_cancelled)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True, True]


def test_a_terminal_that_knows_no_arrow(tmp_path: Path) -> None:
    """An answer is not lost because a pipe is ASCII only."""
    code = (
        "from NISFCore.console import show, tolerate_any_encoding, print_error\n"
        "tolerate_any_encoding()\n"
        "show('0.7 → 0.9 °')\n"
        "print_error('Ergebnis ä')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [b"0.7", b"?", b"0.9", b"?"]
    assert run.stderr.split() == [b"Ergebnis", b"?"]


def test_a_log_gets_a_line_now_and_then_and_every_message() -> None:
    stream, now = io.StringIO(), [0.0]
    log = LogProgress(stream, every_seconds=30.0, clock=lambda: now[0])
    for step in range(1, 9):
        now[0] += 10.0
        said = "one subject left out" if step == 4 else None
        log.report(ProgressEvent("training", step, 8, now[0], psnr_db=20.5, message=said))
    assert stream.getvalue().splitlines() == [
        "training 3/8, 30 s, PSNR 20.50 dB",
        "training 4/8, 40 s, PSNR 20.50 dB: one subject left out",
        "training 6/8, 60 s, PSNR 20.50 dB",
    ]


def test_bars_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_reporter("console") as reporter:
        assert isinstance(reporter, LogProgress)
