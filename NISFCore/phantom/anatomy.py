"""Tissue classes of the heart at material points: signal and labels.

Signal is painted from the outside inwards with soft edges of a chosen width, so that a sample
stands for the mean over its surroundings and sampling needs few points; labels are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.labels import Label
from NISFCore.phantom.chest import coverage, paint
from NISFCore.phantom.cylinder import Cylinder
from NISFCore.phantom.parameters import HeartParameters
from NISFCore.phantom.shape import APEX_RADIUS2_MM2, HeartShape
from NISFCore.phantom.timing import Beat

PERICARDIUM_MM = 1.6
PERICARDIUM_SIGNAL = 0.16
VALVE_MM = 1.6
VALVE_SIGNAL = 0.45
PAPILLARY_STRETCH = 0.65
RV_WALL_FADE_MM2 = 250.0


@dataclass(frozen=True)
class Surfaces:
    """Signed distances in mm (negative inside), measured along the radius, and heights.

    Attributes:
        endo, epi: LV endocardium and epicardium.
        rv, rv_wall: RV free wall's inner and outer surface (positive where there is no RV).
        above: height above the LV base plane.
        rv_above: height above the tricuspid or pulmonary plane.
        endo_radius: radius of the LV endocardium.
        insertion: squared radius (mm^2) that the RV adds, negative where there is no RV.
        outer2: squared radius (mm^2) of the outer surface of both ventricles.
    """

    endo: Tensor
    epi: Tensor
    rv: Tensor
    rv_wall: Tensor
    above: Tensor
    rv_above: Tensor
    endo_radius: Tensor
    insertion: Tensor
    outer2: Tensor


def surfaces(shape: HeartShape, m: Cylinder) -> Surfaces:
    """Where material points lie with respect to the ventricles."""
    rv = shape.rv
    epi_factor = shape.epi_angular.factor(m.c, m.s)
    epi2 = shape.epi.squared_radius(m.Z) * epi_factor
    endo2 = shape.endo.squared_radius(m.Z) * shape.endo_angular.factor(m.c, m.s)
    E = rv.excess(rv.basal_excess(m.c, m.s, epi_factor), rv.taper(m.Z))
    epi, endo = (epi2 + APEX_RADIUS2_MM2).sqrt(), (endo2 + APEX_RADIUS2_MM2).sqrt()
    free = (epi2 + E.clamp_min(0) + APEX_RADIUS2_MM2).sqrt()
    wall = rv.wall_mm * (E * (1 / RV_WALL_FADE_MM2)).clamp(0.0, 1.0)
    rv_distance = torch.maximum(m.R - free, epi - m.R)
    return Surfaces(
        endo=m.R - endo,
        epi=m.R - epi,
        rv=rv_distance,
        rv_wall=m.R - free - wall,
        above=m.Z - shape.z_base_mm,
        rv_above=m.Z - rv.top_mm(m.y),
        endo_radius=endo,
        insertion=E,
        outer2=(free + wall).square(),
    )


def labels_of(d: Surfaces) -> Tensor:
    """Labels `(n,)` uint8: papillary muscles belong to the LV blood pool."""
    below = d.above < 0
    lv = (d.epi < 0) & below
    blood = (d.endo < 0) & below
    rv = (d.rv < 0) & (d.rv_above < 0)
    myocardium = lv.to(torch.uint8) * int(Label.LV_MYOCARDIUM)
    labels = myocardium - blood.to(torch.uint8)
    return labels + rv.to(torch.uint8) * int(Label.RV_BLOOD_POOL)


assert Label.LV_MYOCARDIUM - 1 == Label.LV_BLOOD_POOL, "labels_of() relies on it"


class HeartPainter:
    """Signal of the heart and how much of a point is heart (not chest)."""

    def __init__(self, parameters: HeartParameters, shape: HeartShape) -> None:
        self.shape = shape
        self.detail = parameters.detail
        self.look = parameters.appearance
        self._scale = parameters.lv
        self._papillae = [
            (torch.tensor(angle).cos().item(), torch.tensor(angle).sin().item())
            for angle in self.detail.papillary_angles_rad
        ]

    def paint(self, m: Cylinder, d: Surfaces, beat: Beat, edge_mm: float) -> tuple[Tensor, Tensor]:
        """(signal, cover), each `(n,)`."""
        texture = self._texture(m)
        fat, cover = self._envelope(m, d, edge_mm)
        myocardium = self.look.myocardium * texture
        canvas = fat * texture
        if bool((d.above > -edge_mm).any()):
            canvas, cover = self._above_base(canvas, cover, m, d, edge_mm)
        canvas = self._rv(canvas, myocardium, m, d, beat, edge_mm)
        return self._lv(canvas, myocardium, texture, m, d, beat, edge_mm), cover

    def blood(self, m: Cylinder, d: Surfaces, edge_mm: float) -> Tensor:
        """Part `(n,)` of the heart that is flowing blood; papillary muscles are not."""
        blood = coverage(d.rv, edge_mm) * coverage(d.rv_above, edge_mm)
        above = coverage(-d.above, edge_mm)
        for distance, _, _ in self._chambers(m, d):
            blood = torch.maximum(blood, coverage(distance, edge_mm) * above)
        cavity = coverage(d.endo, edge_mm) * coverage(d.above, edge_mm)
        for muscle in self._papillary_muscles(m, d, edge_mm):
            cavity = cavity * (1 - muscle)
        return torch.maximum(blood, cavity)

    def _texture(self, m: Cylinder) -> Tensor:
        a, b, c, e = self.look.texture_phases_rad
        X, Y = m.x, m.y
        first = torch.sin(0.17 * X + 0.11 * Y + 0.05 * m.Z + a) * torch.sin(0.21 * m.Z + b)
        second = torch.sin(0.41 * Y - 0.23 * X + c) * torch.sin(0.33 * X + 0.27 * m.Z + e)
        return 1 + self.look.texture * (first + second)

    def _envelope(self, m: Cylinder, d: Surfaces, edge_mm: float) -> tuple[Tensor, Tensor]:
        """Epicardial fat inside the pericardium; signal and cover of both."""
        groove = 1 / (1 + (d.insertion * (1 / 500.0)).square())
        base = 0.7 * (1 + d.above * (1 / 20.0)).clamp(0.0, 1.0)
        epi = self.shape.epi
        thickness = self.detail.fat_mm + self.detail.groove_fat_mm * torch.maximum(groove, base)
        below = (self.shape.z_apex_mm - m.Z).clamp_min(0)
        # Distance to a surface R^2 = f(Z) is about (R^2 - f) / |grad|; f goes on below the apex.
        fall = 2 * epi.radius2_mm2 * (1 + epi.fullness) / (epi.z_widest_mm - epi.z_apex_mm)
        down = ((epi.z_widest_mm - m.Z) * (1 / (epi.z_widest_mm - epi.z_apex_mm))).clamp(0.0, 1.0)
        slope = (4 * m.R2 + (fall * down.square()).square()).sqrt()
        distance = (m.R2 - d.outer2 + fall * below) / slope - thickness
        # Above the base plane the envelope closes towards the great vessels.
        distance = distance + (d.above * 0.4).clamp_min(0) + (d.above - 20).clamp_min(0)
        signal = paint(
            torch.full_like(m.R, PERICARDIUM_SIGNAL),
            self.look.fat,
            coverage(distance + PERICARDIUM_MM, edge_mm),
        )
        return signal, coverage(distance, edge_mm)

    def _above_base(
        self, canvas: Tensor, cover: Tensor, m: Cylinder, d: Surfaces, edge_mm: float
    ) -> tuple[Tensor, Tensor]:
        """Atria, aortic root and outflow tract."""
        above = coverage(-d.above, edge_mm)
        for distance, wall_mm, blood in self._chambers(m, d):
            canvas = paint(
                canvas, self.look.myocardium, coverage(distance - wall_mm, edge_mm) * above
            )
            canvas = paint(canvas, blood, coverage(distance, edge_mm) * above)
            cover = torch.maximum(cover, coverage(distance - wall_mm - 1.0, edge_mm) * above)
        return canvas, cover

    def _chambers(self, m: Cylinder, d: Surfaces) -> list[tuple[Tensor, float, float]]:
        """(signed distance, wall thickness, signal) of what lies above the base, back to front."""
        detail, look, rv = self.detail, self.look, self.shape.rv
        X, Y, h = m.x, m.y, d.above
        la_x, la_y = detail.atrium_shift_mm
        la = _capsule(X - la_x, Y - la_y, h - 22, detail.atrium_radius_mm, 10.0)
        # The atrium lies on the inferior part of the RV's base, the outflow tract on the anterior.
        ra_x, ra_y = self._beside_rv(rv.offset_mm + 0.45 * rv.radius_mm, -0.35 * rv.radius_mm)
        ra = _capsule(X - ra_x, Y - ra_y, h - 24, detail.ra_radius_mm, 12.0)
        root = detail.aorta_radius_mm
        ao = ((X - 10 - 0.1 * h).square() + (Y - 12 - 0.05 * h).square() + 1e-6).sqrt() - root
        ao = torch.maximum(ao, h - 90)
        out_x, out_y = self._beside_rv(20.0, 0.78 * rv.radius_mm)
        rvot = (
            (X - out_x + 0.25 * h).square() + (Y - out_y + 0.1 * h).square() + 1e-6
        ).sqrt() - 1.05 * root
        rvot = torch.maximum(rvot, h - 55)
        inflow = torch.maximum(d.endo + 1.5, h - 12)
        return [
            (ra, 2.0, look.atrial_blood),
            (rvot, 2.0, look.rv_blood),
            (torch.minimum(la, inflow), 2.0, look.atrial_blood),
            (ao, 2.0, look.lv_blood),
        ]

    def _beside_rv(self, along: float, across: float) -> tuple[float, float]:
        """(x, y) of a place given along the direction of the RV's centre and across it."""
        c, s = self.shape.rv.cos_angle, self.shape.rv.sin_angle
        return along * c - across * s, along * s + across * c

    def _rv(
        self,
        canvas: Tensor,
        myocardium: Tensor,
        m: Cylinder,
        d: Surfaces,
        beat: Beat,
        edge_mm: float,
    ) -> Tensor:
        below = coverage(d.rv_above, edge_mm)
        wall = torch.maximum(d.rv_wall, -d.epi)
        canvas = paint(canvas, myocardium, coverage(wall, edge_mm) * below * (d.insertion > 0))
        # Trabeculae: the cavity darkens towards the free wall, in streaks.
        streaks = 0.5 + 0.5 * torch.sin(0.8 * m.y + 0.3 * m.Z) * torch.sin(0.45 * m.Z - 0.35 * m.x)
        depth = (1 + d.rv * (1 / (2 * self.detail.trabecular_mm + 1e-3))).clamp(0.0, 1.0)
        loss = self.detail.trabecular_darkness * depth * streaks
        blood = self.look.rv_blood * (1 - loss)
        inside = coverage(d.rv, edge_mm)
        canvas = paint(canvas, blood, inside * below)
        return paint(canvas, VALVE_SIGNAL, self._leaflet(d.rv_above, beat, edge_mm) * inside)

    def _leaflet(self, above: Tensor, beat: Beat, edge_mm: float) -> Tensor:
        """Cover of a valve at height 0, nearly vanishing while it is open."""
        closed = (0.25 + 1.5 * beat.activation).clamp_max(1.0)
        return coverage((above - 1.0).abs() - VALVE_MM / 2, edge_mm) * closed

    def _lv(
        self,
        canvas: Tensor,
        myocardium: Tensor,
        texture: Tensor,
        m: Cylinder,
        d: Surfaces,
        beat: Beat,
        edge_mm: float,
    ) -> Tensor:
        below = coverage(d.above, edge_mm)
        canvas = paint(canvas, myocardium, coverage(d.epi, edge_mm) * below)
        canvas = paint(
            canvas, self._cavity(m, d, texture, edge_mm), coverage(d.endo, edge_mm) * below
        )
        leaflet = self._leaflet(d.above, beat, edge_mm)
        return paint(canvas, VALVE_SIGNAL, leaflet * coverage(d.endo, edge_mm))

    def _cavity(self, m: Cylinder, d: Surfaces, texture: Tensor, edge_mm: float) -> Tensor:
        """Blood with papillary muscles and trabeculae, all in the LV blood pool."""
        detail = self.detail
        band = (1 + d.endo * (1 / (detail.trabecular_mm + 1e-3))).clamp(0.0, 1.0)
        loss = detail.trabecular_darkness * band * (1.3 - self._height(d))
        blood = self.look.lv_blood * (0.5 + 0.5 * texture) * (1 - loss)
        for muscle in self._papillary_muscles(m, d, edge_mm):
            blood = paint(blood, self.look.myocardium, muscle)
        return blood

    def _height(self, d: Surfaces) -> Tensor:
        """0 at the endocardial apex, 1 at the base plane."""
        return d.above * (1 / (self.shape.z_base_mm - self.shape.endo.z_apex_mm)) + 1

    def _papillary_muscles(self, m: Cylinder, d: Surfaces, edge_mm: float) -> Iterator[Tensor]:
        """Cover of each of them."""
        detail = self.detail
        thickness = (1.15 - (self._height(d) - 0.38).abs() * 2.6).clamp(-1.0, 1.0)
        for c, s in self._papillae:
            # Elongated towards the wall that they grow from.
            along = (m.x * c + m.y * s - detail.papillary_depth * d.endo_radius) * PAPILLARY_STRETCH
            gap = along.square() + (m.y * c - m.x * s).square()
            yield coverage((gap + 1e-6).sqrt() - detail.papillary_radius_mm * thickness, edge_mm)


def _capsule(x: Tensor, y: Tensor, z: Tensor, radius: float, half_length: float) -> Tensor:
    """Signed distance to a capsule along z."""
    dz = (z.abs() - half_length).clamp_min(0)
    return (x.square() + y.square() + dz.square() + 1e-6).sqrt() - radius
