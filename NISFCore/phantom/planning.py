"""Where an operator puts the imaging planes of a heart: SA stack and long-axis planes.

Planes are `ras_from_ijk` (see `geometry.planes`), displayed as usual: SA with the RV on the left
and the anterior wall up, long-axis views with the apex up and the RV on the left.
"""

from dataclasses import dataclass

import numpy as np

from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, Points
from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.protocol import AcquisitionProtocol
from NISFCore.views import View

CLINICAL_ANGLES_DEG = {View.LA_2CH: 113.0, View.LA_3CH: 57.0, View.LA_4CH: 0.0}
"""Angle of a plane about the LV axis from +x towards anterior (+y): the 4-chamber plane, the
3-chamber plane through the aortic root, the 2-chamber plane through anterior and inferior wall; as
far apart as on planned planes of real examinations (`data.view_recognition`)."""
ANGLE_SD_DEG = 5.0
IN_PLANE_TURN_SD_DEG = 10.0
N_SA_RANGE = (8, 13)
SA_BELOW_APEX_MM, SA_ABOVE_BASE_MM = 3.0, 12.0


@dataclass(frozen=True)
class PlannedSlice:
    """A plane as it stands in the image header."""

    name: str
    view: View
    ras_from_ijk: Affine


def plan(
    heart: BeatingHeart,
    ras_from_heart: Affine,
    protocol: AcquisitionProtocol,
    rng: np.random.Generator,
) -> list[PlannedSlice]:
    """SA stack from base to apex, then the long-axis planes."""
    planned_from_heart = ras_from_heart @ _planning_error(protocol, rng)
    stack = _sa_stack(heart, planned_from_heart, protocol, rng)
    if not protocol.has_long_axis:
        return stack
    if protocol.n_radial_planes:
        return stack + _radial_planes(ras_from_heart, protocol)
    return stack + _clinical_planes(ras_from_heart, protocol, rng)


def _planning_error(protocol: AcquisitionProtocol, rng: np.random.Generator) -> Affine:
    """A small rigid motion of heart coordinates."""
    rotvec = np.deg2rad(protocol.planning_sd_deg) * rng.standard_normal(3)
    return rigid(rotation_from_rotvec(rotvec), protocol.planning_sd_mm * rng.standard_normal(3))


def _sa_stack(
    heart: BeatingHeart,
    ras_from_heart: Affine,
    protocol: AcquisitionProtocol,
    rng: np.random.Generator,
) -> list[PlannedSlice]:
    heights = _sa_heights(heart, protocol)
    turn = np.deg2rad(_turn_sd_deg(protocol)) * rng.standard_normal()
    c, s = np.cos(turn), np.sin(turn)
    column_axis, row_axis = np.array([-c, -s, 0.0]), np.array([s, -c, 0.0])
    return [
        PlannedSlice(
            f"SA_{k + 1:02d}",
            View.SA,
            ras_from_heart @ _plane([0, 0, height], column_axis, row_axis, protocol),
        )
        for k, height in enumerate(heights)
    ]


def _sa_heights(heart: BeatingHeart, protocol: AcquisitionProtocol) -> Points:
    """Heights of the SA slices in heart coordinates, from base to apex."""
    if protocol.sa_levels:
        apex, base = heart.shape.z_apex_mm, heart.shape.z_base_mm
        return np.asarray(apex + (base - apex) * np.array(protocol.sa_levels), dtype=np.float64)
    low = heart.shape.z_apex_mm - SA_BELOW_APEX_MM
    high = heart.shape.z_base_mm + SA_ABOVE_BASE_MM
    n = protocol.n_sa_slices
    if n == 0:
        n = int(np.clip(np.ceil((high - low) / protocol.slice_spacing_mm), *N_SA_RANGE))
    offsets = (np.arange(n) - (n - 1) / 2) * protocol.slice_spacing_mm
    return np.asarray((low + high) / 2 - offsets, dtype=np.float64)


def _turn_sd_deg(protocol: AcquisitionProtocol) -> float:
    """An exactly planned study has no arbitrary in-plane turn either."""
    return IN_PLANE_TURN_SD_DEG if protocol.planning_sd_deg > 0 else 0.0


def _clinical_planes(
    ras_from_heart: Affine, protocol: AcquisitionProtocol, rng: np.random.Generator
) -> list[PlannedSlice]:
    planes = []
    exact = protocol.planning_sd_deg == 0
    for view, mean_deg in CLINICAL_ANGLES_DEG.items():
        angle_deg = mean_deg + (0.0 if exact else ANGLE_SD_DEG * rng.standard_normal())
        turn_deg = _turn_sd_deg(protocol) * rng.standard_normal()
        planned_from_heart = ras_from_heart @ _planning_error(protocol, rng)
        plane = planned_from_heart @ _long_axis_plane(angle_deg, turn_deg, protocol)
        planes.append(PlannedSlice(view.value, view, plane))
    return planes


def _radial_planes(ras_from_heart: Affine, protocol: AcquisitionProtocol) -> list[PlannedSlice]:
    """Planes through the LV axis at equal angles; only the one along +x is called 4-chamber."""
    planes = []
    n = protocol.n_radial_planes
    for k in range(n):
        angle_deg = 180.0 * k / n
        view = View.LA_4CH if k == 0 else View.LA_3CH if angle_deg < 65.0 else View.LA_2CH
        plane = ras_from_heart @ _long_axis_plane(angle_deg, 0.0, protocol)
        planes.append(PlannedSlice(f"{view.value}_{k + 1:02d}", view, plane))
    return planes


def _long_axis_plane(angle_deg: float, turn_deg: float, protocol: AcquisitionProtocol) -> Affine:
    """heart_from_ijk of a plane through the LV axis, apex up, RV on the left."""
    angle, turn = np.deg2rad(angle_deg), np.deg2rad(turn_deg)
    across = np.array([-np.cos(angle), -np.sin(angle), 0.0])
    down = np.array([0.0, 0.0, 1.0])
    column_axis = np.cos(turn) * across + np.sin(turn) * down
    row_axis = np.cos(turn) * down - np.sin(turn) * across
    return _plane([0, 0, 0], column_axis, row_axis, protocol)


def _plane(
    centre: list[float] | Points,
    column_axis: Points,
    row_axis: Points,
    protocol: AcquisitionProtocol,
) -> Affine:
    """A square image about `centre`: i runs along `column_axis`, j along `row_axis`."""
    A = np.eye(4)
    A[:3, 0] = column_axis * protocol.pixel_mm
    A[:3, 1] = row_axis * protocol.pixel_mm
    A[:3, 2] = np.cross(column_axis, row_axis) * protocol.thickness_mm
    half = (protocol.n_pixels - 1) / 2
    A[:3, 3] = np.asarray(centre, dtype=np.float64) - half * (A[:3, 0] + A[:3, 1])
    return A
