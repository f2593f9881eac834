"""Figures of a benchmark as PNG. No global matplotlib state is touched."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from skimage.measure import find_contours

from NISFCore.benchmark.figures import Part, Parts
from NISFCore.benchmark.speed import SHORT_ADAM
from NISFCore.benchmark.store import Arrays
from NISFCore.benchmark.tables import LABELS
from NISFCore.export.figures import AFTER_COLOUR, BEFORE_COLOUR, CHART_STYLE, INK, MUTED
from NISFCore.labels import FOREGROUND, LABEL_INFO, Label

DPI = 130
SOLVERS = {"paper": "#e5484d", "tuned Adam": "#f5a623", SHORT_ADAM: "#ffd6a0", "ours": "#30a46c"}


def all_pictures(parts: Parts, arrays: dict[str, Arrays]) -> dict[str, bytes]:
    """File name → PNG, for every figure that there is something to show in.

    Args:
        arrays: of the first subject's parts `profiles`, `held_out` and `psf`.
    """
    makers: dict[str, tuple[Any, Callable[[Any], bytes]]] = {
        "figure_2a.png": (parts.speed, convergence),
        "table_2.png": (parts.alignment, slice_errors),
        "dice.png": (parts.accuracy, dice_boxes),
        "figure_4.png": (arrays.get("profiles"), profiles),
        "appendix_b.png": (arrays.get("held_out"), held_out_views),
        "appendix_c.png": (arrays.get("psf"), psf_views),
    }
    return {name: make(found) for name, (found, make) in makers.items() if found}


def convergence(speed: Sequence[Part]) -> bytes:
    """Figure 2a: Dice and PSNR over the seconds of optimisation, each solver, each subject."""
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        axes = figure.subplots(1, 2)
        for ax, key, name in zip(axes, ("dice", "psnr_db"), ("Dice, 3D+t", "PSNR dB"), strict=True):
            for k, part in enumerate(speed):
                for solver, points in part["curves"].items():
                    seconds = [max(p["seconds"], 1e-2) for p in points]
                    label = solver if k == 0 else None
                    values = [p[key] for p in points]
                    ax.plot(seconds, values, ".-", ms=3, color=SOLVERS[solver], label=label)
            ax.set_xscale("log")
            ax.set(xlabel="seconds of optimisation", ylabel=name)
        for part in speed:
            axes[0].axhline(part["target_dice"], color=MUTED, lw=0.8, ls=":")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
        return as_png(figure)


def slice_errors(alignment: Mapping[float, Sequence[Part]]) -> bytes:
    """Table 2 as distributions over slices: error before and after, by misalignment."""
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        names = (("distance_mm", "slice error mm"), ("angle_deg", "slice error °"))
        for ax, (key, name) in zip(figure.subplots(1, 2), names, strict=True):
            for k, found in enumerate(alignment[level] for level in sorted(alignment)):
                for shift, when, colour in (
                    (-0.17, "before", BEFORE_COLOUR),
                    (0.17, "after", AFTER_COLOUR),
                ):
                    values = [v for part in found for v in part[when][key]]
                    _box(ax, values, k + shift, colour)
            _name_ticks(ax, [f"{level:g} mm" for level in sorted(alignment)])
            ax.set(ylabel=name, xlabel="misalignment (red: as scanned, green: fitted)")
            ax.set_ylim(bottom=0)
        return as_png(figure)


def dice_boxes(accuracy: Sequence[Part]) -> bytes:
    """Dense Dice of every subject, without and with the common motion counted."""
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(5.0, 3.4), layout="constrained")
        ax = figure.subplots()
        for k, label in enumerate(LABELS):
            for shift, key, colour in (
                (-0.17, "dice", AFTER_COLOUR),
                (0.17, "dice_anchored", MUTED),
            ):
                _box(ax, [part["dense"][key][label] for part in accuracy], k + shift, colour)
        _name_ticks(ax, [label.replace("_", " ") for label in LABELS])
        ax.set(ylabel="Dice, 3D+t", xlabel="green: common motion removed, grey: scanner space")
        return as_png(figure)


def profiles(arrays: Arrays) -> bytes:
    """Figure 4: intensities of two slices along their common line over the cycle."""
    names = sorted({key.split("/")[0] for key in arrays})
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(9.0, 2.3 * len(names)), layout="constrained")
        grid = figure.subplots(len(names), 4, squeeze=False)
        for row, name in zip(grid, names, strict=True):
            columns = [(when, side) for when in ("before", "after") for side in ("a", "b")]
            for ax, (when, side) in zip(row, columns, strict=True):
                ax.imshow(arrays[f"{name}/{when}/{side}"], cmap="gray", aspect="auto")
                score = float(arrays[f"{name}/{when}/ncc"])
                which = name.split(" × ")[side == "b"]
                ax.set_title(f"{which}, {when} (NCC {score:.2f})", fontsize=8)
                ax.set(xlabel="mm along the line", ylabel="phase", xticks=[], yticks=[])
        return as_png(figure)


def held_out_views(arrays: Arrays) -> bytes:
    """Appendix B, Figures 8 and 9: images and labels of views that the fit did not see."""
    cases = sorted({key.split("/")[0] for key in arrays})
    panels = (("image", "labels"), ("predicted", "predicted_labels"))
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(6.0, 3.0 * len(cases)), layout="constrained")
        for row, case in zip(figure.subplots(len(cases), 2, squeeze=False), cases, strict=True):
            for ax, (image, labels) in zip(row, panels, strict=True):
                _overlay(ax, arrays[f"{case}/{image}"], arrays[f"{case}/{labels}"])
                what = "held-out slice, true labels" if image == "image" else "predicted"
                ax.set_title(f"fitted to {case}: {what}", fontsize=8)
        return as_png(figure)


def psf_views(arrays: Arrays) -> bytes:
    """Appendix C, Figure 11: a long-axis reconstruction with each point-spread function."""
    names = ["image", *sorted(key for key in arrays if key.endswith("/plane"))]
    with rc_context(CHART_STYLE):
        figure = Figure(figsize=(2.6 * len(names), 2.9), layout="constrained")
        for ax, name in zip(figure.subplots(1, len(names)), names, strict=True):
            ax.imshow(arrays[name], cmap="gray")
            ax.set_title("scanned" if name == "image" else f"PSF: {name.split('/')[0]}", fontsize=8)
            ax.set_axis_off()
        return as_png(figure)


def _overlay(ax: Axes, image: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    ax.imshow(image, cmap="gray")
    for label in reversed(FOREGROUND):  # blood over the wall that it touches
        for contour in find_contours((labels == label).astype(float), 0.5):
            ax.plot(contour[:, 1], contour[:, 0], lw=1.2, color=_colour(label))
    ax.set_axis_off()


def _colour(label: Label) -> tuple[float, float, float]:
    r, g, b = LABEL_INFO[label].rgb
    return r / 255, g / 255, b / 255


def _box(ax: Axes, values: Sequence[float], x: float, colour: str) -> None:
    """A box of the quartiles with whiskers to the 5th and 95th percentile, and every value."""
    jitter = np.random.default_rng(0).uniform(-0.06, 0.06, len(values))
    ax.plot(x + jitter, values, ".", ms=2, color=colour, alpha=0.35)
    line = {"color": colour}
    ax.boxplot(
        [list(values)],
        positions=[x],
        widths=0.28,
        whis=(5, 95),
        showfliers=False,
        manage_ticks=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={"color": INK},
    )


def _name_ticks(ax: Axes, names: Sequence[str]) -> None:
    ax.set_xticks(range(len(names)), list(names))


def as_png(figure: Figure) -> bytes:
    """The figure, encoded."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()
