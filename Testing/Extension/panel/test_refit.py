"""From a fit to a heart that follows what was drawn."""

import json
import threading
from collections import deque
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from NISFCore.progress import ProgressEvent
from NISFLib.scene.annotations import labels_of_annotation
from NISFLib.scene.images import array_of_image
from NISFLib.scene.nodes import Role
from NISFLib.service import Service
from NISFLib.worker_process import WorkerCommand
from Testing.Extension.panel.conftest import Driver, Files, Quick

REFIT_WIDGETS = ("annotateSliceButton", "refitButton", "proposeButton", "showCertainty")


def enabled(driver: Driver) -> list[str]:
    return [name for name in REFIT_WIDGETS if getattr(driver.ui, name).enabled]


def grow(node: Any) -> int:
    """Paint the LV blood pool larger, as a user's brush does; the number of new pixels."""
    image = node.GetBinaryLabelmapInternalRepresentation("lv_blood_pool")
    labels = array_of_image(image)[0]
    inside = labels == 1
    for shift in ((1, 0), (-1, 0), (0, 1), (0, -1), (2, 0), (0, 2), (-2, 0), (0, -2)):
        inside |= np.roll(labels == 1, shift, (0, 1))
    before = int((labels == 1).sum())
    labels[inside] = 1
    image.Modified()
    node.GetSegmentation().Modified()
    return int((labels == 1).sum()) - before


def choose(driver: Driver, slice_name: str) -> None:
    combo = driver.ui.annotateSliceCombo
    combo.setCurrentIndex(combo.findText(slice_name))


class ServerInThisProcess:
    """What a `WorkerProcess` of `nisf serve` is to a service: the real server in a thread, since
    loading torch once more takes longer than all that is tested here."""

    process_id = 0
    has_ended = False

    def __init__(self, command: WorkerCommand) -> None:
        from NISFCore.serving import Server, serve

        assert command.arguments[0] == "serve"
        self.lines: SimpleQueue[str] = SimpleQueue()
        self.log: deque[str] = deque()
        self._input: SimpleQueue[bytes | None] = SimpleQueue()
        server = Server(Path(command.arguments[1]), "cpu")
        arguments = (server, iter(self._input.get, None), self._say, StringIO(), self)
        threading.Thread(target=serve, args=arguments, daemon=True).start()

    def _say(self, values: dict[str, Any]) -> None:
        self.lines.put(json.dumps(values))

    def report(self, event: ProgressEvent) -> None:
        self._say({"event": "progress", **asdict(event)})

    def write_line(self, text: str) -> None:
        self._input.put(text.encode())

    def close_input(self) -> None:
        self._input.put(None)

    def wait(self, seconds: float) -> None:
        """It has nothing to end."""

    def kill(self) -> None:
        """A cancel that comes too late on a busy machine is waited for here."""

    def close(self) -> None:
        self._input.put(None)


def use_server_in_this_process(driver: Driver) -> None:
    def make(command: WorkerCommand) -> Service:
        return Service(command, start=ServerInThisProcess)  # type: ignore[arg-type]

    driver.panel.controller.refitting.new_service = make


