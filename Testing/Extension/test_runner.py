"""Tasks of several worker processes; what follows a step, what fails, what is cancelled."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from NISFCore.errors import NISFError
from NISFLib.job import JobOutcome, JobState, WorkerCommand
from NISFLib.runner import Ending, Runner, Step

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60.0


def nothing(outcome: JobOutcome) -> None:
    pass


def step(*arguments: str, then: Callable[[JobOutcome], None] = nothing) -> Step:
    environment = {"PYTHONPATH": str(HERE)}
    command = WorkerCommand(Path(sys.executable), arguments, "fake_worker", environment)
    return Step(arguments[0], command, then)


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


def to_the_end(runner: Runner, until: Callable[[], bool] = lambda: False) -> Ending | None:
    """Poll until the task ends or the condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        assert time.monotonic() < deadline
        ending = runner.poll()
        if ending is not None or until():
            return ending
        time.sleep(0.01)


def test_steps_follow_each_other(runner: Runner) -> None:
    done: list[str] = []
    steps = [
        step("succeed", "a", then=lambda o: done.extend(o.result["arguments"])),
        step("succeed", "b", then=lambda o: done.extend(o.result["arguments"])),
    ]
    runner.start(steps)
    assert runner.is_busy
    assert to_the_end(runner) == Ending(JobState.DONE)
    assert done == ["a", "b"]
    assert not runner.is_busy and runner.progress is None
    assert any("PSNR 23.00 dB" in line for line in runner.log)
    assert runner.poll() is None


def test_progress_in_words(runner: Runner) -> None:
    seen: list[str] = []

    def watch() -> bool:
        if runner.progress is not None:
            seen.append(runner.progress.text())
        return False

    runner.start([step("succeed", "a", then=lambda o: seen.append(str(runner.progress)))])
    assert runner.progress is not None and runner.progress.fraction is None
    to_the_end(runner, watch)
    assert seen[0] == "succeed"
    assert "fraction=1.0, psnr_db=23.0" in seen[-1]


def test_a_failure_ends_the_task_with_its_message(runner: Runner) -> None:
    reached: list[str] = []
    runner.start([step("fail"), step("succeed", then=lambda o: reached.append("too far"))])
    ending = to_the_end(runner)
    assert ending == Ending(JobState.FAILED, "no cine slice in ä; give a folder of DICOM")
    assert reached == []
    assert runner.log[-1] == ending.message


def test_what_follows_may_fail(runner: Runner) -> None:
    def then(outcome: JobOutcome) -> None:
        raise NISFError("the scene is full")

    runner.start([step("succeed", then=then)])
    assert to_the_end(runner) == Ending(JobState.FAILED, "the scene is full")
    assert not runner.is_busy


def test_another_way_after_a_failure(runner: Runner) -> None:
    """As a fit that the GPU has no memory for goes on on the CPU."""
    first = step("crash")
    second = step("succeed", "again")
    runner.start([Step("GPU", first.command, nothing, lambda outcome: second)])
    assert to_the_end(runner) == Ending(JobState.DONE)
    assert any("CUDA out of memory" in line for line in runner.log)


@pytest.mark.timed
def test_cancel_ends_within_a_second(runner: Runner, tmp_path: Path) -> None:
    heart = tmp_path / "heart"
    runner.start([step("obey", str(heart)), step("succeed")])
    to_the_end(runner, heart.exists)
    began = time.monotonic()
    runner.cancel()
    ending = to_the_end(runner)
    assert time.monotonic() - began < 1.0
    assert ending is not None and ending.state is JobState.CANCELLED
    assert not runner.is_busy


def test_what_follows_can_be_cancelled(runner: Runner) -> None:
    """Loading into the scene asks between its parts, while the window is alive."""

    def then(outcome: JobOutcome) -> None:
        runner.report("loading", 1, 2)
        assert runner.progress is not None and runner.progress.fraction == 0.5
        assert runner.poll() is None  # a timer that fires meanwhile changes nothing
        runner.cancel()
        runner.check_cancel()
        raise AssertionError("went on")

    runner.start([step("succeed", then=then)])
    assert to_the_end(runner) == Ending(JobState.CANCELLED, "cancelled by the user")


def test_closed_while_something_follows(runner: Runner) -> None:
    """The scene is closed during loading: the next step must not begin."""
    runner.start([step("succeed", then=lambda o: runner.close()), step("succeed")])
    ending = to_the_end(runner)
    assert ending is not None and ending.state is JobState.CANCELLED
    assert not runner.is_busy


def test_one_task_at_a_time(runner: Runner, tmp_path: Path) -> None:
    runner.start([step("obey", str(tmp_path / "heart"))])
    with pytest.raises(NISFError, match="running already"):
        runner.start([step("succeed")])


def test_a_worker_that_cannot_be_started(runner: Runner, tmp_path: Path) -> None:
    nowhere = WorkerCommand(tmp_path / "no python", ("fit",))
    with pytest.raises(NISFError, match="cannot start"):
        runner.start([Step("Fitting", nowhere, nothing)])
    assert not runner.is_busy
    runner.start([step("succeed"), Step("Fitting", nowhere, nothing)])
    ending = to_the_end(runner)
    assert ending is not None and "cannot start" in ending.message
    assert not runner.is_busy


def test_the_log_names_no_file(runner: Runner) -> None:
    """Folders are often called as the patient is."""
    runner.start([step("succeed", "/data/Mustermann")])
    to_the_end(runner)
    assert not any("Mustermann" in line for line in runner.log if "event" not in line)
