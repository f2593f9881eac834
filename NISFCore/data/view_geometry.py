"""Directions and azimuths of imaging planes in the patient (RAS), for view recognition.

Azimuths are those of lines: angles modulo 180 degrees about the LV axis, counted right-handed when
the axis points to the base.
"""

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.frame import TYPICAL_BASE_FROM_APEX_RAS
from NISFCore.geometry.spaces import Points

RIGHT_RAS = np.array([1.0, 0.0, 0.0])
SUPERIOR_RAS = np.array([0.0, 0.0, 1.0])

AZIMUTH_4CH_FROM_RIGHT_DEG = 4.0
AZIMUTH_4CH_FROM_SUPERIOR_DEG = 66.0


def typical_4ch_azimuth_deg(axis: Points) -> float:
    """Azimuth where the 4CH plane is expected, from the patient's right and superior.

    Each reference counts by how much of it lies across the LV axis, which makes the answer
    continuous for horizontal and vertical hearts. Azimuths of planes are modulo 180°.
    """
    total = 0.0 + 0.0j
    for reference, offset in (
        (RIGHT_RAS, AZIMUTH_4CH_FROM_RIGHT_DEG),
        (SUPERIOR_RAS, AZIMUTH_4CH_FROM_SUPERIOR_DEG),
    ):
        u, v = _across(axis)
        x, y = float(reference @ u), float(reference @ v)
        angle = np.arctan2(y, x) + np.deg2rad(offset)
        total += (x * x + y * y) * np.exp(2j * angle)
    return float(np.rad2deg(np.angle(total)) / 2)


def azimuth_deg(normal: Points, axis: Points) -> float:
    """Azimuth modulo 180° of the line in which a plane cuts the plane across `axis`."""
    u, v = _across(axis)
    trace = np.cross(axis, normal)
    return wrapped_deg(float(np.rad2deg(np.arctan2(trace @ v, trace @ u))))


def _across(axis: Points) -> tuple[Points, Points]:
    """A right-handed frame (u, v, axis); any one will do, as long as it is the same."""
    helper = np.eye(3)[int(np.argmin(np.abs(axis)))]
    u = np.cross(helper, axis)
    u = u / np.linalg.norm(u)
    return u, np.cross(axis, u)


def wrapped_deg(angle: float) -> float:
    """An angle of lines (modulo 180°) in [-90, 90)."""
    return (angle + 90.0) % 180.0 - 90.0


def angle_deg(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Angle between two directions regardless of sign, in [0, 90]."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    cosine = abs(float(a @ b)) / float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.rad2deg(np.arccos(min(1.0, cosine))))


def towards_base(direction: Points) -> Points:
    """The direction as a unit vector with the sign that points from apex to base."""
    unit = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    return unit if unit @ TYPICAL_BASE_FROM_APEX_RAS >= 0 else -unit
