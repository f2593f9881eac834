"""Distances between the surfaces of two hearts, at one time of the cycle.

Both are labelled on the same grid (the truth's box and a margin) and triangulated alike, so equal
hearts are 0 apart. The distance is from every vertex of one surface to the nearest vertex of the
other, both ways; HD95 is the larger of both 95th percentiles.
"""

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from NISFCore.analysis.fitted import HeartTruth, true_labels
from NISFCore.analysis.rendering import evaluate_points
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.grids import box_grid
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import Affine, Points, apply_affine
from NISFCore.labels import FOREGROUND, LABEL_INFO
from NISFCore.progress import CancelToken

MARGIN_MM = 8.0


def surface_distances(
    estimate: HeartField,
    truth: HeartTruth,
    truth_from_estimate: Affine,
    cycle_fraction: float,
    spacing_mm: float,
    cancel: CancelToken | None = None,
) -> dict[str, dict[str, float]]:
    """Label key → {mean_mm, hd95_mm}; NaN where one of the hearts lacks the label.

    Args:
        truth_from_estimate: the rigid motion common to all slices, which is not counted.
    """
    box = truth.box
    low, high = box.low_mm - MARGIN_MM, box.high_mm + MARGIN_MM
    grid = box_grid(box.ras_from_box, low, high, spacing_mm)
    points = grid.points_ras().reshape(-1, 3)
    seen = true_labels(truth, points, cycle_fraction, cancel).reshape(grid.shape)
    moved = apply_affine(invert_rigid(truth_from_estimate), points)
    found = evaluate_points(estimate, moved, cycle_fraction, cancel).labels.reshape(grid.shape)
    return {
        LABEL_INFO[label].key: between(
            boundary_mm(found == label, spacing_mm), boundary_mm(seen == label, spacing_mm)
        )
        for label in FOREGROUND
    }


def boundary_mm(mask: npt.NDArray[np.bool_], spacing_mm: float) -> Points:
    """Vertices `(n, 3)` of a mask's surface in mm from the first voxel; empty without a surface."""
    padded = np.pad(mask, 1).astype(np.float32)
    if not mask.any():
        return np.zeros((0, 3))
    vertices, _, _, _ = marching_cubes(padded, 0.5, spacing=(spacing_mm,) * 3)
    return np.asarray(vertices, dtype=np.float64) - spacing_mm


def between(a: Points, b: Points) -> dict[str, float]:
    """Mean and HD95 of two sets of surface points, both ways."""
    if not len(a) or not len(b):
        return {"mean_mm": np.nan, "hd95_mm": np.nan}
    there, back = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
    hd95 = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return {"mean_mm": float((there.mean() + back.mean()) / 2), "hd95_mm": hd95}
