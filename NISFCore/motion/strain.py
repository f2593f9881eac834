"""Strain: Green-Lagrange, E = (F^T F - 1) / 2, with the exact F of a displacement field.

Components are those of the cardiac frame at the material point (`cardiac_frame`), as fractions:
a length that becomes l times as long has E = (l^2 - 1) / 2.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.geometry.spaces import Points
from NISFCore.motion.cardiac_frame import (
    CIRCUMFERENTIAL,
    LONGITUDINAL,
    N_SEGMENTS,
    RADIAL,
    LVFrame,
)
from NISFCore.motion.field import DisplacementField

Array = npt.NDArray[np.float64]
N_POINTS_AT_ONCE = 4096


def green_lagrange(F: Array) -> Array:
    """E `(..., 3, 3)` of deformation gradients `(..., 3, 3)`."""
    return (np.swapaxes(F, -1, -2) @ F - np.eye(F.shape[-1])) / 2


def deformation_gradient(
    field: DisplacementField, points_ras: Points, cycle_fractions: npt.ArrayLike
) -> Array:
    """F = 1 + du/dX in RAS, `(n_times, n, 3, 3)`; in a plane, what leaves it is not known and F is
    that of the plane with no deformation across."""
    axes, times = field.placement.axes, torch.tensor(cycle_fractions, dtype=torch.float32)
    parts = []
    with torch.no_grad():
        local = torch.tensor(field.placement.local_from_ras(points_ras), dtype=torch.float32)
        for part in local.split(N_POINTS_AT_ONCE):
            parts.append(field.gradient(part, times.reshape(-1)).numpy())
    by = np.concatenate(parts, axis=1).astype(np.float64) - np.eye(field.config.n_dims)
    return np.eye(3) + np.einsum("ai,...ab,bj->...ij", axes, by, axes)


def directional_strain(F: Array, directions: Array) -> Array:
    """Normal strains `(..., n, 3)` along the rows of `directions` `(n, 3, 3)`, F `(..., n, 3,
    3)`."""
    E = green_lagrange(F)
    return np.asarray(np.einsum("nda,...nab,ndb->...nd", directions, E, directions))


@dataclass(frozen=True)
class StrainCurves:
    """Strain of the LV wall over the cycle; fractions, not percent.

    Attributes:
        cycle_fractions: `(n_times,)`.
        segments: `(n_times, 17, 3)`: mean radial, circumferential, longitudinal strain of AHA
            segment k + 1; NaN where no point lies in it, or a direction is not known.
        whole: `(n_times, 3)`: mean over the points.
        torsion_deg: `(n_times,)`: rotation of the highest third against the lowest, NaN where the
            points do not reach far enough; positive if the base turns anticlockwise seen from it.
    """

    cycle_fractions: Array
    segments: Array
    whole: Array
    torsion_deg: Array

    def peak(self, direction: int) -> float:
        """Global strain farthest from 0: GRS, GCS, GLS."""
        curve = self.whole[:, direction]
        return float(curve[np.nanargmax(np.abs(curve))]) if np.isfinite(curve).any() else np.nan

    def segment_peaks(self, direction: int) -> Array:
        """`(17,)`, in each segment's own time."""
        curves = self.segments[:, :, direction]
        at = np.argmax(np.nan_to_num(np.abs(curves), nan=-1.0), axis=0)
        return curves[at, np.arange(N_SEGMENTS)]


def strain_curves(
    field: DisplacementField,
    frame: LVFrame,
    points_ras: Points,
    cycle_fractions: npt.ArrayLike,
    has_longitudinal: bool,
) -> StrainCurves:
    """Strain at points of the wall at ED, averaged.

    Args:
        points_ras: `(n, 3)`, evenly spread over the wall.
        has_longitudinal: whether what was imaged shows motion along the LV axis.
    """
    times = np.asarray(cycle_fractions, dtype=np.float64)
    F = deformation_gradient(field, points_ras, times)
    values = strain_in_wall(F, frame, points_ras, has_longitudinal)
    return StrainCurves(
        times,
        segment_means(values, frame.segments(points_ras)),
        values.mean(axis=1),
        torsion_deg(field, frame, points_ras, times),
    )


