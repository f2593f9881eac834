"""The section "Annotate and refit": its table, its buttons, and what they lead to."""

from collections.abc import Callable
from typing import Any

import qt
import slicer

from NISFLib.controller import Controller
from NISFLib.panel.bindings import set_quietly
from NISFLib.panel.tables import prepare, text_item
from NISFLib.panel_state import PanelState
from NISFLib.scene import HeartScene, SceneAnnotation

COLUMNS = ("Use", "Slice", "Frame", "Complete", "Began with", "Drawn", "Remark")
USE, COMPLETE = 0, 3
ORIGINS = {"fit": "the fit", "empty": "nothing", "valve": "the fit's valve"}
NO_PROPOSAL = "Next: known after a refit, or ask for it"


class AnnotateView:
    """Widgets of the annotations that the scene holds. Everything shown is asked from the scene."""

    def __init__(
        self,
        ui: Any,
        heart: HeartScene,
        controller: Controller,
        act: Callable[[Callable[[], None]], None],
        show_slice: Callable[[str], None],
    ) -> None:
        """
        Args:
            act: does an action of the controller and shows what became of it.
            show_slice: aims a slice view at a slice.
        """
        self._ui, self._heart, self._controller = ui, heart, controller
        self._act, self._show_slice = act, show_slice
        self._rows: tuple[SceneAnnotation, ...] = ()
        self._is_filling = self._is_clicked = False
        prepare(ui.annotationTable, COLUMNS)
        ui.annotateSliceButton.connect("clicked()", lambda: self._annotate(is_valve=False))
        ui.placeValveButton.connect("clicked()", lambda: self._annotate(is_valve=True))
        ui.refitButton.connect("clicked()", lambda: act(controller.refit))
        ui.proposeButton.connect("clicked()", lambda: act(controller.propose))
        ui.goToProposalButton.connect("clicked()", self._go_to_proposal)
        ui.deleteAnnotationButton.connect("clicked()", self._delete)
        ui.editAnnotationButton.connect("clicked()", self._edit_chosen)
        ui.showCertainty.connect("toggled(bool)", self._certainty_toggled)
        ui.annotationTable.connect("itemChanged(QTableWidgetItem*)", self._item_changed)
        ui.annotationTable.connect("cellDoubleClicked(int,int)", self._double_clicked)

    # From the state to the widgets

    def fill(self) -> None:
        """Show the slices and annotations of the scene anew."""
        self._heart.follow_annotations()
        set_quietly(self._ui.annotateSliceCombo, self._fill_slices)
        self._rows = self._heart.annotations
        if not self._is_clicked:
            self._fill_table()
        shows = self._heart.shows_certainty
        set_quietly(self._ui.showCertainty, lambda: self._ui.showCertainty.setChecked(shows))

    def _fill_table(self) -> None:
        self._is_filling = True
        self._ui.annotationTable.setRowCount(len(self._rows))
        for number, item in enumerate(self._rows):
            self._fill_row(number, item)
        self._ui.annotationTable.resizeColumnsToContents()
        self._is_filling = False

    def _fill_slices(self) -> None:
        combo, names = self._ui.annotateSliceCombo, [s.name for s in self._heart.slices]
        chosen = combo.currentText
        combo.clear()
        for name in names:
            combo.addItem(name)
        if names:
            shown = chosen if chosen in names else self._heart.slice_shown
            combo.setCurrentIndex(names.index(shown))

    def _fill_row(self, number: int, item: SceneAnnotation) -> None:
        table = self._ui.annotationTable
        frame = f"{item.frame + 1} of {item.n_frames}"
        began = ORIGINS.get(item.origin, item.origin)
        texts = ["", item.slice_name, frame, "", began, item.changed, item.problem]
        for column, text in enumerate(texts):
            table.setItem(number, column, text_item(text, is_warning=bool(item.problem)))
        table.setItem(number, USE, _check_item(item.included))
        if item.has_labels:
            table.setItem(number, COMPLETE, _check_item(item.complete))

    def render(self, state: PanelState) -> None:
        """Show what is possible now."""
        ui = self._ui
        pairs = (
            (ui.annotateSliceButton, state.why_not_annotate),
            (ui.placeValveButton, state.why_not_ask),
            (ui.refitButton, state.why_not_refit),
            (ui.proposeButton, state.why_not_ask),
            (ui.showCertainty, "" if ui.showCertainty.checked else state.why_not_ask),
        )
        for widget, why_not in pairs:
            widget.setEnabled(not why_not)
        proposals = self._controller.refitting.proposals
        ui.proposalLabel.setText(proposals[0].text() if proposals else NO_PROPOSAL)
        ui.goToProposalButton.setEnabled(bool(proposals) and not state.is_busy)
        for widget in (ui.annotationTable, ui.annotateSliceCombo):
            widget.setEnabled(not state.is_busy)
        has_rows = bool(self._rows) and not state.is_busy
        ui.deleteAnnotationButton.setEnabled(has_rows)
        ui.editAnnotationButton.setEnabled(has_rows)

    # From the user

    def _annotate(self, is_valve: bool) -> None:
        name = self._ui.annotateSliceCombo.currentText
        made: list[Any] = []
        self._act(lambda: made.append(self._controller.annotate(name, is_valve)))
        if made[0] is not None:
            self._show_slice(name)
            self._open_editor(made[0])

    def _open_editor(self, node: Any) -> None:
        if self._heart.edit_annotation(node) and slicer.app.layoutManager() is not None:
            slicer.util.selectModule("SegmentEditor")

    def _chosen(self) -> SceneAnnotation | None:
        row = self._ui.annotationTable.currentRow()
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def _edit_chosen(self) -> None:
        item = self._chosen()
        if item is not None:
            self._show(item)
            self._open_editor(self._heart.annotation_node(item.node_id))

    def _delete(self) -> None:
        item = self._chosen()
        question = "Delete this annotation? Unchecking it leaves it out of refits as well."
        if item is not None and slicer.util.confirmOkCancelDisplay(question, "NISF"):
            self._act(lambda: self._heart.remove_annotation(item.node_id))

    def _item_changed(self, item: Any) -> None:
        if self._is_filling or item.column() not in (USE, COMPLETE):
            return
        on = item.checkState() == qt.Qt.Checked
        node_id = self._rows[item.row()].node_id
        change = self._heart.include_annotation
        if item.column() == COMPLETE:
            change = self._heart.complete_annotation
        self._is_clicked = True  # Qt is not yet done with the cell: it must not be replaced
        try:
            self._act(lambda: change(node_id, on))
        finally:
            self._is_clicked = False

    def _double_clicked(self, row: int) -> None:
        self._show(self._rows[row])

    def _show(self, item: SceneAnnotation) -> None:
        if not item.problem or item.slice_name in {s.name for s in self._heart.slices}:
            self._go_to(item.slice_name, item.frame)

    def _go_to_proposal(self) -> None:
        proposals = self._controller.refitting.proposals
        if proposals:
            self._go_to(proposals[0].slice_name, proposals[0].frame)

    def _go_to(self, slice_name: str, frame: int) -> None:
        self._heart.playing = False
        self._heart.phase = self._heart.phase_of_frame(slice_name, frame)
        self._show_slice(slice_name)
        combo = self._ui.annotateSliceCombo
        combo.setCurrentIndex(combo.findText(slice_name))
        self._heart.follow_annotations()

    def _certainty_toggled(self, on: bool) -> None:
        if on:
            self._act(self._controller.show_certainty)
        else:
            self._heart.hide_certainty()


def _check_item(on: bool) -> Any:
    item = qt.QTableWidgetItem()
    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
    item.setCheckState(qt.Qt.Checked if on else qt.Qt.Unchecked)
    return item
