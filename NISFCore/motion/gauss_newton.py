"""The Gauss-Newton start on tag phase: the coefficients A of a field's random features.

Frame by frame, with C_j the sum of the coefficients until frame j and h the features at the
tissue's points X (which never move: they are computed once):

    r_w = wrap(arg z_wj(X + u) + k_w u),  u = h C_j       what wave w says is wrong, k_w du
    du = -K^+ r                                           K: one row k_w per wave
    C_j <- C_j + (h^T h + n ridge)^-1 h^T du              the same factor for every frame

K^+ takes k for the gradient of the phase at the moved point, which is true up to F^-T: a
quasi-Newton step whose fixed point is r = 0 all the same. The next frame begins where this one
ended, plus a share of its change, so that wraps are followed from frame to frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.motion.config import StartConfig
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.images import ImageStack
from NISFCore.motion.network import input_jet
from NISFCore.motion.tagged import TagObservation, wrapped_sum
from NISFCore.progress import CancelToken

GIVEN_RIDGE = 1e-5
"""Of coefficients that stand for given displacements, per point."""


@dataclass(frozen=True)
class FrameCoefficients:
    """Displacement at the first series' frames: u_j = h C_j in mm.

    Attributes:
        times: `(n_frames,)` cycle fractions.
        values: C `(n_frames, n_features + 1, n_dims)`.
    """

    times: Tensor
    values: Tensor


@torch.no_grad()
def start_from_phase(
    field: DisplacementField,
    observations: Sequence[TagObservation],
    points: Tensor,
    config: StartConfig,
    cancel: CancelToken,
) -> FrameCoefficients:
    """Solve for the displacement from the tags' phase; sets the field's coefficients, too.

    Args:
        points: `(n, n_dims)` local mm, the tissue at ED.

    Raises:
        Cancelled: between two frames.
    """
    h = features_at(field, points)
    G = h.T @ h
    G.diagonal().add_(config.ridge * len(points))
    project = torch.linalg.solve(G, h.T)
    back = torch.linalg.pinv(torch.cat([o.vectors for o in observations])).T
    times = observations[0].times
    C = h.new_zeros(len(times), h.shape[1], field.config.n_dims)
    for j in range(len(times)):
        cancel.check()
        C[j] = extrapolated(C, j, config.extrapolation)
        for _ in range(config.n_iterations):
            u = h @ C[j]
            r = phase_residuals(observations, times[j], points + u, u)
            C[j] -= project @ (r @ back)
    found = FrameCoefficients(times, C)
    set_coefficients(field, found)
    return found


def features_at(field: DisplacementField, points: Tensor) -> Tensor:
    """Random features `(n, n_features + 1)` at local points `(n, n_dims)` mm."""
    return field.features(input_jet(points / field.placement.radius_mm, False))[0]


def extrapolated(C: Tensor, j: int, share: float) -> Tensor:
    """Where frame j begins: the last frame's coefficients and a share of their last change."""
    if j == 0:
        return C[0]
    return C[j - 1] if j == 1 else C[j - 1] + share * (C[j - 1] - C[j - 2])


@torch.no_grad()
def set_coefficients(field: DisplacementField, found: FrameCoefficients) -> None:
    """The field's steps from displacements at frames: exact where every knot has its frame."""
    C = found.values
    basis = field.basis(found.times).double()
    steps = torch.linalg.pinv(basis) @ C.double().flatten(1) / field.placement.radius_mm
    n_features, n_dims = C.shape[1:]
    by_step = steps.reshape(-1, n_features, n_dims).transpose(0, 1)
    field.coefficients.copy_(by_step.reshape(n_features, -1))


@torch.no_grad()
def coefficients_of(h: Tensor, times: Tensor, u: Tensor) -> FrameCoefficients:
    """Of given displacements, by least squares.

    Args:
        h: `(n, n_features + 1)` features of the tissue.
        u: `(n_times, n, n_dims)` mm.
    """
    features, target = h.double(), u.double()
    A = features.T @ features
    A.diagonal().add_(GIVEN_RIDGE * len(h))
    C = torch.linalg.solve(A, torch.einsum("nf,tnd->ftd", features, target).flatten(1))
    values = C.unflatten(1, (len(u), -1)).transpose(0, 1)
    return FrameCoefficients(times, values.to(h.dtype))


def phase_residuals(
    observations: Sequence[TagObservation], time: Tensor, moved: Tensor, u: Tensor
) -> Tensor:
    """`(n, n_waves)` in rad, all waves of all series."""
    columns = []
    for o in observations:
        for stack, vector in zip(o.phases, o.vectors, strict=True):
            real, imaginary = _at_time(stack, o.times, time, moved)
            columns.append(wrapped_sum(real, imaginary, u @ vector))
    return torch.stack(columns, dim=1)


def _at_time(stack: ImageStack, times: Tensor, time: Tensor, moved: Tensor) -> Tensor:
    """Channels `(2, n)` at one time: between two frames, of their mixture."""
    after = int(torch.searchsorted(times, time).clamp(0, len(times) - 1))
    before = max(0, after - 1)
    span = float(times[after] - times[before])
    share = min(max(float(time - times[before]) / span, 0.0), 1.0) if span > 0 else 1.0
    frames = [after] if share == 1.0 else [before, after]
    part = ImageStack(stack.values[frames], stack.pixel_from_local)
    values = part.sample(moved.expand(len(frames), *moved.shape))
    if len(frames) == 1:
        return values[0]
    return (1 - share) * values[0] + share * values[1]
