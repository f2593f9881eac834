"""Pictures of a real study: every slice at ED and ES with outlines, left-out views, curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from skimage.measure import find_contours

from NISFCore.analysis.fitted import corrected_ras_from_ijk, n_cycle_phases, normalised_frames
from NISFCore.analysis.rendering import render_plane
from NISFCore.benchmark.pictures import as_png
from NISFCore.benchmark.real_bench import Measured, RealBench
from NISFCore.benchmark.real_measures import surface_volumes
from NISFCore.benchmark.reference import Labels, ReferenceFrame
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.export.figures import CHART_STYLE, INK, SCREEN, rgb_unit
from NISFCore.fitting.intensity_detail import with_intensity_detail
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.planes import normal_ras
from NISFCore.geometry.spaces import Affine
from NISFCore.labels import FOREGROUND, Label
from NISFCore.views import View

CROP_MM = 65.0
"""Half the side of what is shown of a slice."""
PANEL_INCH = 1.6
WINDOW_QUANTILES = (0.01, 0.995)
BESIDE_MM = 4.0
FIT_COLOURS = {"unguided": "#e5484d", "guided": "#30a46c"}


def all_pictures(
    bench: RealBench, fits: Sequence[Measured], left_out: Mapping[str, Measured]
) -> dict[str, bytes]:
    """File name -> PNG."""
    ed, es = bench.reference.ed(bench.study), bench.reference.es(bench.study)
    moments = {"ed": ed} | ({} if es is None else {"es": es})
    pictures = {
        f"slices_{name}.png": slices_picture(bench, fits, moment)
        for name, moment in moments.items()
    }
    pictures["intensities.png"] = intensities_picture(fits[-1].result, ed if es is None else es)
    if left_out:
        pictures["left_out_views.png"] = left_out_picture(bench, left_out, moments)
    if any(len(fit.curve.cycle_fractions) > 1 for fit in fits):
        pictures["volume_curves.png"] = curves_picture(bench, fits)
    return pictures


def slices_picture(bench: RealBench, fits: Sequence[Measured], moment: int) -> bytes:
    """A column per slice, a row for the reference and one for each fit, the reference's outlines in
    white beneath the fit's."""
    frames = bench.reference.at(moment)
    figure, grid = _panels(1 + len(fits), len(frames))
    for column, frame in enumerate(frames):
        cine = _slice_of(bench.study, frame)
        is_given = frame.key in bench.given_keys
        _show(grid[0][column], cine, frame, frame.labels)
        grid[0][column].set_title(
            f"{cine.name}{' (given)' if is_given else ''}", fontsize=7, color="w"
        )
        for row, fit in enumerate(fits, start=1):
            _show(grid[row][column], cine, frame, fit.shown[frame.key], reference=frame.labels)
    for row, name in enumerate(("reference", *(fit.name for fit in fits))):
        _row_name(grid[row][0], name)
    return as_png(figure)


def left_out_picture(
    bench: RealBench, left_out: Mapping[str, Measured], moments: Mapping[str, int]
) -> bytes:
    """Views as predicted by a fit to the others, at ED and ES, the reference in white."""
    figure, grid = _panels(len(moments), len(left_out))
    for row, (when, moment) in enumerate(moments.items()):
        for column, (view, found) in enumerate(left_out.items()):
            frame = next((f for f in found.frames if f.moment == moment), None)
            if frame is not None:
                cine = _slice_of(bench.study, frame)
                shown = found.shown[frame.key]
                _show(grid[row][column], cine, frame, shown, reference=frame.labels)
            grid[row][column].set_title(f"{view} left out, {when.upper()}", fontsize=7, color="w")
    return as_png(figure)


def intensities_picture(result: FitResult, moment: int) -> bytes:
    """Some slices in columns; in rows the image, the heart's own intensities where the slice is,
    those of the subject, and the same `BESIDE_MM` further along the slice's normal."""
    detailed = with_intensity_detail(result)
    indices = _shown_slices(result.study)
    figure, grid = _panels(4, len(indices))
    for column, index in enumerate(indices):
        cine = result.study.slices[index]
        phase = round(moment / n_cycle_phases(result.study) * cine.n_phases) % cine.n_phases
        where, beside = (_plane(result, index, mm) for mm in (0.0, BESIDE_MM))
        gain = result.image_gain(index)
        images = [normalised_frames(result, index)[phase] / gain]
        for fit, plane in ((result, where), (detailed, where), (detailed, beside)):
            t = [cine.cycle_fractions[phase]]
            images.append(render_plane(fit.field, plane, cine.shape, t).intensity[0])
        aspect = cine.spacing_mm[1] / cine.spacing_mm[0]
        for row, image in enumerate(images):
            grid[row][column].imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect)
        grid[0][column].set_title(cine.name, fontsize=7, color="w")
    for row, name in enumerate(("image", "prior", "own", f"own, {BESIDE_MM:g} mm beside")):
        _row_name(grid[row][0], name)
    return as_png(figure)


