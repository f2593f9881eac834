"""Pictures of strain: curves, bull's eye (Cerqueira et al. 2002), the wall at end-systole."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from NISFCore.analysis.surfaces import Surface
from NISFCore.export.figures import CHART_STYLE, INK, MUTED, Picture, encode
from NISFCore.export.motion_models import vertex_strain_percent
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LONGITUDINAL, RADIAL
from NISFCore.motion.result import MotionResult
from NISFCore.motion.strain import StrainCurves

NAMES = {CIRCUMFERENTIAL: "circumferential", RADIAL: "radial", LONGITUDINAL: "longitudinal"}
COLOURS = {CIRCUMFERENTIAL: "#3e63dd", RADIAL: "#e5484d", LONGITUDINAL: "#30a46c"}
SHORTENING_PERCENT, THICKENING_PERCENT = 30.0, 80.0
"""Ends of the colour scales: 0 is white, shortening blue, lengthening red."""
MAP = "RdBu_r"
RINGS = ((13.0, 17), (30.0, 13), (52.0, 7), (75.0, 1))
"""Outer radius and first segment: apex, apical, mid, basal."""
FIRST_ANGLE_DEG = {6: 60.0, 4: 45.0}
"""Anterior is up: where each ring's first (anterior) segment begins; anticlockwise."""


def es_index(curves: StrainCurves) -> int:
    """The time of most circumferential shortening."""
    return int(np.nanargmin(curves.whole[:, CIRCUMFERENTIAL]))


def curves_picture(curves: StrainCurves, rr_interval_ms: float) -> Picture:
    """The whole wall's strain and torsion, and circumferential strain of each segment."""
    ms = curves.cycle_fractions * rr_interval_ms
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(10.5, 3.4), layout="constrained")
        whole, segments, torsion = figure.subplots(1, 3)
        for direction, name in NAMES.items():
            values = 100 * curves.whole[:, direction]
            if np.isfinite(values).any():
                whole.plot(ms, values, color=COLOURS[direction], linewidth=2, label=name)
        whole.legend(frameon=False, fontsize=8)
        whole.set(title="whole wall", ylabel="strain (%)")
        _segment_lines(segments, ms, 100 * curves.segments[:, :, CIRCUMFERENTIAL])
        torsion.plot(ms, curves.torsion_deg, color=INK, linewidth=2)
        torsion.set(title="base against apex", ylabel="torsion (°)")
        for axes in (whole, segments, torsion):
            axes.axhline(0, color=MUTED, linewidth=0.7)
            axes.axvline(ms[es_index(curves)], color=MUTED, linewidth=0.8, linestyle=":")
            axes.set_xlabel("time since ED (ms)")
        return encode(figure, "png", dpi=110)


def _segment_lines(
    axes: Axes, ms: npt.NDArray[np.float64], percent: npt.NDArray[np.float64]
) -> None:
    levels = (("basal", 0, 6, "#8e4ec6"), ("mid", 6, 12, "#3e63dd"), ("apical", 12, 17, "#f76b15"))
    for name, first, last, colour in levels:
        for k in range(first, last):
            label = name if k == first else None
            axes.plot(ms, percent[:, k], color=colour, linewidth=1, alpha=0.8, label=label)
    axes.legend(frameon=False, fontsize=8)
    axes.set(title="circumferential, by segment", ylabel="strain (%)")


def bullseye_picture(curves: StrainCurves) -> Picture:
    """Peak strain of the 17 segments in every direction that is known."""
    known = [d for d in NAMES if np.isfinite(curves.segments[..., d]).any()]
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(4.2 * len(known), 4.3), layout="constrained")
        for column, direction in enumerate(known):
            axes = figure.add_subplot(1, len(known), column + 1, projection="polar")
            assert isinstance(axes, PolarAxes)
            _bullseye(axes, 100 * curves.segment_peaks(direction), _scale(direction))
            axes.set_title(f"{NAMES[direction]}, peak (%)", pad=16)
        return encode(figure, "png", dpi=110)


def _scale(direction: int) -> Normalize:
    most = THICKENING_PERCENT if direction == RADIAL else SHORTENING_PERCENT
    return Normalize(-most, most)


