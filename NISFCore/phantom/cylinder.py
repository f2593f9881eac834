"""Cylinder coordinates about the LV axis, and the fixed form that makes hearts no bodies of
revolution (step 4 of `motion`)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from NISFCore.phantom.parameters import LVParameters
from NISFCore.phantom.shape import APEX_RADIUS2_MM2, HeartShape


@dataclass(frozen=True)
class Cylinder:
    """Points in cylinder coordinates: radius, its square, cos and sin of theta, height."""

    R: Tensor
    R2: Tensor
    c: Tensor
    s: Tensor
    Z: Tensor

    @staticmethod
    def from_squared(R2: Tensor, c: Tensor, s: Tensor, Z: Tensor) -> "Cylinder":
        return Cylinder(R2.sqrt(), R2, c, s, Z)

    @property
    def x(self) -> Tensor:
        return self.R * self.c

    @property
    def y(self) -> Tensor:
        return self.R * self.s


class HeartForm:
    """The fixed, volume-preserving outer transform (step 4)."""

    def __init__(self, p: LVParameters, shape: HeartShape) -> None:
        ca, sa = np.cos(p.ellipticity_angle_rad), np.sin(p.ellipticity_angle_rad)
        turn = np.array([[ca, sa], [-sa, ca]])
        section = turn.T @ np.diag([p.ellipticity, 1 / p.ellipticity]) @ turn
        self._section = section.tolist()
        self._inverse_section = np.linalg.inv(section).tolist()
        self._tilt = p.base_tilt
        # A parabola: 0 at mid-level, bend_mm at apex and base.
        self._bend = tuple(b / shape.z_base_mm**2 for b in p.bend_mm)
        self._bend_limit_mm = 1.2 * shape.z_base_mm

    def forward(self, points: Tensor) -> Tensor:
        X, Y, Z = points.unbind(-1)
        (a, b), (c, d) = self._section
        h = Z.clamp(-self._bend_limit_mm, self._bend_limit_mm).square()
        x, y = a * X + b * Y + self._bend[0] * h, c * X + d * Y + self._bend[1] * h
        return torch.stack([x, y, Z + self._tilt[0] * x + self._tilt[1] * y], dim=-1)

    def inverse(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, z = points.unbind(-1)
        (a, b), (c, d) = self._inverse_section
        Z = z - self._tilt[0] * x - self._tilt[1] * y
        h = Z.clamp(-self._bend_limit_mm, self._bend_limit_mm).square()
        x, y = x - self._bend[0] * h, y - self._bend[1] * h
        return a * x + b * y, c * x + d * y, Z


def cylinder_of(xyz: tuple[Tensor, Tensor, Tensor]) -> Cylinder:
    X, Y, Z = xyz
    R2 = (X.square() + Y.square()).clamp_min(APEX_RADIUS2_MM2)
    inverse = R2.rsqrt()
    return Cylinder(R2 * inverse, R2, X * inverse, Y * inverse, Z)


def cartesian_of(m: Cylinder) -> Tensor:
    return torch.stack([m.x, m.y, m.Z], dim=-1)
