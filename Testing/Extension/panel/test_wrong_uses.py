"""Twenty and more wrong uses: each ends in a clear message and a panel that can be used on.

The workers are quick stand-ins that leave real results; what the real program says to a wrong
folder, a damaged prior and the like is tested where it is said (Testing/Core).
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from NISFLib import render_info
from NISFLib.choices import Device, Phases
from NISFLib.job import JobError, WorkerCommand
from NISFLib.settings import Source
from Testing.conftest import REPOSITORY
from Testing.Extension.panel.conftest import PATIENCE_SECONDS, Quick

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="permissions and signals of POSIX")
LONG = "/".join(["very long folder name " * 5] * 6)


def assert_usable_again(quick: Quick) -> None:
    """The same panel reads the study and fits it."""
    assert quick.usable()
    quick.mode = ""
    quick.fit_study()
    assert quick.usable() and quick.ui.exportButton.enabled


# Reading -----------------------------------------------------------------------------------------


def test_nothing_chosen(quick: Quick) -> None:
    assert not quick.ui.readButton.enabled
    assert quick.ui.readButton.toolTip == "Choose a folder, a zip or a file."
    quick.panel.controller.read()  # as a script would
    assert quick.panel.controller.state.is_error
    assert_usable_again(quick)


def test_a_folder_that_is_not_there(quick: Quick, tmp_path: Path) -> None:
    quick.set(inputPath=str(tmp_path / "nowhere ä"))
    assert not quick.ui.readButton.enabled
    assert (
        "There is no" in quick.ui.readButton.toolTip and "nowhere ä" in quick.ui.readButton.toolTip
    )
    assert_usable_again(quick)


def test_a_folder_without_images(driver: Any, tmp_path: Path) -> None:
    """The real program's own message."""
    (tmp_path / "notes.txt").write_text("x")
    driver.read(tmp_path)
    assert "no usable DICOM" in driver.status
    assert "b00020" in driver.ui.statusLabel.styleSheet
    assert driver.usable() and not driver.ui.fitButton.enabled


def test_several_examinations_are_asked_about(quick: Quick) -> None:
    quick.mode = "inspect=ambiguous"
    assert not quick.ui.examinationPage.isVisibleTo(quick.widget.uiWidget)
    quick.read(quick.files.study)
    assert "which one is meant" in quick.status
    assert quick.ui.examinationPage.isVisibleTo(quick.widget.uiWidget)
    quick.ui.examination.text = " 2 "
    quick.ui.readButton.click()
    quick.wait()
    assert quick.heart.has_study, quick.status
    assert quick.commands[-1][-2:] == ("--select", "2")


def test_no_sequence_checked(quick: Quick) -> None:
    quick.set(source=Source.SCENE)
    assert "Check the cine sequences" in quick.ui.readButton.toolTip
    quick.set(source=Source.FOLDER)
    assert_usable_again(quick)


def test_no_dicom_database(quick: Quick) -> None:
    quick.set(source=Source.DATABASE)
    assert "Choose a study of the DICOM database" in quick.ui.readButton.toolTip
    quick.set(source=Source.FOLDER)
    assert_usable_again(quick)


# Fitting -----------------------------------------------------------------------------------------


def test_no_prior_at_the_path(quick: Quick) -> None:
    quick.read_study()
    quick.ui.priorPath.setCurrentPath("/nowhere/prior.safetensors")
    assert not quick.ui.fitButton.enabled
    assert "There is no prior at" in quick.ui.fitButton.toolTip
    quick.ui.priorPath.setCurrentPath("")
    assert_usable_again(quick)


def test_no_settings_file_at_the_path(quick: Quick) -> None:
    quick.read_study()
    quick.ui.configPath.setCurrentPath("/nowhere/fit.json")
    assert "There is no settings file at" in quick.ui.fitButton.toolTip
    quick.ui.configPath.setCurrentPath("")
    assert_usable_again(quick)


def test_no_views(quick: Quick) -> None:
    quick.read_study()
    for box in (quick.ui.useSA, quick.ui.use2CH, quick.ui.use3CH, quick.ui.use4CH):
        box.click()
    assert not quick.ui.fitButton.enabled
    assert quick.ui.fitButton.toolTip == "Choose at least one view to use."
    quick.ui.useSA.click()
    assert quick.ui.fitButton.enabled
    quick.fit()
    views = quick.commands[1][quick.commands[1].index("--views") + 1 :]
    assert views[0] == "SA"


