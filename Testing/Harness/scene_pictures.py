"""The pictures of `Testing.Harness.screenshots`: real views of a real scene, framed."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from NISFLib.scene import HeartScene, Part, Strain
from NISFLib.scene.nodes import SLICE, Role
from NISFLib.scene.views import CAMERA_DIRECTION_RAS, SHOWS
from Testing.Harness.views import OffscreenSliceView, OffscreenThreeDView, Picture

VIEW_COLORS = {"Red": "#f34a33", "Green": "#6eb04b", "Yellow": "#edd54c", "3D": "#7e89d8"}
SLICE_VIEWS = ("Red", "Green", "Yellow")
PIXELS = 440
DPI = 100
DARK = "#14161a"


def render(export: Path, study: Path | None, motion: Path | None, out: Path) -> list[Path]:
    """Load an export, and a motion if there is one, and write all pictures into a folder; returns
    their paths."""
    heart = HeartScene()
    heart.load_result(export, study=study)
    views = _views()
    heart.arrange_views()
    out.mkdir(parents=True, exist_ok=True)
    phases = {"end-diastole": heart.ed_phase or 0, "end-systole": heart.es_phase or 0}
    paths = []
    for name, phase in phases.items():
        heart.phase = phase
        path = out / f"{name}.png"
        _save_four_up(
            path, _four_up(heart, views), f"{name}, phase {phase + 1} of {heart.n_phases}"
        )
        paths.append(path)
    paths.append(out / "alignment.png")
    _save_alignment(paths[-1], heart, views["3D"])
    paths.append(out / "curves.png")
    _save_plots(paths[-1], heart)
    paths.append(out / "valve.png")
    _save_valves(paths[-1], heart, views)
    if motion is not None:
        heart.load_motion(motion)
        paths.append(out / "motion.png")
        _save_motion(paths[-1], heart, views["3D"])
    return paths


def _views() -> dict[str, Any]:
    size = (PIXELS, PIXELS)
    views: dict[str, Any] = {
        name: OffscreenSliceView(name, size) for name in VIEW_COLORS if name != "3D"
    }
    views["3D"] = OffscreenThreeDView("1", size)
    return views


def _four_up(heart: HeartScene, views: dict[str, Any]) -> dict[str, Picture]:
    """The surfaces in 3D with one slice through them: all planes would hide them."""
    _look_at_heart(heart, views["3D"], 300)
    displays = {
        p.GetAttribute(SLICE): p.GetDisplayNode() for p in heart.nodes.all(Role.SLICE_PLANE)
    }
    middle = views["Red"].node.GetAttribute(SHOWS)
    for name, display in displays.items():
        display.SetVisibility(name == middle)
    pictures = {name: view.picture() for name, view in views.items()}
    heart.set_visible(Part.PLANES, True)
    return pictures


def _look_at_heart(heart: HeartScene, view: OffscreenThreeDView, distance_mm: float = 330) -> None:
    view.look(heart_centre(heart), CAMERA_DIRECTION_RAS, distance_mm)


def heart_centre(heart: HeartScene) -> np.ndarray:
    """Middle of the segmentation's surfaces, RAS."""
    bounds = np.zeros(6)
    heart.segmentation.GetRASBounds(bounds)
    return bounds.reshape(3, 2).mean(axis=1)


def _save_four_up(path: Path, pictures: dict[str, Picture], caption: str) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(9.2, 9.6), dpi=DPI, facecolor=DARK)
    for axis, name in zip(axes.flat, ("Red", "3D", "Green", "Yellow"), strict=True):
        _show(axis, pictures[name], VIEW_COLORS[name])
    figure.suptitle(caption, color="white", fontsize=13, y=0.985)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.955, wspace=0.02, hspace=0.02)
    _save(figure, path)


def _show(axis: Any, picture: Picture, color: str, title: str = "") -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set(color=color, linewidth=3)
    if title:
        axis.set_title(title, color="white", fontsize=12)