def _bullseye(axes: PolarAxes, percent: npt.NDArray[np.float64], scale: Normalize) -> None:
    axes.set_axis_off()
    inner = 0.0
    counts = (1, 4, 6, 6)
    for (outer, first), n in zip(RINGS, counts, strict=True):
        start = FIRST_ANGLE_DEG.get(n, 0.0)
        for k in range(n):
            value = percent[first - 1 + k]
            low = np.deg2rad(start + k * 360 / n)
            width = 2 * np.pi / n
            colour = colormaps[MAP](scale(value)) if np.isfinite(value) else (0.9, 0.9, 0.9, 1.0)
            edge = "white" if n > 1 else "none"
            axes.bar(low, outer - inner, width, inner, align="edge", color=colour, edgecolor=edge)
            middle = (inner + outer) / 2 if n > 1 else 0.0
            text = f"{value:.0f}" if np.isfinite(value) else "–"
            dark = np.isfinite(value) and abs(scale(value) - 0.5) > 0.3
            axes.text(
                low + width / 2,
                middle,
                text,
                ha="center",
                va="center",
                fontsize=9,
                color="white" if dark else INK,
            )
        inner = outer
    for angle, name in ((90, "anterior"), (180, "septal"), (270, "inferior"), (0, "lateral")):
        axes.text(np.deg2rad(angle), 86, name, ha="center", va="center", fontsize=8, color=MUTED)


def es_picture(result: MotionResult, wall: Surface, cycle_fraction: float) -> Picture:
    """The wall at one time, coloured by strain: from the front and from the base."""
    strain = vertex_strain_percent(result, wall, cycle_fraction)
    moved = wall.points_ras + result.displacement(wall.points_ras, cycle_fraction)
    frame = result.frame
    anterior = np.cross(frame.base_from_apex_ras, frame.rv_from_lv_ras)
    axes_ras = np.stack([frame.rv_from_lv_ras, anterior, frame.base_from_apex_ras])
    corners = ((moved - frame.centre_ras) @ axes_ras.T)[wall.triangles]
    shown = [d for d in (CIRCUMFERENTIAL, LONGITUDINAL) if np.isfinite(strain[:, d]).any()]
    views = ((18.0, 60.0, "anterior"), (18.0, 190.0, "lateral"), (65.0, 60.0, "from the base"))
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(3.4 * len(views), 3.4 * len(shown)), layout="constrained")
        for row, direction in enumerate(shown):
            values = strain[wall.triangles, direction].mean(axis=1)
            for column, view in enumerate(views):
                place = (len(shown), len(views), row * len(views) + column + 1)
                _draw(figure, place, corners, values, _scale(direction), view)
            bar = ScalarMappable(_scale(direction), MAP)
            row_axes = figure.axes[-len(views) :]
            figure.colorbar(bar, ax=row_axes, shrink=0.6, label=f"{NAMES[direction]} strain (%)")
        return encode(figure, "png", dpi=110)


def _draw(
    figure: Figure,
    place: Sequence[int],
    corners: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    scale: Normalize,
    view: tuple[float, float, str],
) -> None:
    """Triangles `(n, 3, 3)` in the LV's own axes, shaded."""
    axes = figure.add_subplot(*place, projection="3d")
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    towards = _towards_viewer(view[0], view[1])
    bright = 0.6 + 0.4 * np.clip(normals @ towards, 0, 1)
    rgba = colormaps[MAP](scale(values))
    rgba[:, :3] = rgba[:, :3] * bright[:, None]
    seen = normals @ towards > 0
    colours = {"facecolors": rgba[seen], "edgecolors": rgba[seen]}
    axes.add_collection3d(Poly3DCollection(corners[seen], linewidths=0.3, **colours))
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    middle, half = (low + high) / 2, float((high - low).max()) / 2
    axes.set(
        xlim=(middle[0] - half, middle[0] + half),
        ylim=(middle[1] - half, middle[1] + half),
        zlim=(middle[2] - half, middle[2] + half),
    )
    axes.set_box_aspect((1, 1, 1), zoom=1.3)
    axes.view_init(elev=view[0], azim=view[1])
    axes.set_axis_off()
    axes.set_title(view[2], fontsize=9)


def _towards_viewer(elevation_deg: float, azimuth_deg: float) -> npt.NDArray[np.float64]:
    up, turn = np.deg2rad(elevation_deg), np.deg2rad(azimuth_deg)
    return np.array([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)])
