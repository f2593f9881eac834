"""Labels as evidence beside the images.

With q a pixel's given probabilities and p the decoder's, seen through the slice profile, the
residual is

    rho = sqrt(-2 log(sum_l q_l p_l / max_l q_l))

so that half its square is the negative log-likelihood of what was given, less that of the best
answer: -log p_l for a label l that is certain, nothing at all where q is uniform. One backward pass
yields its Jacobian as it does for intensities. Neither scale nor gain matters.
"""

import torch
from torch import Tensor

from NISFCore.fitting.config import LabelTermConfig
from NISFCore.fitting.jacobian import pose_columns
from NISFCore.fitting.label_evidence import LabelEvidence
from NISFCore.fitting.problem import Estimate, FitProblem
from NISFCore.model.derivatives import DecoderPass
from NISFCore.model.forward_model import sample_points
from NISFCore.model.psf import PsfConfig
from NISFCore.model.voxels import VoxelBatch

MIN_PROBABILITY = 1e-6
MIN_RESIDUAL = 1e-3  # the root's slope is infinite at zero


def label_equations(
    problem: FitProblem,
    evidence: LabelEvidence,
    estimate: Estimate,
    A: Tensor,
    theta: Tensor,
    config: LabelTermConfig,
    psf: PsfConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """H and b of labels at fresh pixels, relinearised at zero as in `normal_equations`;
    float64."""
    batch, target = evidence.sample(config.n_pixels, config.border_share, generator)
    residual, J = linearise_labels(problem, estimate, A, batch, target, psf)
    weights = (config.huber / residual.abs()).clamp(max=1.0)
    WJ = J * (weights * (config.frame_worth * evidence.n_frames / len(residual)))[:, None]
    H = (J.T @ WJ).double()
    return H, H @ theta + (WJ.T @ residual).double()


def linearise_labels(
    problem: FitProblem,
    estimate: Estimate,
    A: Tensor,
    batch: VoxelBatch,
    target: Tensor,
    psf: PsfConfig,
) -> tuple[Tensor, Tensor]:
    """-rho `(n,)` and its Jacobian `(n, n_unknowns)`: one forward and one backward pass."""
    slices, poses = problem.table.slices, estimate.poses
    points = sample_points(batch, slices, poses, psf)
    k = len(points.weights)
    time = batch.cycle_fraction.repeat_interleave(k)
    x = points.canonical_mm.flatten(0, 1)
    decoder, dtype = problem.prior.decoder, problem.hidden_dtype
    traced = DecoderPass(decoder, x, time, estimate.latent, dtype)
    with torch.enable_grad():
        logits = traced.output.label_logits
        p = torch.softmax(logits, dim=1).view(-1, k, target.shape[1])
        agreement = torch.einsum("nkl,k,nl->n", p, points.weights, target)
        likelihood = (agreement / target.max(1).values).clamp(MIN_PROBABILITY, 1.0)
        rho = (-2 * torch.log(likelihood) + MIN_RESIDUAL**2).sqrt()
    drho_dx, drho_dh = traced.gradients(rho)
    g = drho_dx.view(-1, k, 3)
    columns = pose_columns(points, poses, slices, batch.slice_index, g, torch.zeros_like(rho))
    return -rho.detach(), torch.cat([drho_dh @ A, columns], dim=1)