def _save_alignment(path: Path, heart: HeartScene, view: OffscreenThreeDView) -> None:
    """Planes in 3D before, half-way and after."""
    heart.phase = heart.ed_phase or 0
    heart.set_visible(Part.SURFACES, False)
    figure, axes = plt.subplots(1, 3, figsize=(13.6, 4.9), dpi=DPI, facecolor=DARK)
    _look_at_heart(heart, view, 300)
    for axis, (amount, title) in zip(
        axes, ((0.0, "as scanned"), (0.5, "half-way"), (1.0, "aligned")), strict=True
    ):
        heart.alignment = amount
        _show(axis, view.picture(), VIEW_COLORS["3D"], title)
    heart.set_visible(Part.SURFACES, True)
    figure.subplots_adjust(0.005, 0.01, 0.995, 0.92, wspace=0.02)
    _save(figure, path)


def _save_valves(path: Path, heart: HeartScene, views: dict[str, Any]) -> None:
    """The lines that a user drags, in the long-axis slices that the views show."""
    heart.phase = heart.ed_phase or 0
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 4.9), dpi=DPI, facecolor=DARK)
    for axis, name in zip(axes, ("Green", "Yellow"), strict=True):
        shown = views[name].node.GetAttribute(SHOWS)
        heart.place_valve(shown)
        _show(axis, views[name].picture(), VIEW_COLORS[name], shown)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.92, wspace=0.02)
    _save(figure, path)


def _save_motion(path: Path, heart: HeartScene, view: OffscreenThreeDView) -> None:
    """The LV wall at end-systole in the colours of two strains, and its displacement."""
    heart.phase = heart.es_phase or 0
    heart.set_visible(Part.PLANES, False)
    figure, axes = plt.subplots(1, 3, figsize=(13.6, 4.9), dpi=DPI, facecolor=DARK)
    _look_at_heart(heart, view, 240)
    for axis, strain in zip(axes, (Strain.CIRCUMFERENTIAL, Strain.LONGITUDINAL), strict=False):
        heart.color_wall(strain)
        _show(axis, view.picture(), VIEW_COLORS["3D"], f"{strain.value} strain")
    heart.set_visible(Part.WALL, False)
    heart.set_visible(Part.ARROWS, True)
    _show(axes[2], view.picture(), VIEW_COLORS["3D"], "displacement since end-diastole")
    figure.subplots_adjust(0.005, 0.01, 0.995, 0.92, wspace=0.02)
    _save(figure, path)


def _save_plots(path: Path, heart: HeartScene) -> None:
    """The plots' own series, drawn by matplotlib: 3D Slicer's plot view needs its window."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), dpi=DPI)
    heart.phase = heart.es_phase or 0
    for axis, chart in zip(axes, (heart.curve_chart, heart.profile_chart), strict=True):
        for k in range(chart.GetNumberOfPlotSeriesNodes()):
            _draw(axis, chart.GetNthPlotSeriesNode(k))
        axis.set(title=chart.GetTitle(), xlabel=chart.GetXAxisTitle(), ylabel=chart.GetYAxisTitle())
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    _save(figure, path)


def _draw(axis: Any, series: Any) -> None:
    table = series.GetTableNode().GetTable()
    columns = [
        table.GetColumnByName(name) for name in (series.GetXColumnName(), series.GetYColumnName())
    ]
    x, y = ([c.GetValue(k) for k in range(c.GetNumberOfValues())] for c in columns)
    styles = {series.LineStyleNone: "", series.LineStyleSolid: "-", series.LineStyleDash: "--"}
    marker = "" if series.GetMarkerStyle() == series.MarkerStyleNone else "o"
    style = f"{styles[series.GetLineStyle()]}{marker}"
    axis.plot(
        x, y, style, color=series.GetColor(), lw=series.GetLineWidth(), label=series.GetName()
    )


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, facecolor=figure.get_facecolor())
    plt.close(figure)