def test_every_slice_left_out(quick: Quick) -> None:
    quick.read_study()
    qt = sys.modules["qt"]
    table = quick.ui.studyTable
    for row in range(table.rowCount):
        table.item(row, 0).setCheckState(qt.Qt.Unchecked)
    assert "No slice is left to fit" in quick.ui.fitButton.toolTip
    table.item(2, 0).setCheckState(qt.Qt.Checked)
    assert quick.ui.fitButton.enabled
    quick.fit()
    assert quick.commands[1].count("--leave-out") == table.rowCount - 1


def test_another_study_chosen_but_not_read(quick: Quick, tmp_path: Path) -> None:
    quick.read_study()
    quick.set(inputPath=str(tmp_path))
    assert quick.ui.fitButton.toolTip == "Read the study first."
    assert_usable_again(quick)


def test_two_fits_at_once(quick: Quick) -> None:
    quick.read_study()
    quick.mode = "fit=slow"
    quick.ui.fitButton.click()
    assert not quick.ui.fitButton.enabled
    quick.panel.controller.fit()  # as a script would
    assert quick.panel.controller.runner.is_busy
    n_fits = sum(words[0] == "fit" for words in quick.commands)
    assert n_fits == 1
    quick.wait()
    assert quick.heart.has_result
    assert_usable_again(quick)


def test_the_worker_crashes(quick: Quick) -> None:
    quick.read_study()
    quick.mode = "fit=crash"
    quick.fit()
    assert "exit code 1: RuntimeError: a library failed" in quick.status
    assert "Traceback" in quick.ui.logText.toPlainText()
    assert_usable_again(quick)


@POSIX
def test_the_worker_is_killed(quick: Quick) -> None:
    quick.read_study()
    quick.mode = "fit=die"
    quick.fit()
    assert "was ended by signal 9" in quick.status
    assert_usable_again(quick)


def test_the_worker_says_what_is_wrong(quick: Quick) -> None:
    quick.read_study()
    quick.mode = "fit=error"
    quick.fit()
    assert quick.status == "the heart was not found in these images; check the views"
    assert_usable_again(quick)


def test_the_gpu_has_too_little_memory(quick: Quick) -> None:
    """Automatic goes on on the CPU; a GPU that was asked for is not replaced in silence."""
    quick.read_study()
    quick.mode = "fit=no-memory"
    quick.fit()
    assert quick.heart.has_result, quick.status
    devices = [w[w.index("--device") + 1] for w in quick.commands if w[0] == "fit"]
    assert devices == ["auto", "cpu"]
    assert "fitting on the CPU instead" in "\n".join(quick.panel.controller.runner.log)
    quick.set(device=Device.GPU)
    quick.fit()
    assert "CUDA out of memory" in quick.status
    quick.set(device=Device.AUTO)
    assert_usable_again(quick)


def test_there_is_no_python_to_run(quick: Quick, tmp_path: Path) -> None:
    start = quick.panel.controller.runner._start_job

    def nowhere(command: WorkerCommand) -> Any:
        raise JobError("cannot start PythonSlicer: No such file or directory")

    quick.panel.controller.runner._start_job = nowhere
    quick.read(quick.files.study)
    assert "cannot start PythonSlicer" in quick.status
    quick.panel.controller.runner._start_job = start
    assert_usable_again(quick)


