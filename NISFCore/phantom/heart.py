"""`BeatingHeart`: labels, signal, motion and volumes of a simulated heart at any point and time.

Points are in heart coordinates, which are canonical space (`geometry.spaces.Space.CANONICAL`): mm,
origin on the LV axis half-way between apex and base plane, +z from apex to base, +x towards the RV.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from NISFCore.geometry.rigid import rigid
from NISFCore.geometry.spaces import Affine
from NISFCore.phantom.anatomy import HeartPainter, labels_of, surfaces
from NISFCore.phantom.chest import Chest
from NISFCore.phantom.cylinder import cartesian_of
from NISFCore.phantom.motion import HeartMotion
from NISFCore.phantom.parameters import ChestParameters, HeartParameters
from NISFCore.phantom.shape import MYOCARDIAL_DENSITY_G_ML, solve_shape
from NISFCore.phantom.timing import Beat

CHUNK = 16384
"""Points per pass: the temporaries of one pass stay in the processor's cache."""
DEFAULT_EDGE_MM = 1.0
N_ES_TIMES = 65
"""Times at which the smallest volume of a dyssynchronous LV is looked for."""


def ras_from_heart_rotation(chest: ChestParameters) -> np.ndarray:
    """Rotation `(3, 3)` RAS <- heart of a patient."""
    z = np.asarray(chest.base_from_apex_ras, dtype=np.float64)
    z = z / np.linalg.norm(z)
    x = np.asarray(chest.four_chamber_ras, dtype=np.float64)
    x = x - (x @ z) * z
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


@dataclass(frozen=True)
class TissueLayer:
    """The moving heart at points, each `(n,)` but for `material`.

    Attributes:
        signal: of the heart, where there is any.
        cover: part of the point that is heart, not chest.
        blood: part of the heart there that is flowing blood.
        material: `(n, 3)`, where the tissue was at ED.
    """

    signal: Tensor
    cover: Tensor
    blood: Tensor
    material: Tensor


