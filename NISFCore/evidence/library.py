"""Tissue maps of many simulated hearts on many planes over the cycle: what training slices are
painted on. Made once; contrast, deformation and noise are drawn anew every time (`painting`,
`generator`).

Planes are placed as a scanner's operator and the canonical frame place them: the frame is wrong by
some degrees and millimetres, and the maps are drawn in the (wrong) frame's coordinates.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.errors import ConfigError
from NISFCore.evidence.tissue import TissueHeart
from NISFCore.evidence.window import WindowGrid, canonical_from_window, window_points
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.phantom import HeartParameters, sample_heart
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress

LIBRARY_GRID = WindowGrid(128, 1.4)
"""A little larger and finer than the network's window, so that it can be deformed."""

N_PHASES = 8
LA_AZIMUTHS_DEG = (0.0, 57.0, 113.0)
"""4-, 3- and 2-chamber planes about the LV axis, from +x towards +y."""

FRAME_TILT_SD_DEG, FRAME_TURN_SD_DEG = 6.0, 11.0
FRAME_SHIFT_SD_MM = (6.0, 6.0, 9.0)
FRAME_MEAN_Z_MM = 4.0
"""Errors of the canonical frame on real studies: up to 10 degrees and 13 mm; the middle of a stack
lies above the middle of the ventricle, because stacks go on above the base."""

SA_HEIGHTS_MM = (-68.0, 76.0)


@dataclass(frozen=True)
class PlaneMix:
    """How many planes of each kind are cut from one heart."""

    n_short_axis: int = 12
    n_long_axis: int = 9
    n_oblique: int = 3

    @property
    def n_planes(self) -> int:
        return self.n_short_axis + self.n_long_axis + self.n_oblique


@dataclass(frozen=True)
class PlaneLibrary:
    """Tissue maps of `n` planes.

    Attributes:
        tissues: `(n, n_phases, rows, cols)` uint8, see `tissue.Tissue`.
        surroundings: `(n, rows, cols)` uint8, signal of the chest times 200.
        canonical_from_grid: `(n, 4, 4)` float64 in the frame as it is believed to be.
        cycle_fractions: `(n, n_phases)`.
    """

    tissues: npt.NDArray[np.uint8]
    surroundings: npt.NDArray[np.uint8]
    canonical_from_grid: npt.NDArray[np.float64]
    cycle_fractions: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.tissues)


