"""A worker that stays, with real processes: answers, cancels, crashes, and its end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from NISFCore.errors import NISFError
from NISFLib.job import JobOutcome, JobState
from NISFLib.service import Service, ServiceTask, wait_for
from NISFLib.worker_process import JobError, WorkerCommand
from Testing.conftest import REPOSITORY

HERE = Path(__file__).parent
PATIENCE_SECONDS = 120.0


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service(command())
    yield service
    service.close()


def command(*arguments: str) -> WorkerCommand:
    environment = {"PYTHONPATH": os.pathsep.join([str(HERE), str(REPOSITORY)])}
    return WorkerCommand(Path(sys.executable), arguments, "fake_service", environment)


def outcome(task: ServiceTask) -> JobOutcome:
    return wait_for(task, PATIENCE_SECONDS)


def until(condition: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE_SECONDS
        time.sleep(0.02)


def test_one_worker_answers_all_requests(service: Service) -> None:
    first = outcome(service.request("echo", {"text": "Herz ♥"}))
    process = service.process_id
    second = outcome(service.request("echo", {"text": "again"}))
    assert first.state is JobState.DONE and first.result["text"] == "Herz ♥"
    assert second.result["text"] == "again" and second.result["n"] == 2
    assert service.process_id == process


def test_progress_and_log_belong_to_their_request(service: Service) -> None:
    task = service.request("work", {"steps": 3})
    events = []
    while task.outcome is None:
        events += task.poll()
        time.sleep(0.01)
    assert [(e.stage, e.step, e.total) for e in events] == [("work", k, 3) for k in (1, 2, 3)]
    assert "noise ä" in task.outcome.log
    assert "noise" not in outcome(service.request("echo", {})).log
    assert task.poll() == []


@pytest.mark.timed
def test_a_request_is_cancelled_and_the_worker_stays(service: Service) -> None:
    outcome(service.request("echo", {}))
    process = service.process_id
    task = service.request("obey", {})
    task.poll()
    began = time.monotonic()
    task.cancel()
    task.cancel()  # an impatient user
    found = outcome(task)
    assert found.state is JobState.CANCELLED and "nothing was written" in found.message
    assert time.monotonic() - began < 5.0  # 0.05 on a quiet machine
    assert outcome(service.request("echo", {})).state is JobState.DONE
    assert service.process_id == process


@pytest.mark.timed
def test_a_worker_that_does_not_listen_is_replaced(service: Service) -> None:
    outcome(service.request("echo", {}))
    process = service.process_id
    task = service.request("resist", {})
    began = time.monotonic()
    task.cancel()
    assert outcome(task).state is JobState.CANCELLED
    assert 0.6 < time.monotonic() - began < 5.0
    assert outcome(service.request("echo", {})).result["n"] == 1
    assert service.process_id != process


def test_failures_keep_the_worker_and_crashes_cost_it(service: Service) -> None:
    refused = outcome(service.request("refuse", {}))
    assert refused.state is JobState.FAILED and refused.message == "no slice lies there"
    process = service.process_id
    crashed = outcome(service.request("crash", {}))
    assert crashed.state is JobState.FAILED
    assert crashed.message == "the worker ended with exit code 3: MemoryError: ä"
    assert outcome(service.request("echo", {})).state is JobState.DONE
    assert service.process_id != process


def test_a_worker_that_died_between_requests_is_started_again(service: Service) -> None:
    outcome(service.request("echo", {}))
    assert service.process_id is not None
    os.kill(service.process_id, 9)
    until(lambda: service._process is not None and service._process.has_ended)
    assert outcome(service.request("echo", {})).result["n"] == 1


@pytest.mark.timed
def test_closing_a_task_ends_its_worker(service: Service) -> None:
    task = service.request("resist", {})
    began = time.monotonic()
    task.close()
    assert time.monotonic() - began < 5.0
    assert task.outcome is not None and task.outcome.state is JobState.CANCELLED
    assert service.process_id is None
    task.close()


def test_too_slow_an_answer_is_an_error(service: Service) -> None:
    with pytest.raises(NISFError, match="did not answer within 0 seconds"):
        wait_for(service.request("obey", {}), 0.2)


def test_closing_lets_the_worker_end_by_itself(service: Service, tmp_path: Path) -> None:
    mark = tmp_path / "ended ä"
    outcome(service.request("mark", {"file": str(mark)}))
    service.close()
    assert mark.exists() and service.process_id is None
    service.close()


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    service = Service(WorkerCommand(tmp_path / "no python", ("serve",)))
    with pytest.raises(JobError, match="cannot start"):
        service.request("echo", {})


@pytest.mark.timed
def test_a_killed_parent_leaves_no_orphan(tmp_path: Path) -> None:
    """The worker's input ends with its parent."""
    heart = tmp_path / "heart"
    code = (
        "import sys, time\n"
        f"sys.path[:0] = {[str(REPOSITORY / 'NISFExtension'), str(REPOSITORY)]!r}\n"
        "from Testing.Extension.test_service import command\n"
        "from NISFLib.service import Service\n"
        f"Service(command()).request('beat', {{'file': {str(heart)!r}}})\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    until(heart.exists)
    parent.kill()
    parent.wait()
    size = -1

    def is_still() -> bool:
        nonlocal size
        before, size = size, heart.stat().st_size
        time.sleep(1.0)
        return before == size

    until(is_still)


def test_importing_loads_neither_gui_nor_torch() -> None:
    code = "import NISFLib.service, sys; print(' '.join(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "NISFExtension")}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "NISFLib" in loaded
    assert not loaded & {"torch", "numpy", "slicer", "qt", "ctk", "PySide6"}
