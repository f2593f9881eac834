"""The prior of a fit's unknowns, and how far the slices of this study moved, learned on the way.

Breath-holds differ: some patients reproduce theirs to a fraction of a millimetre, others by a
centimetre, mostly along one direction. One fixed standard deviation would invent motion in the
former and hold the latter back. So the covariance of the slice translations, S, and the variance of
the rotations are themselves unknown, with an inverse-Wishart prior around `MotionPrior` that counts
as `slices_worth` slices, and are set to their expectation given the present estimate (the M step of
expectation maximisation, Dempster et al. 1977):

    S = (m s^2 I + sum_j (t_j t_j^T + C_j)) / (m + n_slices)

C_j being the posterior covariance of t_j. Without C_j, uncertain slices would count as still ones.

A slice that no other slice crosses shows of a shift through its plane only that the heart's section
changes, and so does a heart of another length or shape: a stack of such slices is stretched to what
the prior knows. So these shifts are held back (`uncrossed_precision`). It is a restraint, no
knowledge: standard errors are those without it.
"""

import math

import torch
from torch import Tensor

from NISFCore.fitting.config import MotionPrior
from NISFCore.fitting.crossing_images import MIN_ANGLE_DEG
from NISFCore.fitting.unknowns import GLOBAL, PER_SLICE
from NISFCore.labels import N_LABELS
from NISFCore.model.receive_gain import N_GAIN

MAX_PARALLEL = math.cos(math.radians(MIN_ANGLE_DEG))


def prior_precision(n_latent: int, n_slices: int, sd: MotionPrior) -> Tensor:
    """The prior's precision matrix before anything is learned, `(n_unknowns, n_unknowns)`."""
    rad = math.pi / 180.0
    pose = [sd.global_deg * rad] * 3 + [sd.global_mm] * 3
    look = [sd.log_gain] * N_GAIN + [sd.tissue_offset] * N_LABELS
    per_slice = [sd.slice_deg * rad] * 3 + [sd.slice_mm] * 3 + [sd.log_scale]
    deviations = torch.tensor([1.0] * n_latent + pose + look + per_slice * n_slices).double()
    return torch.diag(deviations**-2)


def uncrossed_precision(normal: Tensor, n_latent: int, sd: MotionPrior) -> Tensor:
    """What holds back shifts through the planes of slices that no other slice crosses,
    `(n_unknowns, n_unknowns)`.

    Args:
        normal: unit normals of all slices `(n_slices, 3)`, canonical.
    """
    n_slices, normal = len(normal), normal.double().cpu()
    is_crossed = ((normal @ normal.T).abs() < MAX_PARALLEL).any(dim=1)
    first = n_latent + GLOBAL
    restraint = torch.zeros(first + PER_SLICE * n_slices, first + PER_SLICE * n_slices).double()
    for j in torch.nonzero(~is_crossed)[:, 0].tolist():
        a = first + PER_SLICE * j + 3
        restraint[a : a + 3, a : a + 3] = torch.outer(normal[j], normal[j]) / sd.uncrossed_mm**2
    return restraint


def learned_precision(
    precision: Tensor, theta: Tensor, covariance: Tensor, n_latent: int, sd: MotionPrior
) -> Tensor:
    """`precision` with the slice motion's part as learned from the present estimate.

    Args:
        theta: the unknowns `(n_unknowns,)`.
        covariance: their posterior covariance.
    """
    first = n_latent + GLOBAL
    n_slices = (len(theta) - first) // PER_SLICE
    m = sd.slices_worth
    motion = theta[first:].view(n_slices, PER_SLICE)
    starts = [first + PER_SLICE * j for j in range(n_slices)]
    blocks = torch.stack([covariance[a : a + 6, a : a + 6] for a in starts])
    w, t = motion[:, :3], motion[:, 3:6]
    turned = w.square().sum() + blocks[:, :3, :3].diagonal(dim1=1, dim2=2).sum()
    rotation = (3 * m * math.radians(sd.slice_deg) ** 2 + turned) / (3 * (m + n_slices))
    eye = torch.eye(3).to(theta)
    shifted = t.T @ t + blocks[:, 3:, 3:].sum(0)
    shift_precision = torch.linalg.inv((m * sd.slice_mm**2 * eye + shifted) / (m + n_slices))
    learned = precision.clone()
    for a in starts:
        learned[a : a + 3, a : a + 3] = eye / rotation
        learned[a + 3 : a + 6, a + 3 : a + 6] = shift_precision
    return learned
