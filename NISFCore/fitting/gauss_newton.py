"""The default solver: Levenberg-Marquardt with the whole Jacobian from one backward pass.

The decoder is frozen and its intensity is one number per sample, so a backward pass to its inputs
gives dI/dx and dI/dh of every sample at once, and with them each row of the Jacobian:

    I_v = s sum_k w_k f(x_k, h),  x_k = R_n q_k + t_n,  q_k = R_j (p_k - c_j) + c_j + t_j
    dI/dh   = s sum_k w_k df/dh
    dI/dw_n = sum_k (R_n q_k) x g_k,               dI/dt_n = sum_k g_k,   g_k = s w_k df/dx_k
    dI/dw_j = sum_k (q_k - c_j - t_j) x R_n^T g_k, dI/dt_j = sum_k R_n^T g_k
    dI/dlog s = I_v

Rotations are updated from the left, R <- exp(dw) R. The latent is whitened, h = mean + A u, with
A A^T the cohort's covariance, so that u has a unit prior.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from NISFCore.fitting.config import GaussNewtonConfig, MotionPrior
from NISFCore.fitting.problem import VOXELS_PER_PART, Estimate, FitProblem, Recorder
from NISFCore.geometry.rigid import rotvec_from_rotation
from NISFCore.model.forward_model import SamplePoints, sample_points
from NISFCore.model.motion_correction import Poses, rotation_from_rotvec
from NISFCore.model.voxels import SliceTable, VoxelBatch

GLOBAL = 6  # unknowns of the global pose: w_n, t_n
PER_SLICE = 7  # unknowns of a slice: w_j, t_j, log s_j


@dataclass(frozen=True)
class Linearisation:
    """Residual (observed - predicted) `(n,)`, Jacobian `(n, n_unknowns)` of the prediction, and the
    noise sd `(n,)` that the decoder expects of each voxel.

    Unknowns: u, then w_n, t_n, then (w_j, t_j, log s_j) slice after slice.
    """

    residual: Tensor
    jacobian: Tensor
    noise_sd: Tensor


def solve_gauss_newton(
    problem: FitProblem, config: GaussNewtonConfig, seed: int, recorder: Recorder
) -> Estimate:
    """Solve for latent, global pose, slice motion and scales from intensities.

    Raises:
        Cancelled: between two parts of a step.
    """
    prior, table = problem.prior, problem.table
    n_slices = len(table.slices)
    generator = torch.Generator(problem.device).manual_seed(seed)
    A = latent_factor(prior.latent_covariance).to(problem.device)
    mean = prior.latent_mean.to(problem.device)
    u = torch.zeros_like(mean)
    poses = Poses.identity(1, n_slices, problem.device)
    precision = prior_precision(len(u), n_slices, config.motion_prior).to(problem.device)
    damping = config.first_damping
    for n_voxels in config.voxels:
        batch = table.sample(n_voxels, generator)
        estimate = Estimate((mean + A @ u)[None], poses)
        parts = []
        for part in batch.split(VOXELS_PER_PART):
            recorder.cancel.check()
            parts.append(linearise(problem, estimate, A, part, config, generator))
        linear = joined(parts)
        step, cost = damped_step(linear, unknowns(u, poses), precision, damping, config)
        u, poses = apply_step(u, poses, step)
        damping = max(config.last_damping, damping * config.damping_factor)
        after = Estimate((mean + A @ u)[None], poses)
        recorder.record(cost, float(linear.residual.square().mean()), after)
    return Estimate((mean + A @ u)[None], poses)


def latent_factor(covariance: Tensor) -> Tensor:
    """A with A A^T = covariance."""
    return torch.linalg.cholesky(covariance.double()).float()


def prior_precision(n_latent: int, n_slices: int, sd: MotionPrior) -> Tensor:
    """Diagonal of the prior's precision `(n_unknowns,)`, float64."""
    rad = torch.pi / 180.0
    pose = [sd.global_deg * rad] * 3 + [sd.global_mm] * 3
    per_slice = [sd.slice_deg * rad] * 3 + [sd.slice_mm] * 3 + [sd.log_scale]
    deviations = torch.tensor([1.0] * n_latent + pose + per_slice * n_slices, dtype=torch.float64)
    return deviations**-2


def unknowns(u: Tensor, poses: Poses) -> Tensor:
    """All unknowns as one float64 vector; its prior mean is zero."""
    per_slice = [poses.slice_rotvec, poses.slice_translation_mm, poses.log_scale[:, None]]
    parts = [
        u,
        poses.global_rotvec[0],
        poses.global_translation_mm[0],
        torch.cat(per_slice, dim=1).flatten(),
    ]
    return torch.cat(parts).double()