def _shown_slices(study: CineStudy) -> list[int]:
    """Indices of the long-axis slices and of three of the stack."""
    stack = [k for k, s in enumerate(study.slices) if s.view is View.SA]
    chosen = [stack[len(stack) * k // 4] for k in (1, 2, 3)] if stack else []
    return chosen + [k for k, s in enumerate(study.slices) if s.view is not View.SA]


def _plane(result: FitResult, index: int, along_mm: float) -> Affine:
    plane = corrected_ras_from_ijk(result, index).copy()
    plane[:3, 3] += along_mm * normal_ras(plane)
    return plane


def curves_picture(bench: RealBench, fits: Sequence[Measured]) -> bytes:
    """LV and RV volume over the cycle of the fits and the reference."""
    closed, opened = (surface_volumes(bench.reference, is_open) for is_open in (False, True))
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(8.0, 3.2), layout="constrained")
        names = ((Label.LV_BLOOD_POOL, "lv_ml"), (Label.RV_BLOOD_POOL, "rv_ml"))
        for ax, (label, name) in zip(figure.subplots(1, 2), names, strict=True):
            for fit in fits:
                t = fit.curve.cycle_fractions
                ax.plot(t, fit.curve.of(label), color=FIT_COLOURS[fit.name], label=fit.name)
            for volumes, style, text in ((closed, "-", "closed"), (opened, ":", "open")):
                ml = None if volumes is None else getattr(volumes, name)
                if ml is not None:
                    t = np.arange(len(ml)) / len(ml)
                    ax.plot(t, ml, color=INK, ls=style, label=f"reference, {text} surfaces")
            ax.set(xlabel="cycle fraction", ylabel=f"{name[:2].upper()} (ml)", ylim=(0, None))
        ax.legend(frameon=False, fontsize=7)
        return as_png(figure)


def _panels(n_rows: int, n_cols: int) -> tuple[Figure, list[list[Axes]]]:
    size = (PANEL_INCH * n_cols + 0.2, (PANEL_INCH + 0.12) * n_rows)
    figure = Figure(figsize=size, facecolor=SCREEN)
    figure.subplots_adjust(0.003, 0.003, 0.997, 0.955, wspace=0.02, hspace=0.06)
    grid = figure.subplots(n_rows, n_cols, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    return figure, [list(row) for row in grid]


def _row_name(ax: Axes, name: str) -> None:
    ax.text(0.02, 0.03, name, color="w", fontsize=7, transform=ax.transAxes)


def _slice_of(study: CineStudy, frame: ReferenceFrame) -> CineSlice:
    return next(s for s in study.slices if s.name == frame.slice_name)


def _show(
    ax: Axes,
    cine: CineSlice,
    frame: ReferenceFrame,
    labels: Labels,
    reference: Labels | None = None,
) -> None:
    low, high = np.quantile(cine.frames, WINDOW_QUANTILES)
    spacing_i, spacing_j = cine.spacing_mm
    image = cine.frames[frame.phase]
    ax.imshow(
        image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=spacing_j / spacing_i
    )
    if reference is not None:
        _outline(ax, reference, lambda label: "w", 0.6)
    _outline(ax, labels, rgb_unit, 1.1)
    row, col = _centre(frame.labels)
    ax.set_xlim(col - CROP_MM / spacing_i, col + CROP_MM / spacing_i)
    ax.set_ylim(row + CROP_MM / spacing_j, row - CROP_MM / spacing_j)


def _outline(ax: Axes, labels: Labels, colour_of: Any, width: float) -> None:
    for label in reversed(FOREGROUND):  # blood over the wall that it touches
        for contour in find_contours((labels == label).astype(float), 0.5):
            ax.plot(contour[:, 1], contour[:, 0], lw=width, color=colour_of(label))


def _centre(labels: Labels) -> npt.NDArray[np.float64]:
    """Of what is labelled, else of the image: (row, column)."""
    where = np.argwhere(labels > 0)
    size = np.array(labels.shape, dtype=np.float64)
    return where.mean(axis=0) if len(where) else (size - 1) / 2