def test_the_study_is_removed_during_the_fit(quick: Quick, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(quick.files.study, study)
    quick.read(study)
    shutil.rmtree(study)
    quick.fit()
    assert "there is no" in quick.status
    assert_usable_again(quick)


@POSIX
def test_results_cannot_be_written(driver: Any, files: Any, tmp_path: Path) -> None:
    """The real program's own message, before anything is computed."""
    blocked = tmp_path / "a file"
    blocked.write_text("x")
    driver.read(files.study)
    driver.set(priorPath=str(files.prior), resultFolder=str(blocked / "result"))
    driver.fit()
    assert "cannot write" in driver.status
    assert driver.usable() and driver.ui.fitButton.enabled


def test_the_result_folder_holds_something_else(quick: Quick, tmp_path: Path) -> None:
    """`--overwrite` replaces only what `nisf fit` has made; the program says so itself."""
    quick.read_study()
    quick.set(resultFolder=str(tmp_path / "kept ä"))
    quick.fit()
    fit = next(words for words in quick.commands if words[0] == "fit")
    assert "--overwrite" in fit and fit[fit.index("--out") + 1] == str(tmp_path / "kept ä")
    assert (tmp_path / "kept ä" / "result.json").is_file()
    quick.widget.cleanup()
    assert (tmp_path / "kept ä" / "result.json").is_file()  # it is the user's


def test_a_result_that_cannot_be_loaded(quick: Quick) -> None:
    """The worker says that it is done, and has written nothing."""
    quick.read_study()
    quick.mode = "export=nothing"
    quick.fit()
    assert quick.panel.controller.state.is_error
    assert not quick.heart.has_result
    assert_usable_again(quick)


# The scene ---------------------------------------------------------------------------------------


def test_the_scene_is_closed_during_a_fit(quick: Quick) -> None:
    quick.read_study()
    quick.mode = "fit=endless"
    quick.ui.fitButton.click()
    quick.wait(lambda: "PSNR" in quick.status)
    worker = quick.jobs[-1].process_id
    quick.slicer.mrmlScene.Clear(0)
    assert not quick.is_busy
    assert "the work was stopped" in quick.status
    assert not Path(f"/proc/{worker}").exists()
    assert quick.ui.studyTable.rowCount == 0 and not quick.ui.fitButton.enabled
    assert_usable_again(quick)


def test_the_scene_is_closed_during_loading(quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop runs between the parts of loading: anything may be clicked meanwhile."""
    quick.read_study()
    controller = quick.panel.controller
    breathe = controller._breathe

    def close_scene() -> None:
        controller._breathe = breathe
        quick.slicer.mrmlScene.Clear(0)

    controller._breathe = close_scene
    quick.fit()
    assert not quick.heart.has_result and not quick.heart.has_study
    assert_usable_again(quick)


def test_cancelled_during_loading(quick: Quick) -> None:
    quick.read_study()
    controller = quick.panel.controller
    controller._breathe = quick.ui.cancelButton.click
    quick.fit()
    assert quick.status == "Cancelled."
    assert not quick.heart.has_result
    controller._breathe = quick.slicer.app.processEvents
    assert_usable_again(quick)


@pytest.mark.parametrize("what", ["browser", "segmentation", "everything"])
def test_nodes_deleted_by_the_user(quick: Quick, what: str) -> None:
    quick.fit_study()
    scene = quick.slicer.mrmlScene
    if what == "everything":
        quick.heart.remove()
    else:
        scene.RemoveNode(getattr(quick.heart, what))
    quick.widget.enter()
    ui = quick.ui
    for button in (ui.edButton, ui.esButton, ui.beforeButton, ui.afterButton, ui.arrangeButton):
        button.click()
    ui.playButton.click()
    ui.playButton.click()
    ui.phaseSlider.value = 2.0
    assert_usable_again(quick)


# Exporting ---------------------------------------------------------------------------------------


def test_an_export_to_a_place_that_is_no_folder(quick: Quick, tmp_path: Path) -> None:
    quick.fit_study()
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    quick.set(exportFolder=str(blocked / "export"))
    quick.ui.exportButton.click()
    quick.wait()
    assert "cannot write" in quick.status
    assert blocked.read_text() == "mine"
    quick.set(exportFolder="")
    assert_usable_again(quick)


def test_an_export_after_the_result_is_gone(quick: Quick, tmp_path: Path) -> None:
    """A scene that was saved elsewhere holds no result folder: another spacing cannot be had."""
    quick.set(resultFolder=str(tmp_path / "result"))
    quick.fit_study()
    shutil.rmtree(tmp_path / "result")
    quick.set(phases=Phases.ED_ES)
    quick.ui.exportButton.click()
    quick.wait()
    assert "fit again" in quick.status
    assert_usable_again(quick)


def test_an_export_that_the_memory_does_not_hold(
    quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick.fit_study()
    monkeypatch.setattr(render_info, "free_memory_bytes", lambda: 1_000_000)
    quick.set(spacing=0.5)
    n_commands = len(quick.commands)
    quick.ui.exportButton.click()
    assert "of memory in the scene, of which 1 MB are free" in quick.status
    assert "larger spacing" in quick.status and len(quick.commands) == n_commands
    monkeypatch.setattr(render_info, "free_memory_bytes", lambda: 0)  # a system that does not tell
    quick.set(spacing=5.0, phases=Phases.ED_ES)
    quick.ui.exportButton.click()
    quick.wait()
    assert not quick.panel.controller.state.is_error, quick.status
    assert_usable_again(quick)


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Herz ä ♥ 心 'q' & (1)", LONG], ids=["odd", "long"])
def test_odd_and_long_paths(quick: Quick, tmp_path: Path, name: str) -> None:
    study, out = tmp_path / name / "study", tmp_path / name / "out"
    shutil.copytree(quick.files.study, study)
    quick.set(exportFolder=str(out), saveSeqMrb=False)
    quick.read(study)
    quick.fit()
    assert quick.heart.has_result, quick.status
    quick.ui.exportButton.click()
    quick.wait()
    assert list(out.rglob("*.seg.nrrd")), quick.status


# Packages ----------------------------------------------------------------------------------------


@pytest.fixture
def ask(quick: Quick, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """Lets a package be missing, and answers the question about it."""
    from NISFLib import dependencies

    asked: list[str] = []
    missing = [dependencies.REQUIREMENTS[-1]]

    def answer(yes: bool) -> list[str]:
        def confirm(text: str, title: str) -> bool:
            asked.append(text)
            return yes

        def pip(requirements: Any, constraints: Path) -> None:
            missing.clear()

        monkeypatch.setattr(dependencies, "missing_requirements", lambda: tuple(missing))
        monkeypatch.setattr(dependencies, "_pip", pip)
        monkeypatch.setattr(quick.slicer.util, "confirmOkCancelDisplay", confirm)
        return asked

    return answer


def test_packages_are_missing_and_not_wanted(
    quick: Quick, ask: Callable[[bool], list[str]]
) -> None:
    asked = ask(False)
    quick.read(quick.files.study)
    assert "NISF needs 1 Python package(s)" in asked[0]
    assert "nothing was installed" in quick.status
    assert quick.commands == []
    asked = ask(True)
    quick.read(quick.files.study)
    assert len(asked) == 2 and quick.heart.has_study


def test_slicer_is_too_old(quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    from NISFLib import dependencies

    numpy = next(r for r in dependencies.REQUIREMENTS if r.package == "numpy")
    monkeypatch.setattr(dependencies, "missing_requirements", lambda: (numpy,))
    quick.read(quick.files.study)
    assert "use Slicer 5.12 or later" in quick.status
    assert quick.commands == [] and quick.usable()


# The end -----------------------------------------------------------------------------------------


@pytest.mark.timed
def test_the_module_goes_during_a_fit(quick: Quick) -> None:
    """Reloading it, or leaving Slicer: no process and no temporary file stays."""
    quick.read_study()
    quick.mode = "fit=endless"
    quick.ui.fitButton.click()
    quick.wait(lambda: "PSNR" in quick.status)
    worker = quick.jobs[-1].process_id
    work = Path(quick.commands[-1][quick.commands[-1].index("--out") + 1]).parent
    assert work.is_dir()
    began = time.monotonic()
    quick.widget.cleanup()
    assert time.monotonic() - began < 10.0  # it is killed at once; see test_workflow
    assert not Path(f"/proc/{worker}").exists()
    assert not work.exists()


@pytest.mark.timed
@POSIX
def test_slicer_dies_during_a_fit(quick: Quick, tmp_path: Path) -> None:
    """Killed, it can tidy up nothing: the worker must notice and end by itself."""
    heart = tmp_path / "heart"
    program = [sys.executable, "-m", "Testing.Extension.panel.panel_program"]
    words = [str(quick.files.study), str(quick.files.made), str(heart)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "NISFExtension")}
    parent = subprocess.Popen([*program, *words], cwd=REPOSITORY, env=environment)
    wait_for(heart.exists)
    assert is_beating(heart)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_beating(heart))


def is_beating(heart: Path) -> bool:
    before = heart.read_text()
    time.sleep(0.5)
    return heart.read_text() != before


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
