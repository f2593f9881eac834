"""The LV wall at ED as two smooth functions of space, from labels of a few planes.

Signed distances to the blood pool and to the whole LV (cavity and wall), negative inside, are known
within every labelled plane. Random sine features of place, solved for by ridge regression, carry
them into the space between. Far from a border they are rough; at a border their zero is it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Points
from NISFCore.labels import Label
from NISFCore.motion.contours import signed_distances
from NISFCore.motion.field import Placement
from NISFCore.motion.images import around, mask_points_ras
from NISFCore.motion.network import RandomFeatures, input_jet, linear

N_FEATURES, OMEGA, SEED = 500, 3.0, 11
RIDGE = 1e-4
NEAR_MM = 2.0
"""Distances count by 1 / (1 + (d / NEAR_MM)^2): borders are where the zero is."""
PIXEL_STEP = 2
MIN_SLOPE = 0.3


@dataclass(frozen=True)
class ImplicitSurface:
    """A function of local points whose zero is a surface; about mm near it.

    Attributes:
        features: fixed.
        weights: `(n_features + 1, 1)`.
        radius_mm: unit of the features' coordinates.
    """

    features: RandomFeatures
    weights: Tensor
    radius_mm: float

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distance `(n,)` in mm and its gradient `(n, 3)`, both over the gradient's length,
        at `(n, 3)` local mm."""
        value, by = linear(self.features(input_jet(points / self.radius_mm, True)), self.weights)
        assert by is not None  # asked for
        gradient = by[..., 0].T / self.radius_mm
        slope = gradient.norm(dim=1).clamp_min(MIN_SLOPE)
        return value[:, 0] / slope, gradient / slope[:, None]


@dataclass(frozen=True)
class Wall:
    """The LV wall at ED: outside of `blood`, inside of `lv`."""

    blood: ImplicitSurface
    lv: ImplicitSurface

    def depth_mm(self, points: Tensor) -> Tensor:
        """`(n,)` mm to the nearest border, at local points `(n, 3)`; negative outside the wall."""
        return torch.minimum(self.blood.at(points)[0], -self.lv.at(points)[0])

    def contains(self, points: Tensor) -> Tensor:
        """`(n,)` whether local points `(n, 3)` are wall."""
        return self.depth_mm(points) > 0


@torch.no_grad()
def wall_at_ed(slices: Sequence[CineSlice], placement: Placement) -> Wall:
    """The wall that the labels of the slices' first frames show.

    Raises:
        StudyError: if no slice shows a blood pool with a wall around it.
    """
    shown = [s for s in slices if _has_wall(s)]
    if not shown:
        raise StudyError(
            "no slice is labelled at ED with LV blood pool and LV myocardium; motion needs to know "
            "where the tissue is: fit the study first, or give label maps"
        )
    parts = [_samples(s, placement) for s in shown]
    points, blood, lv = (np.concatenate(x) for x in zip(*parts, strict=True))
    places = torch.tensor(points, dtype=torch.float32)
    features = RandomFeatures(3, N_FEATURES, OMEGA, SEED)
    h, _ = features(input_jet(places / placement.radius_mm, False))
    surfaces = [
        ImplicitSurface(features, _ridge(h, torch.tensor(d)), placement.radius_mm)
        for d in (blood, lv)
    ]
    return Wall(*surfaces)


def wall_points(wall: Wall, extent: Points, spacing_mm: float) -> Tensor:
    """Points `(n, 3)` of a regular local grid in the wall.

    Args:
        extent: `(2, 3)` local mm, lower and upper corner of what labels show.
    """
    sides = [torch.arange(a, b, spacing_mm, dtype=torch.float32) for a, b in extent.T.tolist()]
    grid = torch.stack(torch.meshgrid(*sides, indexing="ij"), dim=-1).reshape(-1, 3)
    parts = [p[wall.contains(p)] for p in grid.split(20_000)]
    return torch.cat(parts)


def _has_wall(cine: CineSlice) -> bool:
    if cine.labels is None or not cine.labels.annotated[0]:
        return False
    values = cine.labels.values[0]
    return all((values == label).any() for label in (Label.LV_MYOCARDIUM, Label.LV_BLOOD_POOL))


def _samples(
    cine: CineSlice, placement: Placement
) -> tuple[Points, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Local points and distances to blood pool and LV, of every second pixel around the wall."""
    assert cine.labels is not None  # has a wall
    near, _ = around(cine, cine.labels.values[0] == Label.LV_MYOCARDIUM)
    assert near.labels is not None  # cropped with the slice
    values = near.labels.values[:1]
    blood = values == Label.LV_BLOOD_POOL
    lv = blood | (values == Label.LV_MYOCARDIUM)
    chosen = np.zeros(near.shape, dtype=np.bool_)
    chosen[::PIXEL_STEP, ::PIXEL_STEP] = True
    distances = [signed_distances(r, near.spacing_mm)[0][chosen] for r in (blood, lv)]
    points = placement.local_from_ras(mask_points_ras(near, chosen))
    return points, distances[0], distances[1]


def _ridge(h: Tensor, distances: Tensor) -> Tensor:
    """Coefficients `(n_features + 1, 1)`, float32."""
    w = 1 / (1 + (distances / NEAR_MM).square())
    A = h.double() * w.sqrt()[:, None]
    G = A.T @ A
    G.diagonal().add_(RIDGE * len(h))
    return torch.linalg.solve(G, A.T @ (w.sqrt() * distances))[:, None].float()
