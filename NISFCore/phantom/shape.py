"""Surfaces of the ventricles at end-diastole, in cylinder coordinates about the LV axis.

Material space: mm, z from apex to base, theta from the 4-chamber plane (+x) towards anterior (+y);
every surface is R^2(theta, Z), so that volumes are integrals of R^2 / 2 and need no trigonometry:
functions take c = cos(theta) and s = sin(theta).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from NISFCore.errors import ConfigError
from NISFCore.phantom.parameters import HeartParameters, LVParameters, RVParameters

MYOCARDIAL_DENSITY_G_ML = 1.05
WIDEST_LEVEL = 0.25
"""The LV is widest this part of the cavity length below the base plane."""
MIN_WALL_MM = 3.0
APEX_RADIUS2_MM2 = 1e-6


@dataclass(frozen=True)
class Profile:
    """Squared radius of a surface of revolution: R^2 (1 - u^2)(1 + fullness u^2)(1 - taper v^2),
    u from the widest level down to the apex, v up to the base plane; constant above it."""

    radius2_mm2: float
    z_widest_mm: float
    z_apex_mm: float
    z_base_mm: float
    fullness: float
    taper: float

    def squared_radius(self, Z: Tensor) -> Tensor:
        """R^2 in mm^2 at heights `Z`; 0 below the apex."""
        down, up = self.z_widest_mm - self.z_apex_mm, self.z_base_mm - self.z_widest_mm
        u2 = ((self.z_widest_mm - Z) * (1 / down)).clamp(0.0, 1.0).square()
        v2 = ((Z - self.z_widest_mm) * (1 / up)).clamp(0.0, 1.0).square()
        body = (1 - u2) * (1 + self.fullness * u2)
        return body * (self.radius2_mm2 - (self.taper * self.radius2_mm2) * v2)

    def volume_ml(self, mean_angular: float) -> float:
        """Volume below the base plane, with the mean over theta of the angular factor."""
        down, up = self.z_widest_mm - self.z_apex_mm, self.z_base_mm - self.z_widest_mm
        length = down * (2 / 3 + 2 * self.fullness / 15) + up * (1 - self.taper / 3)
        return np.pi * mean_angular * self.radius2_mm2 * length / 1000.0


@dataclass(frozen=True)
class Angular:
    """Factor of the squared radius: 1 + septal g + anterior s - flattening max(g, 0)^2, where
    g = cos(theta - angle) and the septum lies at the angle."""

    septal: float
    anterior: float
    flattening: float
    cos_angle: float
    sin_angle: float

    @property
    def mean(self) -> float:
        return 1 - self.flattening / 4

    def factor(self, c: Tensor, s: Tensor) -> Tensor:
        g = c * self.cos_angle + s * self.sin_angle
        factor = 1 + self.septal * g - self.flattening * g.clamp_min(0).square()
        return factor + self.anterior * s if self.anterior else factor


@dataclass(frozen=True)
class RVShape:
    """R_rv^2 = R_epi^2 + S max(E - narrowing (1 - S) radius^2, 0), S(Z) from 1 at the base plane
    to 0 at the RV apex, E(theta) = (squared basal circle) - (squared basal epicardium)."""

    radius_mm: float
    offset_mm: float
    cos_angle: float
    sin_angle: float
    z_apex_mm: float
    z_base_mm: float
    z_tricuspid_mm: float
    outflow_height_mm: float
    outflow_start_mm: float
    fullness: float
    narrowing: float
    wall_mm: float
    basal_epi: Angular
    basal_epi_radius2_mm2: float

    def taper(self, Z: Tensor) -> Tensor:
        """S, 1 at and above the base plane, 0 at and below the RV apex."""
        v = ((self.z_base_mm - Z) * (1 / (self.z_base_mm - self.z_apex_mm))).clamp(0.0, 1.0)
        return (1 - v) * (1 + self.fullness * v)

    def basal_excess(self, c: Tensor, s: Tensor, epi_factor: Tensor) -> Tensor:
        """E in mm^2, negative where there is no RV. `epi_factor` is `basal_epi.factor(c, s)`."""
        ca = c * self.cos_angle + s * self.sin_angle
        across2 = (self.offset_mm**2) * (1 - ca.square())
        reach = self.offset_mm * ca + (self.radius_mm**2 - across2).sqrt()
        return reach.square() - self.basal_epi_radius2_mm2 * epi_factor

    def excess(self, E: Tensor, S: Tensor) -> Tensor:
        """S (E - narrowing), not clamped: mm^2."""
        return S * (E - (self.narrowing * self.radius_mm**2) * (1 - S))

    def top_mm(self, Y: Tensor) -> Tensor:
        """Height of the tricuspid plane, rising to the pulmonary valve in the outflow tract."""
        ramp = ((Y - self.outflow_start_mm) * 0.1).clamp(0.0, 1.0)
        return self.z_tricuspid_mm + self.outflow_height_mm * ramp


@dataclass(frozen=True)
class HeartShape:
    """The solved surfaces of one heart."""

    endo: Profile
    epi: Profile
    endo_angular: Angular
    epi_angular: Angular
    rv: RVShape

    @property
    def z_base_mm(self) -> float:
        return self.endo.z_base_mm

    @property
    def z_apex_mm(self) -> float:
        """Epicardial apex of the LV."""
        return self.epi.z_apex_mm

    @property
    def edv_ml(self) -> float:
        return self.endo.volume_ml(self.endo_angular.mean)

    @property
    def wall_volume_ml(self) -> float:
        return self.epi.volume_ml(self.epi_angular.mean) - self.edv_ml


def solve_shape(parameters: HeartParameters) -> HeartShape:
    """The surfaces whose EDV, mass and RV EDV are those of `parameters`.

    Raises:
        ConfigError: if these values contradict each other (a wall thinner than 3 mm).
    """
    endo, epi, endo_angular, epi_angular = _solve_lv(parameters.lv, parameters.rv.angle_rad)
    rv = _rv_shape(parameters.rv, 40.0, epi, epi_angular)
    shape = HeartShape(endo, epi, endo_angular, epi_angular, rv)
    _check_wall(shape)
    return replace(shape, rv=_solve_rv(parameters.rv, shape))


def _solve_lv(p: LVParameters, septum_rad: float) -> tuple[Profile, Profile, Angular, Angular]:
    c, s = float(np.cos(septum_rad)), float(np.sin(septum_rad))
    endo_angular = Angular(-p.septal_bulge, 0.0, p.septal_flattening, c, s)
    epi_angular = Angular(p.septal_excess, p.anterior_excess, p.septal_flattening, c, s)
    # EDV of a heart of radius 1 mm gives the radius: volume grows with its cube.
    unit = Profile(1.0, -WIDEST_LEVEL * p.length_over_radius, -p.length_over_radius, 0.0,
                   p.fullness, p.base_taper)  # fmt: skip
    radius = float(np.cbrt(p.edv_ml / unit.volume_ml(endo_angular.mean)))
    length = radius * p.length_over_radius
    z_base = (length + p.apex_thickness_mm) / 2
    endo = Profile(radius**2, z_base - WIDEST_LEVEL * length, z_base - length, z_base,
                   p.fullness, p.base_taper)  # fmt: skip
    thin = replace(endo, radius2_mm2=1.0, z_apex_mm=-z_base, fullness=p.epi_fullness)
    whole_ml = p.edv_ml + p.mass_g / MYOCARDIAL_DENSITY_G_ML
    epi = replace(thin, radius2_mm2=whole_ml / thin.volume_ml(epi_angular.mean))
    return endo, epi, endo_angular, epi_angular


def wall_thickness_mm(shape: HeartShape, n_angles: int = 72, n_levels: int = 40) -> Tensor:
    """Radial wall thickness `(n_angles, n_levels)` from the endocardial apex to the base plane."""
    theta = torch.arange(n_angles, dtype=torch.float64) * (2 * np.pi / n_angles)
    c, s = theta.cos()[:, None], theta.sin()[:, None]
    Z = torch.linspace(shape.endo.z_apex_mm, shape.z_base_mm, n_levels, dtype=torch.float64)
    epi2 = shape.epi.squared_radius(Z) * shape.epi_angular.factor(c, s)
    endo2 = shape.endo.squared_radius(Z) * shape.endo_angular.factor(c, s)
    return epi2.sqrt() - endo2.sqrt()


def _check_wall(shape: HeartShape) -> None:
    thinnest = float(wall_thickness_mm(shape).min())
    if thinnest < MIN_WALL_MM:
        raise ConfigError(
            f"HeartParameters: the LV wall would be {thinnest:.1f} mm thin, allowed: "
            f"{MIN_WALL_MM} mm or more; raise mass_g, or lower edv_ml or septal_bulge"
        )


def _rv_shape(p: RVParameters, radius_mm: float, epi: Profile, epi_angular: Angular) -> RVShape:
    return RVShape(
        radius_mm=radius_mm,
        offset_mm=p.offset_over_radius * radius_mm,
        cos_angle=float(np.cos(p.angle_rad)),
        sin_angle=float(np.sin(p.angle_rad)),
        z_apex_mm=epi.z_apex_mm + p.apex_gap_mm,
        z_base_mm=epi.z_base_mm,
        z_tricuspid_mm=epi.z_base_mm + p.tricuspid_offset_mm,
        outflow_height_mm=p.outflow_height_mm,
        outflow_start_mm=p.outflow_start * radius_mm,
        fullness=p.fullness,
        narrowing=p.tip_narrowing,
        wall_mm=p.wall_mm,
        basal_epi=epi_angular,
        basal_epi_radius2_mm2=epi.radius2_mm2 * (1 - epi.taper),
    )


def _solve_rv(p: RVParameters, shape: HeartShape) -> RVShape:
    """The basal circle for which the RV has its volume."""

    def missing_ml(radius_mm: float) -> float:
        rv = _rv_shape(p, radius_mm, shape.epi, shape.epi_angular)
        return rv_quadrature(replace(shape, rv=rv)).volume_ml() - p.edv_ml

    if missing_ml(20.0) > 0 or missing_ml(90.0) < 0:
        raise ConfigError(f"RVParameters.edv_ml: no RV of {p.edv_ml} ml fits this LV")
    radius_mm = float(brentq(missing_ml, 20.0, 90.0, xtol=1e-4))
    return _rv_shape(p, radius_mm, shape.epi, shape.epi_angular)


@dataclass(frozen=True)
class RVQuadrature:
    """Nodes of a midpoint rule over the RV cavity at ED, each `(n,)` float64.

    `R` is the radius, `depth` the distance from the epicardium of the LV, `free_depth` that of
    the RV's free wall, `weight_mm3` the node's material volume (0 outside the cavity).
    """

    R: Tensor
    depth: Tensor
    free_depth: Tensor
    c: Tensor
    s: Tensor
    Z: Tensor
    weight_mm3: Tensor

    def volume_ml(self) -> float:
        return float(self.weight_mm3.sum()) / 1000.0


def rv_quadrature(
    shape: HeartShape, n_angles: int = 90, n_levels: int = 48, n_depths: int = 8
) -> RVQuadrature:
    """Quadrature nodes of the RV cavity at ED."""
    rv = shape.rv
    theta = (torch.arange(n_angles, dtype=torch.float64) + 0.5) * (2 * np.pi / n_angles)
    height = rv.z_tricuspid_mm + rv.outflow_height_mm - rv.z_apex_mm
    level = (torch.arange(n_levels, dtype=torch.float64) + 0.5) / n_levels
    part = (torch.arange(n_depths, dtype=torch.float64) + 0.5) / n_depths
    t, lv, w = torch.meshgrid(theta, level, part, indexing="ij")
    c, s, Z = t.cos().reshape(-1), t.sin().reshape(-1), rv.z_apex_mm + height * lv.reshape(-1)
    epi_factor = shape.epi_angular.factor(c, s)
    epi = (shape.epi.squared_radius(Z) * epi_factor).sqrt()
    excess = rv.excess(rv.basal_excess(c, s, epi_factor), rv.taper(Z)).clamp_min(0)
    free_depth = (epi.square() + excess).sqrt() - epi
    depth = free_depth * w.reshape(-1)
    R = epi + depth
    weight = R * free_depth * (2 * np.pi / n_angles) * (height / n_levels) / n_depths
    soft_inside = ((rv.top_mm(R * s) - Z) * (n_levels / height) + 0.5).clamp(0.0, 1.0)
    return RVQuadrature(R, depth, free_depth, c, s, Z, weight * soft_inside)
