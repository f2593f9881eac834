"""What a training changes: flat states of a canonical field, towards the motion of many hearts.

A heart's misfit is its mean squared error in mm^2. One heart whose tags were taken for their
neighbours would spoil a mean over hearts, so misfits count by a pseudo-Huber function of their
root: as squares up to `robust_mm`, linearly beyond.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from NISFCore.motion.priors.config import MotionTrainingConfig
from NISFCore.motion.priors.subjects import Batch, Subjects
from NISFCore.motion.priors.weights import ManyFields, canonical_field
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter

FINAL_RATE = 0.02
"""Of the last step, over the first one's."""
CODE_RATE = 30.0
"""Of latent codes, over that of weights: codes are about 1, weights of what they change 0.01."""
FIRST_MODES = 1e-3
"""Standard deviation of what a code of 1 changes in a weight, before training."""


@dataclass(frozen=True)
class Learned:
    """What a training found, as flat states of the canonical field.

    Attributes:
        base: `(n_weights,)`.
        modes: `(n_latent, n_weights)`, what a code of 1 adds; `(0, n_weights)` without codes.
            Codes of the training subjects have mean 0 and covariance 1.
        curve: `(step, root mean squared error in mm)` of the training.
    """

    base: Tensor
    modes: Tensor
    curve: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Learning:
    """A training under way: its subjects, and who watches."""

    config: MotionTrainingConfig
    subjects: Subjects
    progress: ProgressReporter
    cancel: CancelToken

    @property
    def many(self) -> ManyFields:
        return ManyFields(canonical_field(self.config.field))

    @property
    def start(self) -> Tensor:
        """The weights that every training begins with `(n_weights,)`."""
        return canonical_field(self.config.field).flat_state()

    def descend(
        self, groups: list[dict[str, object]], cost: Callable[[Batch], tuple[Tensor, Tensor]]
    ) -> list[tuple[int, float]]:
        """Adam on parameter groups; `cost` gives what is minimised and the batch's misfits.

        Raises:
            Cancelled: between two steps.
        """
        config, began = self.config, time.monotonic()
        generator = torch.Generator().manual_seed(config.seed)
        optimiser = torch.optim.Adam(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate_factor)
        curve = []
        for k in range(config.n_iterations):
            self.cancel.check()
            batch = self.subjects.batch(config.n_batch, config.n_points, generator)
            optimiser.zero_grad(set_to_none=True)
            total, misfits = cost(batch)
            total.backward()
            optimiser.step()
            schedule.step()
            curve.append((k, float(misfits.detach().mean().sqrt())))
            seconds = time.monotonic() - began
            self.progress.report(
                ProgressEvent("train", k + 1, config.n_iterations, seconds, loss=curve[-1][1])
            )
        return curve

    def _rate_factor(self, step: int) -> float:
        part = step / self.config.n_iterations
        return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * part))


def misfits_mm2(many: ManyFields, states: Tensor, subjects: Subjects) -> Tensor:
    """Mean squared error `(n_subjects,)` of states `(n_subjects, n_weights)`."""
    error = many.displacements(states, subjects.points) - subjects.displacement
    return error.square().sum(dim=-1).mean(dim=(1, 2)) * subjects.radii_mm.square()


def robust(misfits: Tensor, limit_mm: float) -> Tensor:
    """Pseudo-Huber function of the root of misfits in mm^2, in mm^2."""
    limit = limit_mm**2
    return 2 * limit * ((1 + misfits / limit).sqrt() - 1)


def learn_population(learning: Learning) -> Learned:
    """One state for all subjects."""
    config, many = learning.config, learning.many
    state = learning.start.requires_grad_()

    def cost(batch: Batch) -> tuple[Tensor, Tensor]:
        states = state.expand(len(batch.chosen), -1)
        misfits = misfits_mm2(many, states, batch.subjects)
        return robust(misfits, config.robust_mm).mean(), misfits

    curve = learning.descend([{"params": [state], "lr": config.rate}], cost)
    return Learned(state.detach(), _no_modes(state), curve)


