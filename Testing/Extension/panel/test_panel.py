"""What the panel shows and keeps: button states, tables, settings with the scene, sources."""

import subprocess
import sys
import time
import unittest
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from NISFCore.errors import NISFError
from NISFCore.views import View
from NISFLib.choices import Quality
from NISFLib.settings import Source
from NISFLib.study_table import Corrections
from Testing.conftest import REPOSITORY
from Testing.Extension.panel.conftest import MODULE, Quick
from Testing.Harness import slicer_app
from Testing.Harness.slicer_python import SampleDataLogic

ACTIONS = ("readButton", "fitButton", "exportButton", "cancelButton")
PATHS = ("inputPath", "priorPath", "resultFolder", "taggedPath", "exportFolder")


def enabled(quick: Quick) -> list[str]:
    return [name for name in ACTIONS if getattr(quick.ui, name).enabled]


def test_buttons_at_every_step(quick: Quick) -> None:
    assert enabled(quick) == []
    quick.set(inputPath=str(quick.files.study))
    assert enabled(quick) == ["readButton"]
    quick.mode = "inspect=slow fit=slow export=slow"
    for button, after in (("readButton", 2), ("fitButton", 3), ("exportButton", 3)):
        quick.set(spacing=2.0 if button == "exportButton" else 1.5)
        getattr(quick.ui, button).click()
        assert enabled(quick) == ["cancelButton"]
        assert not quick.ui.studyTable.enabled
        quick.wait()
        assert enabled(quick) == list(ACTIONS[:after]), quick.status
    assert quick.ui.studyTable.enabled


@pytest.mark.timed
def test_progress_is_shown(quick: Quick) -> None:
    quick.read_study()
    quick.mode = "fit=slow"
    quick.ui.fitButton.click()
    assert quick.ui.progressBar.maximum == 0  # nothing is known yet
    seen: set[str] = set()

    def watch() -> bool:
        seen.add(quick.status)
        return not quick.is_busy

    quick.wait(watch)
    assert any("fit 67 %" in text and "PSNR 22.0 dB" in text for text in seen), seen
    assert quick.status.startswith("Done: 4 phases in the scene")
    assert quick.ui.progressBar.value == 0 and quick.ui.progressBar.maximum == 1000
    assert "PSNR 23.00 dB" in quick.ui.logText.toPlainText()
    assert quick.ui.logSection.collapsed


def test_slicer_stays_alive_during_the_work(quick: Quick) -> None:
    """The event loop is never held for long while a worker runs."""
    quick.read_study()
    quick.mode = "fit=endless"
    quick.ui.fitButton.click()
    longest = 0.0
    for _ in range(100):
        began = time.thread_time()  # on a busy machine a clock would measure the others
        quick.slicer.app.processEvents()
        longest = max(longest, time.thread_time() - began)
        time.sleep(0.005)
    quick.ui.cancelButton.click()
    quick.wait()
    assert longest < 0.1


def test_the_table_shows_what_was_found(quick: Quick) -> None:
    quick.read_study()
    table = quick.ui.studyTable
    names = [table.item(row, 1).text() for row in range(table.rowCount)]
    assert names[0] == "SA_01" and set(names) >= {"LA_2CH", "LA_3CH", "LA_4CH"}
    assert table.cellWidget(0, 2).currentText == "Short axis"
    assert table.item(0, 3).text() == "4"
    assert table.item(0, 4).text() == "900"
    assert float(table.item(0, 5).text()) > float(table.item(1, 5).text())


def test_a_corrected_view_reads_the_study_again(quick: Quick) -> None:
    quick.read_study()
    combo = quick.ui.studyTable.cellWidget(0, 2)
    combo.setCurrentIndex(combo.findText("3-chamber"))
    assert quick.is_busy
    quick.wait()
    series = quick.panel.controller.table.rows[0].series
    assert f"{series}=LA_3CH" in quick.commands[-1]
    corrections = Corrections.from_json(quick.panel.parameters.corrections)
    assert corrections.views == {series: View.LA_3CH}
    quick.fit()
    assert f"{series}=LA_3CH" in quick.commands[-2]


