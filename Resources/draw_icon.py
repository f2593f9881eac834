"""Draws the extension's icon: a short-axis heart, and slices that have moved.

    python Resources/draw_icon.py

writes `Resources/NISF.png` (for the Extensions Index) and the module's icon.
"""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyBboxPatch

HERE = Path(__file__).parent
TARGETS = (HERE / "NISF.png", HERE.parent / "NISFExtension" / "Resources" / "Icons" / "NISF.png")
PIXELS = 128
BACKGROUND, LINES = "#17202a", "#f4d03f"
LV, MYOCARDIUM, RV = "#d83c40", "#50ae60", "#427ad6"
"""The colours of the labels (see NISFCore/labels.py)."""


def draw() -> Figure:
    """The icon as a figure of one inch."""
    figure = Figure(figsize=(1, 1))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
    corner = "round,pad=0,rounding_size=0.16"
    axes.add_patch(
        FancyBboxPatch((0.02, 0.02), 0.96, 0.96, boxstyle=corner, color=BACKGROUND, lw=0)
    )
    # the RV is a crescent: a disc behind the LV and its septum
    axes.add_patch(Ellipse((0.38, 0.50), 0.58, 0.66, color=RV, lw=0))
    for radius, colour in ((0.305, BACKGROUND), (0.27, MYOCARDIUM), (0.16, LV)):
        axes.add_patch(Circle((0.60, 0.50), radius, color=colour, lw=0))
    for height, shift in ((0.74, 0.05), (0.50, -0.04), (0.26, 0.02)):
        ends = [0.10 + shift, 0.88 + shift]
        axes.plot(ends, [height, height], color=LINES, lw=1.2, alpha=0.9)
        axes.plot(ends, [height, height], "o", color=LINES, ms=2.6)
    return figure


def main() -> None:
    """Write the icons."""
    figure = draw()
    for target in TARGETS:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=PIXELS, transparent=True)


if __name__ == "__main__":
    main()
