"""Adam on all weights of a displacement field, frames opened one after another."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from NISFCore.motion.config import DescentConfig
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.refinement import check_followed
from NISFCore.motion.regularisers import volume_penalty
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter


class DataTerm(Protocol):
    """What images say of a field."""

    def cost(self, field: DisplacementField, last_time: float) -> Tensor:
        """A scalar, about 1 for a bad field, of the frames until `last_time`."""
        ...


@dataclass(frozen=True)
class DescentStep:
    """One step: its cost, and the seconds since the descent began."""

    step: int
    cost: float
    seconds: float


def descend(
    field: DisplacementField,
    terms: Sequence[tuple[float, DataTerm]],
    points: Tensor,
    times: Tensor,
    config: DescentConfig,
    progress: ProgressReporter,
    cancel: CancelToken,
) -> list[DescentStep]:
    """Change the field's weights in place.

    Args:
        terms: weights and data terms.
        points: `(n, n_dims)` local mm, where the tissue must be possible.
        times: `(n_times,)` when.

    Raises:
        StudyError: if it diverged.
        Cancelled: between two steps.
    """
    began = time.monotonic()
    steps: list[DescentStep] = []
    generator = torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.Adam(
        [
            {"params": [field.coefficients, field.last], "lr": config.coefficient_rate},
            {"params": list(field.hidden.parameters()), "lr": config.network_rate},
        ]
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: rate_factor(k, config))
    for k in range(config.n_steps):
        cancel.check()
        optimiser.zero_grad(set_to_none=True)
        last_time = opened_until(k, times, config)
        cost = torch.stack([w * t.cost(field, last_time) for w, t in terms]).sum()
        open_times = times[times <= last_time + 1e-6]
        F = field.gradient(drawn(points, config.n_points, generator), open_times)
        total = cost + config.volume_weight * volume_penalty(F)
        total.backward()
        optimiser.step()
        schedule.step()
        steps.append(DescentStep(k, float(total.detach()), time.monotonic() - began))
        progress.report(
            ProgressEvent("motion", k + 1, config.n_steps, steps[-1].seconds, steps[-1].cost)
        )
    with torch.no_grad():
        for u, moment in zip(field.displacement(points, times), times.tolist(), strict=True):
            check_followed(u, field.placement.radius_mm, moment)
    return steps


def opened_until(step: int, times: Tensor, config: DescentConfig) -> float:
    """Cycle fraction of the last frame that counts at this step."""
    opening = config.opening_share * config.n_steps
    if step >= opening:
        return float(times[-1])
    n = math.ceil(len(times) * (step + 1) / opening)
    return float(times[max(1, min(n, len(times) - 1))])


def rate_factor(step: int, config: DescentConfig) -> float:
    """Half a cosine from 1 to `final_rate`."""
    last = config.final_rate
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * step / config.n_steps))


def drawn(points: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """At most n of the points, at random."""
    if n >= len(points):
        return points
    return points[torch.randperm(len(points), generator=generator)[:n]]
