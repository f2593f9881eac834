"""The pictures of the report, as encoded image files. No global matplotlib state is touched."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from skimage.measure import find_contours

from NISFCore.analysis.fitted import FittedField, FittedStudy, HistoryStep
from NISFCore.analysis.intersections import IntersectionProfile
from NISFCore.analysis.rendering import render_plane
from NISFCore.analysis.surfaces import Surface, label_margin
from NISFCore.analysis.volumes import VolumeCurve
from NISFCore.data.study import CineSlice
from NISFCore.export.shading import ShadedSurface, framing, look_from, render_surfaces
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Affine, Points, apply_affine, invert_affine
from NISFCore.labels import FOREGROUND, LABEL_INFO, Label
from NISFCore.progress import CancelToken

BEFORE_COLOUR, AFTER_COLOUR = "#e5484d", "#30a46c"
INK, MUTED, PAPER, SCREEN = "#1c2024", "#60646c", "#ffffff", "#0b0d10"
SURFACE_BACKGROUND = (247, 248, 250)
MYOCARDIUM_OPACITY = 0.25
FINE = 2
"""Outlines are found on a grid this many times finer than the slice's pixels."""
CROP_MARGIN_PX = 4
CHART_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "nisf",
}


@dataclass(frozen=True)
class Picture:
    """An encoded image."""

    data: bytes
    mime: str

    @property
    def data_uri(self) -> str:
        """For the `src` of an HTML image."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True)
class Crop:
    """A rectangle of pixels of a frame; the ends are exclusive."""

    rows: tuple[int, int]
    cols: tuple[int, int]

    def of(self, frame: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return frame[self.rows[0] : self.rows[1], self.cols[0] : self.cols[1]]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """For matplotlib: left, right, bottom, top in pixel coordinates."""
        return self.cols[0] - 0.5, self.cols[1] - 0.5, self.rows[1] - 0.5, self.rows[0] - 0.5


def rgb_unit(label: Label) -> tuple[float, float, float]:
    """The label's colour in 0..1."""
    r, g, b = LABEL_INFO[label].rgb
    return r / 255, g / 255, b / 255


def heart_crop(field: FittedField, cine: CineSlice, ras_from_ijk: Affine) -> Crop:
    """The part of a slice that lies in the fitted region, with a margin; all of it if none does."""
    inside = field.contains(pixel_centres_ras(ras_from_ijk, cine.shape))
    ends = []
    for axis, n in ((1, cine.shape[0]), (0, cine.shape[1])):
        used = np.flatnonzero(inside.any(axis=axis))
        low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, n)
        ends.append((max(0, low - CROP_MARGIN_PX), min(n, high + CROP_MARGIN_PX)))
    return Crop(ends[0], ends[1])


def nearest_phase(cine: CineSlice, cycle_fraction: float) -> int:
    """The slice's phase nearest to a time of the cycle."""
    gap = np.abs(cine.cycle_fractions - cycle_fraction)
    return int(np.argmin(np.minimum(gap, 1 - gap)))


def label_outlines(
    field: HeartField,
    ras_from_ijk: Affine,
    crop: Crop,
    cycle_fraction: float,
    cancel: CancelToken | None = None,
) -> dict[Label, list[npt.NDArray[np.float64]]]:
    """Outlines of the labels where a plane cuts the heart: lists of `(n, 2)` (column, row)."""
    fine = np.diag([1 / FINE, 1 / FINE, 1.0, 1.0])
    fine[:2, 3] = crop.cols[0], crop.rows[0]
    shape = tuple(FINE * (high - low - 1) + 1 for low, high in (crop.rows, crop.cols))
    plane = render_plane(field, ras_from_ijk @ fine, (shape[0], shape[1]), [cycle_fraction], cancel)
    return {
        label: [
            contour[:, ::-1] / FINE + [crop.cols[0], crop.rows[0]]
            for contour in find_contours(label_margin(plane.label_probabilities[0], label), 0.0)
        ]
        for label in FOREGROUND
    }


