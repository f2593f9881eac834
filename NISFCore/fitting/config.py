"""Configuration of a fit: the Gauss-Newton solver (default) or the paper's Adam recipe."""

from dataclasses import dataclass, replace

from NISFCore.errors import ConfigError
from NISFCore.model.psf import NO_PSF, PsfConfig
from NISFCore.model.shape_warp import WarpConfig


@dataclass(frozen=True)
class MotionPrior:
    """Standard deviations of what is not known before a fit.

    Attributes:
        global_deg, global_mm: the whole heart against the frame found from the planes.
        slice_deg, slice_mm: each slice against the others (breath-holds).
        uncrossed_mm: a slice's shift through its plane, where no other slice crosses it.
        log_scale: intensity scale of each slice.
        log_gain: each coefficient of the receive gain (see `receive_gain`).
        tissue_offset: how much brighter or darker a tissue is (see `tissue_offset`), 1 being the
            brightest of the heart.
        slices_worth: the slice motions' deviations are learned during the fit (see
            `motion_prior`); those given here count as so many slices.
    """

    global_deg: float = 5.0
    global_mm: float = 8.0
    slice_deg: float = 1.0
    slice_mm: float = 3.0
    uncrossed_mm: float = 1.5
    log_scale: float = 0.1
    log_gain: float = 0.15
    tissue_offset: float = 0.05
    slices_worth: float = 4.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"MotionPrior.{name}: got {value}, must be positive")


@dataclass(frozen=True)
class CrossingConfig:
    """What slices say about each other along their lines of intersection.

    Attributes:
        blur_mm: standard deviations of the images' blurs, taken one after the other while the
            solver is tempered, the last one from then on.
        spacing_mm: of the points along a line; in a more blurred image they lie as far apart as it
            is blurred, and each counts for as many as it replaces.
        points_worth: how many independent observations a point of a line stands for, all times of
            the cycle together: neighbours and phases say nearly the same. 0 leaves the term out.
        huber: differences beyond this many RMS count linearly.
    """

    blur_mm: tuple[float, ...] = (8.0, 4.0, 2.0, 1.0)
    spacing_mm: float = 2.0
    points_worth: float = 0.4
    huber: float = 1.5

    def __post_init__(self) -> None:
        if not self.blur_mm or min(self.blur_mm) < 0:
            raise ConfigError(f"CrossingConfig.blur_mm: got {self.blur_mm}, need values of >= 0")
        if not self.spacing_mm > 0:
            raise ConfigError(f"CrossingConfig.spacing_mm: got {self.spacing_mm}, must be positive")
        if not self.points_worth >= 0:
            raise ConfigError(
                f"CrossingConfig.points_worth: got {self.points_worth}, must not be negative"
            )

    def spacing_of(self, blur: int) -> float:
        """Of the points in images of this blur, mm."""
        return max(self.spacing_mm, self.blur_mm[blur])


@dataclass(frozen=True)
class LabelTermConfig:
    """How labels of single slices count.

    Attributes:
        n_pixels: labelled pixels of each step.
        border_share, border_mm: share of them drawn near a border between labels, and how near.
        frame_worth: how many independent observations a labelled frame stands for.
        huber: residuals beyond this count linearly: nobody draws without mistakes.
    """

    n_pixels: int = 512
    border_share: float = 0.7
    border_mm: float = 5.0
    frame_worth: float = 300.0
    huber: float = 3.0

    def __post_init__(self) -> None:
        if self.n_pixels < 1 or not 0 <= self.border_share <= 1:
            raise ConfigError("LabelTermConfig: n_pixels must be >= 1, border_share from 0 to 1")


N_REFIT_STEPS = 20
DENSER_VOXELS, DENSER_LABELS = 2, 4


