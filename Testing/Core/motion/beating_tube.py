"""A thick-walled tube of tissue, closed at its lower end, that shortens, thickens and turns in
closed form, cut by short-axis and long-axis planes: tagged, plain, and as a heart with labels
everywhere."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.data.study import CineSlice, CineStudy, SliceLabels, TagLines
from NISFCore.geometry.field import FieldSamples, HeartBox
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rotation_from_rotvec
from NISFCore.labels import Label
from NISFCore.views import View

Array = npt.NDArray[np.float64]

INNER_MM, OUTER_MM = 18.0, 28.0
LOW_MM, HIGH_MM, FLOOR_MM = -34.0, 30.0, 10.0
SPACING_MM = 7.0
CENTRE_RAS = np.array([-30.0, 20.0, 5.0])
RAS_FROM_TUBE = rotation_from_rotvec([0.3, -0.2, 0.5])
N_PIXELS, PIXEL_MM = 68, 1.6
SA_HEIGHTS_MM = (20.0, 8.0, -4.0, -16.0, -28.0)
LA_ANGLES_DEG = {View.LA_4CH: 0.0, View.LA_3CH: 60.0, View.LA_2CH: 120.0}


@dataclass(frozen=True)
class BeatingTube:
    """x = A(t) X about the centre, in the tube's axes; A keeps volume and is largest at t = 1/2.

    Attributes:
        shortening: part of the length that is lost.
        turn_rad_per_mm: twist about the axis, per height.
        n_phases: of its movies.
        noise: standard deviation, tags have contrast 1.
    """

    shortening: float = 0.12
    turn_rad_per_mm: float = 0.002
    n_phases: int = 10
    noise: float = 0.03

    @property
    def times(self) -> Array:
        return np.arange(self.n_phases) / self.n_phases

    def share(self, t: float) -> float:
        """Of its greatest motion."""
        return math.sin(math.pi * t) ** 2

    def moved(self, X: Array, t: float) -> Array:
        """Where tissue `(n, 3)` in tube coordinates is at t."""
        share = self.share(t)
        along = 1 - share * self.shortening
        across = along**-0.5
        angle = share * self.turn_rad_per_mm * X[..., 2]
        c, s = np.cos(angle), np.sin(angle)
        x, y = across * X[..., 0], across * X[..., 1]
        return np.stack([c * x - s * y, s * x + c * y, along * X[..., 2]], axis=-1)

    def material(self, x: Array, t: float) -> Array:
        """The inverse of `moved`."""
        share = self.share(t)
        along = 1 - share * self.shortening
        across = along**-0.5
        z = x[..., 2] / along
        angle = -share * self.turn_rad_per_mm * z
        c, s = np.cos(angle), np.sin(angle)
        return np.stack(
            [(c * x[..., 0] - s * x[..., 1]) / across, (s * x[..., 0] + c * x[..., 1]) / across, z],
            axis=-1,
        )

    def displacement(self, points_ras: Array, t: float) -> Array:
        """True movement `(n, 3)` in RAS mm since ED."""
        X = to_tube(points_ras)
        return (self.moved(X, t) - X) @ RAS_FROM_TUBE.T

    def labels(self, points_ras: Array, t: float) -> npt.NDArray[np.uint8]:
        """Labels `(...)`, an RV beside the tube towards +x."""
        X = self.material(to_tube(points_ras), t)
        radius, z = np.hypot(X[..., 0], X[..., 1]), X[..., 2]
        inside = (z > LOW_MM) & (z < HIGH_MM)
        blood = inside & (radius < INNER_MM) & (z > LOW_MM + FLOOR_MM)
        rv = inside & (np.hypot(X[..., 0] - 38.0, X[..., 1]) < 14.0)
        out = np.where(rv, Label.RV_BLOOD_POOL, Label.BACKGROUND)
        out = np.where(inside & (radius < OUTER_MM), Label.LV_MYOCARDIUM, out)
        return np.where(blood, Label.LV_BLOOD_POOL, out).astype(np.uint8)

    @property
    def box(self) -> HeartBox:
        A = np.eye(4)
        A[:3, :3], A[:3, 3] = RAS_FROM_TUBE, CENTRE_RAS
        return HeartBox(A, np.array([-38.0, -38.0, -46.0]), np.array([56.0, 38.0, 42.0]))

    def evaluate(self, points_ras: Array, cycle_fraction: float) -> FieldSamples:
        """As a `HeartField`; labels change within about a millimetre, as a fit's do."""
        offsets = RAS_FROM_TUBE @ np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]).T
        near = [sign * o for o in offsets.T for sign in (-1.0, 1.0)]
        one_hot = np.eye(4, dtype=np.float32)
        p = np.mean([one_hot[self.labels(points_ras + o, cycle_fraction)] for o in near], axis=0)
        return FieldSamples(p[:, Label.LV_BLOOD_POOL], p.astype(np.float32))

    def study(self, image: Callable[[Array, Array, CineSlice], Array], tagged: bool) -> CineStudy:
        """All planes; `image` gives a frame from labels, material points and the slice."""
        slices: list[CineSlice] = []
        for name, view, A in planes():
            for angle in (45.0, 135.0) if tagged else (0.0,):
                slices.append(self._slice(f"{name}_{angle:.0f}", view, A, angle, image, tagged))
        return CineStudy(tuple(slices), subject="tube")

    def tagged(self) -> CineStudy:
        """Two series of lines in every plane; blood carries none."""

        def image(labels: Array, X: Array, cine: CineSlice) -> Array:
            k = 2 * math.pi / SPACING_MM * (np.array(cine.tags[0].normal_ras) @ RAS_FROM_TUBE)
            tissue = labels != Label.LV_BLOOD_POOL
            return np.where(tissue, 1 + np.cos(X @ k + 0.7), 0.9)

        return self.study(image, tagged=True)

    def cine(self) -> CineStudy:
        """Blood bright, wall dark, fat around."""

        def image(labels: Array, X: Array, cine: CineSlice) -> Array:
            values = np.array([0.9, 1.5, 0.4, 1.4])[labels.astype(int)]
            return values + 0.1 * np.sin(0.3 * X[..., 0]) * np.sin(0.25 * X[..., 2])

        return self.study(image, tagged=False)

    def _slice(
        self,
        name: str,
        view: View,
        ras_from_ijk: Array,
        angle_deg: float,
        image: Callable[[Array, Array, CineSlice], Array],
        tagged: bool,
    ) -> CineSlice:
        points = pixel_centres_ras(ras_from_ijk, (N_PIXELS, N_PIXELS))
        labels = np.stack([self.labels(points, float(t)) for t in self.times])
        angle = math.radians(angle_deg)
        axes = ras_from_ijk[:3, :2] / PIXEL_MM
        x, y, z = (axes @ [math.cos(angle), math.sin(angle)]).tolist()
        cine = CineSlice(
            name=name,
            view=view,
            frames=np.ones((self.n_phases, N_PIXELS, N_PIXELS), dtype=np.float32),
            ras_from_ijk=ras_from_ijk,
            thickness_mm=8.0,
            trigger_times_ms=self.times * 900.0,
            rr_interval_ms=900.0,
            labels=SliceLabels(labels, np.ones(self.n_phases, dtype=np.bool_)),
            tags=(TagLines((x, y, z), SPACING_MM),) if tagged else (),
        )
        rng = np.random.default_rng(0)
        for j, t in enumerate(self.times):
            frame = image(labels[j], self.material(to_tube(points), float(t)), cine)
            cine.frames[j] = frame + self.noise * rng.standard_normal(frame.shape)
        return cine


