"""Contact sheets of the slice network's outlines on the slices, for `slice_network`."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from NISFCore.data.study import CineSlice
from NISFCore.evidence.inference import ask
from NISFCore.evidence.network import SliceNetwork
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import LABEL_INFO
from Testing.Benchmarks.slice_network_cases import Case

HALF_WIDTH_MM = 85.0
COLUMNS = 6


def write_picture(
    path: Path, case: Case, network: SliceNetwork, frames: list[tuple[CineSlice, int]]
) -> None:
    """Each frame with the network's outlines (solid) and the reference's (dotted), beside it the
    confidence."""
    mpl.use("Agg")
    rows = -(-len(frames) // (COLUMNS // 2))
    figure = Figure(figsize=(2.6 * COLUMNS, 2.6 * rows))
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for index, (cine, phase) in enumerate(frames):
        row, column = divmod(2 * index, COLUMNS)
        _draw(axes[row, column], axes[row, column + 1], case, network, cine, phase)
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=60)


def _draw(
    left: Axes, right: Axes, case: Case, network: SliceNetwork, cine: CineSlice, phase: int
) -> None:
    answer = ask(cine, case.canonical_from_ras, network, [phase])
    found = answer.probabilities[0].argmax(axis=-1)
    image = cine.frames[phase]
    left.imshow(image, cmap="gray", vmax=np.percentile(image, 99.5))
    left.set_title(f"{cine.name} {phase}", fontsize=7)
    right.imshow(answer.confidence[0], vmin=0, vmax=1)
    _outlines(left, found, "solid")
    _outlines(left, case.labels[cine.name][phase], "dotted")
    points = apply_affine(case.canonical_from_ras, pixel_centres_ras(cine.ras_from_ijk, cine.shape))
    near = np.argwhere((np.abs(points) < HALF_WIDTH_MM).all(axis=-1))
    if len(near):
        (top, first), (bottom, last) = near.min(axis=0), near.max(axis=0)
        for axis in (left, right):
            axis.set_xlim(first, last)
            axis.set_ylim(bottom, top)


def _outlines(axis: Axes, labels: npt.NDArray[np.generic], style: str) -> None:
    for label, info in LABEL_INFO.items():
        mask = labels == label
        if mask.any():
            colour = tuple(c / 255 for c in info.rgb)
            axis.contour(mask, [0.5], colors=[colour], linewidths=0.9, linestyles=style)
