"""The job side of the Slicer module, with real processes."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from NISFCore.progress import ProgressEvent
from NISFLib import job as job_module
from NISFLib.job import Job, JobError, JobOutcome, JobState, WorkerCommand
from Testing.conftest import REPOSITORY

HERE = Path(__file__).parent
PATIENCE_SECONDS = 30.0
BEAT_GONE_SECONDS = 0.6
ODD_NAME = "Herz ä ♥ 心 'quoted' \"twice\" & more"

Start = Callable[..., Job]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts fake workers and leaves none behind."""
    jobs: list[Job] = []

    def start_job(*arguments: str, grace_seconds: float = 0.7) -> Job:
        environment = {"PYTHONPATH": str(HERE)}
        command = WorkerCommand(Path(sys.executable), arguments, "fake_worker", environment)
        jobs.append(Job(command, grace_seconds))
        return jobs[-1]

    yield start_job
    for job in jobs:
        job.close()


def wait_for(condition: Callable[[], bool]) -> float:
    """Seconds until the condition holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE_SECONDS, "nothing happened"
        time.sleep(0.02)
    return time.monotonic() - began


def run_to_end(job: Job) -> tuple[list[ProgressEvent], JobOutcome]:
    events: list[ProgressEvent] = []

    def ended() -> bool:
        events.extend(job.poll())
        return job.outcome is not None

    wait_for(ended)
    assert job.outcome is not None
    return events, job.outcome


def is_beating(heart: Path) -> bool:
    before = heart.stat().st_size
    time.sleep(BEAT_GONE_SECONDS)
    return heart.stat().st_size > before


def test_progress_result_and_log(start: Start) -> None:
    events, outcome = run_to_end(start("succeed", "in"))
    assert [(e.stage, e.step, e.total, e.psnr_db) for e in events] == [
        ("fit", 1, 3, 21.0),
        ("fit", 2, 3, 22.0),
        ("fit", 3, 3, 23.0),
    ]
    assert outcome.state is JobState.DONE
    assert outcome.message == ""
    assert outcome.result["folder"] == "out"
    for text in ("noise ä 3", "warning ♥ 1", "another version", "[1]"):
        assert text in outcome.log


def test_arguments_arrive_as_they_were_given(start: Start, tmp_path: Path) -> None:
    arguments = [str(tmp_path / ODD_NAME), "", "two words", "--flag=ä", "%PATH%", "$HOME"]
    _, outcome = run_to_end(start("succeed", *arguments))
    assert outcome.result["arguments"] == arguments
    assert outcome.result["utf8"].lower().replace("-", "") == "utf8"


@pytest.mark.timed
def test_poll_does_not_wait(start: Start, tmp_path: Path) -> None:
    job = start("obey", str(tmp_path / "heart"))
    began = time.monotonic()
    for _ in range(100):
        job.poll()
    assert time.monotonic() - began < 0.2
    assert job.outcome is None


@pytest.mark.timed
def test_cancel_through_the_file_within_a_second(start: Start, tmp_path: Path) -> None:
    heart = tmp_path / "heart"
    job = start("obey", str(heart))
    wait_for(heart.exists)
    began = time.monotonic()
    job.cancel()
    assert time.monotonic() - began < 0.1
    _, outcome = run_to_end(job)
    assert time.monotonic() - began < 1.0
    assert outcome.state is JobState.CANCELLED
    assert outcome.message == "cancelled by the user; nothing was written"  # its own last words
    assert not is_beating(heart)


@pytest.mark.timed
def test_a_worker_that_does_not_listen_is_killed_with_its_children(
    start: Start, tmp_path: Path
) -> None:
    heart, child_heart = tmp_path / "heart ä", tmp_path / "child"
    job = start("resist", str(heart), str(child_heart))
    wait_for(lambda: heart.exists() and child_heart.exists())
    job.cancel()
    job.cancel()  # an impatient user
    began = time.monotonic()
    _, outcome = run_to_end(job)
    assert 0.3 < time.monotonic() - began < 1.0
    assert outcome.state is JobState.CANCELLED
    assert outcome.message == "cancelled by the user"
    assert not is_beating(heart)
    assert not is_beating(child_heart)


@pytest.mark.timed
def test_cancelling_needs_no_poll(start: Start, tmp_path: Path) -> None:
    """A panel that is busy or gone does not keep the worker alive."""
    heart, child_heart = tmp_path / "heart", tmp_path / "child"
    job = start("resist", str(heart), str(child_heart), grace_seconds=0.2)
    wait_for(lambda: heart.exists() and child_heart.exists())
    job.cancel()
    time.sleep(0.5)
    assert not is_beating(heart)
    assert not is_beating(child_heart)


def test_a_clear_error_of_the_program_is_the_message(start: Start) -> None:
    _, outcome = run_to_end(start("fail"))
    assert outcome.state is JobState.FAILED
    assert outcome.message == "no cine slice in ä; give a folder of DICOM"


def test_a_crash_shows_the_end_of_the_log(start: Start) -> None:
    _, outcome = run_to_end(start("crash"))
    assert outcome.state is JobState.FAILED
    assert outcome.message == (
        "the worker ended with exit code 1: RuntimeError: CUDA out of memory"
    )
    assert "Traceback" in outcome.log


def test_a_silent_death_is_reported(start: Start) -> None:
    _, outcome = run_to_end(start("die"))
    assert outcome.state is JobState.FAILED
    assert outcome.message == "the worker ended with exit code 77: it said nothing"


def test_more_output_than_the_pipes_hold(start: Start) -> None:
    job = start("flood")
    time.sleep(0.5)  # nobody polls
    events, outcome = run_to_end(job)
    assert [e.step for e in events] == list(range(5000))
    assert outcome.state is JobState.DONE
    assert outcome.log.splitlines()[-1].endswith(" 4999")
    assert len(outcome.log.splitlines()) == job_module.N_LOG_LINES


@pytest.mark.timed
def test_a_child_left_behind_neither_blocks_nor_survives(start: Start, tmp_path: Path) -> None:
    heart = tmp_path / "heart"
    _, outcome = run_to_end(start("leave-child", str(heart)))
    assert outcome.state is JobState.DONE
    assert not is_beating(heart)


@pytest.mark.timed
def test_close_ends_everything_and_can_be_called_twice(start: Start, tmp_path: Path) -> None:
    heart, child_heart = tmp_path / "heart", tmp_path / "child"
    job = start("resist", str(heart), str(child_heart))
    wait_for(lambda: heart.exists() and child_heart.exists())
    began = time.monotonic()
    job.close()
    assert time.monotonic() - began < 1.0
    assert job.outcome is not None and job.outcome.state is JobState.CANCELLED
    assert not is_beating(heart)
    assert not is_beating(child_heart)
    job.close()
    job.cancel()
    assert job.poll() == []


def test_nothing_is_left_in_the_temporary_folder(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run_to_end(start("succeed"))
    cancelled = start("obey", str(tmp_path / "heart"))
    cancelled.cancel()
    run_to_end(cancelled)
    with pytest.raises(JobError):
        Job(WorkerCommand(tmp_path / "no python", ()))
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


def test_no_threads_are_left(start: Start) -> None:
    before = set(threading.enumerate())
    run_to_end(start("succeed"))
    # a thread of an earlier test may end meanwhile
    assert set(threading.enumerate()) <= before


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="cannot start"):
        Job(WorkerCommand(tmp_path / "no python", ("fit",)))


@pytest.mark.timed
@pytest.mark.parametrize("mode", ["obey", "resist"])
def test_a_killed_parent_leaves_no_orphan(mode: str, tmp_path: Path) -> None:
    heart, child_heart = tmp_path / "heart", tmp_path / "child"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    program = str(HERE / "parent_program.py")
    parent = subprocess.Popen(
        [sys.executable, program, mode, str(heart), str(child_heart)],
        env={**_environment(), "TMPDIR": str(temporary), "TEMP": str(temporary)},
    )
    wait_for(heart.exists)
    if mode == "resist":
        wait_for(child_heart.exists)
    assert is_beating(heart)
    parent.kill()
    parent.wait()
    began = time.monotonic()
    wait_for(lambda: not is_beating(heart))
    assert time.monotonic() - began < 6.0
    assert mode == "obey" or not is_beating(child_heart)
    wait_for(lambda: not any(temporary.iterdir()))


def test_importing_the_job_side_loads_neither_gui_nor_torch() -> None:
    code = "import NISFLib.job, NISFLib.worker_guard, sys; print(' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=_environment(), capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "NISFLib" in loaded
    assert not loaded & {"torch", "numpy", "slicer", "qt", "ctk", "PySide6"}


def test_the_real_program_speaks_the_protocol(tmp_path: Path) -> None:
    missing = tmp_path / "kein Ergebnis ä"
    job = Job(WorkerCommand(Path(sys.executable), ("evaluate", str(missing))))
    _, outcome = run_to_end(job)
    assert outcome.state is JobState.FAILED
    assert missing.name in outcome.message, outcome
    assert "Traceback" not in outcome.log


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "NISFExtension")}