def linearise(
    problem: FitProblem,
    estimate: Estimate,
    A: Tensor,
    batch: VoxelBatch,
    config: GaussNewtonConfig,
    generator: torch.Generator | None = None,
) -> Linearisation:
    """Residuals and Jacobian at `estimate`: one forward and one backward pass of the decoder."""
    slices, poses = problem.table.slices, estimate.poses
    points = sample_points(batch, slices, poses, config.psf, generator)
    k = len(points.weights)
    x = points.canonical_mm.flatten(0, 1).detach().requires_grad_(True)
    h = estimate.latent.expand(len(x), -1).detach().requires_grad_(True)
    with torch.enable_grad():
        f, _, noise = problem.prior.decoder(x, batch.cycle_fraction.repeat_interleave(k), h)
        df_dx, df_dh = torch.autograd.grad(f.sum(), (x, h))
    scale = torch.exp(poses.log_scale)[batch.slice_index]
    predicted = scale * (f.detach().view(-1, k) @ points.weights)
    dI_dh = scale[:, None] * torch.einsum(
        "nkl,k->nl", df_dh.view(-1, k, h.shape[1]), points.weights
    )
    g = scale[:, None, None] * points.weights[:, None] * df_dx.view(-1, k, 3)
    pose_columns = _pose_columns(points, poses, slices, batch.slice_index, g, predicted)
    jacobian = torch.cat([dI_dh @ A, pose_columns], dim=1)
    noise_sd = noise.detach().view(-1, k) @ points.weights
    return Linearisation(batch.intensity - predicted, jacobian, noise_sd)


def joined(parts: list[Linearisation]) -> Linearisation:
    """The linearisation of all voxels from that of each part."""
    return Linearisation(
        *(torch.cat([vars(p)[f.name] for p in parts]) for f in fields(Linearisation))
    )


def damped_step(
    linear: Linearisation,
    theta: Tensor,
    precision: Tensor,
    damping: float,
    config: GaussNewtonConfig,
) -> tuple[Tensor, float]:
    """The Levenberg-Marquardt step `(n_unknowns,)` and the robust cost before it.

    Minimises n_eff / (n sigma^2) sum_v rho(r_v) + theta^T P theta; r_v the residual over the
    voxel's noise, sigma their RMS, rho Huber's function as iteratively reweighted squares.
    """
    r, J = linear.residual / linear.noise_sd, linear.jacobian / linear.noise_sd[:, None]
    sigma = r.square().mean().sqrt().clamp(min=1e-4)
    weights = (config.huber * sigma / r.abs().clamp(min=1e-9)).clamp(max=1.0)
    information = config.effective_voxels / (len(r) * sigma**2)
    WJ = J * (weights * information)[:, None]
    H = (J.T @ WJ).double()
    gradient = (WJ.T @ r).double() - precision * theta
    H.diagonal().add_(precision)
    H.diagonal().mul_(1.0 + damping)
    step = torch.linalg.solve(H, gradient)
    cost = information * (weights * r.square()).sum() + (precision * theta**2).sum()
    return step, float(cost)


def apply_step(u: Tensor, poses: Poses, step: Tensor) -> tuple[Tensor, Poses]:
    """Add a step to the unknowns, rotations by composition from the left."""
    n = len(u)
    values = step.to(u)
    per_slice = values[n + GLOBAL :].view(-1, PER_SLICE)
    return u + values[:n], Poses(
        _compose(values[n : n + 3][None], poses.global_rotvec),
        poses.global_translation_mm + values[n + 3 : n + GLOBAL],
        _compose(per_slice[:, :3], poses.slice_rotvec),
        poses.slice_translation_mm + per_slice[:, 3:6],
        poses.log_scale + per_slice[:, 6],
    )


def _pose_columns(
    points: SamplePoints,
    poses: Poses,
    slices: SliceTable,
    slice_index: Tensor,
    g: Tensor,
    predicted: Tensor,
) -> Tensor:
    """Jacobian columns of the global pose and of every slice, `(n, 6 + 7 n_slices)`."""
    n, n_slices = len(slice_index), len(slices)
    R_n = rotation_from_rotvec(poses.global_rotvec)[0]
    arm_global = points.canonical_mm - poses.global_translation_mm[0]
    g_slice = g @ R_n
    fixed = slices.centre_mm[slice_index] + poses.slice_translation_mm[slice_index]
    arm_slice = points.corrected_mm - fixed[:, None]
    columns = g.new_zeros(n, GLOBAL + PER_SLICE * n_slices)
    columns[:, :3] = torch.linalg.cross(arm_global, g).sum(1)
    columns[:, 3:6] = g.sum(1)
    own = [torch.linalg.cross(arm_slice, g_slice).sum(1), g_slice.sum(1), predicted[:, None]]
    first = GLOBAL + PER_SLICE * slice_index
    where = first[:, None] + torch.arange(PER_SLICE, device=g.device)
    return columns.scatter_(1, where, torch.cat(own, dim=1))


def _compose(left: Tensor, right: Tensor) -> Tensor:
    """Rotation vector of exp(left) exp(right), row by row."""
    R = rotation_from_rotvec(left.double()) @ rotation_from_rotvec(right.double())
    rows = [torch.from_numpy(rotvec_from_rotation(M.cpu().numpy())) for M in R]
    return torch.stack(rows).to(right)
