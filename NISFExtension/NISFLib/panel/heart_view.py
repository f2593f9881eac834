"""The sections "Alignment" and "Heart": they show and steer what is in the scene."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import slicer
import vtk

from NISFLib.panel.bindings import set_quietly
from NISFLib.panel.tables import MotionTableView, fill_figures
from NISFLib.scene import HeartScene, Part, SceneError

PART_BOXES = {
    "showPlanes": Part.PLANES,
    "showOutlines": Part.OUTLINES,
    "showSurfaces": Part.SURFACES,
    "showIntensity": Part.INTENSITY,
}


class HeartView:
    """Widgets of the heart that the scene holds. Everything shown is asked from the scene."""

    def __init__(self, ui: Any, heart: HeartScene, is_busy: Callable[[], bool]) -> None:
        """
        Args:
            is_busy: whether the scene is just being filled, so that it is no time to look at it.
        """
        self._ui, self._heart, self._is_busy = ui, heart, is_busy
        self._browser: Any = None
        self._browser_tag = 0
        self._motion = MotionTableView(ui.motionTable, self.show_slice)
        ui.alignmentSlider.connect("valueChanged(double)", self._alignment_changed)
        ui.beforeButton.connect("clicked()", lambda: self._set_alignment(0.0))
        ui.afterButton.connect("clicked()", lambda: self._set_alignment(1.0))
        ui.profileCombo.connect("currentIndexChanged(int)", self._profile_chosen)
        ui.phaseSlider.connect("valueChanged(double)", self._phase_chosen)
        ui.playButton.connect("clicked(bool)", self._play)
        ui.edButton.connect("clicked()", lambda: self._go_to(self._heart.ed_phase))
        ui.esButton.connect("clicked()", lambda: self._go_to(self._heart.es_phase))
        ui.arrangeButton.connect("clicked()", self._heart.arrange_views)
        ui.curveButton.connect("clicked()", lambda: show_plot(self._heart.curve_chart))
        for name, part in PART_BOXES.items():
            getattr(ui, name).connect("toggled(bool)", self._part_toggler(part))

    def fill(self) -> None:
        """Show a heart that has just come or gone."""
        heart, ui = self._heart, self._ui
        has = heart.has_result
        self._observe(heart.browser)
        self._motion.fill(heart.slices if has else ())
        fill_figures(ui.figuresTable, heart.figures)
        set_quietly(ui.profileCombo, self._fill_profiles)
        n = heart.n_phases
        set_quietly(ui.phaseSlider, lambda: _set_maximum(ui.phaseSlider, max(n, 1)))
        self.follow()

    def follow(self) -> None:
        """Show what may change at any time: phase, alignment, playing, what is visible."""
        heart, ui = self._heart, self._ui
        has_result, can_scrub = heart.has_result, heart.n_phases > 1
        for widget in (ui.alignmentSlider, ui.beforeButton, ui.afterButton, ui.profileCombo):
            widget.setEnabled(has_result)
        for widget in (ui.phaseSlider, ui.playButton):
            widget.setEnabled(can_scrub)
        ui.edButton.setEnabled(heart.ed_phase is not None)
        ui.esButton.setEnabled(heart.es_phase is not None)
        ui.curveButton.setEnabled(has_result)
        ui.arrangeButton.setEnabled(has_result or heart.has_study)
        ui.annotateButton.setEnabled(has_result)
        self._follow_alignment()
        self._follow_phase()
        for name, part in PART_BOXES.items():
            box = getattr(ui, name)
            box.setEnabled(has_result or (heart.has_study and part is Part.PLANES))
            set_quietly(box, partial(box.setChecked, heart.visible(part)))

    def show_slice(self, name: str) -> None:
        """Aim the red slice view at a slice, if both are there: a layout may have no such view."""
        with suppress(SceneError):
            self._heart.show_slice(name)

    def close(self) -> None:
        """Stop observing the scene."""
        self._observe(None)

    def _observe(self, browser: Any) -> None:
        """Follow the browser, which Slicer's own widgets and timers move as well."""
        if browser is self._browser:
            return
        if self._browser is not None:
            self._browser.RemoveObserver(self._browser_tag)
        self._browser = browser
        if browser is not None:
            event = vtk.vtkCommand.ModifiedEvent
            self._browser_tag = browser.AddObserver(event, self._browser_moved)

    def _browser_moved(self, caller: Any, event: str) -> None:
        if not self._is_busy() and self._heart.browser is caller:
            self._heart.follow_annotations()
            self._follow_phase()

    def _follow_alignment(self) -> None:
        ui, value = self._ui, self._heart.alignment
        set_quietly(ui.alignmentSlider, lambda: ui.alignmentSlider.setValue(value))
        ui.beforeButton.setChecked(value == 0.0)
        ui.afterButton.setChecked(value == 1.0)

    def _follow_phase(self) -> None:
        ui, heart = self._ui, self._heart
        playing = heart.n_phases > 1 and heart.playing
        ui.playButton.setChecked(playing)
        ui.playButton.setText("Pause" if playing else "Play")
        if heart.n_phases == 0:
            ui.phaseLabel.setText("")
            return
        set_quietly(ui.phaseSlider, lambda: ui.phaseSlider.setValue(heart.phase + 1.0))
        marks = {heart.ed_phase: " – end-diastole", heart.es_phase: " – end-systole"}
        fraction = heart.cycle_fractions[heart.phase]
        ui.phaseLabel.setText(
            f"Phase {heart.phase + 1} of {heart.n_phases}, {100 * fraction:.0f} % of the cycle"
            f"{marks.get(heart.phase, '')}"
        )

    def _fill_profiles(self) -> None:
        combo = self._ui.profileCombo
        combo.clear()
        combo.addItem("choose two slices …")
        for pair in self._heart.profile_pairs:
            change = f"{pair.ncc_before:.2f} → {pair.ncc_after:.2f}"
            combo.addItem(f"{pair.a} × {pair.b}: NCC {change}")

    def _profile_chosen(self, index: int) -> None:
        if index > 0:
            self._heart.show_profile(index - 1)
            show_plot(self._heart.profile_chart)

    def _set_alignment(self, value: float) -> None:
        self._heart.alignment = value
        self._follow_alignment()

    def _alignment_changed(self, value: float) -> None:
        if self._heart.has_result:
            self._set_alignment(value)

    def _phase_chosen(self, value: float) -> None:
        self._go_to(round(value) - 1)  # people count phases from 1

    def _go_to(self, phase: int | None) -> None:
        if phase is not None and self._heart.n_phases > phase:
            self._heart.phase = phase
        self._follow_phase()

    def _play(self, on: bool) -> None:
        if self._heart.n_phases > 1:
            self._heart.playing = on
        self._follow_phase()

    def _part_toggler(self, part: Part) -> Any:
        def toggle(on: bool) -> None:
            self._heart.set_visible(part, on)

        return toggle


def _set_maximum(slider: Any, maximum: int) -> None:
    slider.maximum = float(maximum)


def show_plot(chart: Any) -> None:
    """Show a chart in a plot view beside the slices; nothing where there is no layout."""
    manager = slicer.app.layoutManager()
    if manager is None or chart is None:
        return
    layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView
    manager.setLayout(layout)
    manager.plotWidget(0).mrmlPlotViewNode().SetPlotChartNodeID(chart.GetID())