def slice_picture(
    fitted: FittedStudy,
    index: int,
    cycle_fractions: Sequence[float],
    cancel: CancelToken | None = None,
) -> Picture:
    """One slice at some times: for each the outlines before, then after alignment."""
    cine = fitted.study.slices[index]
    corrected = fitted.slice_motions[index] @ cine.ras_from_ijk
    crop = heart_crop(fitted.field, cine, corrected)
    n = 2 * len(cycle_fractions)
    aspect = _aspect(cine, crop)
    figure = Figure(figsize=(1.9 * n, 1.9 * aspect), facecolor=SCREEN)
    for column, (t, A) in enumerate(
        (t, A) for t in cycle_fractions for A in (cine.ras_from_ijk, corrected)
    ):
        axes = figure.add_axes((column / n + 0.002, 0.004, 1 / n - 0.004, 0.992))
        phase = nearest_phase(cine, t)
        _show_frame(axes, cine, phase, crop)
        time = float(cine.cycle_fractions[phase])
        _draw_outlines(axes, label_outlines(fitted.field, A, crop, time, cancel))
    return encode(figure, "jpeg", dpi=130)


def profile_picture(
    fitted: FittedStudy,
    before: IntersectionProfile,
    after: IntersectionProfile,
    cycle_fraction: float,
) -> Picture:
    """Two slices, their common line before and after, and what both show along it (Figure 4).

    In each middle panel, the left half is the first slice over the cycle and the right half the
    second: at the seam both show the same time.
    """
    figure = Figure(figsize=(9.6, 2.5), facecolor=PAPER, layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=[1, 1.15, 1.15, 1])
    for ax, side in ((axes[0], "a"), (axes[3], "b")):
        _show_slice_with_lines(ax, fitted, side, before, after, cycle_fraction)
    slices = fitted.study.slices
    names = [slices[i].name for i in (after.crossing.a, after.crossing.b)]
    _show_profile(axes[1], before, names, "before", BEFORE_COLOUR)
    _show_profile(axes[2], after, names, "after", AFTER_COLOUR)
    return encode(figure, "png", dpi=130)


def curve_picture(curve: VolumeCurve) -> Picture:
    """Volume-time curves with ED and ES marked."""
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(5.2, 3.0), layout="constrained")
        axes = figure.subplots()
        percent = np.append(100 * curve.cycle_fractions, 100.0)
        for label in FOREGROUND:
            values = curve.of(label)
            axes.plot(
                percent,
                np.append(values, values[0]),
                color=rgb_unit(label),
                linewidth=2,
                label=LABEL_INFO[label].name,
            )
        for name, index in (("ED", curve.ed_index), ("ES", curve.es_index)):
            x = 100 * curve.cycle_fractions[index]
            axes.axvline(x, color=MUTED, linewidth=0.8, linestyle=":")
            axes.annotate(
                f" {name}", (x, 1.0), xycoords=("data", "axes fraction"), va="top", color=MUTED
            )
        axes.set(xlabel="cardiac cycle (%)", ylabel="volume (ml)", xlim=(0, 100))
        axes.set_ylim(bottom=0)
        axes.legend(
            frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.15)
        )
        return encode(figure, "svg")


