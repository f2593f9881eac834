"""Rigid motion of slices and of the whole heart, in torch (paper section 3.2).

A voxel at canonical position p of slice j of subject n is read from the heart at

    x = R(w_n) ( R(w_j) (p - c_j) + c_j + t_j ) + t_n

with the slice's centre c_j, its motion (w_j, t_j) and the subject's global pose (w_n, t_n). A
rigid motion common to all slices of a subject cannot be told from a global pose; `without_mean`
and the priors of the solvers keep it in the global pose.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from NISFCore.labels import N_LABELS
from NISFCore.model.receive_gain import N_GAIN


def rotation_from_rotvec(rotvec: Tensor) -> Tensor:
    """Rotation matrices `(n, 3, 3)` of rotation vectors `(n, 3)` (Rodrigues), smooth at zero."""
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
    turns = rotvec.norm(dim=-1)[:, None, None] / torch.pi
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    # sin(a) / a and (1 - cos a) / a^2, which sinc knows at zero
    return eye + torch.sinc(turns) * K + 0.5 * torch.sinc(turns / 2).square() * (K @ K)


@dataclass(frozen=True)
class Poses:
    """Motion and scale of every slice of one or more subjects, and how their images differ.

    Attributes:
        global_rotvec, global_translation_mm: `(n_subjects, 3)`.
        slice_rotvec, slice_translation_mm: `(n_slices, 3)`, about the slice centre.
        log_scale: `(n_slices,)`; prediction = exp(log_scale) × decoder intensity. The scale is
            applied to the prediction: scaling the data (as the paper writes it) lets the loss
            shrink by shrinking the data.
        log_gain: `(n_subjects, N_GAIN)` coefficients of the receive gain (see `receive_gain`).
        tissue_offset: `(n_subjects, N_LABELS)`, see `tissue_offset`.
    """

    global_rotvec: Tensor
    global_translation_mm: Tensor
    slice_rotvec: Tensor
    slice_translation_mm: Tensor
    log_scale: Tensor
    log_gain: Tensor
    tissue_offset: Tensor

    @classmethod
    def identity(
        cls, n_subjects: int, n_slices: int, device: torch.device | str = "cpu"
    ) -> "Poses":
        """No motion, scale one."""
        subjects = torch.zeros(n_subjects, 3, device=device)
        slices = torch.zeros(n_slices, 3, device=device)
        return cls(
            subjects,
            subjects.clone(),
            slices,
            slices.clone(),
            torch.zeros(n_slices, device=device),
            torch.zeros(n_subjects, N_GAIN, device=device),
            torch.zeros(n_subjects, N_LABELS, device=device),
        )

    def without_mean(self, subject_of_slice: Tensor) -> "Poses":
        """The same with the mean slice motion and mean log scale of each subject removed."""
        n_subjects = self.global_rotvec.shape[0]

        def centred(values: Tensor) -> Tensor:
            return (
                values - _mean_per_subject(values, subject_of_slice, n_subjects)[subject_of_slice]
            )

        return replace(
            self,
            slice_rotvec=centred(self.slice_rotvec),
            slice_translation_mm=centred(self.slice_translation_mm),
        )


def _mean_per_subject(values: Tensor, subject_of_slice: Tensor, n_subjects: int) -> Tensor:
    total = values.new_zeros(n_subjects, values.shape[1]).index_add_(0, subject_of_slice, values)
    count = torch.bincount(subject_of_slice, minlength=n_subjects).clamp(min=1)
    return total / count[:, None].to(values)