@pytest.fixture
def few_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure at the end of a refit costs more than these small ones."""
    monkeypatch.setattr("NISFCore.fitting.fit.N_PSNR_VOXELS", 2000)


def test_from_a_fit_to_an_annotated_refit(quick: Quick, few_voxels: None) -> None:
    ui, heart, refitting = quick.ui, quick.heart, quick.panel.controller.refitting
    use_server_in_this_process(quick)
    assert enabled(quick) == []
    quick.read_study()
    assert enabled(quick) == ["annotateSliceButton"]
    quick.fit()
    assert heart.has_result, quick.status
    assert enabled(quick) == ["annotateSliceButton", "proposeButton", "showCertainty"]
    first = refitting.result
    esv_ml = heart.figures["esv_ml"]

    # annotate a slice at end-systole, beginning with what the fit says
    ui.esButton.click()
    choose(quick, "SA_03")
    ui.annotateSliceButton.click()
    (item,) = heart.annotations
    assert (item.slice_name, item.origin, item.problem) == ("SA_03", "fit", "")
    assert ui.annotationTable.rowCount == 1 and ui.refitButton.enabled
    assert refitting._service.process_id is not None  # it starts while the user paints
    node = heart.annotation_node(item.node_id)
    assert grow(node) > 10
    drawn = labels_of_annotation(node).copy()

    # refit: the heart follows, the annotation stays
    phase = heart.phase
    ui.refitButton.click()
    assert quick.is_busy and not ui.refitButton.enabled and ui.cancelButton.enabled
    quick.wait()
    assert "Refitted with 1 annotation" in quick.status, quick.status
    assert heart.phase == phase and refitting.result != first
    refit_ml = heart.figures["esv_ml"]
    assert refit_ml != pytest.approx(esv_ml, abs=0.1)
    np.testing.assert_array_equal(labels_of_annotation(node), drawn)
    assert first is not None and (first / "result.json").is_file()

    # what to annotate next, and how sure it is
    assert ui.proposalLabel.text.startswith("Next: ")
    ui.goToProposalButton.click()
    proposal = refitting.proposals[0]
    assert ui.annotateSliceCombo.currentText == proposal.slice_name
    assert heart.frame_shown(proposal.slice_name)[0] == proposal.frame
    ui.showCertainty.click()
    quick.wait()
    assert heart.shows_certainty, quick.status
    ui.showCertainty.click()
    assert not heart.shows_certainty

    # excluded, it leaves no trace; included again, the same refit comes back
    use(quick, 0, False)
    assert ui.refitButton.enabled
    ui.refitButton.click()
    quick.wait()
    assert quick.status == "Back to the fit without annotations."
    assert refitting.result == first and not ui.refitButton.enabled
    assert heart.figures["esv_ml"] == pytest.approx(esv_ml, abs=0.01)
    use(quick, 0, True)
    ui.refitButton.click()
    quick.wait()
    assert heart.figures["esv_ml"] == pytest.approx(refit_ml, abs=1e-6)

    # a refit that is cancelled leaves a panel that works, and no half result
    result = refitting.result
    ui.refitButton.click()
    ui.cancelButton.click()
    quick.wait()
    assert quick.status == "Cancelled." and quick.usable() and ui.refitButton.enabled
    assert refitting.result == result and heart.figures["esv_ml"] == pytest.approx(refit_ml)

    # the worker goes with the scene
    quick.slicer.mrmlScene.Clear(0)
    assert refitting._service is None and enabled(quick) == []


def use(driver: Driver, row: int, on: bool) -> None:
    """Check or uncheck an annotation's first column."""
    from PySide6.QtCore import Qt

    state = Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
    driver.ui.annotationTable.item(row, 0).setCheckState(state)


def test_a_dragged_valve_is_followed(quick: Quick, few_voxels: None) -> None:
    ui, heart = quick.ui, quick.heart
    use_server_in_this_process(quick)
    quick.read_study()
    assert not ui.placeValveButton.enabled
    quick.fit()
    choose(quick, "SA_03")
    ui.placeValveButton.click()
    assert "choose a long-axis slice" in quick.status and heart.annotations == ()
    choose(quick, "LA_4CH")
    ui.placeValveButton.click()
    assert "Drag the two points" in quick.status
    (item,) = heart.annotations
    assert item.origin == "valve" and ui.refitButton.enabled
    assert ui.annotationTable.item(0, 3).text() == ""  # nothing to be complete
    volume = heart.figures["edv_ml"]
    ui.refitButton.click()
    quick.wait()
    assert "Refitted with 1 annotation" in quick.status
    assert heart.figures["edv_ml"] != volume
    assert heart.annotations == (item,)


@pytest.mark.slow
def test_a_refit_by_real_workers(driver: Driver, files: Files) -> None:
    """Every process is the real program: what stays is one worker, which goes with the scene."""
    ui, heart, refitting = driver.ui, driver.heart, driver.panel.controller.refitting
    driver.set(configPath=str(files.config), priorPath=str(files.prior))
    driver.read(files.study)
    driver.fit()
    ui.annotateSliceButton.click()
    process = refitting._service.process_id
    ui.refitButton.click()
    driver.wait()
    assert "Refitted with 1 annotation" in driver.status, driver.status
    assert refitting._service.process_id == process
    driver.set(spacing=5.0)
    esv_ml = heart.figures["esv_ml"]
    ui.exportButton.click()  # of the refit
    driver.wait()
    assert heart.figures["esv_ml"] == pytest.approx(esv_ml, rel=0.02), driver.status
    assert len(heart.annotations) == 1
    driver.slicer.mrmlScene.Clear(0)
    assert not Path(f"/proc/{process}").exists()


