"""Configuration of the training: `PAPER` is the paper's recipe, `ALIGNED` the shipped prior's."""

from dataclasses import dataclass, replace

from NISFCore.errors import ConfigError
from NISFCore.model import config as decoder_configs
from NISFCore.model.config import DecoderConfig
from NISFCore.model.psf import NO_PSF, PAPER_PSF, PsfConfig


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        n_steps, voxels_per_step: length and batch size.
        heart_share: share of the voxels drawn from pixels that are heart in some phase; the others
            come from anywhere (0 in the paper).
        psf, psf_from: integration, used from this fraction of the steps on.
        weight_rate, latent_rate, motion_rate: Adam's peak learning rates.
        muon_rate: Muon's, for the hidden matrices; 0 leaves them to Adam (the paper).
        final_rate: fraction of the peak at the end of the cosine schedule.
        warm_up: fraction of steps of linear rise.
        open_bands_until: fraction of steps after which all encoding bands are open; from
            `first_bands` of them at the start.
        motion_from: fraction of steps after which slice motion is learned.
        learn_slice_motion: off for cohorts known to be aligned.
        learn_gain: whether each subject has a receive gain (not in the paper, and not in images
            without shading).
        cross_entropy: weight of the label cross-entropy (0 in the paper).
        latent_noise: standard deviation of noise added to the latents, so that nearby latents mean
            similar hearts and unseen subjects find theirs.
        weight_decay .. scale_penalty: the paper's alpha_weights, alpha_latent, alpha_rot,
            alpha_tra, alpha_intens.
        n_validation_subjects: last subjects of the cohort, kept out of training.
        validate_every, checkpoint_every: steps.
    """

    decoder: DecoderConfig = decoder_configs.DEFAULT
    n_steps: int = 24_000
    voxels_per_step: int = 4096
    heart_share: float = 0.5
    psf: PsfConfig = NO_PSF
    psf_from: float = 1.0
    weight_rate: float = 2e-3
    latent_rate: float = 5e-3
    motion_rate: float = 1e-3
    muon_rate: float = 0.02
    final_rate: float = 0.01
    warm_up: float = 0.01
    open_bands_until: float = 0.25
    first_bands: float = 0.3
    motion_from: float = 0.1
    learn_slice_motion: bool = True
    learn_gain: bool = True
    cross_entropy: float = 1.0
    latent_noise: float = 0.1
    weight_decay: float = 1e-5
    latent_penalty: float = 2e-3
    rotation_penalty: float = 1e-4
    translation_penalty: float = 1e-4
    scale_penalty: float = 1e-2
    n_validation_subjects: int = 8
    validate_every: int = 6000
    checkpoint_every: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_steps", "voxels_per_step", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"TrainingConfig.{name}: got {getattr(self, name)}, at least 1")
        for name in (
            "psf_from",
            "open_bands_until",
            "first_bands",
            "motion_from",
            "warm_up",
            "heart_share",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"TrainingConfig.{name}: got {getattr(self, name)}, 0 to 1")


DEFAULT = TrainingConfig()
ALIGNED = replace(DEFAULT, learn_slice_motion=False, learn_gain=False)
"""For cohorts known to be aligned and free of shading, as `nisf simulate --preset cohort` makes."""

FINE_TUNE = replace(
    DEFAULT,
    n_steps=3000,
    weight_rate=3e-4,
    muon_rate=2e-3,
    latent_rate=1e-2,
    warm_up=0.05,
    open_bands_until=0.0,
    first_bands=1.0,
    n_validation_subjects=2,
    validate_every=1000,
)
"""From a trained prior on: the subjects are found first, and the network moves a little."""

PAPER = TrainingConfig(
    decoder=decoder_configs.PAPER,
    n_steps=40_000 * 100 // 4,  # 40,000 epochs of 100 subjects, 4 subjects a step
    voxels_per_step=35_000,
    heart_share=0.0,
    psf=PAPER_PSF,
    psf_from=0.9,
    weight_rate=1e-4,
    latent_rate=1e-4,
    motion_rate=1e-4,
    muon_rate=0.0,
    final_rate=1.0,
    warm_up=0.0,
    first_bands=0.2,
    learn_gain=False,
    cross_entropy=0.0,
    latent_noise=0.0,
    latent_penalty=1e-4,
    n_validation_subjects=10,
)
CONFIGS = {"default": DEFAULT, "aligned": ALIGNED, "fine-tune": FINE_TUNE, "paper": PAPER}
