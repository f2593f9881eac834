"""Meta-learning: Reptile (Nichol et al. 2018, arXiv 1803.02999) with the fit's own descent.

    w <- w + rate (descent(w, heart) - w),   one simulated heart's images and labels after another

so that w comes to lie where few steps of `descent.descend` lead far. It begins at the population
prior's weights. Only images and labels are looked at; what the curve shows is their cost after the
inner steps, on hearts that are not learned from.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from NISFCore.motion.config import DEFAULT, DescentConfig
from NISFCore.motion.descent import descend
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.priors.config import MotionTrainingConfig
from NISFCore.motion.priors.learning import Learned
from NISFCore.motion.priors.subjects import drawn_kind, simulated_plane
from NISFCore.motion.tagged_plane import TaggedPlane, tagged_plane
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress

HELD_OUT_SHARE = 0.15
CHECK_EVERY = 25
"""Episodes between two points of the curve."""


def inner_config(config: MotionTrainingConfig) -> DescentConfig:
    """The descent within an episode: a fit's, of few steps."""
    return DescentConfig(
        n_steps=config.inner_steps,
        coefficient_rate=config.inner_rate,
        network_rate=5 * config.inner_rate,
    )


def learn_meta(
    start: Tensor,
    planes: Sequence[TaggedPlane],
    config: MotionTrainingConfig,
    progress: ProgressReporter,
    cancel: CancelToken,
) -> Learned:
    """Reptile over planes, one after another.

    Args:
        start: flat state of the canonical field, the population prior's.

    Raises:
        Cancelled: between two steps.
    """
    n_held_out = max(1, round(HELD_OUT_SHARE * len(planes)))
    held_out, seen = planes[:n_held_out], planes[n_held_out:]
    generator, began = torch.Generator().manual_seed(config.seed), time.monotonic()
    w, curve = start.clone(), []
    for episode in range(config.n_iterations):
        if episode % CHECK_EVERY == 0:
            curve.append((episode, _held_out_cost(w, held_out, config, cancel)))
        plane = seen[int(torch.randint(len(seen), (1,), generator=generator))]
        rate = config.meta_rate * (1 - episode / config.n_iterations)
        adapted, _ = _adapted(w, plane, config, cancel)
        w += rate * (adapted - w)
        progress.report(
            ProgressEvent(
                "train",
                episode + 1,
                config.n_iterations,
                time.monotonic() - began,
                loss=curve[-1][1],
            )
        )
    curve.append((config.n_iterations, _held_out_cost(w, held_out, config, cancel)))
    return Learned(w, w.new_zeros(0, len(w)), curve)


def training_planes(
    seeds: Sequence[int], progress: ProgressReporter, cancel: CancelToken
) -> list[TaggedPlane]:
    """Simulated images and labels, prepared as a fit does.

    Raises:
        Cancelled: between two of them.
    """
    planes = []
    for k, seed in enumerate(seeds, start=1):
        cancel.check()
        simulated = simulated_plane(seed, drawn_kind(seed))
        planes.append(tagged_plane(list(simulated.study.slices), DEFAULT))
        progress.report(ProgressEvent("simulate", k, len(seeds), 0.0))
    return planes


def _held_out_cost(
    w: Tensor, planes: Sequence[TaggedPlane], config: MotionTrainingConfig, cancel: CancelToken
) -> float:
    """Mean cost at the last inner step."""
    costs = [_adapted(w, plane, config, cancel)[1] for plane in planes]
    return sum(costs) / len(costs)


def _adapted(
    w: Tensor, plane: TaggedPlane, config: MotionTrainingConfig, cancel: CancelToken
) -> tuple[Tensor, float]:
    """The weights after an inner descent from `w`, and its last cost."""
    field = DisplacementField(config.field, plane.plane.placement)
    field.load_flat_state(w)
    inner = replace(inner_config(config), seed=config.seed)
    terms = plane.data_terms(inner)
    steps = descend(field, terms, plane.points, plane.times, inner, SilentProgress(), cancel)
    return field.flat_state(), steps[-1].cost