class BeatingHeart:
    """A heart with known truth everywhere.

    Every method takes points `(n, 3)` in heart coordinates (float32 or float64, any device) and a
    `cycle_fraction` that is one number or one per point `(n,)`.

    Raises:
        ConfigError: if the parameters contradict each other.
    """

    def __init__(self, parameters: HeartParameters) -> None:
        self.parameters = parameters
        self.shape = solve_shape(parameters)
        self.motion = HeartMotion(parameters, self.shape)
        self._painter = HeartPainter(parameters, self.shape)
        self._chest = Chest(parameters)
        self._chest_from_heart = ras_from_heart_rotation(parameters.chest)

    # -- images -----------------------------------------------------------------------------

    @torch.no_grad()
    def labels(self, points: Tensor, cycle_fraction: float | Tensor) -> Tensor:
        """Labels `(n,)` uint8, see `NISFCore.labels`."""
        parts = [
            labels_of(surfaces(self.shape, self.motion.pull_back(p, beat)))
            for p, beat in self._chunks(points, cycle_fraction)
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def evaluate_heart(
        self, points: Tensor, cycle_fraction: float | Tensor, edge_mm: float = DEFAULT_EDGE_MM
    ) -> tuple[Tensor, Tensor]:
        """Signal `(n,)` and labels `(n,)` uint8. `edge_mm` softens edges of the signal."""
        intensity, cover, labels = self.heart_layer(points, cycle_fraction, edge_mm)
        background = self.background(points, edge_mm)
        return background + cover * (intensity - background), labels

    def intensity(
        self, points: Tensor, cycle_fraction: float | Tensor, edge_mm: float = DEFAULT_EDGE_MM
    ) -> Tensor:
        """Signal `(n,)`, 1 about the brightest blood."""
        return self.evaluate_heart(points, cycle_fraction, edge_mm)[0]

    @torch.no_grad()
    def heart_layer(
        self, points: Tensor, cycle_fraction: float | Tensor, edge_mm: float = DEFAULT_EDGE_MM
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(signal, cover, labels) of the moving heart alone; signal = chest where cover is 0."""
        parts = [self._heart_chunk(p, b, edge_mm) for p, b in self._chunks(points, cycle_fraction)]
        intensity, cover, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        return intensity, cover, labels

    @torch.no_grad()
    def tissue_layer(
        self, points: Tensor, cycle_fraction: float | Tensor, edge_mm: float = DEFAULT_EDGE_MM
    ) -> TissueLayer:
        """The moving heart with what tags need to know: where its tissue was, and what flows."""
        parts = [self._tissue_chunk(p, b, edge_mm) for p, b in self._chunks(points, cycle_fraction)]
        return TissueLayer(*(torch.cat(column) for column in zip(*parts, strict=True)))

    @torch.no_grad()
    def background(self, points: Tensor, edge_mm: float = DEFAULT_EDGE_MM) -> Tensor:
        """Signal `(n,)` of the static surroundings, as if there were no heart."""
        rotation = torch.as_tensor(
            self._chest_from_heart.T, dtype=points.dtype, device=points.device
        )
        parts = [self._chest.intensity(p @ rotation, edge_mm) for p in points.split(CHUNK)]
        return torch.cat(parts)

    def _heart_chunk(
        self, points: Tensor, beat: Beat, edge_mm: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        material = self.motion.pull_back(points, beat)
        where = surfaces(self.shape, material)
        intensity, cover = self._painter.paint(material, where, beat, edge_mm)
        return intensity, cover, labels_of(where)

    def _tissue_chunk(
        self, points: Tensor, beat: Beat, edge_mm: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        material = self.motion.pull_back(points, beat)
        where = surfaces(self.shape, material)
        intensity, cover = self._painter.paint(material, where, beat, edge_mm)
        blood = self._painter.blood(material, where, edge_mm)
        return intensity, cover, blood, self.motion.form.forward(cartesian_of(material))

    def _chunks(self, points: Tensor, cycle_fraction: float | Tensor) -> list[tuple[Tensor, Beat]]:
        beat = self.motion.beat(cycle_fraction, points)
        parts = points.split(CHUNK)
        if beat.activation.ndim == 0:
            return [(p, beat) for p in parts]
        fields = (beat.activation, beat.twist, beat.time)
        columns = zip(parts, *(field.split(CHUNK) for field in fields), strict=True)
        return [(p, Beat(a, w, t)) for p, a, w, t in columns]

    # -- motion -----------------------------------------------------------------------------

    def spatial_from_material(self, points: Tensor, cycle_fraction: float | Tensor) -> Tensor:
        """Where the tissue that is at `points` at ED is at this time, `(n, 3)`. Differentiable."""
        return self.motion.spatial_from_material(points, self.motion.beat(cycle_fraction, points))

    def material_from_spatial(self, points: Tensor, cycle_fraction: float | Tensor) -> Tensor:
        """Where the tissue that is at `points` at this time is at ED, `(n, 3)`. Differentiable."""
        return self.motion.material_from_spatial(points, self.motion.beat(cycle_fraction, points))

    def displacement(self, material_points: Tensor, cycle_fraction: float | Tensor) -> Tensor:
        """Movement in mm since ED of the tissue that is at `material_points` at ED, `(n, 3)`."""
        return self.spatial_from_material(material_points, cycle_fraction) - material_points

    # -- figures ----------------------------------------------------------------------------

    def volumes_ml(self, cycle_fraction: float) -> tuple[float, float]:
        """(LV, RV) cavity volume: LV in closed form (by quadrature if it is dyssynchronous), RV by
        quadrature."""
        a = self.activation(cycle_fraction)
        ejected = self.parameters.lv.ef_percent / 100 * a
        if self.parameters.motion.delay > 0:
            ejected = self.motion.lv_ejected_share(cycle_fraction)
        return self.shape.edv_ml * (1 - ejected), self.motion.rv_volume_ml(a)

    @cached_property
    def es_fraction(self) -> float:
        """When the LV is smallest."""
        p = self.parameters.motion
        if p.delay == 0:
            return p.es_fraction
        times = np.linspace(p.es_fraction, p.es_fraction + p.delay, N_ES_TIMES)
        return float(times[np.argmax([self.motion.lv_ejected_share(float(t)) for t in times])])

    @property
    def mass_g(self) -> float:
        """Mass of the LV myocardium, the same at all times."""
        return self.shape.wall_volume_ml * MYOCARDIAL_DENSITY_G_ML

    def activation(self, cycle_fraction: float) -> float:
        """Part of the stroke volume that has been ejected, 0 at ED, 1 at ES."""
        return float(
            self.motion.beat(cycle_fraction, torch.zeros((), dtype=torch.float64)).activation
        )

    def box_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners `(3,)` in heart coordinates of a box around both ventricles in every phase."""
        shape, margin = self.shape, 8.0
        lv = float(np.sqrt(shape.epi.radius2_mm2)) * 1.1
        rv = shape.rv
        top = shape.z_base_mm + max(0.0, rv.outflow_height_mm)
        low = [-lv, -max(lv, rv.radius_mm), shape.z_apex_mm]
        high = [rv.offset_mm + rv.radius_mm, max(lv, rv.radius_mm), top]
        return np.array(low) - margin, np.array(high) + margin

    def ras_from_heart(self, position_ras: tuple[float, float, float]) -> Affine:
        """Rigid map RAS <- heart for a patient whose LV centre is at `position_ras`."""
        return rigid(ras_from_heart_rotation(self.parameters.chest), position_ras)
