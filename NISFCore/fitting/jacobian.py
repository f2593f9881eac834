"""The whole Jacobian of a fit from one backward pass of the decoder.

The decoder is frozen and its intensity is one number per sample, so a backward pass to its inputs
gives dI/dx and dI/dh of every sample at once, and with them each row of the Jacobian:

    I_v = s sum_k w_k f(x_k, h),  x_k = R_n q_k + t_n,  q_k = R_j (p_k - c_j) + c_j + t_j
    dI/dh   = s sum_k w_k df/dh
    dI/dw_n = sum_k (R_n q_k) x g_k,               dI/dt_n = sum_k g_k,   g_k = s w_k df/dx_k
    dI/dw_j = sum_k (q_k - c_j - t_j) x R_n^T g_k, dI/dt_j = sum_k R_n^T g_k
    dI/dlog s = I_v,  dI/db_i = I_v f_i(p)  of the receive gain,  dI/do_l = s sum_k w_k p_l(x_k)

Rotations are updated from the left, R <- exp(dw) R. The latent is whitened, h = mean + A u, with
A A^T the cohort's covariance, so that u has a unit prior.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from NISFCore.fitting.problem import Estimate, FitProblem
from NISFCore.fitting.unknowns import GAIN, GLOBAL, PER_SLICE, POSE
from NISFCore.labels import N_LABELS
from NISFCore.model.derivatives import DecoderPass
from NISFCore.model.forward_model import SamplePoints, sample_points, voxel_scale
from NISFCore.model.motion_correction import Poses, rotation_from_rotvec
from NISFCore.model.psf import PsfConfig
from NISFCore.model.receive_gain import gain_basis
from NISFCore.model.tissue_offset import offset_intensity
from NISFCore.model.voxels import SliceTable, VoxelBatch


@dataclass(frozen=True)
class Linearisation:
    """Residual (observed - predicted) `(n,)`, Jacobian `(n, n_unknowns)` of the prediction, and the
    noise sd `(n,)` that the decoder expects of each voxel.

    Unknowns as in `unknowns`.
    """

    residual: Tensor
    jacobian: Tensor
    noise_sd: Tensor


def linearise(
    problem: FitProblem,
    estimate: Estimate,
    A: Tensor,
    batch: VoxelBatch,
    psf: PsfConfig,
    generator: torch.Generator | None = None,
) -> Linearisation:
    """Residuals and Jacobian at `estimate`: one forward and one backward pass of the decoder."""
    slices, poses = problem.table.slices, estimate.poses
    points = sample_points(batch, slices, poses, psf, generator)
    k = len(points.weights)
    time = batch.cycle_fraction.repeat_interleave(k)
    x = points.canonical_mm.flatten(0, 1)
    decoder, dtype = problem.prior.decoder, problem.hidden_dtype
    traced = DecoderPass(decoder, x, time, estimate.latent, dtype)
    with torch.enable_grad():
        output = traced.output
        labels = torch.softmax(output.label_logits, dim=1)
        intensity = offset_intensity(output.intensity, labels, poses.tissue_offset)
        seen = intensity.view(-1, k) @ points.weights
    df_dx, df_dh = traced.gradients(seen)
    scale = voxel_scale(batch, slices, poses)
    predicted = scale * seen.detach()
    g = scale[:, None, None] * df_dx.view(-1, k, 3)
    columns = pose_columns(points, poses, slices, batch.slice_index, g, predicted)
    columns[:, POSE:GAIN] = predicted[:, None] * gain_basis(batch.position_mm)
    shares = torch.einsum("nkl,k->nl", labels.detach().view(-1, k, N_LABELS), points.weights)
    columns[:, GAIN:GLOBAL] = scale[:, None] * shares
    jacobian = torch.cat([scale[:, None] * df_dh @ A, columns], dim=1)
    noise_sd = output.noise_sd.detach().view(-1, k) @ points.weights
    return Linearisation(batch.intensity - predicted, jacobian, noise_sd)


def joined(parts: list[Linearisation]) -> Linearisation:
    """The linearisation of all voxels from that of each part."""
    return Linearisation(
        *(torch.cat([vars(p)[f.name] for p in parts]) for f in fields(Linearisation))
    )


def pose_columns(
    points: SamplePoints,
    poses: Poses,
    slices: SliceTable,
    slice_index: Tensor,
    g: Tensor,
    predicted: Tensor,
) -> Tensor:
    """Jacobian columns of the global pose and of every slice, `(n, GLOBAL + 7 n_slices)`; those of
    the image's look are left zero."""
    n, n_slices = len(slice_index), len(slices)
    R_n = rotation_from_rotvec(poses.global_rotvec)[0]
    arm_global = points.canonical_mm - poses.global_translation_mm[0]
    g_slice = g @ R_n
    fixed = slices.centre_mm[slice_index] + poses.slice_translation_mm[slice_index]
    arm_slice = points.corrected_mm - fixed[:, None]
    columns = g.new_zeros(n, GLOBAL + PER_SLICE * n_slices)
    columns[:, :3] = torch.linalg.cross(arm_global, g).sum(1)
    columns[:, 3:POSE] = g.sum(1)
    own = [torch.linalg.cross(arm_slice, g_slice).sum(1), g_slice.sum(1), predicted[:, None]]
    first = GLOBAL + PER_SLICE * slice_index
    where = first[:, None] + torch.arange(PER_SLICE, device=g.device)
    return columns.scatter_(1, where, torch.cat(own, dim=1))
