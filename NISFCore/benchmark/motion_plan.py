"""What `nisf benchmark motion` runs: groups of unseen simulated hearts, ways to begin, budgets.

Nothing was chosen on these hearts: priors are trained on others (`priors.training.FIRST_SEED`),
rates are tuned on others still (`TUNING_SEED`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from NISFCore.errors import ConfigError
from NISFCore.motion.priors.config import PriorKind
from NISFCore.motion.priors.subjects import Drawn, drawn_plane
from NISFCore.phantom.motion_population import MotionKind
from NISFCore.phantom.parameters import Mode
from NISFCore.phantom.population import sample_heart

FIRST_SEED = 7_720_000
TUNING_SEED = 30_000_000


class Group(str, Enum):
    """Hearts that are measured together."""

    HEALTHY = "healthy"
    DYSFUNCTIONAL = "dysfunctional"
    LARGE = "large motion"
    HALF_RATE = "half frame rate"
    """Healthy and dysfunctional hearts, half as many frames: tags move twice as far between two."""
    NOISE = "noise"
    """Healthy and dysfunctional hearts, three times the noise."""
    DISTANT = "distant family"
    """Shapes that no training heart has (hypertrophy, RV overload), regions that contract late on
    other sides, planes nearer to apex and base."""


SPACE_GROUPS = (Group.HEALTHY, Group.DYSFUNCTIONAL)


class Arm(str, Enum):
    """Where a descent begins."""

    RANDOM = "random"
    """Random hidden layers, nothing moves."""
    POPULATION = "population"
    CONSENSUS = "consensus"
    AUTO_DECODER = "auto-decoder"
    META = "meta"
    MODES = "modes"
    """Gauss-Newton on principal modes of consensus weights."""
    PHASE = "Gauss-Newton"
    """Gauss-Newton on tag phase and labels, frame by frame: all of the usual fit but its end."""

    @property
    def prior(self) -> PriorKind | None:
        """The kind of file it needs."""
        return None if self in (Arm.RANDOM, Arm.PHASE) else PriorKind(self.value)


LEARNED = (Arm.POPULATION, Arm.CONSENSUS, Arm.AUTO_DECODER, Arm.META)


@dataclass(frozen=True)
class MotionPlan:
    """One comparison.

    Attributes:
        groups: that are measured.
        n_per_group: subjects of each group, whose tagged plane is fitted as usual.
        n_raced: first subjects on which every arm descends.
        n_tuning: subjects on which each arm's rate is tuned.
        budgets: steps of the descents, each a descent of its own; the last one stands for
            convergence.
        tuned_at: budgets at which rates are tuned; a budget takes the rate of the nearest one that
            is not smaller, or of the last.
        rates: that are tried, of coefficients; the network's are five times as high.
        opening_share: as `DescentConfig`; the same for every arm.
        n_cine: first subjects whose untagged cine is fitted.
        n_space: first subjects of each of `SPACE_GROUPS` whose tagged planes are fitted in space.
        seed: of the first subject.
    """

    groups: tuple[Group, ...] = tuple(Group)
    n_per_group: int = 16
    n_raced: int = 24
    n_tuning: int = 2
    budgets: tuple[int, ...] = (5, 10, 20, 50, 100)
    tuned_at: tuple[int, ...] = (20, 50)
    rates: tuple[float, ...] = (1e-5, 5e-5, 2e-4, 4e-4)
    opening_share: float = 0.5
    n_cine: int = 8
    n_space: int = 8
    seed: int = FIRST_SEED

    def __post_init__(self) -> None:
        if self.n_per_group < 1 or self.n_tuning < 1:
            raise ConfigError("MotionPlan: needs a subject of each group, and one for tuning")

    @property
    def n_subjects(self) -> int:
        return self.n_per_group * len(self.groups)

    def subjects(self) -> Iterator["PlannedSubject"]:
        """All of them, group after group within each round."""
        for k in range(self.n_subjects):
            turn, index = divmod(k, len(self.groups))
            yield PlannedSubject(k + 1, self.seed + k, self.groups[index], turn)

    def in_space(self) -> Iterator["PlannedSubject"]:
        """Those that are fitted in space."""
        for subject in self.subjects():
            if subject.group in SPACE_GROUPS and subject.round < self.n_space:
                yield subject

    def tuned_budget(self, budget: int) -> int:
        """The budget whose rate this one takes."""
        larger = [n for n in self.tuned_at if n >= budget]
        return min(larger) if larger else max(self.tuned_at)


@dataclass(frozen=True)
class PlannedSubject:
    """One test subject.

    Attributes:
        number: from 1.
        seed, group: that decide what it is.
        round: how many of its group came before.
    """

    number: int
    seed: int
    group: Group
    round: int

    @property
    def kind(self) -> MotionKind:
        """Of its motion; mixed groups take turns."""
        if self.group is Group.LARGE:
            return MotionKind.LARGE
        turns = (MotionKind.HEALTHY, MotionKind.DYSFUNCTIONAL)
        fixed = {Group.HEALTHY: turns[0], Group.DYSFUNCTIONAL: turns[1]}
        return fixed.get(self.group, turns[self.round % 2])

    def drawn(self) -> Drawn:
        """Heart, tags and protocol."""
        drawn = drawn_plane(self.seed, self.kind)
        return drawn if self.change is None else self.change(drawn)

    @property
    def change(self) -> Callable[[Drawn], Drawn] | None:
        """Of what was drawn for it."""
        changes = {
            Group.HALF_RATE: half_rate,
            Group.NOISE: noisy,
            Group.DISTANT: self._distant,
        }
        return changes.get(self.group)

    def _distant(self, drawn: Drawn) -> Drawn:
        return distant(drawn, self.seed, self.round)


def half_rate(drawn: Drawn) -> Drawn:
    """Every second frame only."""
    return replace(drawn, protocol=replace(drawn.protocol, n_phases=drawn.protocol.n_phases // 2))


def noisy(drawn: Drawn) -> Drawn:
    """Three times the noise."""
    return replace(drawn, protocol=replace(drawn.protocol, noise_sd=3 * drawn.protocol.noise_sd))


def distant(drawn: Drawn, seed: int, turn: int) -> Drawn:
    """Another shape, another plane, and contraction that is late on another side."""
    rng = np.random.default_rng(seed)
    heart = sample_heart(rng, (Mode.HYPERTROPHIC, Mode.RV_OVERLOAD)[turn % 2])
    most = 0.9 * (heart.motion.kick_start - heart.motion.filling_end)
    motion = replace(
        heart.motion,
        delay=min(0.08, most),
        delay_angle_rad=float(rng.uniform(-0.5, 0.5) * np.pi),
    )
    level = (0.28, 0.82)[(turn // 2) % 2]
    protocol = replace(drawn.protocol, sa_levels=(level,))
    return replace(drawn, heart=replace(heart, motion=motion), protocol=protocol)