@pytest.mark.parametrize("name", ["studyTable", "annotationTable"])
def test_a_clicked_cell_outlives_its_click(quick: Quick, name: str) -> None:
    """Qt asks the cell for its row once its signal was heard."""
    quick.fit_study()
    quick.ui.annotateSliceButton.click()
    unchecked = sys.modules["qt"].Qt.Unchecked
    cell = getattr(quick.ui, name).item(0, 0)
    cell.setCheckState(unchecked)
    assert getattr(quick.ui, name).item(0, 0) is cell
    assert cell.checkState() == unchecked
    quick.panel.show_scene()
    assert getattr(quick.ui, name).item(0, 0).checkState() == unchecked


def test_corrections_belong_to_their_study(quick: Quick, tmp_path: Path) -> None:
    quick.read_study()
    quick.panel._included("SA_01", False)
    assert Corrections.from_json(quick.panel.parameters.corrections).left_out == {"SA_01"}
    quick.ui.inputPath.setCurrentPath(str(tmp_path))
    assert quick.panel.parameters.corrections == ""


@pytest.mark.parametrize("name", PATHS)
def test_a_path_can_be_cleared(quick: Quick, tmp_path: Path, name: str) -> None:
    field = getattr(quick.ui, name)
    path = str(tmp_path / "x.safetensors")
    field.setCurrentPath(path)
    assert getattr(quick.panel.parameters, name) == path
    field.comboBox().setEditText("")  # as by the keyboard
    assert getattr(quick.panel.parameters, name) == "" == field.currentPath
    quick.set(**{name: path})
    assert field.currentPath == path
    quick.set(**{name: ""})
    assert field.currentPath == ""


