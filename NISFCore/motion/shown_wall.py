"""Where around the LV a plane still shows its wall, from labels.

A plane near the base loses its wall side by side as the tissue moves through it: the labels then
end in a line across the cavity, which is no border of the wall, and the images there show blood.
Rays from the centre of the LV at ED tell: one that meets less than half of the wall that it met
at ED has lost it. What was lost says nothing (weight 0), and its neighbours little.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import map_coordinates, minimum_filter1d, uniform_filter1d
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.labels import Label
from NISFCore.motion.field import Placement

N_RAYS = 72
STEP_MM = 0.5
REACH_RADII = 2.0
"""Of the rays: the wall at ED is about one radius from the centre."""
LEAST_SHARE = 0.5
"""Of the wall that a ray meets at ED."""
N_BESIDE = 2
"""Rays beside a lost one that are not believed either."""

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ShownBorder:
    """One border of the wall, by frame and ray.

    Attributes:
        weights: `(n_frames, n_rays)` in [0, 1], how much the border counts there.
        shrinking: `(n_frames,)`, part of its radius that the border has lost since ED, or gained,
            where it is shown.
    """

    weights: Tensor
    shrinking: Tensor

    def at(self, frame: int, points: Tensor) -> Tensor:
        """Weights `(n,)` at local points `(n, 2)` of a frame, linear between rays."""
        return at_points(self.weights[frame], points)

    def at_first(self, points: Tensor) -> Tensor:
        """Weights `(n_first, n)` at local points `(n_first, n, 2)` of the first frames."""
        return torch.stack([self.at(j, x) for j, x in enumerate(points)])

    def lost_share(self) -> float:
        """Largest part of the circumference that a frame does not show."""
        return float(1 - self.weights.mean(dim=1).min())


def at_points(weights: Tensor, points: Tensor) -> Tensor:
    """Weights `(n,)` at local points `(n, 2)`, linear between rays `(n_rays,)` about the origin."""
    if bool((weights == 1).all()):  # nearly always
        return torch.ones_like(points[:, 0])
    return between_rays(weights, points)


def between_rays(values: Tensor, points: Tensor) -> Tensor:
    """Values `(n,)` at local points `(n, 2)`, from those of rays `(n_rays,)`."""
    turns = torch.atan2(points[:, 1], points[:, 0]) / (2 * math.pi) * len(values)
    before = turns.floor()
    share, k = turns - before, before.long()
    return (1 - share) * values[k % len(values)] + share * values[(k + 1) % len(values)]


def shown_borders(cine: CineSlice, placement: Placement) -> tuple[ShownBorder, ShownBorder]:
    """Inner and outer border of a slice that is labelled in every frame. The inner one is shown
    where there is wall with blood inside of it."""
    met = _along_rays(cine, placement)
    wall, blood = met == Label.LV_MYOCARDIUM, met == Label.LV_BLOOD_POOL
    thickness = wall.sum(axis=2)
    outer = thickness >= LEAST_SHARE * np.maximum(thickness[:1], 1)
    inner = outer & blood.any(axis=2)
    return _border(inner, blood), _border(outer, blood | wall)


def _border(shown: Mask, inside: Mask) -> ShownBorder:
    """From rays `(n_frames, n_rays)`, and what they meet within the border
    `(n_frames, n_rays, n_steps)`: it is where they are within it for the last time."""
    narrowed = minimum_filter1d(shown.astype(np.float32), 2 * N_BESIDE + 1, axis=1, mode="wrap")
    weights = uniform_filter1d(narrowed, N_BESIDE + 1, axis=1, mode="wrap")
    radii = (inside * (np.arange(inside.shape[2]) + 0.5)).max(axis=2)
    now, before = ((weights * r**2).sum(axis=1) for r in (radii, radii[:1]))
    shrinking = np.abs(1 - np.sqrt(now / np.maximum(before, 1e-9))) * (before > 0)
    return ShownBorder(torch.from_numpy(weights), torch.from_numpy(shrinking.astype(np.float32)))


def _along_rays(cine: CineSlice, placement: Placement) -> Labels:
    """Labels `(n_frames, N_RAYS, n_steps)`, the nearest pixel's; background outside."""
    assert cine.labels is not None  # asked for
    angles = 2 * math.pi * np.arange(N_RAYS) / N_RAYS
    radii = np.arange(0.0, REACH_RADII * placement.radius_mm, STEP_MM)
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ras = placement.ras_from_local(rays[:, None] * radii[:, None])
    ijk = apply_affine(invert_affine(cine.ras_from_ijk), ras.reshape(-1, 3))
    places = ijk[:, 1::-1].T
    met = [map_coordinates(v, places, order=0, mode="constant") for v in cine.labels.values]
    return np.stack(met).reshape(len(met), N_RAYS, len(radii))
