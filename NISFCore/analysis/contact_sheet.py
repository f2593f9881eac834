"""A contact sheet of a study: every slice at its first phase and at the most contracted one, and
where the planes lie in the heart."""

import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from NISFCore.data.canonical import beating_amplitude, beating_centre_of_slice, canonical_frame_of
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import StudyError
from NISFCore.files import write_bytes_atomically
from NISFCore.geometry.planes import corners_ras
from NISFCore.geometry.spaces import Affine, apply_affine, invert_affine
from NISFCore.views import View

COLUMNS = 6
TILE_INCH = 1.9
CROP_MM = 170.0
"""Side of the square shown of every slice, about where it beats."""

WINDOW_QUANTILES = (0.01, 0.995)
COLOURS = {
    View.SA: "#9aa4ad",
    View.LA_2CH: "#f2b134",
    View.LA_3CH: "#6ac17b",
    View.LA_4CH: "#5b9bd5",
    View.OTHER: "#b0413e",
}
BACKGROUND = "#14171a"

Image = npt.NDArray[np.float32]


def write_contact_sheet(study: CineStudy, path: Path) -> None:
    """Write the contact sheet as PNG, atomically.

    Raises:
        OutputError: if it cannot be written.
    """
    figure = contact_sheet(study)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor=BACKGROUND)
    write_bytes_atomically(path, buffer.getvalue())


def contact_sheet(study: CineStudy) -> Figure:
    """The sheet as a figure: pairs of pictures for each slice, then two drawings of planes."""
    items = [(s, "") for s in study.slices] + [(e.slice, "left out") for e in study.excluded]
    n_tiles = 2 * len(items)
    rows = math.ceil(n_tiles / COLUMNS)
    figure = Figure(figsize=(COLUMNS * TILE_INCH, (rows + 2.3) * TILE_INCH), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        rows + 1,
        COLUMNS,
        height_ratios=[1.0] * rows + [1.9],
        left=0.01, right=0.99, bottom=0.03, top=0.985, wspace=0.03, hspace=0.12,
    )  # fmt: skip
    canonical_from_ras = _canonical_from_ras(study)
    for k, (item, remark) in enumerate(items):
        rows_shown, cols_shown = _crop(item, canonical_from_ras)
        for half, phase in enumerate((0, contracted_phase(item))):
            tile = 2 * k + half
            axes = figure.add_subplot(grid[tile // COLUMNS, tile % COLUMNS])
            _draw_slice(axes, item, item.frames[phase, rows_shown, cols_shown])
            _title(axes, item, phase, remark)
    half_width = COLUMNS // 2
    for columns, shown in ((slice(0, half_width), (0, 2)), (slice(half_width, None), (0, 1))):
        _draw_planes(figure.add_subplot(grid[rows, columns]), study, canonical_from_ras, shown)
    return figure


def contracted_phase(item: CineSlice) -> int:
    """The phase that differs most from the first where the slice beats (about end-systole)."""
    weights = beating_amplitude(item)
    differences = np.abs(item.frames - item.frames[0])
    return int(np.argmax(np.tensordot(differences, weights, axes=2)))


def _draw_slice(axes: Axes, item: CineSlice, image: Image) -> None:
    low, high = np.quantile(item.frames, WINDOW_QUANTILES)
    spacing_i, spacing_j = item.spacing_mm
    axes.imshow(
        image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=spacing_j / spacing_i
    )
    axes.set_axis_off()


def _title(axes: Axes, item: CineSlice, phase: int, remark: str) -> None:
    title = f"{item.name}  {item.trigger_times_ms[phase]:.0f}/{item.rr_interval_ms:.0f} ms"
    colour = COLOURS[View.OTHER] if remark else COLOURS[item.view]
    axes.set_title(f"{title} {remark}".strip(), fontsize=6.5, color=colour, pad=2)


def _crop(item: CineSlice, canonical_from_ras: Affine | None) -> tuple[slice, slice]:
    """Rows and columns of a square about the canonical origin, else about what beats."""
    if canonical_from_ras is not None:
        centre_ras = invert_affine(canonical_from_ras)[:3, 3]
    else:
        beating = beating_centre_of_slice(item)
        centre_ras = item.centre_ras if beating is None else beating
    i, j = apply_affine(invert_affine(item.ras_from_ijk), centre_ras)[:2]
    spacing_i, spacing_j = item.spacing_mm
    n_rows, n_cols = item.shape
    return _window(j, CROP_MM / spacing_j, n_rows), _window(i, CROP_MM / spacing_i, n_cols)


def _window(centre: float, length: float, n: int) -> slice:
    size = min(n, round(length))
    start = int(np.clip(round(centre - size / 2), 0, n - size))
    return slice(start, start + size)


def _draw_planes(
    axes: Axes, study: CineStudy, canonical_from_ras: Affine | None, shown: tuple[int, int]
) -> None:
    """Outlines of all frames in canonical space, seen along one axis."""
    names = ("x: to the RV [mm]", "y: to the anterior wall [mm]", "z: to the base [mm]")
    axes.set_facecolor(BACKGROUND)
    axes.set_aspect("equal")
    axes.tick_params(colors="#9aa4ad", labelsize=6)
    for spine in axes.spines.values():
        spine.set_color("#3a4046")
    axes.set_xlabel(names[shown[0]], fontsize=6.5, color="#9aa4ad", labelpad=1)
    axes.set_ylabel(names[shown[1]], fontsize=6.5, color="#9aa4ad", labelpad=1)
    if canonical_from_ras is None:
        axes.text(0.5, 0.5, "no canonical frame", color="#9aa4ad", ha="center", fontsize=8)
        return
    for item in study.slices:
        corners = apply_affine(canonical_from_ras, corners_ras(item.ras_from_ijk, item.shape))
        outline = np.vstack([corners, corners[:1]])[:, list(shown)]
        axes.plot(outline[:, 0], outline[:, 1], color=COLOURS[item.view], lw=0.9)
        if item.name in _named_outlines(study, shown):
            axes.annotate(item.name, outline[0], color=COLOURS[item.view], fontsize=5)
    axes.plot(0, 0, "+", color="white")


def _named_outlines(study: CineStudy, shown: tuple[int, int]) -> set[str]:
    """Slices whose names do not run into each other: of the stack its ends, seen from the side."""
    stack = [s.name for s in study.of_view(View.SA)]
    ends = {stack[0], stack[-1]} if stack and 2 in shown else set()
    return ends | {s.name for s in study.slices if s.view is not View.SA}


def _canonical_from_ras(study: CineStudy) -> Affine | None:
    try:
        return canonical_frame_of(study).canonical_from_ras
    except StudyError:
        return None
