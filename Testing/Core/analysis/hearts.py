"""A small analytic heart with closed-form volumes, and studies imaged from it.

The LV blood pool is an ellipsoid inside a larger one (the epicardium), the RV another ellipsoid
beside them; all are cut at a base plane. Everything beats with the same smooth contraction. Heart
space: z from apex to base, mm; `ras_from_heart` places it obliquely.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.fitted import MotionUncertainty
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.fitting.quality import QualityReport
from NISFCore.geometry.field import FieldSamples, HeartBox, HeartField
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import invert_rigid, rigid, rigid_about, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, Points, apply_affine
from NISFCore.views import View

OBLIQUE = rigid(rotation_from_rotvec([0.4, -0.7, 0.3]), [12.0, -34.0, 56.0])

LV_SEMI_AXES_MM = np.array([24.0, 22.0, 42.0])
EPI_SEMI_AXES_MM = np.array([34.0, 32.0, 52.0])
RV_SEMI_AXES_MM = np.array([20.0, 26.0, 36.0])
RV_CENTRE_MM = np.array([56.0, 0.0, 0.0])
BASE_MM = 18.0


@dataclass(frozen=True)
class EllipsoidHeart:
    """Satisfies `HeartField`.

    Attributes:
        ras_from_heart: rigid placement.
        base_mm: height of the cut; None for whole ellipsoids.
        stroke: relative shortening of the blood pools at end-systole.
        sharpness_per_mm: how fast probabilities change across a boundary; None is 0 or 1.
    """

    ras_from_heart: Affine = dataclasses.field(default_factory=OBLIQUE.copy)
    base_mm: float | None = BASE_MM
    stroke: float = 0.2
    sharpness_per_mm: float | None = 1.0

    @property
    def box(self) -> HeartBox:
        return HeartBox(
            self.ras_from_heart, np.array([-42.0, -42.0, -60.0]), np.array([84.0, 42.0, 60.0])
        )

    def contains(self, points_ras: Points) -> npt.NDArray[np.bool_]:
        """Satisfies `FittedField`: inside an ellipsoid in the box."""
        x = apply_affine(invert_rigid(self.ras_from_heart), points_ras)
        centre, semi_axes = (self.box.low_mm + self.box.high_mm) / 2, self.box.high_mm - 21
        return np.asarray(np.linalg.norm((x - centre) / semi_axes, axis=-1) <= 1)

    def moved(self, motion: Affine) -> "EllipsoidHeart":
        """The same heart after a rigid motion in RAS."""
        return replace(self, ras_from_heart=motion @ self.ras_from_heart)

    def semi_axes_mm(self, cycle_fraction: float) -> tuple[Points, Points, Points]:
        """Semi-axes of the LV blood pool, the epicardium and the RV."""
        s = 1 - self.stroke * np.sin(np.pi * cycle_fraction) ** 2
        return LV_SEMI_AXES_MM * s, EPI_SEMI_AXES_MM * (1 + s) / 2, RV_SEMI_AXES_MM * s

    def volumes_ml(self, cycle_fraction: float) -> npt.NDArray[np.float64]:
        """Closed-form volumes `(4,)`, 0 for the background."""
        blood, epi, rv = (
            _cut_ellipsoid_ml(axes, self.base_mm) for axes in self.semi_axes_mm(cycle_fraction)
        )
        return np.array([0.0, blood, epi - blood, rv])

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        x = apply_affine(invert_rigid(self.ras_from_heart), points_ras)
        margins = self._margins_mm(x, cycle_fraction)
        if self.sharpness_per_mm is None:
            probabilities = np.eye(4)[np.argmax(margins, axis=1)]
        else:
            e = np.exp(np.clip(self.sharpness_per_mm * margins, -30, 30))
            probabilities = e / e.sum(axis=1, keepdims=True)
        contrast = np.array([0.2, 0.8, 0.35, 0.7])
        texture = 0.08 * np.sin(x @ [0.21, 0.33, 0.17]) + 0.08 * np.sin(x @ [-0.3, 0.12, 0.26])
        intensity = probabilities @ contrast + texture
        return FieldSamples(intensity.astype(np.float32), probabilities.astype(np.float32))

    def _margins_mm(self, x: Points, cycle_fraction: float) -> npt.NDArray[np.float64]:
        """About the distance `(n, 4)` by which a point is inside each label; 0 for background."""
        blood_axes, epi_axes, rv_axes = self.semi_axes_mm(cycle_fraction)
        below = np.full(len(x), np.inf) if self.base_mm is None else self.base_mm - x[:, 2]
        blood = _margin(x, blood_axes)
        epi = _margin(x, epi_axes)
        rv = _margin(x - RV_CENTRE_MM, rv_axes)
        inside = [blood, np.minimum(epi, -blood), rv]
        return np.stack([np.zeros(len(x)), *(np.minimum(m, below) for m in inside)], axis=1)


def _margin(x: Points, semi_axes_mm: Points) -> npt.NDArray[np.float64]:
    """First-order distance to an ellipsoid's surface, positive inside."""
    r = np.linalg.norm(x / semi_axes_mm, axis=1)
    gradient = np.linalg.norm(x / semi_axes_mm**2, axis=1)
    return np.where(r > 1e-6, (1 - r) * r / np.maximum(gradient, 1e-9), semi_axes_mm.min())


