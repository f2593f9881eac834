"""The panel in the harness: with real workers, or with quick ones that leave real results."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from NISFCore.cli import main
from NISFLib.choices import SCENE_FORMATS
from NISFLib.job import Job, WorkerCommand
from NISFLib.runner import Runner
from Testing.conftest import REPOSITORY
from Testing.Harness.mrml import clear_scene

try:
    from Testing.Harness import slicer_app
except ImportError as problem:  # a machine without libEGL, libxkbcommon, ... has no Qt
    pytest.skip(f"Qt does not load here: {problem}", allow_module_level=True)

HERE = Path(__file__).parent
MODULE = REPOSITORY / "NISFExtension" / "NISF.py"
PATIENCE_SECONDS = 1800.0
"""Only what hangs for ever reaches it, on a machine however busy."""

COARSE_MM = "5.0"


@dataclass(frozen=True)
class Files:
    """A study and what the real program makes of it.

    Attributes:
        study, prior, config: for real workers: quick, and with a known answer.
        made: for quick ones: `study`, `result`, `export`, `inspect.json`.
    """

    study: Path
    prior: Path
    config: Path
    made: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    from Testing.Core.teacher_files import QUICK_FIT, write_json, write_prior, write_study

    folder = tmp_path_factory.mktemp("panel ä")
    made = folder / "made"
    made.mkdir()
    found = Files(
        write_study(folder / "study"),
        write_prior(folder / "prior.safetensors"),
        write_json(folder / "quick.json", QUICK_FIT),
        made,
    )
    options = ["--prior", found.prior, "--config", found.config, "--device", "cpu"]
    inspection = _run("inspect", found.study, "--slices", made / "study", "--contact-sheet", None)
    write_json(made / "inspect.json", inspection)
    _run("fit", found.study, "--out", made / "result", *options)
    coarse = ["--spacing-mm", COARSE_MM, "--formats", SCENE_FORMATS]
    _run("export", made / "result", "--out", made / "export", *coarse)
    return found


def _run(*words: object) -> dict[str, Any]:
    """Run the program in this process; its last words."""
    output = StringIO()
    with redirect_stdout(output):
        assert main([*(str(word) for word in words), "--progress", "json"]) == 0
    answer: dict[str, Any] = json.loads(output.getvalue().splitlines()[-1])
    assert answer.pop("event") == "result"
    return answer


class Driver:
    """The module in the harness, and a user's hands."""

    def __init__(self) -> None:
        self.slicer = slicer_app.start()
        clear_scene()
        self.widget = slicer_app.open_module(MODULE)
        self.jobs: list[Job] = []

    @property
    def panel(self) -> Any:
        return self.widget.panel

    @property
    def ui(self) -> Any:
        return self.panel.ui

    @property
    def heart(self) -> Any:
        return self.panel.heart

    @property
    def status(self) -> str:
        return str(self.ui.statusLabel.text)

    @property
    def is_busy(self) -> bool:
        return bool(self.panel.controller.runner.is_busy)

    def use_worker(self, change: Callable[[WorkerCommand], WorkerCommand]) -> None:
        """Start other workers than the module asks for, and remember them."""

        def start(command: WorkerCommand) -> Job:
            self.jobs.append(Job(change(command)))
            return self.jobs[-1]

        self.panel.controller.runner = Runner(start)

    def set(self, **values: Any) -> None:
        """Set parameters, as their widgets do."""
        for name, value in values.items():
            setattr(self.panel.parameters, name, value)
        self.panel.render()

    def wait(self, until: Callable[[], bool] | None = None) -> float:
        """Let the event loop run until the task ends, or a condition holds; the seconds."""
        began = time.monotonic()
        while self.is_busy if until is None else not until():
            assert time.monotonic() - began < PATIENCE_SECONDS, self.status
            self.slicer.app.processEvents()
            time.sleep(0.005)
        return time.monotonic() - began

    def read(self, study: Path) -> None:
        self.set(inputPath=str(study))
        self.ui.readButton.click()
        self.wait()

    def fit(self) -> None:
        self.ui.fitButton.click()
        self.wait()

    def usable(self) -> bool:
        """Whether the user can go on: nothing runs, and nothing is locked."""
        ui = self.ui
        return not self.is_busy and not ui.cancelButton.enabled and ui.sourceCombo.enabled

    def close(self) -> None:
        self.widget.cleanup()
        for job in self.jobs:
            job.close()
        self.widget.parent.deleteLater()
        clear_scene()
        self.slicer.app.processEvents()


@pytest.fixture
def driver() -> Iterator[Driver]:
    """The module with real workers."""
    driver = Driver()
    driver.use_worker(lambda command: command)
    yield driver
    driver.close()


class Quick(Driver):
    """The module with quick workers; `mode` makes them misbehave, `commands` are remembered."""

    def __init__(self, files: Files) -> None:
        super().__init__()
        self.files, self.mode = files, ""
        self.commands: list[tuple[str, ...]] = []
        self.use_worker(self._replay)

    def _replay(self, command: WorkerCommand) -> WorkerCommand:
        self.commands.append(command.arguments)
        environment = {
            "PYTHONPATH": os.pathsep.join([str(HERE), str(REPOSITORY)]),
            "NISF_REPLAY": str(self.files.made),
            "NISF_REPLAY_MODE": self.mode,
        }
        python = Path(sys.executable)
        return WorkerCommand(python, command.arguments, "replay_worker", environment)

    def read_study(self) -> None:
        self.read(self.files.study)
        assert self.heart.has_study, self.status

    def fit_study(self) -> None:
        self.read_study()
        self.fit()
        assert self.heart.has_result, self.status


@pytest.fixture
def quick(files: Files) -> Iterator[Quick]:
    quick = Quick(files)
    yield quick
    quick.close()
