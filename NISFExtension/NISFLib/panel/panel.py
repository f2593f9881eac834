"""The panel: one pass from the controller's state to the widgets, and from clicks to actions."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk

from NISFCore.errors import NISFError
from NISFCore.views import View
from NISFLib import dependencies
from NISFLib.controller import Controller
from NISFLib.input_sources import InputSources
from NISFLib.panel.annotate_view import AnnotateView
from NISFLib.panel.bindings import PathBinding, choose_zip, set_quietly
from NISFLib.panel.database import DatabaseView
from NISFLib.panel.heart_view import HeartView
from NISFLib.panel.motion_view import MotionView
from NISFLib.panel.tables import StudyTableView
from NISFLib.parameters import PATH_PARAMETERS, settings_of
from NISFLib.render_info import in_megabytes
from NISFLib.runner import Runner
from NISFLib.scene import HeartScene, edit_segmentation
from NISFLib.settings import Settings, Source
from NISFLib.work_folder import WorkFolder

POLL_MS = 50
ERROR_STYLE = "color: #b00020"
SCRIPT = Path(__file__).resolve().parents[2] / "Scripts" / "nisf_batch.py"
DECLINED = (
    "NISF cannot read or fit without these packages; nothing was installed. Try again when you "
    "want to."
)


class Panel:
    """Everything that is in NISF.ui."""

    def __init__(self, ui: Any, runner: Runner | None = None) -> None:
        """
        Args:
            ui: the widgets of NISF.ui by name.
            runner: of the worker's processes; given by tests.
        """
        self.ui = ui
        self.parameters: Any = None  # NISFParameters, which Slicer makes a wrapper of a node
        self.heart = HeartScene()
        self.sources = InputSources()
        self.controller = Controller(
            self.heart,
            self._settings,
            self.sources,
            work=WorkFolder(Path(slicer.app.temporaryPath)),
            runner=runner,
            breathe=slicer.app.processEvents,
            missing=self.missing_packages,
        )
        self._gui_tag = self._parameter_tag = 0
        self._shown_table: object = None
        self._source_shown: Source | None = None
        self._log_shown: tuple[int, str] = (0, "")
        self._has_heart = False
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._tick)
        self._nodes_timer = qt.QTimer()
        self._nodes_timer.setSingleShot(True)
        self._nodes_timer.setInterval(POLL_MS)
        self._nodes_timer.connect("timeout()", self._show_nodes)
        self._study_view = StudyTableView(
            ui.studyTable, self._included, self._view_given, self._show_slice
        )
        self._heart_view = HeartView(ui, self.heart, self._is_busy)
        self._annotate_view = AnnotateView(
            ui, self.heart, self.controller, self._act, self._heart_view.show_slice
        )
        self._motion_view = MotionView(ui, self.heart, self.controller, self._act)
        self._database = DatabaseView(ui, self.sources, self.render)
        self._paths = [PathBinding(getattr(ui, n), n, self._write) for n in PATH_PARAMETERS]
        self._connect_buttons()
        ui.batchCommand.setPlainText(batch_command())

    def _connect_buttons(self) -> None:
        ui = self.ui
        ui.inputZipButton.connect("clicked()", lambda: choose_zip(ui.inputPath))
        ui.taggedZipButton.connect("clicked()", lambda: choose_zip(ui.taggedPath))
        ui.readButton.connect("clicked()", lambda: self._act(self.controller.read))
        ui.fitButton.connect("clicked()", lambda: self._act(self.controller.fit))
        ui.exportButton.connect("clicked()", lambda: self._act(self.controller.export))
        ui.cancelButton.connect("clicked()", lambda: self._act(self.controller.cancel))
        ui.copyBatchButton.connect("clicked()", self._copy_batch_command)
        ui.annotateButton.connect("clicked()", self._annotate)
        ui.sequenceList.connect("itemChanged(QListWidgetItem*)", self._sequence_checked)

    # The parameter node and the scene

    def set_parameters(self, parameters: Any) -> None:
        """Follow another parameter node (after a scene was closed or read)."""
        if self.parameters is not None:
            self.parameters.RemoveObserver(self._parameter_tag)
            self.parameters.disconnectGui(self._gui_tag)
        self.parameters = parameters
        if parameters is not None:
            self._gui_tag = parameters.connectGui(self.ui)
            event = vtk.vtkCommand.ModifiedEvent
            self._parameter_tag = parameters.AddObserver(event, self._parameters_changed)
        self.render()

    def _parameters_changed(self, caller: Any = None, event: Any = None) -> None:
        if self._source_shown is not self.parameters.source:
            self._source_shown = self.parameters.source
            if self._source_shown is Source.DATABASE:  # a large one takes a moment to look through
                self._database.fill()
        self.render()

    def scene_closed(self) -> None:
        """The scene is empty now."""
        self.controller.scene_closed()
        self._timer.stop()
        self.show_scene()

    def scene_restored(self) -> None:
        """A scene was read, or the user comes to the module: show what is there."""
        self.controller.scene_restored()
        if not self._is_busy():
            self.show_scene()

    def show_scene(self) -> None:
        """Show everything anew: on entering the module, and when the heart came or went."""
        self.list_sequences()
        if self._settings().source is Source.DATABASE:
            self._database.fill()
        self._heart_view.fill()
        self._annotate_view.fill()
        self._motion_view.fill()
        self._shown_table = None
        self.render()

    def nodes_changed(self) -> None:
        """Nodes came or went. They do so by the dozen, and to look through the scene takes a
        moment: it is done once for all that come together."""
        self._nodes_timer.start()

    def _show_nodes(self) -> None:
        """The list of sequences, and what is shown of the heart."""
        if self.controller.runner.is_busy:
            return
        self.list_sequences()
        self._heart_view.follow()
        self._annotate_view.fill()
        self._motion_view.fill()
        self.render()

    def close(self) -> None:
        """The module goes: stop the worker, remove temporary files."""
        self._timer.stop()
        self._nodes_timer.stop()
        self._heart_view.close()
        self.controller.close()

    # From the state to the widgets

    def render(self) -> None:
        """Show the state. May be called at any time."""
        if self.parameters is None:
            return
        for binding in self._paths:
            binding.show(self.parameters)
        self._render_state()
        self._render_table()
        self._render_log()
        self._render_estimate()

    def _render_state(self) -> None:
        ui, state = self.ui, self.controller.state
        ui.statusLabel.setText(state.status)
        ui.statusLabel.setStyleSheet(ERROR_STYLE if state.is_error else "")
        ui.cancelButton.setEnabled(state.is_busy)
        unknown = state.is_busy and state.fraction is None
        ui.progressBar.setMaximum(0 if unknown else 1000)  # no maximum: it swings
        ui.progressBar.setValue(round(1000 * (state.fraction or 0.0)))
        self._annotate_view.render(state)
        self._motion_view.render(state)
        pairs = (
            (ui.readButton, state.why_not_read, "Read the study and show its slices."),
            (ui.fitButton, state.why_not_fit, "Align the slices and reconstruct the heart."),
            (ui.exportButton, state.why_not_export, "Render into the scene and write the files."),
        )
        for button, why_not, tool_tip in pairs:
            button.setEnabled(not why_not)
            button.setToolTip(why_not or tool_tip)
        settings = self._settings()
        pages = {
            Source.FOLDER: ui.folderPage,
            Source.DATABASE: ui.databasePage,
            Source.SCENE: ui.scenePage,
        }
        for widget in (ui.studyTable, ui.sourceCombo, *pages.values()):
            widget.setEnabled(not state.is_busy)
        for source, page in pages.items():
            page.setVisible(source is settings.source)
        is_asked = "which one is meant" in state.status or bool(settings.examination)
        ui.examinationPage.setVisible(is_asked)

    def _render_table(self) -> None:
        table, corrections = self.controller.table, self._settings().corrections
        if self._shown_table != (table, corrections):
            self._shown_table = (table, corrections)
            self._study_view.fill(table, corrections)
            self.ui.notesLabel.setText("\n".join(f"• {note}" for note in table.notes))
            self.ui.notesLabel.setVisible(bool(table.notes))

    def _render_log(self) -> None:
        lines = self.controller.runner.log
        shown = (len(lines), lines[-1] if lines else "")
        if shown != self._log_shown:
            self._log_shown = shown
            self.ui.logText.setPlainText("\n".join(lines))
            bar = self.ui.logText.verticalScrollBar()
            bar.setValue(bar.maximum() if callable(bar.maximum) else bar.maximum)

    def _render_estimate(self) -> None:
        needs = self.controller.export_needs()
        if needs is None:
            self.ui.estimateLabel.setText("known after the fit")
            return
        k, j, i = needs.shape_kji
        self.ui.estimateLabel.setText(
            f"{i} × {j} × {k} voxels, {needs.n_phases} phase(s): "
            f"{in_megabytes(needs.scene.memory_bytes)} of memory, "
            f"{in_megabytes(needs.scene.disk_bytes)} on disk, "
            f"{needs.render_seconds:.0f} s to render, {needs.scene.seconds:.0f} s to load"
        )

    # From the user to the controller

    def open_study(self, path: Path) -> None:
        """Read a folder, as if the user had chosen it."""
        assert self.parameters is not None
        self.parameters.source = Source.FOLDER
        self._write("inputPath", str(path))
        self._act(self.controller.read)

    def _act(self, action: Callable[[], None]) -> None:
        action()
        if self.controller.runner.is_busy:
            self._timer.start()
        self._finish_if_idle()
        self.render()

    def _tick(self) -> None:
        if self.controller.poll():
            self._finish_if_idle()
        self._render_state()
        self._render_log()

    def _finish_if_idle(self) -> None:
        if not self.controller.runner.is_busy:
            self._timer.stop()
            self.show_scene()
            self._open_sections()

    def _open_sections(self) -> None:
        """Open those that show a heart when there is one; what the user folds then stays folded."""
        had_heart, self._has_heart = self._has_heart, self.heart.has_result
        if self._has_heart and not had_heart:
            self.ui.alignSection.collapsed = False
            self.ui.heartSection.collapsed = False

    def _is_busy(self) -> bool:
        return self.controller.runner.is_busy

    def _included(self, name: str, included: bool) -> None:
        corrections = self._settings().corrections.with_included(name, included)
        # the table shows it already, and Qt is not yet done with the cell that was clicked
        self._shown_table = (self.controller.table, corrections)
        self._write("corrections", corrections.to_json())

    def _view_given(self, series: str, view: View) -> None:
        corrections = self._settings().corrections.with_view(series, view)
        self._write("corrections", corrections.to_json())
        self._act(self.controller.read)

    def _show_slice(self, name: str) -> None:
        self._heart_view.show_slice(name)

    def _write(self, name: str, value: str) -> None:
        if self.parameters is None:
            return
        if name == "inputPath" and value != self.parameters.inputPath:
            self.parameters.corrections = ""  # they were about another study
        setattr(self.parameters, name, value)
        self.render()

    def _settings(self) -> Settings:
        return Settings() if self.parameters is None else settings_of(self.parameters)

    def list_sequences(self) -> None:
        """The cine sequences of the scene, those chosen checked."""
        chosen = {node.GetID() for node in self.sources.sequences}
        nodes = self.heart_free_sequences()
        self.sources.sequences = tuple(n for n in nodes if n.GetID() in chosen)
        set_quietly(self.ui.sequenceList, lambda: self._fill_sequences(nodes, chosen))

    def heart_free_sequences(self) -> list[Any]:
        """Sequences of images in the scene that are not ours."""
        scene = slicer.mrmlScene
        n = scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode")
        nodes = [scene.GetNthNodeByClass(k, "vtkMRMLSequenceNode") for k in range(n)]
        return [node for node in nodes if _is_foreign_cine(node)]

    def _fill_sequences(self, nodes: list[Any], chosen: set[str]) -> None:
        self.ui.sequenceList.clear()
        for node in nodes:
            item = qt.QListWidgetItem(f"{node.GetName()} ({node.GetNumberOfDataNodes()} phases)")
            item.setData(qt.Qt.UserRole, node.GetID())
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            is_chosen = node.GetID() in chosen
            item.setCheckState(qt.Qt.Checked if is_chosen else qt.Qt.Unchecked)
            self.ui.sequenceList.addItem(item)

    def _sequence_checked(self, item: Any) -> None:
        node = slicer.mrmlScene.GetNodeByID(item.data(qt.Qt.UserRole))
        others = tuple(n for n in self.sources.sequences if n is not node)
        is_on = item.checkState() == qt.Qt.Checked
        self.sources.sequences = (*others, node) if is_on and node is not None else others
        self.render()

    def _annotate(self) -> None:
        if edit_segmentation(self.heart.nodes):
            slicer.util.selectModule("SegmentEditor")

    def _copy_batch_command(self) -> None:
        qt.QApplication.clipboard().setText(batch_command())

    def missing_packages(self) -> str:
        """Offer to install what the worker lacks; why it cannot run, or empty."""
        missing = dependencies.missing_requirements()
        if not missing:
            return ""
        try:
            dependencies.check_slicer_own(missing)
            if not slicer.util.confirmOkCancelDisplay(dependencies.question(missing), "NISF"):
                return DECLINED
            dependencies.install(missing)
        except NISFError as error:
            return str(error)
        return ""


def _is_foreign_cine(node: Any) -> bool:
    is_volume = node.GetDataNodeClassName() == "vtkMRMLScalarVolumeNode"
    return is_volume and node.GetNumberOfDataNodes() > 1 and not node.GetAttribute("NISF.role")


def batch_command() -> str:
    """The command for many subjects, for this computer."""
    slicer_program = "Slicer.exe" if sys.platform == "win32" else "Slicer"
    return (
        f'{slicer_program} --no-splash --no-main-window --python-script "{SCRIPT}" -- '
        "INPUT_ROOT OUT_ROOT --workers 1"
    )
