"""The panel's logic without any window: states, estimates, sources. No qt is needed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from NISFCore.errors import OutputError, StudyError
from NISFCore.views import View
from Testing.conftest import REPOSITORY
from Testing.Harness.mrml import headless_slicer

headless_slicer()

from NISFLib import input_sources
from NISFLib.controller import Controller
from NISFLib.input_sources import InputSources
from NISFLib.job import JobOutcome, JobState
from NISFLib.render_info import RenderInfo
from NISFLib.scene import HeartScene, LoadSettings
from NISFLib.settings import Settings, Source
from NISFLib.study_table import NONE
from NISFLib.work_folder import WorkFolder


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    (tmp_path / "work").mkdir()
    return WorkFolder(tmp_path / "work")


def controller(settings: Settings, **more: Any) -> Controller:
    scene = headless_slicer().vtkMRMLScene()
    return Controller(HeartScene(scene), lambda: settings, InputSources(), **more)


def test_the_controller_needs_no_qt() -> None:
    code = (
        "from Testing.Harness.mrml import headless_slicer\n"
        "headless_slicer()\n"
        "import NISFLib.controller, sys\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{REPOSITORY / 'NISFExtension'}"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(run.stdout.split())
    assert "NISFLib" in loaded
    assert not loaded & {"qt", "ctk", "PySide6", "torch"}


def test_every_action_says_why_it_is_not_possible(tmp_path: Path) -> None:
    state = controller(Settings()).state
    assert state.why_not_read == "Choose a folder, a zip or a file."
    assert state.why_not_fit == "Read the study first."
    assert state.why_not_export == "Fit the study first."
    assert not state.is_busy and not state.is_error
    assert controller(Settings(input_path=str(tmp_path))).state.why_not_read == ""


def test_actions_that_are_not_possible_end_in_a_message() -> None:
    panel = controller(Settings())
    for action in (panel.read, panel.fit, panel.export):
        action()
        assert panel.state.is_error and panel.state.status
    assert not panel.poll()
    panel.cancel()
    panel.close()


def test_missing_packages_stop_everything() -> None:
    panel = controller(Settings(input_path="."), missing=lambda: "torch is missing")
    panel.read()
    assert panel.state.status == "torch is missing" and not panel.state.is_busy


@pytest.mark.parametrize(
    ("message", "log", "expected"),
    [
        ("the worker ended: torch.OutOfMemoryError: CUDA out of memory.", "", True),
        ("exit code 1", "RuntimeError: CUDA error: out of memory", True),
        ("exit code 1", "MemoryError: out of memory", False),
        ("no usable CUDA GPU here", "", False),
    ],
)
def test_a_full_gpu_is_recognised(message: str, log: str, expected: bool) -> None:
    assert JobOutcome(JobState.FAILED, message, {}, log).is_out_of_memory is expected


def write_manifest(folder: Path) -> Path:
    values = {
        "shape_kji": [40, 30, 20],
        "settings": {"spacing_mm": 3.0, "phases": "ED,ES"},
        "phases": [2, 11],
    }
    (folder / "manifest.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_what_was_rendered(tmp_path: Path) -> None:
    load = LoadSettings(labels=True)
    info = RenderInfo.of(write_manifest(tmp_path), load)
    assert (info.spacing_mm, info.phases, info.wanted) == (3.0, (2, 11), "ED,ES")
    assert [info.cycle_phase(k) for k in (0, 1, 5)] == [2, 11, 5]
    assert info.shows(3.0, "ED,ES", load)
    assert not info.shows(1.5, "ED,ES", load)
    assert not info.shows(3.0, "all", load)
    assert not info.shows(3.0, "ED,ES", LoadSettings())
    first_look = RenderInfo.of(tmp_path, load, is_final=False)
    assert not first_look.shows(3.0, "ED,ES", load)


def test_a_finer_grid_needs_more(tmp_path: Path) -> None:
    info = RenderInfo.of(write_manifest(tmp_path), LoadSettings())
    fine = info.needs(1.5, 10, 30, LoadSettings())
    coarse = info.needs(3.0, 10, 30, LoadSettings())
    assert fine.shape_kji == (80, 60, 40) and coarse.shape_kji == (40, 30, 20)
    assert fine.scene.memory_bytes > coarse.scene.memory_bytes
    assert fine.render_seconds > coarse.render_seconds
    few = info.needs(1.5, 2, 30, LoadSettings())
    assert few.n_phases == 2 and 0 < few.render_seconds < fine.render_seconds


def test_studies_are_equal_if_read_alike() -> None:
    sources = InputSources()
    a = Settings(input_path="a")
    assert sources.identity(a) == sources.identity(Settings(input_path="a", spacing_mm=3.0))
    others = (
        Settings(input_path="b"),
        Settings(input_path="a", examination="2"),
        Settings(input_path="a", corrections=NONE.with_view("1", View.SA)),
        Settings(input_path="a", source=Source.SCENE),
    )
    assert all(sources.identity(other) != sources.identity(a) for other in others)
    left_out = Settings(input_path="a", corrections=NONE.with_included("SA_01", False))
    assert sources.identity(left_out) == sources.identity(a)  # needs no reading


class Database:
    """Files of series, as ctkDICOMDatabase tells them."""

    def __init__(self, files: list[Path]) -> None:
        self._files = [str(file) for file in files]

    def filesForSeries(self, series: str) -> list[str]:  # noqa: N802
        return self._files


@pytest.mark.parametrize("has_links", [True, False])
def test_series_are_handed_over_without_names(
    tmp_path: Path, work: WorkFolder, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: str, target: Path) -> None:
        raise OSError("not on this file system")

    file = tmp_path / "Mustermann.dcm"
    file.write_bytes(b"pixels")
    if not has_links:
        monkeypatch.setattr(input_sources.os, "link", no_links)
    sources = InputSources(Database([file]))
    sources.series = ("uid",)
    folder = sources.prepare(Settings(source=Source.DATABASE), work)
    (found,) = folder.rglob("*.dcm")
    assert found.read_bytes() == b"pixels"
    assert found.relative_to(folder).as_posix() == "series_001/00001.dcm"
    file.unlink()
    with pytest.raises(StudyError, match="import it into the DICOM database again"):
        sources.prepare(Settings(source=Source.DATABASE), work)


def test_an_export_needs_a_folder(tmp_path: Path) -> None:
    sources = InputSources()
    sources.check_export(Settings())
    sources.check_export(Settings(export_folder=str(tmp_path / "new ä" / "deep")))
    assert (tmp_path / "new ä" / "deep").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        sources.check_export(Settings(export_folder=str(tmp_path / "file")))
