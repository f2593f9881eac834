"""The training loop (paper section 3.3): one flat loop over random voxel batches.

Optimised together: the decoder's weights; one latent, one global pose and one receive gain per
subject; one motion and one intensity scale per slice. Gauge: the mean global pose over the subjects
and each subject's mean slice motion are removed, else the canonical frame drifts away from the
cohort's.

Launched by `torchrun`, every process draws its own voxels and the gradients are averaged.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from NISFCore.config import to_json_object
from NISFCore.errors import Cancelled
from NISFCore.model.decoder import Decoder
from NISFCore.model.device import training_dtype
from NISFCore.model.forward_model import Prediction, predict
from NISFCore.model.losses import dice_loss, label_cross_entropy, noise_loss, psnr_loss
from NISFCore.model.motion_correction import Poses
from NISFCore.model.prior import Prior, PriorInfo, latent_statistics, updated_statistics
from NISFCore.model.psf import NO_PSF
from NISFCore.model.receive_gain import N_GAIN
from NISFCore.model.voxels import VoxelBatch, VoxelTable
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress
from NISFCore.training.config import TrainingConfig
from NISFCore.training.optimiser import CohortOptimiser
from NISFCore.training.parallel import any_process, average_gradients, process_rank, world_size
from NISFCore.training.validation import validate

LATENT_START_VARIANCE = 1e-4  # paper: H ~ N(0, 1e-4)
MM_PER_UNIT = 80.0  # translations are optimised in about the paper's [-1, 1] units


class CohortParameters(nn.Module):
    """What is learned per subject and per slice."""

    def __init__(self, n_subjects: int, n_slices: int, n_latent: int) -> None:
        super().__init__()
        start = torch.randn(n_subjects, n_latent) * math.sqrt(LATENT_START_VARIANCE)
        self.latents = nn.Parameter(start)
        self.global_rotvec = nn.Parameter(torch.zeros(n_subjects, 3))
        self.global_shift = nn.Parameter(torch.zeros(n_subjects, 3))
        self.slice_rotvec = nn.Parameter(torch.zeros(n_slices, 3))
        self.slice_shift = nn.Parameter(torch.zeros(n_slices, 3))
        self.log_scale = nn.Parameter(torch.zeros(n_slices))
        self.log_gain = nn.Parameter(torch.zeros(n_subjects, N_GAIN))

    @property
    def motion(self) -> list[nn.Parameter]:
        return [
            self.global_rotvec,
            self.global_shift,
            self.slice_rotvec,
            self.slice_shift,
            self.log_scale,
            self.log_gain,
        ]

    def poses(self, subject_of_slice: Tensor, config: TrainingConfig) -> Poses:
        """Poses in mm with the gauge fixed."""
        still = Poses.identity(len(self.latents), len(self.log_scale), self.latents.device)
        poses = replace(
            still,
            global_rotvec=self.global_rotvec - self.global_rotvec.mean(0),
            global_translation_mm=(self.global_shift - self.global_shift.mean(0)) * MM_PER_UNIT,
            log_scale=self.log_scale,
            log_gain=self.log_gain if config.learn_gain else still.log_gain,
        )
        if not config.learn_slice_motion:
            return poses
        shift_mm = self.slice_shift * MM_PER_UNIT
        moved = replace(poses, slice_rotvec=self.slice_rotvec, slice_translation_mm=shift_mm)
        return moved.without_mean(subject_of_slice)


@dataclass
class TrainingState:
    """Everything that a checkpoint holds."""

    step: int
    decoder: Decoder
    cohort: CohortParameters
    optimiser: CohortOptimiser
    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        return self.cohort.latents.device

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "decoder": self.decoder.state_dict(),
            "cohort": self.cohort.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = int(state["step"])
        self.decoder.load_state_dict(state["decoder"])
        self.cohort.load_state_dict(state["cohort"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"].cpu())


def new_state(
    table: VoxelTable, config: TrainingConfig, device: str, start: Prior | None = None
) -> TrainingState:
    """Networks and parameters, the same for the same seed on every process: fresh ones, or those of
    a prior with the same decoder configuration, all subjects being its mean."""
    torch.manual_seed(config.seed)
    decoder = Decoder(config.decoder).to(device)
    decoder.hidden_dtype = training_dtype(device)
    n_subjects = int(table.slices.subject.max()) + 1
    cohort = CohortParameters(n_subjects, len(table.slices), config.decoder.n_latent).to(device)
    if start is not None:
        decoder.load_state_dict(start.decoder.state_dict())
        with torch.no_grad():
            cohort.latents.add_(start.latent_mean.to(device))
    optimiser = CohortOptimiser(decoder, cohort.latents, cohort.motion, config)
    generator = torch.Generator(device).manual_seed(config.seed + 1 + process_rank())
    return TrainingState(0, decoder, cohort, optimiser, generator)


def train(
    table: VoxelTable,
    state: TrainingState,
    config: TrainingConfig,
    *,
    validation_table: VoxelTable | None = None,
    on_checkpoint: Callable[[TrainingState], None] | None = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> None:
    """Run `state` on to the last step of `config`.

    Args:
        table: voxels of the training subjects, on the state's device.
        validation_table: voxels of unseen subjects.
        on_checkpoint: called every `checkpoint_every` steps and at the end.
        on_log: called with the figures of a step, about a hundred times, and after validations.

    Raises:
        Cancelled: after a last checkpoint.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    heart = table.heart_pixels()
    began, log_every = time.monotonic(), max(1, config.n_steps // 100)
    while state.step < config.n_steps:
        if any_process(cancel.is_cancelled, state.device):
            if on_checkpoint is not None:
                on_checkpoint(state)
            raise Cancelled(f"training cancelled by the user after step {state.step}")
        set_schedule(state, config)
        batch = table.sample(config.voxels_per_step, state.generator, heart, config.heart_share)
        prediction = _predict(table, batch, state, config)
        loss, psnr_db = objective(prediction, batch, table, state, config)
        state.optimiser.zero_grad()
        loss.backward()
        average_gradients(state.optimiser.param_groups)
        state.optimiser.step()
        state.step += 1
        figures: dict[str, float] = {}
        if state.step % log_every == 0:
            figures = {"step": state.step, "loss": float(loss.detach()), "psnr_db": float(psnr_db)}
        if validation_table is not None and state.step % config.validate_every == 0:
            figures |= {"step": state.step}
            figures |= _validation_figures(state, validation_table, cancel)
        if figures:
            seconds = time.monotonic() - began
            _report(figures, seconds, config, progress, on_log)
        if on_checkpoint is not None and (
            state.step % config.checkpoint_every == 0 or state.step == config.n_steps
        ):
            on_checkpoint(state)


def objective(
    prediction: Prediction,
    batch: VoxelBatch,
    table: VoxelTable,
    state: TrainingState,
    config: TrainingConfig,
) -> tuple[Tensor, Tensor]:
    """L_total of the paper (section 3.3) and the batch's PSNR in dB."""
    cohort = state.cohort
    minus_psnr = psnr_loss(prediction.intensity, batch.intensity)
    fidelity = minus_psnr
    if config.decoder.predicts_noise:
        fidelity = noise_loss(prediction.intensity, batch.intensity, prediction.noise_sd)
    loss = fidelity + dice_loss(prediction.label_probabilities, batch.possible)
    if config.cross_entropy > 0:
        loss = loss + config.cross_entropy * label_cross_entropy(
            prediction.label_probabilities, batch.possible
        )
    weights = sum(p.square().sum() for p in state.decoder.parameters())
    subjects = table.slices.subject[batch.slice_index]
    latent = cohort.latents[subjects].square().sum(1).mean()
    rotation = cohort.global_rotvec.square().sum() + cohort.slice_rotvec.square().sum()
    shift = cohort.global_shift.square().sum() + cohort.slice_shift.square().sum()
    loss = loss + config.weight_decay * weights + config.latent_penalty * latent
    loss = loss + config.rotation_penalty * rotation + config.translation_penalty * shift
    scale = cohort.log_scale.square().sum() + cohort.log_gain.square().sum()
    return loss + config.scale_penalty * scale, -minus_psnr.detach()


def set_schedule(state: TrainingState, config: TrainingConfig) -> None:
    """Learning rates (linear warm-up, cosine), opened encoding bands and motion for this step."""
    fraction = state.step / config.n_steps
    warm = min(1.0, (fraction + 1 / config.n_steps) / config.warm_up) if config.warm_up > 0 else 1.0
    cosine = (1 + math.cos(math.pi * fraction)) / 2
    factor = warm * (config.final_rate + (1 - config.final_rate) * cosine)
    groups = state.optimiser.param_groups
    for group, rate in zip(groups, state.optimiser.base_rates, strict=True):
        group["lr"] = rate * factor
    if fraction < config.motion_from:
        groups[CohortOptimiser.MOTION_GROUP]["lr"] = 0.0
    opening = min(1.0, fraction / config.open_bands_until) if config.open_bands_until > 0 else 1.0
    state.decoder.encoding.open_bands(config.first_bands + (1 - config.first_bands) * opening)


def trained_prior(
    state: TrainingState,
    config: TrainingConfig,
    name: str,
    provenance: dict[str, Any],
    start: Prior | None = None,
) -> Prior:
    """The prior that this state stands for, on the CPU, with the cohort's latent statistics; those
    of the prior that it started from, if any, are updated by them."""
    decoder = Decoder(config.decoder)
    decoder.load_state_dict({k: v.cpu() for k, v in state.decoder.state_dict().items()})
    decoder.requires_grad_(False).eval()
    latents = state.cohort.latents.detach().cpu()
    if start is None:
        mean, covariance = latent_statistics(latents)
    else:
        mean, covariance = updated_statistics(latents, start.latent_mean, start.latent_covariance)
    training = {"config": to_json_object(config), "n_steps_done": state.step, **provenance}
    info = PriorInfo(config.decoder, len(latents), training, name)
    return Prior(info, decoder, mean, covariance)


def _predict(
    table: VoxelTable, batch: VoxelBatch, state: TrainingState, config: TrainingConfig
) -> Prediction:
    psf = config.psf if state.step >= config.psf_from * config.n_steps else NO_PSF
    poses = state.cohort.poses(table.slices.subject, config)
    latents = _noisy(state.cohort.latents, config.latent_noise, state.generator)
    return predict(state.decoder, batch, table.slices, latents, poses, psf, state.generator)


def _noisy(latents: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    if sd == 0:
        return latents
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    return latents + sd * noise


def _validation_figures(
    state: TrainingState, table: VoxelTable, cancel: CancelToken
) -> dict[str, float]:
    start = state.cohort.latents.detach().mean(0)
    try:
        figures = validate(state.decoder, table, start, cancel)
    except Cancelled:  # the loop sees it too, and leaves a checkpoint
        return {}
    return {f"validation_{key}": value for key, value in figures.items()}


def _report(
    figures: dict[str, float],
    seconds: float,
    config: TrainingConfig,
    progress: ProgressReporter,
    on_log: Callable[[dict[str, float]], None] | None,
) -> None:
    if process_rank() != 0:
        return
    if on_log is not None:
        on_log(figures | {"seconds": seconds, "n_processes": world_size()})
    progress.report(
        ProgressEvent(
            stage="train",
            step=int(figures["step"]),
            total=config.n_steps,
            seconds=seconds,
            loss=figures.get("loss"),
            psnr_db=figures.get("validation_psnr_db", figures.get("psnr_db")),
            message=_validation_message(figures),
        )
    )


def _validation_message(figures: dict[str, float]) -> str | None:
    if "validation_psnr_db" not in figures:
        return None
    dice = "/".join(
        f"{figures[f'validation_dice_{key}']:.3f}"
        for key in ("lv_blood_pool", "lv_myocardium", "rv_blood_pool")
    )
    return f"unseen subjects: PSNR {figures['validation_psnr_db']:.2f} dB, Dice {dice}"
