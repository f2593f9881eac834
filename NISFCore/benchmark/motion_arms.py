"""Descents of equal network, data terms and schedule from different beginnings."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from NISFCore.benchmark.motion_plan import Arm, MotionPlan
from NISFCore.benchmark.motion_truth import PlaneTruth
from NISFCore.errors import StudyError
from NISFCore.motion.config import DEFAULT, DescentConfig
from NISFCore.motion.descent import descend
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.priors.file import MotionPrior
from NISFCore.motion.refinement import tissue_points, track
from NISFCore.motion.tagged_plane import TaggedPlane
from NISFCore.progress import CancelToken, SilentProgress

NETWORK_RATE = 5.0
"""Of the network, over that of what is linear."""
Rates = Mapping[str, Mapping[str, float]]
"""Arm, then budget at which it was tuned: the rate."""


@dataclass(frozen=True)
class Race:
    """All arms on one subject.

    Attributes:
        seen: its images and labels.
        truth: what they are measured against.
        priors: of each arm that needs one.
    """

    plan: MotionPlan
    seen: TaggedPlane
    truth: PlaneTruth
    priors: Mapping[Arm, MotionPrior]
    cancel: CancelToken

    def begin(self, arm: Arm) -> Tensor:
        """An arm's weights at step 0."""
        field = self.seen.field(DEFAULT)
        if arm is Arm.RANDOM:
            return field.flat_state()
        if arm is Arm.PHASE:
            return self._phase_start(field)
        return self.priors[arm].state(field, self.seen)

    def after(self, state: Tensor, budget: int, rate: float) -> DisplacementField:
        """A descent of `budget` steps from a state; one that diverges is left where it began."""
        field = self.seen.field(DEFAULT)
        field.load_flat_state(state)
        config = DescentConfig(
            n_steps=budget,
            coefficient_rate=rate,
            network_rate=NETWORK_RATE * rate,
            opening_share=self.plan.opening_share,
        )
        terms, points, times = self.seen.data_terms(config), self.seen.points, self.seen.times
        try:
            descend(field, terms, points, times, config, SilentProgress(), self.cancel)
        except StudyError:
            field.load_flat_state(state)
        return field

    def arm(self, arm: Arm, rates: Rates) -> dict[str, Any]:
        """Scores at step 0 and after every budget, and processor seconds of start and descents."""
        began = time.process_time()
        state = self.begin(arm)
        found: dict[str, Any] = {"start_seconds": time.process_time() - began}
        field = self.seen.field(DEFAULT)
        field.load_flat_state(state)
        found["0"] = self.truth.scores(field)
        for budget in self.plan.budgets:
            began = time.process_time()
            rate = rates[arm.value][str(self.plan.tuned_budget(budget))]
            field = self.after(state, budget, rate)
            seconds = time.process_time() - began
            has_diverged = bool(torch.equal(field.flat_state(), state))
            scores = {**self.truth.scores(field), "has_diverged": has_diverged}
            found[str(budget)] = {**scores, "descent_seconds": seconds}
        return found

    def sweep(self, arm: Arm) -> dict[str, list[float]]:
        """RMSE in mm with every rate, at every budget where rates are tuned."""
        state = self.begin(arm)
        return {
            str(budget): [
                self.truth.rmse_mm(self.after(state, budget, rate)) for rate in self.plan.rates
            ]
            for budget in self.plan.tuned_at
        }

    def _phase_start(self, field: DisplacementField) -> Tensor:
        settings = DEFAULT.refinement
        stages = self.seen.stages(field, settings)[:-1]
        tissue = tissue_points(field, self.seen.points)
        track(field, tissue, self.seen.times, stages, settings, SilentProgress(), self.cancel)
        return field.flat_state()


def best_rates(sweeps: list[dict[str, dict[str, list[float]]]], plan: MotionPlan) -> Rates:
    """The rate of least mean error, of each arm at each budget."""
    rates: dict[str, dict[str, float]] = {}
    for arm in sweeps[0]:
        means = {
            budget: np.mean([sweep[arm][budget] for sweep in sweeps], axis=0)
            for budget in sweeps[0][arm]
        }
        rates[arm] = {b: plan.rates[int(np.argmin(m))] for b, m in means.items()}
    return rates
