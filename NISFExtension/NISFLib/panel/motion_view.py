"""The section "Motion": the fit of the LV wall's motion, and how its strain is shown."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import qt

from NISFLib.controller import Controller
from NISFLib.panel.bindings import set_quietly
from NISFLib.panel.heart_view import show_plot
from NISFLib.panel.tables import prepare, text_item
from NISFLib.panel_state import PanelState
from NISFLib.scene import HeartScene, Part, SceneMotion, Strain

COLUMNS = ("Peak strain", "circ. %", "radial %", "long. %")
DIRECTIONS = (Strain.CIRCUMFERENTIAL, Strain.RADIAL, Strain.LONGITUDINAL)
PART_BOXES = {"showWall": Part.WALL, "showArrows": Part.ARROWS}
BULLSEYE_PIXELS = 460
FIT_TIP = "Follow the LV wall over the cycle: displacement and strain. Takes a minute or so"


class MotionView:
    """Widgets of the motion that the scene holds. Everything shown is asked from the scene."""

    def __init__(
        self,
        ui: Any,
        heart: HeartScene,
        controller: Controller,
        act: Callable[[Callable[[], None]], None],
    ) -> None:
        """
        Args:
            act: does an action of the controller and shows what became of it.
        """
        self._ui, self._heart, self._controller = ui, heart, controller
        self._motion: SceneMotion | None = None
        prepare(ui.strainTable, COLUMNS)
        ui.fitMotionButton.connect("clicked()", lambda: act(controller.fit_motion))
        ui.strainCombo.connect("currentIndexChanged(int)", self._direction_chosen)
        ui.strainPlotButton.connect("clicked()", lambda: show_plot(heart.strain_chart))
        ui.segmentPlotButton.connect("clicked()", lambda: show_plot(heart.segment_chart))
        for name, part in PART_BOXES.items():
            getattr(ui, name).connect("toggled(bool)", self._part_toggler(part))

    def fill(self) -> None:
        """Show the motion of the scene anew, or that there is none."""
        ui, motion = self._ui, self._heart.motion
        if motion != self._motion:
            self._motion = motion
            self._fill_table()
            set_quietly(ui.strainCombo, self._fill_directions)
            self._fill_bullseye()
        warnings = () if motion is None else motion.warnings
        ui.motionNotesLabel.setText("\n".join(f"• {text}" for text in warnings))
        ui.motionNotesLabel.setVisible(bool(warnings))
        for name, part in PART_BOXES.items():
            box = getattr(ui, name)
            set_quietly(box, partial(box.setChecked, self._heart.visible(part)))

    def render(self, state: PanelState) -> None:
        """Show what is possible now."""
        ui = self._ui
        ui.fitMotionButton.setEnabled(not state.why_not_fit_motion)
        ui.fitMotionButton.setToolTip(state.why_not_fit_motion or FIT_TIP)
        has_motion = self._motion is not None and not state.is_busy
        for widget in (
            ui.strainCombo,
            ui.strainPlotButton,
            ui.segmentPlotButton,
            ui.strainTable,
            *(getattr(ui, name) for name in PART_BOXES),
        ):
            widget.setEnabled(has_motion)

    def _fill_directions(self) -> None:
        combo, motion = self._ui.strainCombo, self._motion
        combo.clear()
        if motion is not None:
            for direction in motion.directions:
                combo.addItem(f"{direction.value} strain")
            combo.setCurrentIndex(motion.directions.index(motion.direction))

    def _fill_table(self) -> None:
        table = self._ui.strainTable
        peaks = {} if self._motion is None else self._motion.peaks
        table.setRowCount(len(peaks))
        for number, (name, values) in enumerate(peaks.items()):
            texts = [name, *(_percent(values[direction]) for direction in DIRECTIONS)]
            for column, text in enumerate(texts):
                table.setItem(number, column, text_item(text))
        table.resizeColumnsToContents()

    def _fill_bullseye(self) -> None:
        path = self._controller.motion.bullseye()
        picture = qt.QPixmap() if path is None else qt.QPixmap(str(path))
        if not picture.isNull():
            picture = picture.scaledToWidth(BULLSEYE_PIXELS, qt.Qt.SmoothTransformation)
        self._ui.bullseyeLabel.setPixmap(picture)
        self._ui.bullseyeLabel.setVisible(path is not None)

    def _part_toggler(self, part: Part) -> Callable[[bool], None]:
        def toggle(on: bool) -> None:
            self._heart.set_visible(part, on)

        return toggle

    def _direction_chosen(self, index: int) -> None:
        motion = self._heart.motion
        if motion is not None and 0 <= index < len(motion.directions):
            self._heart.color_wall(motion.directions[index])


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"