def use_fake_service(quick: Quick) -> None:
    """The worker that stays is a quick one, which knows none of the requests' kinds: it echoes."""
    from Testing.Extension.test_service import command

    def make(asked: WorkerCommand) -> Service:
        return Service(command(*asked.arguments))

    quick.panel.controller.refitting.new_service = make


def test_the_table_changes_what_is_used(
    quick: Quick, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_fake_service(quick)
    quick.fit_study()
    ui, heart = quick.ui, quick.heart
    names = [ui.annotateSliceCombo.itemText(k) for k in range(ui.annotateSliceCombo.count)]
    assert names == [s.name for s in heart.slices]
    quick.set(annotatePartial=True, annotateFromFit=False)
    ui.annotateSliceButton.click()
    (item,) = heart.annotations
    assert item.origin == "empty" and not item.complete
    assert item.problem == "nothing is painted" and not ui.refitButton.enabled
    quick.set(annotatePartial=False, annotateFromFit=True)
    heart.phase = 2
    ui.annotateSliceButton.click()
    table = ui.annotationTable
    assert table.rowCount == 2 and ui.refitButton.enabled
    assert table.item(0, 6).text() == "nothing is painted" and table.item(1, 4).text() == "the fit"
    from PySide6.QtCore import Qt

    use(quick, 1, False)
    assert not heart.annotations[1].included and not ui.refitButton.enabled
    use(quick, 1, True)
    table.item(0, 3).setCheckState(Qt.CheckState.Checked)
    assert heart.annotations[1].included and heart.annotations[0].complete
    heart.phase = 0
    table.cellDoubleClicked.emit(1, 0)
    assert heart.phase == 2
    table.setCurrentCell(0, 1)
    asked: list[str] = []

    def confirm(text: str, title: str) -> bool:
        asked.append(text)
        return len(asked) > 1

    monkeypatch.setattr(quick.slicer.util, "confirmOkCancelDisplay", confirm, raising=False)
    ui.deleteAnnotationButton.click()
    assert len(heart.annotations) == 2  # thought better of it
    ui.deleteAnnotationButton.click()
    assert len(heart.annotations) == 1 and table.rowCount == 1
    bundle = str(tmp_path / "drawn.mrb")
    scene = quick.slicer.mrmlScene
    assert scene.WriteToMRB(bundle)
    scene.Clear(0)
    assert ui.annotationTable.rowCount == 0
    assert scene.ReadFromMRB(bundle, False)
    assert ui.annotationTable.rowCount == 1 and not ui.refitButton.enabled
    assert heart.nodes.one(Role.ANNOTATION) is not None


def test_a_refit_that_fails_changes_nothing(quick: Quick) -> None:
    use_fake_service(quick)
    quick.fit_study()
    ui, heart, refitting = quick.ui, quick.heart, quick.panel.controller.refitting
    ui.annotateSliceButton.click()
    figures, result = dict(heart.figures), refitting.result
    service = refitting._service
    real = service.request
    service.request = lambda kind, values: real("refuse" if kind == "refit" else kind, values)
    ui.refitButton.click()
    quick.wait()
    assert quick.status == "no slice lies there"
    assert heart.figures == figures and refitting.result == result and quick.usable()
    service.request = lambda kind, values: real("crash" if kind == "refit" else kind, values)
    ui.refitButton.click()
    quick.wait()
    assert "the worker ended with exit code 3: MemoryError" in quick.status
    assert quick.usable() and ui.refitButton.enabled and len(heart.annotations) == 1
    service.request = lambda kind, values: real("obey" if kind == "refit" else kind, values)
    ui.refitButton.click()
    ui.cancelButton.click()
    quick.wait()
    assert quick.status == "Cancelled." and heart.figures == figures
