"""THE forward model: slice motion -> point-spread function -> decoder -> scale and gain.

Training, both solvers of the fit and the rendering of slices go through this one file.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.labels import N_LABELS
from NISFCore.model.motion_correction import Poses, rotation_from_rotvec
from NISFCore.model.psf import PsfConfig, psf_offsets
from NISFCore.model.receive_gain import gain_basis
from NISFCore.model.shape_warp import AnyDecoder
from NISFCore.model.tissue_offset import offset_intensity
from NISFCore.model.voxels import SliceTable, VoxelBatch


@dataclass(frozen=True)
class SamplePoints:
    """Where the decoder is asked for each voxel.

    Attributes:
        corrected_mm: `(n, k, 3)` after slice motion, before the global pose.
        canonical_mm: `(n, k, 3)` after both.
        weights: `(k,)` of the PSF, sum one.
    """

    corrected_mm: Tensor
    canonical_mm: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Prediction:
    """Predicted voxels: intensity `(n,)` with the slice's scale, label probabilities `(n, 4)`,
    and the noise sd `(n,)` to be expected of the image there."""

    intensity: Tensor
    label_probabilities: Tensor
    noise_sd: Tensor


def sample_points(
    batch: VoxelBatch,
    slices: SliceTable,
    poses: Poses,
    psf: PsfConfig,
    generator: torch.Generator | None = None,
) -> SamplePoints:
    """Apply the PSF, slice motion and global pose to the voxels' nominal positions."""
    j = batch.slice_index
    n = slices.subject[j]
    offsets, weights = psf_offsets(psf, slices.sigma_mm[j], slices.axes[j], generator)
    centre = slices.centre_mm[j][:, None]
    relative = batch.position_mm[:, None] + offsets - centre
    R_slice = _rotations(poses.slice_rotvec, j)
    R_global = _rotations(poses.global_rotvec, n)
    # x = R(w_n) ( R(w_j) (p - c_j) + c_j + t_j ) + t_n, see motion_correction
    corrected = relative @ R_slice.mT + centre + poses.slice_translation_mm[j][:, None]
    canonical = corrected @ R_global.mT + poses.global_translation_mm[n][:, None]
    return SamplePoints(corrected, canonical, weights)


def _rotations(rotvec: Tensor, index: Tensor) -> Tensor:
    """The rotation of each row, computed for the rows or for the slices, whichever are fewer."""
    if len(rotvec) > len(index):
        return rotation_from_rotvec(rotvec[index])
    return rotation_from_rotvec(rotvec)[index]


def voxel_scale(batch: VoxelBatch, slices: SliceTable, poses: Poses) -> Tensor:
    """What the decoder's intensity is multiplied by at each voxel, `(n,)`: the slice's scale and
    the receive gain."""
    gain = gain_basis(batch.position_mm) * poses.log_gain[slices.subject[batch.slice_index]]
    return torch.exp(poses.log_scale[batch.slice_index] + gain.sum(1))


def predict(
    decoder: AnyDecoder,
    batch: VoxelBatch,
    slices: SliceTable,
    latents: Tensor,
    poses: Poses,
    psf: PsfConfig,
    generator: torch.Generator | None = None,
) -> Prediction:
    """Predict the voxels of `batch`.

    Args:
        latents: `(n_subjects, n_latent)`, or one subject's code of a `WarpedDecoder`.

    Returns:
        PSF-weighted mean over the samples of each voxel (paper: i_v = 1/K sum f_I(x_k)).
    """
    points = sample_points(batch, slices, poses, psf, generator)
    k = points.weights.shape[0]
    subject = slices.subject[batch.slice_index].repeat_interleave(k)
    latent = latents if len(latents) == 1 else latents[subject]
    time = batch.cycle_fraction.repeat_interleave(k)
    output = decoder(points.canonical_mm.flatten(0, 1), time, latent)
    labels = torch.softmax(output.label_logits, dim=1)
    intensity = offset_intensity(output.intensity, labels, poses.tissue_offset[subject])
    mean_intensity = intensity.view(-1, k) @ points.weights
    mean_probabilities = torch.einsum("nkl,k->nl", labels.view(-1, k, N_LABELS), points.weights)
    scale = voxel_scale(batch, slices, poses)
    noise_sd = output.noise_sd.view(-1, k) @ points.weights
    return Prediction(scale * mean_intensity, mean_probabilities, noise_sd)
