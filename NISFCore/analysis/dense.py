"""A fitted heart against the truth on one dense 3D+time grid: Dice and volumes in one pass.

The grid has the axes of the fitted heart's box and is extended by whole voxels until it holds the
true heart too, so a common rigid motion of the fit moves the grid along and changes no figure but
the anchored Dice.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.fitted import HeartTruth, true_labels
from NISFCore.analysis.metrics import DiceCounts
from NISFCore.analysis.rendering import grid_chunks_ras, sample_labels
from NISFCore.analysis.volumes import VolumeCurve, label_volumes_ml
from NISFCore.geometry.field import HeartBox, HeartField
from NISFCore.geometry.grids import Grid
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import Affine, Points, apply_affine, invert_affine
from NISFCore.progress import CancelToken, ProgressReporter


@dataclass(frozen=True)
class DenseComparison:
    """Figures on the dense grid.

    Attributes:
        dice: Dice by label key, the truth seen through the common rigid motion.
        dice_anchored: the same without removing the common motion.
        estimate, truth: volume-time curves on this grid.
    """

    dice: dict[str, float]
    dice_anchored: dict[str, float]
    estimate: VolumeCurve
    truth: VolumeCurve


def compare_dense(
    estimate: HeartField,
    truth: HeartTruth,
    truth_from_estimate: Affine,
    cycle_fractions: npt.NDArray[np.float64],
    spacing_mm: float,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> DenseComparison:
    """Compare two hearts on a grid that holds both."""
    grid = common_grid(estimate.box, truth.box, truth_from_estimate, spacing_mm)
    dice, anchored = DiceCounts(), DiceCounts()
    volumes, true_volumes = [], []
    phases = sample_labels(estimate, grid, cycle_fractions, progress, cancel, "compare")
    for t, labels in zip(cycle_fractions.tolist(), phases, strict=True):
        seen = _labels_through(truth, truth_from_estimate, grid, t, cancel)
        dice.add(labels, seen)
        anchored.add(labels, _labels_through(truth, np.eye(4), grid, t, cancel))
        volumes.append(label_volumes_ml(labels, grid))
        true_volumes.append(label_volumes_ml(seen, grid))
    return DenseComparison(
        dice.by_key(),
        anchored.by_key(),
        VolumeCurve(cycle_fractions, np.stack(volumes)),
        VolumeCurve(cycle_fractions, np.stack(true_volumes)),
    )


def common_grid(
    estimate: HeartBox, truth: HeartBox, truth_from_estimate: Affine, spacing_mm: float
) -> Grid:
    """The estimate's grid, extended by whole voxels until it holds the truth as seen from there."""
    grid = estimate.grid(spacing_mm)
    corners = apply_affine(invert_rigid(truth_from_estimate), box_corners_ras(truth))
    ijk = apply_affine(invert_affine(grid.ras_from_ijk), corners)
    last = np.array(grid.shape[::-1]) - 1
    before = np.ceil(np.maximum(0, -ijk.min(axis=0)) - 1e-6).astype(int)
    after = np.ceil(np.maximum(0, ijk.max(axis=0) - last) - 1e-6).astype(int)
    shift = np.eye(4)
    shift[:3, 3] = -before
    n_i, n_j, n_k = (last + 1 + before + after).tolist()
    return Grid(grid.ras_from_ijk @ shift, (n_k, n_j, n_i))


def box_corners_ras(box: HeartBox) -> Points:
    """The eight corners `(8, 3)` of a box."""
    corners = list(product(*zip(box.low_mm, box.high_mm, strict=True)))
    return apply_affine(box.ras_from_box, corners)


def _labels_through(
    truth: HeartTruth,
    truth_from_grid: Affine,
    grid: Grid,
    cycle_fraction: float,
    cancel: CancelToken | None,
) -> npt.NDArray[np.uint8]:
    """True labels at the grid's samples moved by a rigid map, `(n_k, n_j, n_i)`."""
    labels = [
        true_labels(truth, apply_affine(truth_from_grid, points), cycle_fraction, cancel)
        for points in grid_chunks_ras(grid, jitter=True)
    ]
    return np.concatenate(labels).reshape(grid.shape)