def build_library(
    n_hearts: int,
    seed: int,
    mix: PlaneMix = PlaneMix(),
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> PlaneLibrary:
    """Cut planes from `n_hearts` random hearts; equal seeds give equal libraries.

    Raises:
        ConfigError: if no heart is asked for.
        Cancelled: if asked through `cancel`.
    """
    if n_hearts < 1:
        raise ConfigError(f"n_hearts: got {n_hearts}, must be at least 1")
    progress = SilentProgress() if progress is None else progress
    start = time.monotonic()
    parts = []
    for k in range(n_hearts):
        if cancel is not None:
            cancel.check()
        parts.append(_planes_of_heart(np.random.default_rng((seed, k)), mix))
        progress.report(ProgressEvent("hearts", k + 1, n_hearts, time.monotonic() - start))
    return _joined(parts)


def _joined(parts: list[PlaneLibrary]) -> PlaneLibrary:
    return PlaneLibrary(
        np.concatenate([p.tissues for p in parts]),
        np.concatenate([p.surroundings for p in parts]),
        np.concatenate([p.canonical_from_grid for p in parts]),
        np.concatenate([p.cycle_fractions for p in parts]),
    )


def _planes_of_heart(rng: np.random.Generator, mix: PlaneMix) -> PlaneLibrary:
    heart = wider_heart(rng)
    cuts = [_cut(heart, plane, rng) for plane in random_planes(rng, mix)]
    tissues, surroundings, maps, times = zip(*cuts, strict=True)
    return PlaneLibrary(np.stack(tissues), np.stack(surroundings), np.stack(maps), np.stack(times))


def wider_heart(rng: np.random.Generator) -> TissueHeart:
    """A heart of the phantom's population, its RV and wall varied further: real right ventricles
    are larger and contract more, and walls are thinner once trabeculae count as blood."""
    parameters = sample_heart(rng)
    for _ in range(10):
        try:
            return TissueHeart(_widened(parameters, rng))
        except ConfigError:
            continue
    return TissueHeart(parameters)


def _widened(parameters: HeartParameters, rng: np.random.Generator) -> HeartParameters:
    lv, rv = parameters.lv, parameters.rv
    ef_percent = float(np.clip(rv.ef_percent * rng.uniform(0.85, 1.25), 12.0, 75.0))
    return replace(
        parameters,
        lv=replace(lv, mass_g=lv.mass_g * rng.uniform(0.75, 1.1)),
        rv=replace(rv, edv_ml=rv.edv_ml * rng.uniform(0.9, 1.6), ef_percent=ef_percent),
    )


def random_planes(rng: np.random.Generator, mix: PlaneMix) -> list[Affine]:
    """canonical_from_ijk of random planes (1 mm pixels, corner at any place of the plane)."""
    return [
        *[_short_axis(rng, k, mix.n_short_axis) for k in range(mix.n_short_axis)],
        *[_long_axis(rng, LA_AZIMUTHS_DEG[k % 3], 8.0) for k in range(mix.n_long_axis)],
        *[_long_axis(rng, rng.uniform(0.0, 180.0), 25.0) for _ in range(mix.n_oblique)],
    ]


def _short_axis(rng: np.random.Generator, k: int, n: int) -> Affine:
    """One of `n` planes spread from below the apex to well above the base."""
    low, high = SA_HEIGHTS_MM
    height = low + (high - low) * (k + rng.random()) / n
    tilt = rotation_from_rotvec(np.deg2rad(3.0) * rng.standard_normal(3))
    return rigid(tilt, (0.0, 0.0, height))


def _long_axis(rng: np.random.Generator, azimuth_deg: float, tilt_sd_deg: float) -> Affine:
    """A plane that about holds the LV axis, at an angle about it."""
    azimuth = np.deg2rad(azimuth_deg + tilt_sd_deg * rng.standard_normal())
    u, v = np.array([np.cos(azimuth), np.sin(azimuth), 0.0]), np.array([0.0, 0.0, 1.0])
    tilt = rotation_from_rotvec(np.deg2rad(tilt_sd_deg / 2) * rng.standard_normal(3))
    normal = np.cross(u, v)
    return rigid(tilt @ np.stack([u, v, normal], axis=1), 3.0 * rng.standard_normal() * normal)


def frame_error(rng: np.random.Generator) -> Affine:
    """heart_from_canonical (rigid): how wrong the frame is that planes alone give."""
    sd_deg = np.array([FRAME_TILT_SD_DEG, FRAME_TILT_SD_DEG, FRAME_TURN_SD_DEG])
    rotvec = np.deg2rad(sd_deg) * rng.standard_normal(3)
    shift = np.array(FRAME_SHIFT_SD_MM) * rng.standard_normal(3)
    return rigid(rotation_from_rotvec(rotvec), shift + np.array([0.0, 0.0, FRAME_MEAN_Z_MM]))


def _cut(
    heart: TissueHeart, canonical_from_ijk: Affine, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], Affine, npt.NDArray[np.float64]]:
    """(tissues, surroundings, canonical_from_grid, cycle fractions) of one plane."""
    n = LIBRARY_GRID.n_pixels
    window = canonical_from_window(canonical_from_ijk, LIBRARY_GRID)
    points = apply_affine(frame_error(rng), window_points(window, LIBRARY_GRID))
    points_heart = torch.as_tensor(points.reshape(-1, 3).astype(np.float32))
    times = (np.arange(N_PHASES) + rng.random()) / N_PHASES
    tissues = [heart.tissues(points_heart, float(t)).numpy() for t in times]
    chest = heart.surroundings(points_heart).clamp(0.0, 1.25) * 200
    shape = (n, n)
    return (
        np.stack(tissues).reshape(N_PHASES, *shape),
        chest.to(torch.uint8).numpy().reshape(shape),
        window,
        times,
    )