def strain_in_wall(F: Array, frame: LVFrame, points_ras: Points, has_longitudinal: bool) -> Array:
    """Radial, circumferential and longitudinal strain `(..., n, 3)` from deformation gradients
    `(..., n, 3, 3)` at points `(n, 3)`. What shows no motion along the LV axis has no longitudinal
    strain (NaN), and a radial one at right angles to that axis."""
    if has_longitudinal:
        return directional_strain(F, frame.directions(points_ras))
    values = directional_strain(F, replace(frame, foci=None).directions(points_ras))
    values[..., LONGITUDINAL] = np.nan
    return values


def segment_means(values: Array, segments: npt.NDArray[np.uint8]) -> Array:
    """`(n_times, 17, 3)` from values `(n_times, n, 3)`; NaN for segments without points."""
    out = np.full((len(values), N_SEGMENTS, 3), np.nan)
    for k in range(N_SEGMENTS):
        member = segments == k + 1
        if member.any():
            out[:, k] = values[:, member].mean(axis=1)
    return out


MIN_HEIGHT_MM = 20.0
"""Between the middles of the two thirds whose rotations torsion compares."""


def rotation_rad(frame: LVFrame, points_ras: Points, displacement_mm: Array) -> Array:
    """Mean rotation about the LV axis `(n_times,)` of points that moved `(n_times, n, 3)`."""
    across = np.stack(
        [frame.rv_from_lv_ras, np.cross(frame.base_from_apex_ras, frame.rv_from_lv_ras)]
    )
    before = (points_ras - frame.centre_ras) @ across.T
    after = before + displacement_mm @ across.T
    # about the points' own centres: what the whole section moves sideways is not rotation
    before = before - before.mean(axis=0)
    after = after - after.mean(axis=1, keepdims=True)
    turn = (before[:, 0] * after[..., 1] - before[:, 1] * after[..., 0]).sum(axis=1)
    same = (before * after).sum(axis=(1, 2))
    return np.asarray(np.arctan2(turn, same))


def torsion_deg(
    field: DisplacementField, frame: LVFrame, points_ras: Points, cycle_fractions: Array
) -> Array:
    """See `StrainCurves.torsion_deg`."""
    moved = displacement_ras(field, points_ras, cycle_fractions)
    return torsion_of_thirds(frame, points_ras, moved)


def torsion_of_thirds(frame: LVFrame, points_ras: Points, displacement_mm: Array) -> Array:
    """`StrainCurves.torsion_deg` of points that moved `(n_times, n, 3)`."""
    heights = frame.heights_mm(points_ras)
    low, high = np.quantile(heights, [1 / 3, 2 / 3])
    top, bottom = heights >= high, heights <= low
    if heights[top].mean() - heights[bottom].mean() < MIN_HEIGHT_MM:
        return np.full(len(displacement_mm), np.nan)
    turns = [rotation_rad(frame, points_ras[m], displacement_mm[:, m]) for m in (top, bottom)]
    return np.rad2deg(turns[0] - turns[1])


def displacement_ras(
    field: DisplacementField, points_ras: Points, cycle_fractions: npt.ArrayLike
) -> Array:
    """Displacement since ED in RAS mm, `(n_times, n, 3)`; in a plane, that within it."""
    times = torch.tensor(cycle_fractions, dtype=torch.float32).reshape(-1)
    local = torch.tensor(field.placement.local_from_ras(points_ras), dtype=torch.float32)
    with torch.no_grad():
        u = field.displacement(local, times).numpy().astype(np.float64)
    return u @ field.placement.axes


__all__ = [
    "CIRCUMFERENTIAL",
    "LONGITUDINAL",
    "RADIAL",
    "StrainCurves",
    "deformation_gradient",
    "directional_strain",
    "displacement_ras",
    "green_lagrange",
    "rotation_rad",
    "segment_means",
    "strain_curves",
    "strain_in_wall",
    "torsion_deg",
    "torsion_of_thirds",
]