@dataclass(frozen=True)
class GaussNewtonConfig:
    """Levenberg-Marquardt on random voxels, fresh ones at every step.

    Attributes:
        voxels: voxels of each step; its length is the largest number of steps.
        first_damping, damping_factor, last_damping: relative to the normal matrix's diagonal.
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
        guidance: labels that somebody gave.
        evidence: labels that the slice network gives, where one is used; a frame counts less, its
            errors are alike in neighbours. 0 as its worth leaves it out.
        evidence_phases: of each slice that the network looks at; heart and prior know the others.
        warp: of the heart's shape (see `model.shape_warp`), from the step on from which images
            count fully; None for a shape that is the latent's.
    """

    voxels: tuple[int, ...] = (256,) * 8 + (512,) * 8 + (1024,) * 24
    first_damping: float = 1.0
    damping_factor: float = 0.3
    last_damping: float = 1e-3
    tempered_steps: int = 14
    first_share: float = 0.03
    settled_after: int = 10
    memory: float = 0.2
    tolerance: float = 0.08
    huber: float = 1.5
    effective_voxels: float = 4000.0
    psf: PsfConfig = PsfConfig()
    motion_prior: MotionPrior = MotionPrior()
    crossing: CrossingConfig = CrossingConfig()
    guidance: LabelTermConfig = LabelTermConfig()
    evidence: LabelTermConfig = LabelTermConfig(frame_worth=60.0, huber=1.5)
    evidence_phases: int = 4
    warp: WarpConfig | None = WarpConfig()

    def __post_init__(self) -> None:
        if not self.voxels or min(self.voxels) < 1:
            raise ConfigError(f"GaussNewtonConfig.voxels: got {self.voxels}, need steps of >= 1")

    def denser(self) -> "GaussNewtonConfig":
        """The same with more voxels and more of the network's labels in each step: where no slices
        cross and nobody drew labels, the draws decide too much of where the heart ends."""
        evidence = replace(self.evidence, n_pixels=DENSER_LABELS * self.evidence.n_pixels)
        voxels = tuple(DENSER_VOXELS * n for n in self.voxels)
        return replace(self, voxels=voxels, evidence=evidence)

    def going_on(self) -> "GaussNewtonConfig":
        """The same from an earlier fit on: no large steps, all evidence from the beginning."""
        return replace(
            self,
            voxels=(max(self.voxels),) * N_REFIT_STEPS,
            first_damping=0.03,
            tempered_steps=0,
            settled_after=0,
            memory=0.3,
        )


@dataclass(frozen=True)
class AdamTuning:
    """Adam with the default solver's unknowns, priors and weights: the fair opponent.

    Attributes:
        latent_rate .. scale_rate: per step, in standard deviations of each unknown's prior.
        final_rate: the last step's rate over the first one's.
        huber, effective_voxels, motion_prior: as in `GaussNewtonConfig`.
    """

    latent_rate: float = 0.2
    global_rate: float = 0.2
    slice_rate: float = 0.2
    scale_rate: float = 0.1
    final_rate: float = 0.05
    huber: float = 1.5
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
class DetailConfig:
    """The intensities that a fitted study has beyond its heart (see `intensity_detail`).

    Attributes:
        n_harmonics, n_phases: of the beat, and the phases that they are found from.
        spacing_mm: of the grid's nodes, across and along the heart's long axis.
        smoothness: weights of squared differences between neighbours along x, y, z, 1 being that
            of a pixel.
        shrinkage: weight of squared values.
        order_penalty: harmonic k counts 1 + order_penalty k^2 times as rough.
        n_iterations: of conjugate gradients.
        heart_margin_mm: around the heart, within which every pixel is used.
        stride_elsewhere: of the other pixels, every how many along rows and columns is used.
    """

    n_harmonics: int = 7
    n_phases: int = 30
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 4.0)
    smoothness: tuple[float, float, float] = (0.01, 0.01, 0.025)
    shrinkage: float = 0.0015
    order_penalty: float = 0.03
    n_iterations: int = 15
    heart_margin_mm: float = 6.0
    stride_elsewhere: int = 2

    def __post_init__(self) -> None:
        counts = (self.n_phases, self.n_iterations, self.stride_elsewhere, self.n_harmonics + 1)
        if min(counts) < 1 or min(self.spacing_mm) <= 0:
            raise ConfigError("DetailConfig: counts must be at least 1, spacings positive")


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


DEFAULT_SOLVER = GaussNewtonConfig()
DEFAULT = FitConfig(DEFAULT_SOLVER)
REFIT = FitConfig(DEFAULT_SOLVER.going_on())

PAPER = FitConfig(gauss_newton=None, adam=AdamConfig())
TUNED_ADAM = FitConfig(
    gauss_newton=None,
    adam=AdamConfig(n_steps=150, n_voxels=512, psf=PsfConfig(), tuning=AdamTuning()),
)
CONFIGS = {"default": DEFAULT, "paper": PAPER, "tuned-adam": TUNED_ADAM}
