"""The beating map: material (end-diastolic) points to spatial points at any time, and its inverse,
both in closed form and differentiable.

Composed, in this order, of
  1. RV: the depth behind the LV epicardium shrinks by k(t), R -> R_epi + k (R - R_epi); beyond the
     free wall the shift decays to zero. The tricuspid annulus descends: Z -> Z - T(t) g(Z) h(X).
  2. LV: z = z_apex + lambda(t) (Z - z_apex) and, about the LV axis,
       cavity  r = R s / sqrt(lambda),        hence cavity volume = s^2 EDV,
       wall    r^2 = R^2 / lambda - c,  c = R_endo^2 (1 - s^2) / lambda,  hence det = 1 exactly,
       outside r^2 = R^2 + (r_epi^2 - R_epi^2).
     R_endo, R_epi, s may depend on (theta, Z): the Jacobian is triangular, its determinant is
     still 1 in the wall. So s may also run late on one side of the LV (dyssynchrony).
  3. twist: theta -> theta + tau(r, z, t), volume preserving.
  4. a fixed volume-preserving form: bent axis, elliptic section, tilted base plane.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from NISFCore.errors import ConfigError
from NISFCore.phantom.cylinder import Cylinder, HeartForm, cartesian_of, cylinder_of
from NISFCore.phantom.parameters import HeartParameters, MotionParameters
from NISFCore.phantom.shape import APEX_RADIUS2_MM2, HeartShape, RVQuadrature, rv_quadrature
from NISFCore.phantom.timing import Beat, activation, delayed_activation, twist_activation

LV_RETURN_START_MM, LV_RETURN_MM = 8.0, 55.0
"""Long-axis motion is full up to the first height above the base plane, zero a length above it."""
RADIAL_RETURN_MM = 18.0
RV_RETURN_START_MM, RV_RETURN_MM = 4.0, 30.0
RV_OUTER_RETURN_MM = 60.0
TRICUSPID_RAMP_MM = 25.0
TWIST_RADII_MM = (38.0, 75.0)
MAX_LOCAL_EF = 0.92


class HeartMotion:
    """The map of one heart. All points are in heart coordinates, mm."""

    def __init__(self, parameters: HeartParameters, shape: HeartShape) -> None:
        self.parameters = parameters.motion
        self.shape = shape
        _check_delay(self.parameters)
        self.form = HeartForm(parameters.lv, shape)
        self._local_ef = parameters.lv.ef_percent / 100 / self._mean_regional_weight()
        if self._local_ef > MAX_LOCAL_EF:
            raise ConfigError(
                f"HeartParameters: the healthy wall would eject {self._local_ef:.0%} of its share, "
                f"allowed: {MAX_LOCAL_EF:.0%}; lower ef_percent or scar_depth"
            )
        widest = 1 + abs(shape.epi_angular.septal) + abs(shape.epi_angular.anterior)
        self.tricuspid_start_mm = 1.02 * math.sqrt(shape.epi.radius2_mm2 * widest)
        self._rv_nodes = rv_quadrature(shape)
        self.rv_contraction = self._solve_rv_contraction(parameters.rv.ef_percent / 100)

    def beat(self, cycle_fraction: float | Tensor, like: Tensor) -> Beat:
        """State at a time, or at one time per point, in the dtype and on the device of `like`."""
        t = torch.as_tensor(cycle_fraction, dtype=torch.float64, device=like.device)
        a, w = activation(t, self.parameters), twist_activation(t, self.parameters)
        return Beat(a.to(like.dtype), w.to(like.dtype), t.to(like.dtype))

    def spatial_from_material(self, points: Tensor, beat: Beat) -> Tensor:
        """Where the tissue that is at `points` `(n, 3)` at ED is at this time."""
        m = self._rv_forward(cylinder_of(self.form.inverse(points)), beat)
        return self.form.forward(cartesian_of(self._twist(self._lv_forward(m, beat), beat, 1.0)))

    def material_from_spatial(self, points: Tensor, beat: Beat) -> Tensor:
        """Where the tissue that is at `points` `(n, 3)` at this time is at ED."""
        return self.form.forward(cartesian_of(self.pull_back(points, beat)))

    def pull_back(self, points: Tensor, beat: Beat) -> Cylinder:
        """As `material_from_spatial`, in material cylinder coordinates (without the form)."""
        m = self._twist(cylinder_of(self.form.inverse(points)), beat, -1.0)
        return self._rv_inverse(self._lv_inverse(m, beat), beat)

    def to_cylinder(self, points: Tensor) -> Cylinder:
        """Material cylinder coordinates of points at ED."""
        return cylinder_of(self.form.inverse(points))

    # -- LV ---------------------------------------------------------------------------------

    def _long_axis(self, beat: Beat) -> Tensor:
        return 1 - self.parameters.long_axis_shortening * beat.activation

    def _z_forward(self, Z: Tensor, lam: Tensor) -> Tensor:
        apex, top = self.shape.z_apex_mm, self.shape.z_base_mm + LV_RETURN_START_MM
        inside = apex + (Z - apex) * lam
        drop = (top - apex) * (1 - lam)
        above = Z - drop * (1 - (Z - top) / LV_RETURN_MM).clamp(0.0, 1.0)
        return torch.where(Z.lt(apex), Z, torch.where(Z.lt(top), inside, above))

    def _z_inverse(self, z: Tensor, lam: Tensor) -> Tensor:
        apex, top = self.shape.z_apex_mm, self.shape.z_base_mm + LV_RETURN_START_MM
        drop = (top - apex) * (1 - lam)
        inside = apex + (z - apex) / lam
        above = torch.maximum(z, top + (z - top + drop) / (1 + drop / LV_RETURN_MM))
        return torch.where(z < apex, z, torch.where(z < top - drop, inside, above))

    def _lv_radii(
        self, c: Tensor, s: Tensor, Z: Tensor, beat: Beat, lam: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """R_endo^2, R_epi^2, s^2 and lambda as they enter the radial map at (theta, Z)."""
        shape = self.shape
        endo2 = shape.endo.squared_radius(Z) * shape.endo_angular.factor(c, s)
        epi2 = shape.epi.squared_radius(Z) * shape.epi_angular.factor(c, s)
        fade = (1 - (Z - shape.z_base_mm) * (1 / RADIAL_RETURN_MM)).clamp(0.0, 1.0)
        # s^2 = 1 - (local ejection fraction)
        ejected = self._local_ef * self._local_activation(c, s, beat)
        s2 = 1 - fade * ejected * self._regional_weight(c, s, Z)
        return endo2, epi2, s2, 1 - fade * (1 - lam)

    def _lv_forward(self, m: Cylinder, beat: Beat) -> Cylinder:
        lam = self._long_axis(beat)
        endo2, epi2, s2, lam_r = self._lv_radii(m.c, m.s, m.Z, beat, lam)
        removed = endo2 * (1 - s2) / lam_r
        wall = m.R2 / lam_r - removed
        outside = m.R2 + epi2 / lam_r - removed - epi2
        r2 = torch.where(
            m.R2.lt(endo2), m.R2 * s2 / lam_r, torch.where(m.R2.lt(epi2), wall, outside)
        ).clamp_min(APEX_RADIUS2_MM2)
        return Cylinder.from_squared(r2, m.c, m.s, self._z_forward(m.Z, lam))

    def _lv_inverse(self, m: Cylinder, beat: Beat) -> Cylinder:
        lam = self._long_axis(beat)
        Z = self._z_inverse(m.Z, lam)
        endo2, epi2, s2, lam_r = self._lv_radii(m.c, m.s, Z, beat, lam)
        unstretched = m.R2 * lam_r
        wall = unstretched + endo2 * (1 - s2)
        # The larger radius is right: wall exceeds cavity exactly outside the endocardium.
        outside = m.R2 + epi2 - (epi2 - endo2 * (1 - s2)) / lam_r
        R2 = torch.where(wall < endo2, unstretched / s2, torch.where(wall < epi2, wall, outside))
        return Cylinder.from_squared(R2.clamp_min(APEX_RADIUS2_MM2), m.c, m.s, Z)

    def _regional_weight(self, c: Tensor, s: Tensor, Z: Tensor) -> Tensor | float:
        """Ejection of a region against a healthy one, in [1 - scar_depth, 1]."""
        p = self.parameters
        if p.scar_depth == 0:
            return 1.0
        length = self.shape.z_base_mm - self.shape.z_apex_mm
        centre = self.shape.z_apex_mm + p.scar_height * length
        along = (1 - ((Z - centre) / (p.scar_length * length)).square()).clamp_min(0).square()
        facing = (1 + c * math.cos(p.scar_angle_rad) + s * math.sin(p.scar_angle_rad)) / 2
        return 1 - p.scar_depth * along * facing.square()

    def _local_activation(self, c: Tensor, s: Tensor, beat: Beat) -> Tensor:
        """Part of its share that a region has ejected: late on the delayed side."""
        p = self.parameters
        if p.delay == 0:
            return beat.activation
        facing = (1 + c * math.cos(p.delay_angle_rad) + s * math.sin(p.delay_angle_rad)) / 2
        return delayed_activation(beat.time, p, p.delay * facing)

    def lv_ejected_share(self, cycle_fraction: float) -> float:
        """Part of EDV that the LV has ejected at this time."""
        beat = self.beat(cycle_fraction, torch.zeros((), dtype=torch.float64))
        return self._local_ef * self._cavity_mean(
            lambda c, s, Z: self._regional_weight(c, s, Z) * self._local_activation(c, s, beat)
        )

    def _mean_regional_weight(self) -> float:
        """Mean of the weight over the cavity at ED: makes the global EF exact."""
        return self._cavity_mean(self._regional_weight)

    def _cavity_mean(self, value: Callable[[Tensor, Tensor, Tensor], Tensor | float]) -> float:
        """Mean over the cavity at ED of what depends on (cos theta, sin theta, Z)."""
        n = 400
        theta = (torch.arange(72, dtype=torch.float64)[:, None] + 0.5) * (2 * np.pi / 72)
        c, s = theta.cos(), theta.sin()
        low, high = self.shape.endo.z_apex_mm, self.shape.z_base_mm
        Z = low + (torch.arange(n, dtype=torch.float64) + 0.5) * ((high - low) / n)
        area = self.shape.endo.squared_radius(Z) * self.shape.endo_angular.factor(c, s)
        return float((area * value(c, s, Z)).sum() / area.sum())

    # -- twist ------------------------------------------------------------------------------

    def _twist(self, m: Cylinder, beat: Beat, sign: float) -> Cylinder:
        p, apex, base = self.parameters, self.shape.z_apex_mm, self.shape.z_base_mm
        height = ((m.Z - apex) * (1 / (base - apex))).clamp(0.0, 1.0)
        fade = ((base + 30 - m.Z) * (1 / 30)).clamp(0.0, 1.0)
        inner, outer = TWIST_RADII_MM
        reach = ((outer - m.R) * (1 / (outer - inner))).clamp(0.0, 1.0)
        slope = p.twist_base_rad - p.twist_apex_rad
        tau = (p.twist_apex_rad + slope * height) * fade * reach * (sign * beat.twist)
        ct, st = tau.cos(), tau.sin()
        return Cylinder(m.R, m.R2, m.c * ct - m.s * st, m.s * ct + m.c * st, m.Z)

    # -- RV ---------------------------------------------------------------------------------

    def _rv_depth(self, m: Cylinder) -> tuple[Tensor, Tensor]:
        """R_epi and the depth of the RV's free wall behind it at (theta, Z)."""
        epi_factor = self.shape.epi_angular.factor(m.c, m.s)
        epi2 = self.shape.epi.squared_radius(m.Z) * epi_factor
        rv = self.shape.rv
        excess = rv.excess(rv.basal_excess(m.c, m.s, epi_factor), rv.taper(m.Z)).clamp_min(0)
        epi = (epi2 + APEX_RADIUS2_MM2).sqrt()
        return epi, (epi2 + excess + APEX_RADIUS2_MM2).sqrt() - epi

    def _rv_fade(self, Z: Tensor) -> Tensor:
        start = self.shape.z_base_mm + RV_RETURN_START_MM
        return (1 - (Z - start) * (1 / RV_RETURN_MM)).clamp(0.0, 1.0)

    def _rv_forward(self, m: Cylinder, beat: Beat) -> Cylinder:
        epi, free = self._rv_depth(m)
        lost = (1 - self.rv_contraction) * beat.activation * self._rv_fade(m.Z)
        depth = m.R - epi
        beyond = depth - free * lost * (1 - (depth - free) / RV_OUTER_RETURN_MM).clamp(0.0, 1.0)
        moved = torch.where(depth < free, depth * (1 - lost), beyond)
        R = torch.where(depth > 0, epi + moved, m.R)
        X = R * m.c
        Z = m.Z - self._tricuspid_drop(m.Z, X, beat)
        return Cylinder(R, R.square(), m.c, m.s, Z)

    def _rv_inverse(self, m: Cylinder, beat: Beat) -> Cylinder:
        Z = self._undo_tricuspid_drop(m.Z, m.R * m.c, beat)
        m = Cylinder(m.R, m.R2, m.c, m.s, Z)
        epi, free = self._rv_depth(m)
        lost = (1 - self.rv_contraction) * beat.activation * self._rv_fade(Z)
        depth = m.R - epi
        shift = free * lost
        beyond = free + (depth - free + shift) / (1 + shift * (1 / RV_OUTER_RETURN_MM))
        moved = torch.where(depth < free - shift, depth / (1 - lost), torch.maximum(depth, beyond))
        R = torch.where(depth > 0, epi + moved, m.R)
        return Cylinder(R, R.square(), m.c, m.s, Z)

    def _tricuspid_amount(self, X: Tensor, beat: Beat) -> Tensor:
        ramp = ((X - self.tricuspid_start_mm) * (1 / TRICUSPID_RAMP_MM)).clamp(0.0, 1.0)
        return ramp * (self.parameters.tricuspid_excess_mm * beat.activation)

    def _tricuspid_drop(self, Z: Tensor, X: Tensor, beat: Beat) -> Tensor:
        low, top = self.shape.rv.z_apex_mm, self.shape.z_base_mm + LV_RETURN_START_MM
        up = (Z - low) / (top - low)
        down = 1 - (Z - top) / LV_RETURN_MM
        return self._tricuspid_amount(X, beat) * torch.minimum(up, down).clamp_min(0)

    def _undo_tricuspid_drop(self, z: Tensor, X: Tensor, beat: Beat) -> Tensor:
        low, top = self.shape.rv.z_apex_mm, self.shape.z_base_mm + LV_RETURN_START_MM
        T = self._tricuspid_amount(X, beat)
        below = low + (z - low) / (1 - T * (1 / (top - low)))
        above = top + (z - top + T) / (1 + T * (1 / LV_RETURN_MM))
        # Both branches move points up; each is the smaller where it applies.
        return torch.maximum(z, torch.minimum(below, above))

    def rv_volume_ml(self, a: float, contraction: float | None = None) -> float:
        """RV cavity volume at activation `a`, by quadrature of the map's determinant."""
        q = self._rv_nodes
        k = self.rv_contraction if contraction is None else contraction
        a_tensor = torch.tensor(a, dtype=torch.float64)
        no_time = torch.full_like(a_tensor, math.nan)  # the RV does not ask for it
        beat = Beat(a_tensor, a_tensor, no_time)
        return float((q.weight_mm3 * self._rv_determinant(q, k, beat)).sum()) / 1000.0

    def _rv_determinant(self, q: RVQuadrature, k: float, beat: Beat) -> Tensor:
        scale = 1 - (1 - k) * beat.activation * self._rv_fade(q.Z)
        R = q.R - q.depth * (1 - scale)
        X = R * q.c
        step = 1e-4
        before = self._tricuspid_drop(q.Z + step, X, beat)
        after = self._tricuspid_drop(q.Z - step, X, beat)
        Z = q.Z - self._tricuspid_drop(q.Z, X, beat)
        lam = self._long_axis(beat)
        dz = (self._z_forward(Z + step, lam) - self._z_forward(Z - step, lam)) / (2 * step)
        return scale * R / q.R * (1 - (before - after) / (2 * step)) * dz

    def _solve_rv_contraction(self, ef: float) -> float:
        """The k at ES for which the RV ejects its fraction."""
        target = self._rv_nodes.volume_ml() * (1 - ef)

        def excess_ml(k: float) -> float:
            return self.rv_volume_ml(1.0, k) - target

        if excess_ml(0.15) > 0 or excess_ml(1.3) < 0:
            raise ConfigError(
                f"RVParameters.ef_percent: {100 * ef:.0f} % cannot be reached with this long-axis "
                "motion; choose a value nearer to the LV's"
            )
        return float(brentq(excess_ml, 0.15, 1.3, xtol=1e-6))


def _check_delay(p: MotionParameters) -> None:
    latest = p.kick_start - p.filling_end
    if not 0 <= p.delay <= latest:
        raise ConfigError(
            f"MotionParameters.delay: got {p.delay:g}, allowed: 0 to {latest:g}, so that the late "
            "side has filled before the atrial kick"
        )
