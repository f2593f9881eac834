"""The temporal basis of a displacement field: cumulative ramps between knots of the cycle.

    u(X, t) = sum_k b_k(t) f_k(X),   b_k(t) = clamp((t - s_k) / (s_{k+1} - s_k), 0, 1)

f_k is what the tissue moves between the knots s_k and s_{k+1}, so a time that no image has been
looked at yet inherits the last displacement. b_k(s_0) = 0: ED is exactly still. On a cycle the
tissue comes back: b_k(t) - t instead of b_k(t) makes u(X, 1) = 0 for any f.
"""

from itertools import pairwise

import torch
from torch import Tensor

from NISFCore.errors import ConfigError


def check_knots(knots: tuple[float, ...]) -> None:
    """Raise unless the knots begin at 0, increase and end at 1 at the latest.

    Raises:
        ConfigError: if they do not.
    """
    increases = all(b > a for a, b in pairwise(knots))
    if len(knots) < 2 or knots[0] != 0.0 or knots[-1] > 1.0 or not increases:
        raise ConfigError(
            f"knots: got {len(knots)} values from {knots[:1]} to {knots[-1:]}; they begin at 0 "
            "(ED), increase, and end at 1 at the latest"
        )


def ramp_basis(knots: Tensor, times: Tensor, is_cyclic: bool) -> Tensor:
    """Values `(n_times, n_knots - 1)` of the basis at cycle fractions `times` `(n_times,)`.

    Args:
        knots: `(n_knots,)`, see `check_knots`; the last one is 1 if the motion is cyclic.
        is_cyclic: whether the tissue returns at the end of the cycle. Times are then taken modulo
            1; else times before ED or after the last knot keep the nearest displacement.
    """
    t = torch.remainder(times, 1.0) if is_cyclic else times
    ramps = ((t[:, None] - knots[:-1]) / knots.diff()).clamp(0.0, 1.0)
    return ramps - t[:, None] if is_cyclic else ramps


def knots_of_frames(cycle_fractions: list[float], is_cyclic: bool) -> tuple[float, ...]:
    """ED, then every frame's own time; the end of the cycle too if the motion is cyclic."""
    later = sorted({float(t) for t in cycle_fractions if t > 0.0})
    end = [1.0] if is_cyclic and later[-1:] != [1.0] else []
    return (0.0, *later, *end)
