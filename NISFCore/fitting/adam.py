"""The paper's solver (section 3.3, "Inference"): Adam on latent, motion and scale from zeros.

Kept as the baseline that the default solver is measured against. The paper has no global pose:
the slice motions carry it, and the gauge is fixed afterwards as for every solver.
"""

import math

import torch
from torch import Tensor

from NISFCore.fitting.config import AdamConfig
from NISFCore.fitting.problem import VOXELS_PER_PART, Estimate, FitProblem, Recorder
from NISFCore.model.forward_model import predict
from NISFCore.model.motion_correction import Poses
from NISFCore.model.voxels import VoxelBatch
from NISFCore.progress import CancelToken

MM_PER_UNIT = 80.0  # translations are optimised in about the paper's [-1, 1] units
TINY_MSE = 1e-12  # as in losses.psnr_loss


class PaperUnknowns:
    """h, delta theta, delta tau and d of the paper, all starting at zero."""

    def __init__(self, n_latent: int, n_slices: int, device: str) -> None:
        self.latent = torch.zeros(1, n_latent, device=device, requires_grad=True)
        self.rotvec = torch.zeros(n_slices, 3, device=device, requires_grad=True)
        self.shift = torch.zeros(n_slices, 3, device=device, requires_grad=True)
        self.scale = torch.zeros(n_slices, device=device, requires_grad=True)

    @property
    def all(self) -> list[Tensor]:
        return [self.latent, self.rotvec, self.shift, self.scale]

    def estimate(self, scale_bound: float) -> Estimate:
        """Latent and poses of the current values."""
        nothing = torch.zeros_like(self.rotvec[:1])
        log_scale = torch.log1p(scale_bound * torch.tanh(self.scale))
        poses = Poses(nothing, nothing, self.rotvec, self.shift * MM_PER_UNIT, log_scale)
        return Estimate(self.latent, poses)

    def penalty(self, config: AdamConfig) -> Tensor:
        """The regularisers of L_total."""
        return (
            config.latent_penalty * self.latent.square().sum()
            + config.rotation_penalty * self.rotvec.square().sum()
            + config.translation_penalty * self.shift.square().sum()
            + config.scale_penalty * self.scale.square().sum()
        )


def solve_adam(problem: FitProblem, config: AdamConfig, seed: int, recorder: Recorder) -> Estimate:
    """Solve from intensities with the paper's recipe.

    Raises:
        Cancelled: between two parts of a step.
    """
    table = problem.table
    generator = torch.Generator(problem.device).manual_seed(seed)
    values = PaperUnknowns(problem.prior.info.decoder.n_latent, len(table.slices), problem.device)
    optimiser = torch.optim.Adam(values.all, lr=config.rate)
    for _ in range(config.n_steps):
        batch = table.sample(config.n_voxels, generator)
        optimiser.zero_grad(set_to_none=True)
        mse = add_mse_gradient(problem, values, batch, config, generator, recorder.cancel)
        # L_PSNR = 10 log10(mse), hence dL_PSNR = 10 / (ln 10 mse) dmse
        for value in values.all:
            if value.grad is not None:
                value.grad *= 10.0 / (math.log(10.0) * (mse + TINY_MSE))
        penalty = values.penalty(config)
        penalty.backward()
        optimiser.step()
        loss = 10.0 * math.log10(mse + TINY_MSE) + float(penalty.detach())
        recorder.record(loss, mse)
    with torch.no_grad():
        return values.estimate(config.scale_bound)


def add_mse_gradient(
    problem: FitProblem,
    values: PaperUnknowns,
    batch: VoxelBatch,
    config: AdamConfig,
    generator: torch.Generator,
    cancel: CancelToken,
) -> float:
    """The batch's mean squared error; adds its gradient, part by part, to that of `values`."""
    decoder, slices = problem.prior.decoder, problem.table.slices
    mse = 0.0
    for part in batch.split(VOXELS_PER_PART):
        cancel.check()
        now = values.estimate(config.scale_bound)
        prediction = predict(decoder, part, slices, now.latent, now.poses, config.psf, generator)
        share = (prediction.intensity - part.intensity).square().sum() / len(batch)
        share.backward()
        mse += float(share.detach())
    return mse
