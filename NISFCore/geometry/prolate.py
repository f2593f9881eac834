"""Directions in the wall of a cavity that is long, closed at one end and open at the other.

Ellipsoids about one axis that share their foci follow such a wall from base to apex: across them is
radial, along them, from the closed end on, is longitudinal (prolate spheroidal coordinates, as in
Costa et al. 1996, J Biomech Eng 118:464). Directions that follow the axis instead cut through the
wall near its closed end: there they would tell thickening as lengthening.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.spaces import Points

Array = npt.NDArray[np.float64]

MIN_HEIGHT_MM = 20.0
"""A wall that is seen over less says nothing of how its radius changes."""


class Foci(NamedTuple):
    """Heights in mm along the axis, the apical focus first."""

    apical_mm: float
    basal_mm: float


def foci_of_wall(heights_mm: Array, distances_mm: Array) -> Foci | None:
    """The foci of the ellipsoid through a wall: r^2 = a + b h + c h^2, by least squares.

    Args:
        heights_mm, distances_mm: `(n,)` of points of the wall, along the axis and from it.

    Returns:
        None for a wall that is seen over little of its height or does not close.
    """
    if len(heights_mm) < 4 or np.ptp(heights_mm) < MIN_HEIGHT_MM:
        return None
    c, b, a = np.polyfit(heights_mm, distances_mm**2, 2)
    if c >= 0:
        return None
    middle, across2 = -b / (2 * c), a - b**2 / (4 * c)
    focus = float(np.sqrt(max(across2 / -c - across2, 0.0)))  # 0: a sphere, or flatter
    return Foci(middle - focus, middle + focus)


def wall_directions(
    outward_mm: Points, heights_mm: Array, along: Array, foci: Foci | None
) -> npt.NDArray[np.float64]:
    """`(n, 3, 3)`: rows are the radial, circumferential and longitudinal unit vectors.

    Args:
        outward_mm: `(n, 3)` from the axis to the points, at right angles to it.
        heights_mm: `(n,)` of the points along the axis.
        along: `(3,)` unit vector of the axis, from the closed end to the open one.
        foci: of the wall; None takes the axis itself as longitudinal.
    """
    distance = np.linalg.norm(outward_mm, axis=1)
    across = outward_mm / np.maximum(distance, 1e-9)[:, None]
    circumferential = np.cross(along, across)
    away, up = np.ones_like(distance), np.zeros_like(distance)
    if foci is not None:
        # the ellipsoid's normal halves the angle between the directions from its foci
        rises = [heights_mm - focus for focus in foci]
        lengths = [np.maximum(np.hypot(distance, rise), 1e-9) for rise in rises]
        away = sum(distance / length for length in lengths)
        up = sum(rise / length for rise, length in zip(rises, lengths, strict=True))
        size = np.maximum(np.hypot(away, up), 1e-9)
        away, up = away / size, up / size
    radial = away[:, None] * across + up[:, None] * along
    longitudinal = away[:, None] * along - up[:, None] * across
    return np.stack([radial, circumferential, longitudinal], axis=1)
