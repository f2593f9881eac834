"""What the simulated scanner sees at sample points: the beating heart in its still surroundings,
as a cine or with tags."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.parameters import AppearanceParameters
from NISFCore.phantom.tag_pattern import LaidTags

SignalAt = Callable[[float], Tensor]
"""Signal `(n,)` at a cycle fraction, as a new tensor."""


class Scene(Protocol):
    """Signal at points `(n, 3)` in heart coordinates."""

    def still(self, points: Tensor, edge_mm: float) -> SignalAt:
        """What does not move, as if there were no heart."""
        ...

    def moving(
        self, points: Tensor, cycle_fraction: float, edge_mm: float
    ) -> tuple[Tensor, Tensor]:
        """The heart: its signal, and the part of a point that it covers."""
        ...


class CineScene:
    """The heart as a cine shows it."""

    def __init__(self, heart: BeatingHeart) -> None:
        self._heart = heart

    def still(self, points: Tensor, edge_mm: float) -> SignalAt:
        background = self._heart.background(points, edge_mm)
        return lambda cycle_fraction: background.clone()

    def moving(
        self, points: Tensor, cycle_fraction: float, edge_mm: float
    ) -> tuple[Tensor, Tensor]:
        signal, cover, _ = self._heart.heart_layer(points, cycle_fraction, edge_mm)
        return signal, cover


class TaggedScene:
    """The heart with tags that move with the tissue, fade, and wash out of the blood.

    What was laid down at a material point at ED multiplies the signal of that tissue:
    S = S_0 (1 - (1 - M_z(X)) exp(-t / fading)).
    """

    def __init__(self, heart: BeatingHeart, tags: LaidTags, rr_ms: float) -> None:
        self._heart = heart
        self._tags = tags
        self._rr_ms = rr_ms

    def still(self, points: Tensor, edge_mm: float) -> SignalAt:
        background = self._heart.background(points, edge_mm)
        lost = background * self._tags.loss(points)
        return lambda cycle_fraction: background - lost * self._left(cycle_fraction)

    def moving(
        self, points: Tensor, cycle_fraction: float, edge_mm: float
    ) -> tuple[Tensor, Tensor]:
        tissue = self._heart.tissue_layer(points, cycle_fraction, edge_mm)
        washout = math.exp(-cycle_fraction * self._rr_ms / self._tags.pattern.washout_ms)
        left = self._left(cycle_fraction) * torch.lerp(
            torch.ones_like(tissue.blood), torch.full_like(tissue.blood, washout), tissue.blood
        )
        return tissue.signal * (1 - left * self._tags.loss(tissue.material)), tissue.cover

    def _left(self, cycle_fraction: float) -> float:
        """Part of the tags of resting tissue that has not faded yet."""
        return math.exp(-cycle_fraction * self._rr_ms / self._tags.pattern.fading_ms)


def spoiled_gradient_echo(look: AppearanceParameters) -> AppearanceParameters:
    """A heart's signals in the sequence that images tags: muscle brighter, blood darker than in a
    balanced cine, so that lines are seen in the wall."""
    return replace(
        look,
        lv_blood=0.75 * look.lv_blood,
        rv_blood=0.75 * look.rv_blood,
        atrial_blood=0.75 * look.atrial_blood,
        myocardium=0.35 + 0.5 * look.myocardium,
        muscle=0.35 + 0.5 * look.muscle,
        liver=0.35 + 0.5 * look.liver,
    )
