"""Adam solvers: the paper's (section 3.3, "Inference"), and the same descent tuned in earnest.

Kept as the baselines that the default solver is measured against. The paper starts from zeros and
has no global pose: the slice motions carry it, and the gauge is fixed afterwards as for every
solver. The tuned one (`AdamTuning`) has the default solver's unknowns, priors and weights, so that
what differs between the two is the descent alone.
"""

import math
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from NISFCore.fitting.config import AdamConfig, AdamTuning
from NISFCore.fitting.gauss_newton import latent_factor
from NISFCore.fitting.problem import VOXELS_PER_PART, Estimate, FitProblem, Recorder
from NISFCore.labels import N_LABELS
from NISFCore.model.forward_model import Prediction, predict
from NISFCore.model.motion_correction import Poses
from NISFCore.model.receive_gain import N_GAIN
from NISFCore.model.voxels import VoxelBatch
from NISFCore.progress import CancelToken

MM_PER_UNIT = 80.0  # translations are optimised in about the paper's [-1, 1] units
TINY_MSE = 1e-12  # as in losses.psnr_loss
DB_PER_LOG = 10.0 / math.log(10.0)


class Unknowns(Protocol):
    """What Adam moves, and what that means."""

    def groups(self) -> list[dict[str, object]]:
        """Parameter groups with their rates."""
        ...

    def estimate(self) -> Estimate:
        """Latent and poses of the current values."""
        ...

    def penalty(self) -> Tensor:
        """The regularisers, in dB."""
        ...

    def weights(self, residual: Tensor, prediction: Prediction) -> Tensor | None:
        """Weight `(n,)` of each squared residual; None weighs all alike."""
        ...


class PaperUnknowns:
    """h, delta theta, delta tau and d of the paper, all starting at zero."""

    def __init__(self, problem: FitProblem, config: AdamConfig) -> None:
        n_latent, n_slices = problem.prior.info.decoder.n_latent, len(problem.table.slices)
        self._config = config
        self.latent = _zeros(problem, 1, n_latent)
        self.rotvec = _zeros(problem, n_slices, 3)
        self.shift = _zeros(problem, n_slices, 3)
        self.scale = _zeros(problem, n_slices)
        self._still = Poses.identity(1, n_slices, problem.device)

    def groups(self) -> list[dict[str, object]]:
        values = [self.latent, self.rotvec, self.shift, self.scale]
        return [{"params": values, "lr": self._config.rate}]

    def estimate(self) -> Estimate:
        poses = replace(
            self._still,
            slice_rotvec=self.rotvec,
            slice_translation_mm=self.shift * MM_PER_UNIT,
            log_scale=torch.log1p(self._config.scale_bound * torch.tanh(self.scale)),
        )
        return Estimate(self.latent, poses)

    def penalty(self) -> Tensor:
        """The regularisers of L_total."""
        config = self._config
        return (
            config.latent_penalty * self.latent.square().sum()
            + config.rotation_penalty * self.rotvec.square().sum()
            + config.translation_penalty * self.shift.square().sum()
            + config.scale_penalty * self.scale.square().sum()
        )

    def weights(self, residual: Tensor, prediction: Prediction) -> Tensor | None:
        del residual, prediction
        return None


