"""Validation on unseen subjects: their latents, poses and scales are solved for from intensities
alone with the decoder frozen, as at fitting time, then intensities and labels are compared.
"""

import torch
from torch import Tensor
from torch.nn import functional

from NISFCore.labels import FOREGROUND, LABEL_INFO, N_LABELS
from NISFCore.model.decoder import Decoder
from NISFCore.model.forward_model import Prediction, predict
from NISFCore.model.losses import psnr_loss, said_of_labels
from NISFCore.model.motion_correction import Poses
from NISFCore.model.psf import NO_PSF
from NISFCore.model.voxels import VoxelTable
from NISFCore.progress import CancelToken

N_STEPS = 150
N_VOXELS = 4096
N_TEST_VOXELS = 50_000


def validate(
    decoder: Decoder,
    table: VoxelTable,
    latent_start: Tensor,
    cancel: CancelToken | None = None,
) -> dict[str, float]:
    """Solve for the subjects of `table` with Adam and measure. Deterministic.

    Returns:
        `psnr_db` (peak 1) and `dice_<label>` in plane, over all unseen subjects.

    Raises:
        Cancelled: between two steps.
    """
    device = table.position_mm.device
    generator = torch.Generator(device).manual_seed(0)
    n_subjects = int(table.slices.subject.max()) + 1
    latents = latent_start.expand(n_subjects, -1).clone().requires_grad_(True)
    poses = Poses.identity(n_subjects, len(table.slices), device)
    pose_values = [
        poses.global_rotvec,
        poses.log_scale,
        poses.log_gain,
        poses.global_translation_mm,
    ]
    optimiser = torch.optim.Adam(
        [
            {"params": [latents], "lr": 2e-2},
            {"params": pose_values[:3], "lr": 5e-3},
            {"params": pose_values[3:], "lr": 0.2},
        ]
    )
    for value in pose_values:
        value.requires_grad_(True)
    for step in range(N_STEPS):
        if cancel is not None:
            cancel.check()
        for group, rate in zip(optimiser.param_groups, (2e-2, 5e-3, 0.2), strict=True):
            group["lr"] = rate * (1 - step / N_STEPS)
        batch = table.sample(N_VOXELS, generator)
        prediction = predict(decoder, batch, table.slices, latents, poses, NO_PSF)
        residual = (prediction.intensity - batch.intensity) / prediction.noise_sd.detach()
        loss = torch.log(residual.square().mean())
        gradients = torch.autograd.grad(loss, [latents, *pose_values])
        for value, gradient in zip([latents, *pose_values], gradients, strict=True):
            value.grad = gradient
        optimiser.step()
    batch = table.sample(N_TEST_VOXELS, generator)
    with torch.no_grad():
        prediction = predict(decoder, batch, table.slices, latents, poses, NO_PSF)
    psnr_db = -float(psnr_loss(prediction.intensity, batch.intensity))
    return {"psnr_db": psnr_db} | _dice(prediction, batch.possible)


def _dice(prediction: Prediction, possible: Tensor) -> dict[str, float]:
    """Hard Dice per foreground label over the voxels of which it is known."""
    truth, is_known = said_of_labels(possible)
    estimate = functional.one_hot(prediction.label_probabilities.argmax(1), N_LABELS) * is_known
    both, size = (estimate * truth).sum(0), (estimate.sum(0) + truth.sum(0)).clamp(min=1)
    dice = 2 * both.double() / size
    return {f"dice_{LABEL_INFO[i].key}": float(dice[i]) for i in FOREGROUND}
