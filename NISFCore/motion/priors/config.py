"""Settings of motion priors and of their training."""

from dataclasses import dataclass
from enum import Enum

from NISFCore.errors import ConfigError
from NISFCore.motion.config import FieldConfig, NetworkConfig
from NISFCore.phantom.motion_population import MotionKind


class PriorKind(str, Enum):
    """How a prior is learned."""

    POPULATION = "population"
    """One network, optimised for all subjects together."""
    CONSENSUS = "consensus"
    """The robust mean of one network per subject, all trained from the same weights."""
    AUTO_DECODER = "auto-decoder"
    """One network, and a latent code per subject that changes its weights."""
    META = "meta"
    """Weights from which few steps of the fit's own descent lead far (Reptile)."""
    MODES = "modes"
    """The consensus and the principal modes of the subjects' weights about it."""


class Targets(str, Enum):
    """What the subjects' motion is taken from."""

    TRUTH = "truth"
    """The exact displacement of simulated tissue."""
    IMAGES = "images"
    """A Gauss-Newton fit to their images and labels: all that is known of real subjects."""


@dataclass(frozen=True)
class LatentConfig:
    """How a latent code is found for a heart before its network is freed (`latent.solve`).

    Attributes:
        n_iterations: of Gauss-Newton; frames are opened one after another over the first half.
        phase_sd_rad, border_sd_mm: of residuals of one point of one frame, against a code of
            standard deviation 1. They stand for what no code can give, and for neighbours that say
            the same thing: far more than an image's noise.
        huber_rad: phases beyond this count linearly.
    """

    n_iterations: int = 6
    phase_sd_rad: float = 2.0
    border_sd_mm: float = 2.0
    huber_rad: float = 1.0

    def __post_init__(self) -> None:
        if self.n_iterations < 1:
            raise ConfigError(f"LatentConfig.n_iterations: got {self.n_iterations}, at least 1")
        for name in ("phase_sd_rad", "border_sd_mm", "huber_rad"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"LatentConfig.{name}: got {getattr(self, name)}, must be positive"
                )


MIXTURE: tuple[tuple[MotionKind, float], ...] = (
    (MotionKind.HEALTHY, 0.35),
    (MotionKind.DYSFUNCTIONAL, 0.25),
    (MotionKind.LARGE, 0.15),
    (MotionKind.DYSSYNCHRONOUS, 0.15),
    (MotionKind.SMALL, 0.10),
)
"""Shares of the training subjects: our own choice, from no cohort."""


@dataclass(frozen=True)
class MotionTrainingConfig:
    """One training.

    Attributes:
        kind: of the prior.
        n_subjects: simulated hearts to learn from.
        seed: of hearts, weights and draws.
        targets: what their motion is taken from; "meta" takes the population prior that it begins
            with from there, and goes on with images and labels.
        n_steps_of_cycle: intervals of the cycle that the prior's network knows.
        network, n_features, omega, feature_seed: as `FieldConfig`; a fit needs the same.
        n_iterations: steps of the training; of each subject's network for consensus and modes; of
            episodes for meta.
        rate: of Adam at the first step.
        n_batch: subjects at each step.
        n_points: of each subject at each step.
        robust_mm: errors of a subject beyond this count linearly.
        n_latent: length of a code, number of modes.
        code_penalty: of the squared code, in mm^2.
        trimmed: share of subjects left out at either end of each weight's mean.
        inner_steps, inner_rate, meta_rate: of Reptile: the fit's descent, and the share of its way
            that the weights follow at first.
    """

    kind: PriorKind = PriorKind.AUTO_DECODER
    n_subjects: int = 200
    seed: int = 1
    targets: Targets = Targets.TRUTH
    n_steps_of_cycle: int = 32
    network: NetworkConfig = NetworkConfig()
    n_features: int = 96
    omega: float = 2.0
    feature_seed: int = 0
    n_iterations: int = 1500
    rate: float = 3e-4
    n_batch: int = 32
    n_points: int = 128
    robust_mm: float = 1.0
    n_latent: int = 24
    code_penalty: float = 1e-3
    trimmed: float = 0.2
    inner_steps: int = 20
    inner_rate: float = 1e-4
    meta_rate: float = 0.3

    def __post_init__(self) -> None:
        if self.n_subjects < 2:
            raise ConfigError(
                f"number of subjects: got {self.n_subjects}, a prior needs 2 at least"
            )
        if not 0 <= self.trimmed < 0.5:
            raise ConfigError(f"trimmed: got {self.trimmed}, allowed: 0 to less than 0.5")
        for name in ("n_steps_of_cycle", "n_iterations", "n_batch", "n_points", "n_latent"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, must be at least 1")

    @property
    def field(self) -> FieldConfig:
        """Of the prior's own network: equal intervals of the whole cycle."""
        n = self.n_steps_of_cycle
        return FieldConfig(
            n_dims=2,
            knots=tuple(k / n for k in range(n + 1)),
            network=self.network,
            n_features=self.n_features,
            omega=self.omega,
            seed=self.feature_seed,
        )