@pytest.mark.parametrize("name", ["input", "tagged"])
def test_a_zip_can_be_chosen(quick: Quick, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    answers = ["", "/studies/one.zip"]

    class QFileDialog:
        @staticmethod
        def getOpenFileName(parent: Any, caption: str, folder: str, kinds: str) -> str:
            assert kinds == "Zip (*.zip)"
            return answers.pop(0)

    monkeypatch.setattr(sys.modules["qt"], "QFileDialog", QFileDialog)
    field, button = getattr(quick.ui, f"{name}Path"), getattr(quick.ui, f"{name}ZipButton")
    field.setCurrentPath("/studies")
    for expected in ("/studies", "/studies/one.zip"):  # the first dialog is cancelled
        button.click()
        assert field.currentPath == expected
        assert getattr(quick.panel.parameters, f"{name}Path") == expected


def test_choices_become_options(quick: Quick) -> None:
    quick.read_study()
    quick.set(quality=Quality.PREVIEW)
    quick.fit()
    fit = next(words for words in quick.commands if words[0] == "fit")
    config = Path(fit[fit.index("--config") + 1])
    assert config.suffix == ".json"
    quick.set(quality=Quality.PAPER, configPath=str(quick.files.config))
    quick.fit()
    fit = [words for words in quick.commands if words[0] == "fit"][-1]
    assert fit[fit.index("--config") + 1] == str(quick.files.config)  # the file goes first


def test_the_estimate_follows_the_spacing(quick: Quick) -> None:
    assert quick.ui.estimateLabel.text == "known after the fit"
    quick.fit_study()
    quick.set(spacing=5.0)
    coarse = quick.ui.estimateLabel.text
    rendered = quick.panel.controller.rendered
    assert " × ".join(map(str, rendered.shape_kji[::-1])) in coarse and "4 phase(s)" in coarse
    quick.set(spacing=2.5)
    assert float(quick.ui.estimateLabel.text.split("s): ")[1].split()[0]) > 0
    assert "s to render" in quick.ui.estimateLabel.text
    assert quick.ui.estimateLabel.text != coarse


def add_slice_view(slicer: Any, name: str) -> None:
    """The nodes of a slice view, as a layout makes them."""
    for node in (slicer.vtkMRMLSliceNode(), slicer.vtkMRMLSliceCompositeNode()):
        node.SetSingletonTag(name)
        node.SetLayoutName(name)
        slicer.mrmlScene.AddNode(node)


def test_sections_open_for_a_new_heart_and_stay_as_they_are_left(quick: Quick) -> None:
    sections = (quick.ui.alignSection, quick.ui.heartSection)
    assert all(section.collapsed for section in sections)
    quick.fit_study()
    assert not any(section.collapsed for section in sections)
    for section in sections:
        section.collapsed = True
    quick.ui.annotateSliceButton.click()
    assert all(section.collapsed for section in sections)
    quick.slicer.mrmlScene.Clear(0)
    quick.fit_study()
    assert not any(section.collapsed for section in sections)


def test_nothing_is_rendered_twice(quick: Quick, tmp_path: Path) -> None:
    """The first look is replaced by an export; the same export again only writes files."""
    quick.fit_study()
    quick.set(spacing=5.0)
    quick.ui.exportButton.click()
    quick.wait()
    n_commands = len(quick.commands)
    assert [words[0] for words in quick.commands] == ["inspect", "fit", "export", "export"]
    assert "vtp" not in quick.commands[2][-1] and "vtp" in quick.commands[3][-1]
    quick.ui.exportButton.click()
    assert not quick.is_busy and "shows this already" in quick.status
    quick.set(exportFolder=str(tmp_path / "out"), saveSeqMrb=False)
    quick.ui.exportButton.click()
    assert quick.status == f"Written to {tmp_path / 'out'}."
    assert list((tmp_path / "out").rglob("*.seg.nrrd"))
    assert len(quick.commands) == n_commands


def test_parts_are_shown_and_hidden(quick: Quick) -> None:
    from NISFLib.panel.heart_view import PART_BOXES

    add_slice_view(quick.slicer, "Red")
    quick.fit_study()
    quick.ui.arrangeButton.click()
    for name, part in PART_BOXES.items():
        box = getattr(quick.ui, name)
        assert box.enabled and box.checked == quick.heart.visible(part)
        before = box.checked
        box.click()
        assert quick.heart.visible(part) != before, part
        box.click()
        assert quick.heart.visible(part) == before, part


def test_the_segment_editor_opens_on_the_heart(
    quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was edited before: an annotation, or what is first in the scene."""
    opened: list[str] = []
    monkeypatch.setattr(quick.slicer.util, "selectModule", opened.append)
    quick.fit_study()
    quick.ui.annotateSliceButton.click()
    quick.ui.annotateButton.click()
    kind = "vtkMRMLSegmentEditorNode"
    editor = quick.slicer.mrmlScene.GetSingletonNode("SegmentEditor", kind)
    assert editor.GetSegmentationNode() is quick.heart.segmentation
    assert opened == ["SegmentEditor"]


def test_playing(quick: Quick) -> None:
    quick.fit_study()
    quick.ui.playButton.click()
    assert quick.heart.playing and quick.ui.playButton.text == "Pause"
    quick.ui.playButton.click()
    assert not quick.heart.playing and quick.ui.playButton.text == "Play"


def test_a_beating_heart_stands_still_to_be_drawn_on(quick: Quick) -> None:
    quick.fit_study()
    ui = quick.ui
    for draw in (
        ui.annotateSliceButton.click,
        lambda: ui.annotationTable.cellDoubleClicked.emit(0, 1),
    ):
        ui.playButton.click()
        assert quick.heart.playing
        draw()
        assert not quick.heart.playing and ui.playButton.text == "Play"


def test_an_outlier_is_marked(quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    from NISFLib.panel.tables import OUTLIER_TEXT, _motion_texts

    quick.fit_study()
    item = quick.heart.slices[0]
    values = {
        name: getattr(item, name)
        for name in (
            "name",
            "distance_mm",
            "rotation_deg",
            "intensity_scale",
            "uncertainty_mm",
            "uncertainty_deg",
        )
    }
    marked = _motion_texts(SimpleNamespace(**values, is_outlier=True))
    assert marked[-1] == OUTLIER_TEXT and marked[1] == f"{item.distance_mm:.1f}"
    unknown = SimpleNamespace(**{**values, "uncertainty_mm": None}, is_outlier=False)
    assert _motion_texts(unknown)[4] == "–" and _motion_texts(unknown)[-1] == ""


def test_a_result_folder_can_be_opened(quick: Quick) -> None:
    quick.read(quick.files.made / "result")
    assert quick.heart.has_result, quick.status
    assert [words[0] for words in quick.commands] == ["export"]
    assert quick.ui.exportButton.enabled and not quick.ui.fitButton.enabled


# The scene ---------------------------------------------------------------------------------------


def test_settings_and_results_come_back_with_the_scene(quick: Quick, tmp_path: Path) -> None:
    quick.fit_study()
    quick.set(spacing=2.0, use3CH=False, quality=Quality.PAPER, inputPath="/somewhere ä")
    n_phases, figures = quick.heart.n_phases, quick.heart.figures
    scene = quick.slicer.mrmlScene
    bundle = str(tmp_path / "scene ä.mrb")
    assert scene.WriteToMRB(bundle)
    scene.Clear(0)
    assert not quick.heart.has_result
    assert quick.ui.useSA.checked and quick.ui.use3CH.checked and quick.ui.spacing.value == 1.5
    assert quick.panel.parameters.inputPath == ""
    assert scene.ReadFromMRB(bundle, False)
    assert quick.heart.has_result and quick.heart.n_phases == n_phases
    assert quick.heart.figures == pytest.approx(figures)
    assert not quick.ui.use3CH.checked and quick.ui.spacing.value == 2.0
    assert quick.panel.parameters.quality is Quality.PAPER
    assert quick.ui.inputPath.currentPath == "/somewhere ä"
    assert "Restored from the scene" in quick.status
    quick.ui.phaseSlider.value = 3.0
    assert quick.heart.phase == 2
    assert quick.ui.exportButton.enabled and not quick.ui.fitButton.enabled


def test_a_second_heart_is_not_added_in_silence(quick: Quick, tmp_path: Path) -> None:
    """Slicer adds a saved scene to the present one unless it is told to close that first."""
    quick.fit_study()
    scene, bundle = quick.slicer.mrmlScene, str(tmp_path / "heart.mrb")
    assert scene.WriteToMRB(bundle)
    assert scene.ReadFromMRB(bundle, False)
    assert "several hearts" in quick.status and quick.panel.controller.state.is_error
    assert scene.ReadFromMRB(bundle, True)
    assert "several hearts" not in quick.status and quick.heart.has_result


def test_other_data_added_to_the_scene_change_nothing(quick: Quick, tmp_path: Path) -> None:
    other = quick.slicer.vtkMRMLScene()
    other.AddNewNodeByClass("vtkMRMLModelNode", "theirs")
    other.SetURL(str(tmp_path / "theirs.mrml"))
    assert other.Commit()
    quick.fit_study()
    n_rows, status = quick.ui.studyTable.rowCount, quick.status
    scene = quick.slicer.mrmlScene
    scene.SetURL(str(tmp_path / "theirs.mrml"))
    assert scene.Import()
    assert scene.GetFirstNodeByName("theirs") is not None
    assert quick.heart.has_result and quick.ui.studyTable.rowCount == n_rows
    assert quick.ui.fitButton.enabled and quick.status == status


def test_the_module_can_be_opened_again(quick: Quick) -> None:
    """As Reload does: the new panel shows what the scene holds."""
    quick.fit_study()
    quick.widget.cleanup()
    quick.widget = slicer_app.open_module(MODULE)
    assert quick.heart.has_result and quick.ui.motionTable.rowCount == 9
    quick.ui.phaseSlider.value = 2.0
    assert quick.heart.phase == 1


def test_scene_closed_when_idle(quick: Quick) -> None:
    quick.fit_study()
    quick.slicer.mrmlScene.Clear(0)
    assert quick.ui.motionTable.rowCount == quick.ui.studyTable.rowCount == 0
    assert quick.ui.figuresTable.rowCount == 0
    assert not quick.ui.phaseSlider.enabled and not quick.ui.exportButton.enabled
    assert quick.status == "Choose a study and read it."


def test_nodes_of_others_cost_next_to_nothing(
    quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scene is looked through once for all that come together, and not at all while the user
    is in another module."""
    looks: list[int] = []
    list_sequences = quick.panel.list_sequences

    def look() -> None:
        looks.append(1)
        list_sequences()

    monkeypatch.setattr(quick.panel, "list_sequences", look)

    def add_nodes() -> None:
        for k in range(20):
            quick.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", f"theirs {k}")

    add_nodes()
    assert not looks
    quick.wait(lambda: bool(looks))
    assert len(looks) == 1
    quick.widget.exit()
    quick.widget.parent.is_entered = False
    add_nodes()
    until = time.monotonic() + 0.3
    quick.wait(lambda: time.monotonic() > until)
    assert len(looks) == 1
    cine = add_cine(quick.slicer, "theirs")
    quick.widget.enter()
    assert cine.GetName() in quick.ui.sequenceList.item(0).text()


# Other sources -----------------------------------------------------------------------------------


def add_cine(slicer: Any, name: str) -> Any:
    """A foreign cine sequence, as other modules load them."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    for phase in range(4):
        volume = slicer.util.addVolumeFromArray(np.full((1, 16, 16), phase, np.int16), name="v")
        sequence.SetDataNodeAtValue(volume, str(phase))
        slicer.mrmlScene.RemoveNode(volume)
    return sequence


def test_sequences_of_the_scene(quick: Quick) -> None:
    qt = sys.modules["qt"]
    quick.fit_study()  # our own sequences are not offered
    first, second = add_cine(quick.slicer, "SA 1"), add_cine(quick.slicer, "LA ä")
    quick.set(source=Source.SCENE)
    offered = quick.ui.sequenceList
    quick.wait(lambda: offered.count == 2)
    offered.item(1).setCheckState(qt.Qt.Checked)
    assert quick.panel.sources.sequences == (second,)
    assert quick.ui.readButton.enabled
    quick.slicer.mrmlScene.RemoveNode(second)
    quick.wait(lambda: offered.count == 1)
    assert quick.panel.sources.sequences == ()
    assert not quick.ui.readButton.enabled
    assert first.GetName() in offered.item(0).text()


class FakeDatabase:
    """The part of ctkDICOMDatabase that the module asks."""

    isOpen = True

    def __init__(self, files: dict[str, list[str]]) -> None:
        self._files = files

    def patients(self) -> list[str]:
        return ["1", "2"]

    def studiesForPatient(self, patient: str) -> list[str]:
        return [f"study {patient}"]

    def seriesForStudy(self, study: str) -> list[str]:
        return list(self._files) if study == "study 2" else []

    def descriptionForStudy(self, study: str) -> str:
        return "Cardiac"

    def filesForSeries(self, series: str) -> list[str]:
        return self._files[series]

    def fieldForSeries(self, field: str, series: str) -> str:
        assert field == "Modality"
        return "CT" if "ct" in self._files[series][0] else "MR"


def test_studies_of_the_dicom_database(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.dcm", "b.dcm", "ct.dcm"):
        (tmp_path / name).write_text(name)
    files = {
        "uid 1": [str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm")],
        "uid 2": [str(tmp_path / "ct.dcm")],
        "uid 3": [str(tmp_path / "b.dcm")],
    }
    monkeypatch.setattr(quick.slicer, "dicomDatabase", FakeDatabase(files), raising=False)
    quick.set(source=Source.DATABASE)
    quick.ui.databaseRefresh.click()
    assert quick.ui.databaseCombo.currentText == "Patient 2: Cardiac (2 MR series)"
    assert quick.panel.sources.series == ("uid 1", "uid 3")
    quick.panel.render()
    quick.ui.readButton.click()
    quick.wait()
    folder = Path(quick.commands[0][1])
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.dcm")) == [
        "series_001/00001.dcm",
        "series_001/00002.dcm",
        "series_002/00001.dcm",
    ]
    assert (folder / "series_001" / "00002.dcm").read_text() == "b.dcm"
    (tmp_path / "b.dcm").unlink()
    quick.ui.readButton.click()
    assert "not on the disk any more" in quick.status


# Slicer ------------------------------------------------------------------------------------------


def test_no_torch_in_the_gui_process() -> None:
    """A test process has imported it; a fresh one shows what the module imports."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from Testing.Harness import slicer_app\n"
        f"slicer_app.open_module(Path({str(MODULE)!r}))\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    loaded = set(run.stdout.split())
    assert "NISFLib" in loaded
    lacking_in_slicer = {"torch", "skimage", "nibabel", "nrrd", "matplotlib", "safetensors", "tyro"}
    assert not loaded & lacking_in_slicer


def registered_sample(quick: Quick) -> dict[str, Any]:
    """What Sample Data shows of ours once Slicer has started."""
    SampleDataLogic.sources.clear()
    quick.slicer.app.startupCompleted.emit()
    source, *_ = SampleDataLogic.sources["NISF"]
    return source


def test_sample_data_is_registered_after_the_start(quick: Quick) -> None:
    source = registered_sample(quick)
    assert source["sampleName"] == "Simulated cine study"  # as docs/slicer.md calls it
    assert Path(source["thumbnailFileName"]).is_file()
    assert callable(source["customDownloader"])


@pytest.mark.parametrize("missing", ["", "nothing was installed"])
def test_the_sample_asks_for_packages_before_it_is_made(
    quick: Quick, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    from NISFLib import sample_data

    made: list[Path] = []

    def make(folder: Path, breathe: Any) -> Path:
        made.append(folder)
        return quick.files.study

    monkeypatch.setattr(sample_data, "sample_study", make)
    monkeypatch.setattr(quick.panel, "missing_packages", lambda: missing)
    monkeypatch.setattr(quick.slicer.util, "tryWithErrorDisplay", lambda *_, **__: nullcontext())
    monkeypatch.setattr(quick.slicer.util, "selectModule", lambda name: None)
    monkeypatch.setattr(quick.slicer.modules, "NISFWidget", quick.widget, raising=False)
    click = registered_sample(quick)["customDownloader"]
    if missing:
        with pytest.raises(NISFError, match=missing):
            click(None)
        assert not made and not quick.commands
        return
    click(None)
    quick.wait()
    assert made and quick.heart.has_study, quick.status


def test_the_self_test_is_skipped_where_packages_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slicer_app.start()
    from NISFLib import dependencies, self_test

    missing = dependencies.REQUIREMENTS[:1]
    monkeypatch.setattr(dependencies, "missing_requirements", lambda: missing)
    with pytest.raises(unittest.SkipTest, match="torch"):
        self_test.run_self_test(unittest.TestCase())


def test_the_batch_command_can_be_copied(quick: Quick) -> None:
    command = quick.ui.batchCommand.toPlainText()
    assert "--no-main-window --python-script" in command
    script = Path(command.split('"')[1])
    assert script.is_file()
    quick.ui.copyBatchButton.click()
    assert sys.modules["qt"].QApplication.clipboard().text() == command
