"""What one plane sees of tissue that moves in space, for `refinement.track`.

A plane stands still while tissue moves through it, so what it shows at a place y is whatever tissue
X is there now, X + u(X) = y. Tags are laid down at ED in all of space (k has no part across the
plane), hence the image at y is that of the tags at X(y). With dX = -F^-1 h dC,

    phase       r = wrap(phase(y) - k X)         dr/dC = k F^-1 h
    intensity   r = I(y) / contrast - T(X)       dr/dC = (dT/dX) F^-1 h
    border      r = d(X) for y on the border     dr/dC = -(dd/dX) F^-1 h

with d the signed distance to the border at ED (`wall.Wall`). The images are sampled at fixed places
and never differentiated.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from NISFCore.motion.field import DisplacementField
from NISFCore.motion.images import ImageStack
from NISFCore.motion.network import input_jet
from NISFCore.motion.refinement import (
    MAX_TRUST,
    MIN_CONTRAST,
    MIN_TRUST,
    MIN_VARIANCE,
    Rows,
    huber_weight,
    noise_weight,
)
from NISFCore.motion.regularisers import inverse
from NISFCore.motion.similarity import LocalWindows
from NISFCore.motion.tagged import CLEAR_MM, MIN_CLEARNESS, TagObservation, wrapped_sum
from NISFCore.motion.wall import ImplicitSurface

N_NEWTON = 2
N_NEWTON_FAR = 4
MAX_STEP_MM = 8.0
OUTSIDE_MM = 2.0
"""Farther outside of the wall at ED there is no tissue whose tags were known: a basal plane shows
the atrium once the base has moved through it."""


@dataclass(frozen=True)
class TissueNow:
    """The tissue that is at some places now.

    Attributes:
        places: `(n, 3)` local mm, where it is.
        material: `(n, 3)` local mm, where it was at ED.
        features: `(n, n_features + 1)` there.
        inverse: F^-1 `(n, 3, 3)` there.
    """

    places: Tensor
    material: Tensor
    features: Tensor
    inverse: Tensor

    def jacobian(self, by_material: Tensor) -> Tensor:
        """`(n, (n_features + 1) * 3)` from derivatives by X `(n, 3)`."""
        by_u = -(by_material[:, None] @ self.inverse)[:, 0]
        return (self.features[:, :, None] * by_u[:, None, :]).flatten(1)


@dataclass(frozen=True)
class PlaneInSpace:
    """A plane through a heart: normal `(3,)` and offset in local mm, n y = offset on it."""

    field: DisplacementField
    normal: Tensor
    offset: float

    def onto(self, points: Tensor) -> Tensor:
        """The nearest points `(n, 3)` of the plane."""
        return points - (points @ self.normal - self.offset)[:, None] * self.normal

    def tissue_beside(self, points: Tensor, C: Tensor) -> TissueNow:
        """What is now in the plane where the tissue of `points` `(n, 3)` comes nearest to it."""
        u, _, _ = self._moved(points, C)
        places = self.onto(points + u)
        return self._refined(places, points + places - (points + u), C, N_NEWTON)

    def tissue_at(self, places: Tensor, C: Tensor) -> TissueNow:
        """What is now at places `(n, 3)` of the plane."""
        return self._refined(places, places, C, N_NEWTON_FAR)

    def _refined(self, places: Tensor, material: Tensor, C: Tensor, n: int) -> TissueNow:
        for _ in range(n):
            u, _, inverse = self._moved(material, C)
            step = (inverse @ (material + u - places)[..., None])[..., 0]
            length = step.norm(dim=1, keepdim=True)
            material = material - step * (MAX_STEP_MM / length.clamp_min(MAX_STEP_MM))
        u, h, inverse = self._moved(material, C)
        return TissueNow(self.onto(material + u), material, h, inverse)

    def _moved(self, points: Tensor, C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """u `(n, 3)`, features, and F^-1 at tissue `(n, 3)`."""
        radius = self.field.placement.radius_mm
        h, by = self.field.features(input_jet(points / radius, True))
        assert by is not None  # asked for
        F = torch.eye(3) + torch.stack([d @ C for d in by], dim=-1) / radius
        return h @ C, h, inverse(F)


class WallAtED(Protocol):
    """The LV wall at ED, however it is known."""

    def depth_mm(self, points: Tensor) -> Tensor:
        """`(n,)` mm to the nearest border, at local points `(n, 3)`; negative outside the wall."""
        ...


class PhaseInSpace:
    """Wrapped phase of one series' tags, weighted by the band-passed image's modulus."""

    def __init__(
        self,
        plane: PlaneInSpace,
        points: Tensor,
        seen: TagObservation,
        wall: WallAtED,
        weight: float,
    ) -> None:
        self._plane, self._points, self._seen = plane, points, seen
        self._wall, self._root_weight = wall, weight**0.5

    def rows(self, moment: float, C: Tensor) -> Rows:
        tissue = self._plane.tissue_beside(self._points, C)
        frame = self._seen.frame_at(moment)
        parts = [self._wave_rows(k, frame, tissue) for k in range(len(self._seen.phases))]
        return torch.cat([r for r, _ in parts]), torch.cat([J for _, J in parts])

    def _wave_rows(self, k: int, frame: int, tissue: TissueNow) -> Rows:
        stack, vector = self._seen.phases[k], self._seen.vectors[k]
        real, imaginary = _one(stack, frame).sample(tissue.places[None])[0]
        r = wrapped_sum(real, imaginary, (tissue.places - tissue.material) @ vector)
        modulus = torch.hypot(real, imaginary)
        w = self._root_weight * (modulus / modulus.median().clamp_min(1e-9)).clamp_max(1.0)
        depth = self._wall.depth_mm(tissue.material)
        w = w * ((depth + OUTSIDE_MM) / OUTSIDE_MM).clamp(0.0, 1.0)
        return w * r, tissue.jacobian(-w[:, None] * vector)


class TagsInSpace:
    """Intensities of one series against the tags, normalised in local windows
    (`refinement.TagTerm`)."""

    def __init__(
        self,
        plane: PlaneInSpace,
        points: Tensor,
        seen: TagObservation,
        windows: LocalWindows,
        wall: WallAtED,
        weight: float,
        huber: float,
    ) -> None:
        self._plane, self._points, self._seen = plane, points, seen
        self._windows, self._wall = windows, wall
        self._root_weight, self._huber = weight**0.5, huber

    def rows(self, moment: float, C: Tensor) -> Rows:
        tissue = self._plane.tissue_beside(self._points, C)
        stack = _one(self._seen.images, self._seen.frame_at(moment))
        I = stack.sample(tissue.places[None])[0, 0]  # noqa: E741
        T = self._seen.template.at(tissue.material)
        by_material = self._seen.template.gradient(tissue.material)
        mean, mean_T = self._windows.mean(I), self._windows.mean(T)
        variance_T = self._variance(T, mean_T)
        variance = self._variance(I, mean)
        covariance = self._windows.mean(I * T) - mean * mean_T
        least = MIN_CONTRAST * (variance / variance_T).sqrt() + MIN_VARIANCE
        contrast = torch.maximum(covariance / variance_T, least)
        r = (I - mean) / contrast - (T - mean_T)
        ncc = covariance * (variance * variance_T).rsqrt()
        w = ncc.clamp(MIN_TRUST, MAX_TRUST) * huber_weight(r, self._huber) * noise_weight(r)
        w = self._root_weight * w * self._clearness(tissue.material)
        return w * r, tissue.jacobian(-w[:, None] * by_material)

    def _variance(self, values: Tensor, mean: Tensor) -> Tensor:
        return (self._windows.mean(values.square()) - mean.square()).clamp_min(MIN_VARIANCE)

    def _clearness(self, material: Tensor) -> Tensor:
        """Towards 0 on a border of the wall: pixels there are half blood."""
        depth = self._wall.depth_mm(material)
        clear = (depth / CLEAR_MM).clamp(MIN_CLEARNESS, 1.0)
        return torch.where(depth > -OUTSIDE_MM, clear, 0.0)


@dataclass(frozen=True)
class BorderInPlane:
    """A border of the wall as one plane's labels show it over time.

    Attributes:
        places: `(n, 3)` local mm on it, one tensor per frame.
        times: `(n_frames,)` cycle fractions.
        is_inner: the endocardium; else the epicardium and the wall's basal end.
    """

    places: tuple[Tensor, ...]
    times: Tensor
    is_inner: bool


class BorderInSpace:
    """Tissue that is on a border of the labels now was on that border at ED.

    `top_mm`: local height at ED above which borders of this plane do not count.
    """

    def __init__(
        self,
        plane: PlaneInSpace,
        border: BorderInPlane,
        surface: ImplicitSurface,
        weight: float,
        huber_mm: float,
        top_mm: float = math.inf,
    ) -> None:
        self._plane, self._border, self._surface = plane, border, surface
        self._root_weight, self._huber_mm, self._top_mm = weight**0.5, huber_mm, top_mm

    def rows(self, moment: float, C: Tensor) -> Rows:
        places = self._border.places[int((self._border.times - moment).abs().argmin())]
        tissue = self._plane.tissue_at(places, C)
        r, by_material = self._surface.at(tissue.material)
        w = self._root_weight * huber_weight(r, self._huber_mm)
        w = torch.where(tissue.material[:, 2] < self._top_mm, w, 0.0)
        return w * r, tissue.jacobian(w[:, None] * by_material)


def evenly(points: Tensor, n: int) -> Tensor:
    """About n of the points `(n_all, 3)`, evenly picked in their order."""
    if len(points) <= n:
        return points
    return points[torch.linspace(0, len(points) - 1, n).round().long()]


def _one(stack: ImageStack, frame: int) -> ImageStack:
    return ImageStack(stack.values[frame : frame + 1], stack.pixel_from_local)