class TunedUnknowns:
    """Everything in standard deviations of its prior, starting at the prior's mean.

    The latent is whitened, h = mean + A u with A A^T the cohort's covariance, and there is a
    global pose, as in `gauss_newton`.
    """

    def __init__(self, problem: FitProblem, tuning: AdamTuning) -> None:
        prior, n_slices = problem.prior, len(problem.table.slices)
        self._tuning = tuning
        self._mean = prior.latent_mean.to(problem.device)
        self._factor = latent_factor(prior.latent_covariance).to(problem.device)
        self.latent = _zeros(problem, len(self._mean))
        self.common = _zeros(problem, 2, 3)
        self.slices = _zeros(problem, n_slices, 2, 3)
        self.scale = _zeros(problem, n_slices)
        self.gain = _zeros(problem, 1, N_GAIN)
        self.offset = _zeros(problem, 1, N_LABELS)

    def groups(self) -> list[dict[str, object]]:
        t = self._tuning
        return [
            {"params": [self.latent], "lr": t.latent_rate},
            {"params": [self.common], "lr": t.global_rate},
            {"params": [self.slices], "lr": t.slice_rate},
            {"params": [self.scale, self.gain, self.offset], "lr": t.scale_rate},
        ]

    def estimate(self) -> Estimate:
        sd = self._tuning.motion_prior
        poses = Poses(
            self.common[:1] * math.radians(sd.global_deg),
            self.common[1:] * sd.global_mm,
            self.slices[:, 0] * math.radians(sd.slice_deg),
            self.slices[:, 1] * sd.slice_mm,
            self.scale * sd.log_scale,
            self.gain * sd.log_gain,
            self.offset * sd.tissue_offset,
        )
        return Estimate((self._mean + self._factor @ self.latent)[None], poses)

    def penalty(self) -> Tensor:
        """The Gaussian priors: with unknown noise, n_eff/2 ln(mse) + |theta|^2/2 in units of dB."""
        values = (self.latent, self.common, self.slices, self.scale, self.gain, self.offset)
        squares = torch.stack([v.square().sum() for v in values]).sum()
        return DB_PER_LOG / self._tuning.effective_voxels * squares

    def weights(self, residual: Tensor, prediction: Prediction) -> Tensor | None:
        """The noise that the decoder expects, and Huber's weights, as in `gauss_newton`."""
        noise = prediction.noise_sd.detach()
        r = residual.detach() / noise
        huber = self._tuning.huber * r.square().mean().sqrt() / r.abs().clamp(min=1e-9)
        return huber.clamp(max=1.0) / noise.square()


def solve_adam(problem: FitProblem, config: AdamConfig, seed: int, recorder: Recorder) -> Estimate:
    """Solve from intensities with the paper's recipe, or the tuned one.

    Raises:
        Cancelled: between two parts of a step.
    """
    generator = torch.Generator(problem.device).manual_seed(seed)
    values = _unknowns(problem, config)
    optimiser = torch.optim.Adam(values.groups())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: _rate_factor(k, config))
    for _ in range(config.n_steps):
        drawn = problem.draw(config.n_voxels, generator, informed=config.tuning is not None)
        optimiser.zero_grad(set_to_none=True)
        cost, mse = add_cost_gradient(problem, values, *drawn, config, generator, recorder.cancel)
        # L_PSNR = 10 log10(cost), hence dL_PSNR = 10 / (ln 10 cost) dcost
        for group in optimiser.param_groups:
            for value in group["params"]:
                if value.grad is not None:
                    value.grad *= DB_PER_LOG / (cost + TINY_MSE)
        penalty = values.penalty()
        penalty.backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            loss = DB_PER_LOG * math.log(cost + TINY_MSE) + float(penalty)
            estimate = snapshot(values.estimate())
            recorder.record(loss, mse, estimate)
    return estimate


def add_cost_gradient(
    problem: FitProblem,
    values: Unknowns,
    batch: VoxelBatch,
    counts: Tensor,
    config: AdamConfig,
    generator: torch.Generator,
    cancel: CancelToken,
) -> tuple[float, float]:
    """The batch's mean weighted squared error, and the plain one, each voxel as often as it
    `counts`; adds the gradient of the first, part by part, to that of `values`."""
    decoder, slices = problem.prior.decoder, problem.table.slices
    cost, mse = 0.0, 0.0
    parts = zip(batch.split(VOXELS_PER_PART), counts.split(VOXELS_PER_PART), strict=True)
    for part, count in parts:
        cancel.check()
        now = values.estimate()
        prediction = predict(decoder, part, slices, now.latent, now.poses, config.psf, generator)
        residual = prediction.intensity - part.intensity
        weights = values.weights(residual, prediction)
        squares = count * residual.square()
        share = (squares if weights is None else weights * squares).sum() / len(batch)
        share.backward()
        cost += float(share.detach())
        mse += float(squares.detach().sum()) / len(batch)
    return cost, mse


def snapshot(estimate: Estimate) -> Estimate:
    """A copy that later steps do not change."""
    poses = {name: value.detach().clone() for name, value in vars(estimate.poses).items()}
    return Estimate(estimate.latent.detach().clone(), Poses(**poses))


def _unknowns(problem: FitProblem, config: AdamConfig) -> Unknowns:
    if config.tuning is None:
        return PaperUnknowns(problem, config)
    return TunedUnknowns(problem, config.tuning)


def _rate_factor(step: int, config: AdamConfig) -> float:
    """The paper's rate is constant, the tuned one falls along a half cosine."""
    if config.tuning is None:
        return 1.0
    last = config.tuning.final_rate
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * step / config.n_steps))


def _zeros(problem: FitProblem, *shape: int) -> Tensor:
    return torch.zeros(*shape, device=problem.device, requires_grad=True)
