"""Movies of a ring of tissue that turns and shrinks in closed form, tagged or not."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.data.study import CineSlice, SliceLabels, TagLines
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rotation_from_rotvec
from NISFCore.labels import Label
from NISFCore.motion.cardiac_frame import LVFrame
from NISFCore.motion.config import FieldConfig, NetworkConfig
from NISFCore.motion.field import DisplacementField, Placement
from NISFCore.views import View

INNER_MM, OUTER_MM = 18.0, 30.0
SPACING_MM = 7.0
CENTRE_RAS = np.array([-40.0, 25.0, 10.0])


@dataclass(frozen=True)
class RingMotion:
    """x = c + s(t) R(t) (X - c) in the plane: scale and turn are largest at half of the cycle.

    Attributes:
        shrinking: part of a length that is lost.
        turn_rad: about the plane's normal.
        shift_mm: along the columns' axis.
    """

    shrinking: float = 0.15
    turn_rad: float = 0.12
    shift_mm: float = 0.0

    def linear(self, t: float) -> npt.NDArray[np.float64]:
        """`(2, 2)`: s R."""
        share = math.sin(math.pi * t) ** 2
        angle = share * self.turn_rad
        c, s = math.cos(angle), math.sin(angle)
        return (1 - share * self.shrinking) * np.array([[c, -s], [s, c]])

    def shift(self, t: float) -> npt.NDArray[np.float64]:
        """`(2,)` mm."""
        return np.array([self.shift_mm * math.sin(math.pi * t) ** 2, 0.0])


@dataclass(frozen=True)
class Ring:
    """A ring in an oblique plane.

    Attributes:
        motion: of its tissue.
        n_phases, n_pixels, pixel_mm: of its images.
        noise: standard deviation, tags have contrast 1.
        profile: the tags' signal, cosine polynomial of their phase.
    """

    motion: RingMotion = RingMotion()
    n_phases: int = 12
    n_pixels: int = 64
    pixel_mm: float = 1.5
    noise: float = 0.0
    profile: tuple[float, ...] = (1.0, 1.0)

    @property
    def ras_from_ijk(self) -> npt.NDArray[np.float64]:
        A = np.eye(4)
        R = rotation_from_rotvec([0.2, -0.3, 0.4])
        A[:3, :3] = R @ np.diag([self.pixel_mm, self.pixel_mm, 8.0])
        half = (self.n_pixels - 1) / 2
        A[:3, 3] = CENTRE_RAS - half * (A[:3, 0] + A[:3, 1])
        return A

    @property
    def axes(self) -> npt.NDArray[np.float64]:
        """`(2, 3)` unit vectors of columns and rows."""
        return self.ras_from_ijk[:3, :2].T / self.pixel_mm

    @property
    def times(self) -> npt.NDArray[np.float64]:
        return np.arange(self.n_phases) / self.n_phases

    def material(self, t: float) -> npt.NDArray[np.float64]:
        """`(rows, cols, 2)` mm from the centre: where the tissue of each pixel is at ED."""
        points = pixel_centres_ras(self.ras_from_ijk, (self.n_pixels, self.n_pixels))
        flat = (points - CENTRE_RAS) @ self.axes.T
        return (flat - self.motion.shift(t)) @ np.linalg.inv(self.motion.linear(t)).T

    def displacement(
        self, points_ras: npt.NDArray[np.float64], t: float
    ) -> npt.NDArray[np.float64]:
        """True movement `(n, 3)` in RAS mm."""
        flat = (points_ras - CENTRE_RAS) @ self.axes.T
        moved = flat @ self.motion.linear(t).T + self.motion.shift(t)
        return (moved - flat) @ self.axes

    def labels(self, t: float) -> npt.NDArray[np.uint8]:
        """`(rows, cols)`, with an RV beside the ring at negative columns."""
        X = self.material(t)
        radius = np.linalg.norm(X, axis=-1)
        beside = np.linalg.norm(X - [-36.0, 0.0], axis=-1) < 14.0
        out = np.where(beside & (radius > OUTER_MM), Label.RV_BLOOD_POOL, Label.BACKGROUND)
        out = np.where(radius < OUTER_MM, Label.LV_MYOCARDIUM, out)
        return np.where(radius < INNER_MM, Label.LV_BLOOD_POOL, out).astype(np.uint8)

    def slice(
        self,
        frames: list[npt.NDArray[np.float64]],
        name: str = "SA_01",
        labelled: bool = True,
        tags: tuple[TagLines, ...] = (),
    ) -> CineSlice:
        """A slice of these frames."""
        rng = np.random.default_rng(0)
        noisy = np.stack(frames) + self.noise * rng.standard_normal((len(frames), *frames[0].shape))
        values = np.stack([self.labels(float(t)) for t in self.times])
        labels = SliceLabels(values, np.ones(self.n_phases, dtype=np.bool_))
        return CineSlice(
            name=name,
            view=View.SA,
            frames=noisy.astype(np.float32),
            ras_from_ijk=self.ras_from_ijk,
            thickness_mm=8.0,
            trigger_times_ms=self.times * 900.0,
            rr_interval_ms=900.0,
            labels=labels if labelled else None,
            tags=tags,
        )

    def wave(self, angle_deg: float) -> npt.NDArray[np.float64]:
        """Wave vector `(2,)` rad/mm."""
        angle = math.radians(angle_deg)
        return 2 * math.pi / SPACING_MM * np.array([math.cos(angle), math.sin(angle)])

    def tagged(self, angle_deg: float, says_tags: bool = True) -> CineSlice:
        """One series with lines; blood carries none."""
        k, frames = self.wave(angle_deg), []
        for t in self.times:
            phase = self.material(float(t)) @ k + 0.7
            tags = sum(a * np.cos(j * phase) for j, a in enumerate(self.profile))
            labels = self.labels(float(t))
            tissue = (labels == Label.LV_MYOCARDIUM) | (labels == Label.BACKGROUND)
            frames.append(np.where(tissue, tags, 0.9))
        normal = (k / np.linalg.norm(k)) @ self.axes
        lines = TagLines((float(normal[0]), float(normal[1]), float(normal[2])), SPACING_MM)
        return self.slice(frames, f"SA_01_{angle_deg:.0f}", tags=(lines,) if says_tags else ())

    def cine(self) -> CineSlice:
        """Untagged: blood bright, wall dark, fat around, and some texture that moves along."""
        frames = []
        for t in self.times:
            X = self.material(float(t))
            texture = 0.2 * np.sin(0.35 * X[..., 0] + 0.5) * np.sin(0.3 * X[..., 1])
            values = np.array([0.9, 1.5, 0.4, 1.4])[self.labels(float(t))]
            frames.append(values + texture)
        return self.slice(frames)


def rms_error_mm(
    ring: Ring, displacement: npt.NDArray[np.float64], points_ras: npt.NDArray[np.float64]
) -> float:
    """Of displacements `(n_times, n, 3)` at the ring's times."""
    true = np.stack([ring.displacement(points_ras, float(t)) for t in ring.times])
    return float(np.sqrt(((displacement - true) ** 2).sum(axis=-1).mean()))


def small_field(n_dims: int = 2, is_cyclic: bool = False, kind: str = "siren") -> DisplacementField:
    """A field with random weights everywhere, so that nothing about it is special."""
    import torch

    axes = rotation_from_rotvec([0.3, 0.1, -0.5])[:n_dims]
    knots = (0.0, 0.1, 0.3, 0.6, 1.0)
    config = FieldConfig(
        n_dims, knots, is_cyclic, NetworkConfig(kind=kind, width=16), n_features=12
    )
    field = DisplacementField(config, Placement(CENTRE_RAS, axes, 25.0)).double()
    generator = torch.Generator().manual_seed(3)
    state = field.flat_state()
    noise = torch.randn(state.shape, generator=generator, dtype=state.dtype)
    field.load_flat_state(state + 0.01 * noise)
    return field


def lv_frame() -> LVFrame:
    """Along z, the RV towards x."""
    return LVFrame(np.zeros(3), np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]), -40.0, 40.0)