def learn_subject_wise(learning: Learning) -> tuple[Tensor, list[tuple[int, float]]]:
    """A state for each subject `(n_subjects, n_weights)`, all from the same weights."""
    config, many = learning.config, learning.many
    n_subjects = len(learning.subjects.points)
    states = learning.start.repeat(n_subjects, 1).requires_grad_()

    def cost(batch: Batch) -> tuple[Tensor, Tensor]:
        misfits = misfits_mm2(many, states[batch.chosen], batch.subjects)
        # a sum: subjects do not share a step's length
        return robust(misfits, config.robust_mm).sum(), misfits

    return states.detach(), learning.descend([{"params": [states], "lr": config.rate}], cost)


def learn_auto_decoder(learning: Learning) -> Learned:
    """One state, and codes that change all of its weights."""
    config, many = learning.config, learning.many
    generator = torch.Generator().manual_seed(config.seed)
    base = learning.start.requires_grad_()
    shape = (config.n_latent, len(base))
    modes = (FIRST_MODES * torch.randn(shape, generator=generator)).requires_grad_()
    n_subjects = len(learning.subjects.points)
    codes = (0.1 * torch.randn(n_subjects, config.n_latent, generator=generator)).requires_grad_()

    def cost(batch: Batch) -> tuple[Tensor, Tensor]:
        z = codes[batch.chosen]
        misfits = misfits_mm2(many, base + z @ modes, batch.subjects)
        penalty = config.code_penalty * z.square().sum(dim=1)
        return (robust(misfits, config.robust_mm) + penalty).mean(), misfits

    groups: list[dict[str, object]] = [
        {"params": [base, modes], "lr": config.rate},
        {"params": [codes], "lr": CODE_RATE * config.rate},
    ]
    curve = learning.descend(groups, cost)
    return whitened(base.detach(), modes.detach(), codes.detach(), curve)


def whitened(base: Tensor, modes: Tensor, codes: Tensor, curve: list[tuple[int, float]]) -> Learned:
    """The same motions, with codes of mean 0 and covariance 1 over the subjects."""
    mean = codes.mean(dim=0)
    U, s, Vt = torch.linalg.svd(codes - mean, full_matrices=False)
    del U
    scale = s / math.sqrt(len(codes))
    return Learned(base + mean @ modes, scale[:, None] * (Vt @ modes), curve)


def learn_consensus(learning: Learning) -> Learned:
    """The trimmed mean of subject-wise states."""
    states, curve = learn_subject_wise(learning)
    return Learned(trimmed_mean(states, learning.config.trimmed), _no_modes(states[0]), curve)


def learn_modes(learning: Learning) -> Learned:
    """The consensus, and principal modes of the states about it."""
    states, curve = learn_subject_wise(learning)
    base = trimmed_mean(states, learning.config.trimmed)
    return Learned(base, principal_modes(states - base, learning.config.n_latent), curve)


def trimmed_mean(values: Tensor, share: float) -> Tensor:
    """Mean over the first axis without the share of lowest and of highest values of each column."""
    n_out = int(share * len(values))
    kept = values.sort(dim=0).values[n_out : len(values) - n_out]
    return kept.mean(dim=0)


def principal_modes(deviations: Tensor, n_modes: int) -> Tensor:
    """`(n_modes, n_weights)` of deviations `(n_subjects, n_weights)`, one standard deviation each.

    A subject far from the others counts as one at the median distance: it may not name a mode.
    """
    distance = deviations.norm(dim=1, keepdim=True)
    limited = deviations * (distance.median() / distance.clamp_min(1e-12)).clamp_max(1.0)
    _, s, Vt = torch.linalg.svd(limited, full_matrices=False)
    n = min(n_modes, len(deviations) - 1)
    return (s[:n, None] / math.sqrt(len(deviations))) * Vt[:n]


def _no_modes(state: Tensor) -> Tensor:
    return state.new_zeros(0, len(state))
