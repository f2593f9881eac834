"""When the heart moves: activation curves over the cardiac cycle.

Curves are sums of quintic steps: periodic, twice continuously differentiable, 0 at ED and 1 at ES.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.phantom.parameters import MotionParameters


def _smooth_step(t: Tensor, start: float | Tensor, end: float | Tensor) -> Tensor:
    """0 before `start`, 1 after `end`, twice continuously differentiable between."""
    x = ((t - start) / (end - start)).clamp(0.0, 1.0)
    return x.pow(3) * (10 - 15 * x + 6 * x.square())


def activation(cycle_fraction: Tensor, p: MotionParameters) -> Tensor:
    """Part of the stroke volume that has been ejected: 0 at ED, 1 at ES, periodic."""
    t = torch.remainder(cycle_fraction, 1.0)
    ejected = _smooth_step(t, p.contraction_start, p.es_fraction)
    filled = _smooth_step(t, p.es_fraction, p.filling_end) * (1 - p.diastasis_volume)
    return ejected - filled - p.diastasis_volume * _smooth_step(t, p.kick_start, p.kick_end)


def delayed_activation(cycle_fraction: Tensor, p: MotionParameters, delay: Tensor) -> Tensor:
    """As `activation`, with contraction and early filling later by `delay` (0 or more).

    The atrial kick is common to all walls, so that the curve stays periodic and 0 at ED.
    """
    t = torch.remainder(cycle_fraction, 1.0)
    es = p.es_fraction + delay
    ejected = _smooth_step(t, p.contraction_start + delay, es)
    filled = _smooth_step(t, es, p.filling_end + delay) * (1 - p.diastasis_volume)
    return ejected - filled - p.diastasis_volume * _smooth_step(t, p.kick_start, p.kick_end)


def twist_activation(cycle_fraction: Tensor, p: MotionParameters) -> Tensor:
    """As `activation`, with untwisting ahead of filling."""
    t = torch.remainder(cycle_fraction, 1.0)
    end = p.filling_end - p.untwist_lead
    ejected = _smooth_step(t, p.contraction_start, p.es_fraction)
    return ejected - _smooth_step(t, p.es_fraction, end)


@dataclass(frozen=True)
class Beat:
    """The state of the motion at one time (0-d tensors) or at one time per point `(n,)`.

    `time` is the cycle fraction that it belongs to, for walls that contract late.
    """

    activation: Tensor
    twist: Tensor
    time: Tensor