def _cut_ellipsoid_ml(semi_axes_mm: Points, base_mm: float | None) -> float:
    """Volume of an ellipsoid about the origin below z = base_mm."""
    a, b, c = semi_axes_mm
    h = c if base_mm is None else min(base_mm, c)
    return float(np.pi * a * b * (h - h**3 / (3 * c**2) + 2 * c / 3)) / 1000


def plane_ras_from_ijk(
    ras_from_heart: Affine,
    centre_mm: Sequence[float],
    i_axis: Sequence[float],
    j_axis: Sequence[float],
    spacing_mm: tuple[float, float],
    shape: tuple[int, int],
    thickness_mm: float = 8.0,
) -> Affine:
    """Geometry of a frame given by its centre and axes in heart space."""
    i, j = np.asarray(i_axis, dtype=float), np.asarray(j_axis, dtype=float)
    heart_from_ijk = np.eye(4)
    heart_from_ijk[:3, 0] = i * spacing_mm[0]
    heart_from_ijk[:3, 1] = j * spacing_mm[1]
    heart_from_ijk[:3, 2] = np.cross(i, j) * thickness_mm
    middle = [(shape[1] - 1) / 2, (shape[0] - 1) / 2, 0]
    heart_from_ijk[:3, 3] = np.asarray(centre_mm) - heart_from_ijk[:3, :3] @ middle
    return ras_from_heart @ heart_from_ijk


def imaged(
    heart: HeartField,
    name: str,
    view: View,
    ras_from_ijk: Affine,
    true_from_scanned: Affine,
    shape: tuple[int, int],
    n_phases: int = 6,
    rr_interval_ms: float = 900.0,
) -> CineSlice:
    """What a perfect scanner sees: the mid-plane, at the slice's true place."""
    points = apply_affine(true_from_scanned, pixel_centres_ras(ras_from_ijk, shape)).reshape(-1, 3)
    t = np.arange(n_phases) / n_phases
    frames = np.stack([heart.evaluate(points, float(x)).intensity.reshape(shape) for x in t])
    thickness = float(np.linalg.norm(ras_from_ijk[:3, 2]))
    return CineSlice(
        name, view, frames, ras_from_ijk, thickness, t * rr_interval_ms, rr_interval_ms
    )


def true_motions(centres: Sequence[Points], seed: int = 0) -> list[Affine]:
    """Random misalignments of about 4 mm and 3 degrees, about each slice's centre."""
    rng = np.random.default_rng(seed)
    return [
        rigid_about(c, rng.normal(0, np.deg2rad(3) / 1.7, 3), rng.normal(0, 2.4, 3))
        for c in centres
    ]