def convergence_picture(history: Sequence[HistoryStep]) -> Picture:
    """PSNR over the steps of the fit, its stages marked."""
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(5.2, 3.0), layout="constrained")
        axes = figure.subplots()
        steps = np.arange(1, len(history) + 1)
        axes.plot(steps, [h.psnr_db for h in history], color="#3e63dd", linewidth=2, marker=".")
        for i, step in enumerate(history):
            if i == 0 or history[i - 1].stage != step.stage:
                axes.axvline(i + 0.5, color=MUTED, linewidth=0.8, linestyle=":")
                axes.annotate(
                    f" {step.stage}", (i + 0.5, 1.0), xycoords=("data", "axes fraction"), va="top"
                )
        axes.set(xlabel="step of the fit", ylabel="PSNR (dB)", xlim=(0.5, len(history) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return encode(figure, "svg")


def surface_pictures(
    phases: Sequence[Mapping[Label, Surface]], ras_from_box: Affine, size_px: int = 300
) -> list[list[Picture]]:
    """For each phase the heart from in front (base up, RV left) and from the base.

    Box axes are those of canonical space: +x towards the RV, +y anterior, +z towards the base.
    """
    axes = ras_from_box[:3, :3]
    views = [
        look_from(axes @ [0.15, 1, 0.3], axes[:, 2]),
        look_from(axes @ [0, -0.2, 1], axes[:, 1]),
    ]
    cameras = [framing([s for p in phases for s in p.values()], view) for view in views]
    return [
        [
            _png(render_surfaces(_shaded(surfaces), camera, size_px, SURFACE_BACKGROUND))
            for camera in cameras
        ]
        for surfaces in phases
    ]


def _shaded(surfaces: Mapping[Label, Surface]) -> list[ShadedSurface]:
    return [
        ShadedSurface(
            surface,
            LABEL_INFO[label].rgb,
            MYOCARDIUM_OPACITY if label is Label.LV_MYOCARDIUM else 1.0,
        )
        for label, surface in surfaces.items()
    ]


def _aspect(cine: CineSlice, crop: Crop) -> float:
    """Height over width of a crop as it is shown, with pixels in their true proportion."""
    spacing_i, spacing_j = cine.spacing_mm
    height = (crop.rows[1] - crop.rows[0]) * spacing_j
    return float(height / ((crop.cols[1] - crop.cols[0]) * spacing_i))


def _show_frame(axes: Axes, cine: CineSlice, phase: int, crop: Crop) -> None:
    cropped = np.stack([crop.of(frame) for frame in cine.frames])
    low, high = np.percentile(cropped, [1, 99.5])  # one window for all phases
    axes.imshow(
        cropped[phase],
        cmap="gray",
        vmin=low,
        vmax=max(high, low + 1e-6),
        extent=crop.extent,
        interpolation="bicubic",
        aspect=cine.spacing_mm[1] / cine.spacing_mm[0],
    )
    axes.set_axis_off()
    axes.autoscale(False)


def _draw_outlines(axes: Axes, outlines: Mapping[Label, list[npt.NDArray[np.float64]]]) -> None:
    # where myocardium and blood pool share a boundary, the blood pool's colour is seen
    for label in sorted(outlines, key=lambda label: label is not Label.LV_MYOCARDIUM):
        for contour in outlines[label]:
            axes.plot(*contour.T, color=rgb_unit(label), linewidth=1.3)


def _show_slice_with_lines(
    axes: Axes,
    fitted: FittedStudy,
    side: str,
    before: IntersectionProfile,
    after: IntersectionProfile,
    cycle_fraction: float,
) -> None:
    index: int = getattr(after.crossing, side)
    cine = fitted.study.slices[index]
    crop = heart_crop(fitted.field, cine, fitted.slice_motions[index] @ cine.ras_from_ijk)
    _show_frame(axes, cine, nearest_phase(cine, cycle_fraction), crop)
    for profile, colour in ((before, BEFORE_COLOUR), (after, AFTER_COLOUR)):
        points: Points = getattr(profile.crossing, f"{side}_points_ras")
        ij = apply_affine(invert_affine(cine.ras_from_ijk), points)[[0, -1], :2]
        axes.plot(*ij.T, color=colour, linewidth=1.4)
    axes.set_title(cine.name, fontsize=9, color=INK)


def _show_profile(
    axes: Axes, profile: IntersectionProfile, names: Sequence[str], title: str, colour: str
) -> None:
    halves = [_unit_contrast(values).T for values in (profile.a_values, profile.b_values)]
    length = float(profile.crossing.distances_mm[-1])
    axes.imshow(
        np.concatenate(halves, axis=1),
        cmap="gray",
        aspect="auto",
        extent=(0, 2, length, 0),
        interpolation="bilinear",
    )
    axes.axvline(1, color=colour, linewidth=1.2)
    axes.set_xticks([0.5, 1.5], names, fontsize=8)
    axes.tick_params(length=0)
    axes.set_yticks([0, round(length)], ["0", f"{length:.0f} mm"], fontsize=8)
    axes.set_title(f"{title}: NCC {profile.ncc:.2f}", fontsize=9, color=colour)


def _unit_contrast(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = np.percentile(values, [1, 99])
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1)


def encode(figure: Figure, kind: str, dpi: int = 100) -> Picture:
    """A figure as "png", "jpeg" or, whatever else `kind` is, "svg"."""
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    if kind == "jpeg":
        figure.savefig(stream, format="jpeg", dpi=dpi, pil_kwargs={"quality": 88})
        return Picture(stream.getvalue(), "image/jpeg")
    if kind == "png":
        figure.savefig(stream, format="png", dpi=dpi)
        return Picture(stream.getvalue(), "image/png")
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return Picture(stream.getvalue(), "image/svg+xml")


def _png(pixels: npt.NDArray[np.uint8]) -> Picture:
    height, width, _ = pixels.shape
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    figure.figimage(pixels)
    return encode(figure, "png")
