"""Sinusoidal encoding of a 3D+time coordinate (paper section 3.2, "Network architecture").

The five values [x, y, z, sin(2 pi t), cos(2 pi t)], space divided by `half_extent_mm`, become
sin(2^i pi c), cos(2^i pi c). The paper's time pair is (sin(pi t), cos(pi t)), which covers half a
circle, so that its cycle does not close; here t and t + 1 are the same. The circle's radius is
1/2: at radius 1, sin(pi c) and cos(pi c) could not tell c = -1 from 1, systole from diastole.
"""

import math

import torch
from torch import Tensor, nn

CIRCLE_RADIUS = 0.5


class CoordinateEncoding(nn.Module):
    """Encode points and cycle fractions; 7 space and 5 time bands give the paper's 62 features."""

    def __init__(self, n_space_bands: int, n_time_bands: int, half_extent_mm: float) -> None:
        super().__init__()
        self.half_extent_mm = half_extent_mm
        self.register_buffer("space_bands", _bands(n_space_bands), persistent=False)
        self.register_buffer("time_bands", _bands(n_time_bands), persistent=False)
        self.register_buffer("space_weights", torch.ones(n_space_bands), persistent=False)
        self.space_bands: Tensor
        self.time_bands: Tensor
        self.space_weights: Tensor

    @property
    def n_features(self) -> int:
        return 2 * (3 * len(self.space_bands) + 2 * len(self.time_bands))

    def open_bands(self, fraction: float) -> None:
        """Coarse-to-fine training: open the lowest `fraction` of the spatial bands smoothly.

        Band i of n has weight (1 - cos(pi clamp(n fraction - i, 0, 1))) / 2 (Park et al. 2021,
        Nerfies, eq. 8). At 1 all bands are open, which is the state at inference.
        """
        n = len(self.space_weights)
        position = torch.arange(n, dtype=self.space_weights.dtype)
        opened = (fraction * n - position).clamp(0.0, 1.0)
        self.space_weights.copy_((1 - torch.cos(math.pi * opened)) / 2)

    def forward(self, points_mm: Tensor, cycle_fraction: Tensor) -> Tensor:
        """Encode.

        Args:
            points_mm: `(n, 3)` canonical.
            cycle_fraction: `(n,)`.

        Returns:
            `(n, n_features)`.
        """
        return torch.cat(
            [self.space_features(points_mm), self.time_features(cycle_fraction)], dim=1
        )

    def space_features(self, points_mm: Tensor) -> Tensor:
        """The features `(n, 6 n_space_bands)` that depend on `points_mm` `(n, 3)` only."""
        phase = (points_mm / self.half_extent_mm)[:, :, None] * self.space_bands
        space = torch.cat([torch.sin(phase), torch.cos(phase)], dim=2)
        return (space * self.space_weights.repeat(2)).flatten(1)

    def by_points(self, features: Tensor, by_features: Tensor) -> Tensor:
        """Derivatives `(n, 3)` by `points_mm`, from those by `space_features` `(n, 6 n_bands)`."""
        shape = (len(features), 3, 2, len(self.space_bands))
        sine, cosine = features.view(shape).unbind(2)
        by_sine, by_cosine = by_features.view(shape).unbind(2)
        by_phase = by_sine * cosine - by_cosine * sine
        return by_phase @ (self.space_bands / self.half_extent_mm)

    def time_features(self, cycle_fraction: Tensor) -> Tensor:
        """The features `(n, 4 n_time_bands)` that depend on `cycle_fraction` `(n,)` only; they
        follow those of space."""
        angle = 2 * math.pi * cycle_fraction
        circle = CIRCLE_RADIUS * torch.stack([torch.sin(angle), torch.cos(angle)], dim=1)
        beat = circle[:, :, None] * self.time_bands
        return torch.cat([torch.sin(beat), torch.cos(beat)], dim=2).flatten(1)


def _bands(n: int) -> Tensor:
    return math.pi * 2.0 ** torch.arange(n, dtype=torch.float32)