@dataclass(frozen=True)
class TrueHeart(EllipsoidHeart):
    """Satisfies `HeartTruth`."""

    motions: Mapping[str, Affine] = dataclasses.field(default_factory=dict)

    def labels(self, points_ras: Points, cycle_fraction: float) -> npt.NDArray[np.uint8]:
        return self.evaluate(points_ras, cycle_fraction).labels

    def true_from_scanned_ras(self, name: str) -> Affine:
        return self.motions[name]


@dataclass(frozen=True)
class Step:
    """Satisfies `HistoryStep`."""

    stage: str
    step: int
    loss: float
    psnr_db: float
    seconds: float


@dataclass(frozen=True)
class Fitted:
    """Satisfies `FittedStudy`."""

    study: CineStudy
    field: EllipsoidHeart
    slice_motions: tuple[Affine, ...]
    intensity_scale: npt.NDArray[np.float64]
    intensity_reference: npt.NDArray[np.float64]
    history: tuple[Step, ...] = (
        Step("pose", 1, -10.0, 14.0, 0.1),
        Step("pose", 2, -14.0, 18.0, 0.2),
        Step("all", 3, -20.0, 24.0, 0.3),
    )
    settings: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"solver": "exact <test>"}
    )
    seconds: Mapping[str, float] = dataclasses.field(default_factory=lambda: {"fit": 1.5})
    uncertainty: MotionUncertainty | None = None
    quality: QualityReport | None = None
    confidence: float | None = None
    volume_covariance: npt.NDArray[np.float64] | None = None

    def image_gain(self, index: int) -> npt.NDArray[np.float32]:
        """The slice's scale everywhere."""
        return np.full(self.study.slices[index].shape, self.intensity_scale[index], np.float32)

    def label_confidence(
        self, points_ras: Points, cycle_fraction: float
    ) -> npt.NDArray[np.float32] | None:
        """The same everywhere."""
        del cycle_fraction
        if self.confidence is None:
            return None
        return np.full(len(points_ras), self.confidence, dtype=np.float32)

    def volume_covariance_ml2(
        self, cycle_fractions: Sequence[float]
    ) -> npt.NDArray[np.float64] | None:
        """Always the same, whatever the times."""
        return self.volume_covariance


def small_case(
    seed: int = 0,
    shape: tuple[int, int] = (64, 72),
    spacing_mm: tuple[float, float] = (1.9, 2.1),
) -> tuple[Fitted, TrueHeart]:
    """A study of 4 SA and 2 LA slices with known misalignments, and its perfect fit."""
    heart = EllipsoidHeart()
    planes = [
        (f"SA_{k:02d}", View.SA, [15.0, 0, z], [1.0, 0, 0], [0, 1.0, 0])
        for k, z in enumerate([10.0, -5.0, -20.0, -35.0])
    ]
    planes.append(("LA_4CH", View.LA_4CH, [15.0, 0, -5], [1.0, 0, 0], [0, 0, -1.0]))
    planes.append(("LA_2CH", View.LA_2CH, [0, 0, -5], [0.2**0.5, 0.8**0.5, 0], [0, 0, -1.0]))
    geometry = [
        plane_ras_from_ijk(heart.ras_from_heart, c, i, j, spacing_mm, shape)
        for _, _, c, i, j in planes
    ]
    centres = [apply_affine(heart.ras_from_heart, c) for _, _, c, _, _ in planes]
    motions = true_motions(centres, seed)
    slices = tuple(
        imaged(heart, name, view, A, M, shape, n_phases=5 + k % 3, rr_interval_ms=800 + 30.0 * k)
        for k, ((name, view, *_), A, M) in enumerate(zip(planes, geometry, motions, strict=True))
    )
    truth = TrueHeart(motions={p[0]: M for p, M in zip(planes, motions, strict=True)})
    fitted = Fitted(CineStudy(slices), heart, tuple(motions), np.ones(6), np.ones(6))
    return fitted, truth


def with_common_motion(fitted: Fitted, motion: Affine) -> Fitted:
    """The same fit, everything moved together: slices alone cannot tell the difference."""
    assert isinstance(fitted.field, EllipsoidHeart)
    return replace(
        fitted,
        field=fitted.field.moved(motion),
        slice_motions=tuple(motion @ E for E in fitted.slice_motions),
    )
