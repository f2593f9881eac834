"""Cine planes planned on a heart of known pose, as a radiographer plans them."""

from dataclasses import dataclass

import numpy as np

from NISFCore.geometry.frame import (
    TYPICAL_BASE_FROM_APEX_RAS,
    TYPICAL_RV_FROM_LV_RAS,
    ViewPlane,
)
from NISFCore.geometry.rigid import invert_rigid, rigid, rotation_angle_deg, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine
from NISFCore.views import View
from Testing.Core.geometry.motions import Array, plane_ras_from_ijk, random_rotation

SHAPE = (160, 180)
AZIMUTH_DEG = {View.LA_4CH: 0.0, View.LA_3CH: 57.0, View.LA_2CH: 113.0}
"""Angle of each long-axis plane's trace from +x (towards the RV), about the LV axis."""


@dataclass(frozen=True)
class Planning:
    """Errors of the planning and choices of the scanner.

    Attributes:
        tilt_deg, shift_mm: each long-axis plane's error; the SA stack's tilt.
        off_centre_mm: how far the image centres lie from the LV axis, within their planes.
    """

    tilt_deg: float = 0.0
    shift_mm: float = 0.0
    off_centre_mm: float = 0.0
    n_sa: int = 10
    sa_spacing_mm: float = 9.0


def heart_pose(rng: np.random.Generator, max_turn_deg: float = 20.0) -> Affine:
    """ras_from_canonical of a patient: the typical directions, turned by up to `max_turn_deg`."""
    z = TYPICAL_BASE_FROM_APEX_RAS / np.linalg.norm(TYPICAL_BASE_FROM_APEX_RAS)
    x = TYPICAL_RV_FROM_LV_RAS - (TYPICAL_RV_FROM_LV_RAS @ z) * z
    x = x / np.linalg.norm(x)
    typical = np.stack([x, np.cross(z, x), z], axis=1)
    turn = random_rotation(rng, max_turn_deg)
    return rigid(turn @ typical, rng.uniform(-80, 80, size=3))


def planned_planes(
    ras_from_canonical: Affine, rng: np.random.Generator, planning: Planning
) -> list[ViewPlane]:
    """An SA stack and the three long-axis planes, in random order and image orientation."""
    planes = [*_sa_stack(rng, planning), *(_la_plane(v, rng, planning) for v in AZIMUTH_DEG)]
    shuffled = [planes[i] for i in rng.permutation(len(planes))]
    return [ViewPlane(p.view, ras_from_canonical @ p.ras_from_ijk, p.shape) for p in shuffled]


def of_views(planes: list[ViewPlane], *views: View) -> list[ViewPlane]:
    return [p for p in planes if p.view in views]


def angle_between_deg(a: Array, b: Array) -> float:
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))


def frame_errors(canonical_from_ras: Affine, ras_from_canonical: Affine) -> tuple[float, Array]:
    """Rotation error in degrees and the found origin in true canonical mm."""
    true_from_found = invert_rigid(canonical_from_ras @ ras_from_canonical)
    return rotation_angle_deg(true_from_found[:3, :3]), true_from_found[:3, 3]


def _sa_stack(rng: np.random.Generator, planning: Planning) -> list[ViewPlane]:
    tilt = random_rotation(rng, planning.tilt_deg)
    axes = tilt @ _image_axes(np.array([0.0, 0, 1]), rng)
    in_plane = _in_plane(axes, rng, planning.off_centre_mm)
    heights = (np.arange(planning.n_sa) - (planning.n_sa - 1) / 2) * planning.sa_spacing_mm
    return [
        ViewPlane(View.SA, plane_ras_from_ijk(axes, tilt @ [0, 0, h] + in_plane, SHAPE), SHAPE)
        for h in heights
    ]


def _la_plane(view: View, rng: np.random.Generator, planning: Planning) -> ViewPlane:
    azimuth = np.deg2rad(AZIMUTH_DEG[view])
    normal = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    axes = random_rotation(rng, planning.tilt_deg) @ _image_axes(normal, rng)
    centre = _in_plane(axes, rng, planning.off_centre_mm)
    centre = centre + rng.uniform(-1, 1) * planning.shift_mm * axes[:, 2]
    return ViewPlane(view, plane_ras_from_ijk(axes, centre, SHAPE), SHAPE)


def _image_axes(normal: Array, rng: np.random.Generator) -> Array:
    """i, j, normal as columns: any in-plane turn, the normal towards either side."""
    normal = normal if rng.uniform() < 0.5 else -normal
    i = np.cross(normal, [0.3, 0.5, 0.8])
    i = i / np.linalg.norm(i)
    turn = rotation_from_rotvec(rng.uniform(-np.pi, np.pi) * normal)
    return turn @ np.stack([i, np.cross(normal, i), normal], axis=1)


def _in_plane(axes: Array, rng: np.random.Generator, size_mm: float) -> Array:
    return np.asarray(axes[:, :2] @ rng.uniform(-size_mm, size_mm, size=2))
