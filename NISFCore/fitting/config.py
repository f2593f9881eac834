"""Configuration of a fit: the Gauss-Newton solver (default) or the paper's Adam recipe."""

from dataclasses import dataclass

from NISFCore.errors import ConfigError
from NISFCore.model.psf import NO_PSF, PsfConfig


@dataclass(frozen=True)
class MotionPrior:
    """Standard deviations of what is not known before a fit.

    Attributes:
        global_deg, global_mm: the whole heart against the frame found from the planes.
        slice_deg, slice_mm: each slice against the others (breath-holds).
        log_scale: intensity scale of each slice.
        slices_worth: the slice motions' deviations are learned during the fit (see
            `motion_prior`); those given here count as so many slices.
    """

    global_deg: float = 5.0
    global_mm: float = 8.0
    slice_deg: float = 1.0
    slice_mm: float = 3.0
    log_scale: float = 0.1
    slices_worth: float = 4.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"MotionPrior.{name}: got {value}, must be positive")


@dataclass(frozen=True)
class GaussNewtonConfig:
    """Levenberg-Marquardt on random voxels, fresh ones at every step.

    Attributes:
        voxels: voxels of each step; its length is the largest number of steps.
        first_damping, damping_factor, last_damping: relative to the normal matrix's diagonal.
        n_tries, try_steps: so many fits with different voxels begin; the best goes on alone.
        tempered_steps, first_share: what the images say counts fully only from this step on, and
            at first by this share: large features are settled before details pull at them.
        memory: share of the steps so far whose normal equations are remembered: few while the
            estimate still moves, many when it has settled.
        settled_after: from this step on the slice motions' prior is learned and the fit may end.
        tolerance: a step is small if it moves the unknowns by less than this share of their
            standard errors (root mean square).
        huber: residuals beyond this many RMS count linearly.
        effective_voxels: how many independent observations the voxels stand for: model misfit is
            correlated between neighbours, so all of them together say less than their number.
    """

    voxels: tuple[int, ...] = (1024,) * 80
    first_damping: float = 1.0
    damping_factor: float = 0.3
    last_damping: float = 1e-3
    n_tries: int = 2
    try_steps: int = 30
    tempered_steps: int = 40
    first_share: float = 0.03
    settled_after: int = 10
    memory: float = 0.2
    tolerance: float = 0.08
    huber: float = 1.5
    effective_voxels: float = 4000.0
    psf: PsfConfig = PsfConfig()
    motion_prior: MotionPrior = MotionPrior()

    def __post_init__(self) -> None:
        if not self.voxels or min(self.voxels) < 1:
            raise ConfigError(f"GaussNewtonConfig.voxels: got {self.voxels}, need steps of >= 1")
        if self.n_tries < 1:
            raise ConfigError(f"GaussNewtonConfig.n_tries: got {self.n_tries}, at least 1")


@dataclass(frozen=True)
class AdamTuning:
    """Adam with the default solver's unknowns, priors and weights: the fair opponent.

    Attributes:
        latent_rate .. scale_rate: per step, in standard deviations of each unknown's prior.
        final_rate: the last step's rate over the first one's.
        huber, effective_voxels, motion_prior: as in `GaussNewtonConfig`.
    """

    latent_rate: float = 0.1
    global_rate: float = 0.1
    slice_rate: float = 0.1
    scale_rate: float = 0.1
    final_rate: float = 0.05
    huber: float = 0.7
    effective_voxels: float = 4000.0
    motion_prior: MotionPrior = MotionPrior()


@dataclass(frozen=True)
class AdamConfig:
    """The paper's fit (section 3.3, "Inference"): Adam from zeros, no PSF, frozen weights.

    Attributes:
        latent_penalty .. scale_penalty: alpha_latent, alpha_rot, alpha_tra, alpha_intens.
        scale_bound: scale = 1 + bound tanh(d).
        tuning: takes the place of `rate`, the penalties and the bound.
    """

    n_steps: int = 2500
    n_voxels: int = 35_000
    rate: float = 1e-3
    latent_penalty: float = 1e-4
    rotation_penalty: float = 1e-4
    translation_penalty: float = 1e-4
    scale_penalty: float = 1e-2
    scale_bound: float = 0.15
    psf: PsfConfig = NO_PSF
    tuning: AdamTuning | None = None

    def __post_init__(self) -> None:
        if self.n_steps < 1 or self.n_voxels < 1:
            raise ConfigError("AdamConfig: n_steps and n_voxels must be at least 1")


@dataclass(frozen=True)
class FitConfig:
    """One fit: exactly one solver, and the seed of its voxel draws."""

    gauss_newton: GaussNewtonConfig | None = GaussNewtonConfig()
    adam: AdamConfig | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.gauss_newton is None) == (self.adam is None):
            raise ConfigError(
                "FitConfig: exactly one of gauss_newton and adam; set the other to null"
            )


DEFAULT = FitConfig()
PAPER = FitConfig(gauss_newton=None, adam=AdamConfig())
TUNED_ADAM = FitConfig(
    gauss_newton=None,
    adam=AdamConfig(n_steps=150, n_voxels=2048, psf=PsfConfig(), tuning=AdamTuning()),
)
CONFIGS = {"default": DEFAULT, "paper": PAPER, "tuned-adam": TUNED_ADAM}