def to_tube(points_ras: Array) -> Array:
    """Tube coordinates of RAS points `(..., 3)`."""
    return (points_ras - CENTRE_RAS) @ RAS_FROM_TUBE


def planes() -> list[tuple[str, View, Array]]:
    """Short-axis planes at equal heights, three long-axis ones through the axis."""
    out = [
        (f"SA_{k + 1:02d}", View.SA, _plane([1, 0, 0], [0, 1, 0], [0, 0, height]))
        for k, height in enumerate(SA_HEIGHTS_MM)
    ]
    for view, angle_deg in LA_ANGLES_DEG.items():
        angle = math.radians(angle_deg)
        across = [math.cos(angle), math.sin(angle), 0]
        out.append((view.value, view, _plane(across, [0, 0, 1], [0, 0, 0])))
    return out


def _plane(columns: list[float], rows: list[float], centre: list[float]) -> Array:
    A = np.eye(4)
    A[:3, 0] = PIXEL_MM * RAS_FROM_TUBE @ np.array(columns)
    A[:3, 1] = PIXEL_MM * RAS_FROM_TUBE @ np.array(rows)
    A[:3, 2] = 8.0 * np.cross(A[:3, 0], A[:3, 1]) / PIXEL_MM**2
    half = (N_PIXELS - 1) / 2
    A[:3, 3] = CENTRE_RAS + RAS_FROM_TUBE @ np.array(centre) - half * (A[:3, 0] + A[:3, 1])
    return A


def wall_points_ras(spacing_mm: float = 4.0) -> Array:
    """Points `(n, 3)` of the wall at ED, 2 mm from its ends."""
    s = [np.arange(-30.0, 30.1, spacing_mm)] * 2 + [np.arange(LOW_MM + 2, HIGH_MM - 2, spacing_mm)]
    X = np.stack(np.meshgrid(*s, indexing="ij"), axis=-1).reshape(-1, 3)
    points = X @ RAS_FROM_TUBE.T + CENTRE_RAS
    return points[BeatingTube().labels(points, 0.0) == Label.LV_MYOCARDIUM]
