"""What crossing slices say about each other, without any prior: both show the same tissue along the
line in which their planes meet, at every time of the cycle.

The difference D = I_a sqrt(s_b / s_a) - I_b sqrt(s_a / s_b) at points x of that line is linearised
in both slices' motions and scales. Motions of the two slices move x by d_a = dw_a × (x - c_a - t_a)
+ dt_a and d_b; the planes follow, and the nearest point of their new line is x + q,

    q = A_a d_a + A_b d_b,   A_a = P_1 n_a^T,  A_b = P_2 n_b^T,   P = N (N^T N)^-1,  N = [n_a n_b].

Slice a is then read at a place shifted by q - d_a, which lies in its plane, so that

    dD/dd_a = (g_a - g_b)^T A_a - g_a^T,   dD/dd_b = (g_a - g_b)^T A_b + g_b^T

with the images' gradients g. The global pose moves all slices alike and does not matter. The idea
is that of Lötjönen et al. (Medical Image Analysis 2004), as Gauss-Newton on intensities.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.fitting.config import CrossingConfig
from NISFCore.fitting.crossing_images import CrossingImages
from NISFCore.fitting.unknowns import PER_SLICE
from NISFCore.model.motion_correction import Poses, rotation_from_rotvec

MIN_SIGMA = 1e-3
INSIDE_PIXELS = 1e-3  # so that a point on the last row has a next one


@dataclass(frozen=True)
class Differences:
    """D at n points of the lines, all pairs together.

    Attributes:
        value: `(n, n_phases)`.
        jacobian: `(n, n_phases, 14)`: to w, t and log s of slice a, then of slice b.
        pair: `(n,)`.
        point_mm: `(n, 3)`, after the slice motions.
    """

    value: Tensor
    jacobian: Tensor
    pair: Tensor
    point_mm: Tensor


def crossing_equations(
    images: CrossingImages,
    poses: Poses,
    theta: Tensor,
    first: int,
    blur: int,
    config: CrossingConfig,
) -> tuple[Tensor, Tensor]:
    """H `(n_unknowns, n_unknowns)` and b of what crossing slices say, relinearised at zero as in
    `normal_equations`; float64, zero where no slices cross.

    Args:
        theta: all unknowns `(n_unknowns,)`; those of the slices begin at `first`.
        blur: which of the blurred images.
    """
    n = len(theta)
    H, gradient = theta.new_zeros(n * n), theta.new_zeros(n)
    if len(images.pairs) == 0:
        return H.view(n, n), gradient
    found = differences(images, poses, blur, config.spacing_mm)
    H_pairs, g_pairs = _per_pair(found, len(images.pairs), config)
    own = torch.arange(PER_SLICE, device=theta.device)
    where = ((first + PER_SLICE * images.pairs)[..., None] + own).flatten(1)
    H.index_add_(0, (where[:, :, None] * n + where[:, None]).flatten(), H_pairs.flatten())
    gradient.index_add_(0, where.flatten(), g_pairs.flatten())
    H = H.view(n, n)
    return H, H @ theta + gradient


def differences(images: CrossingImages, poses: Poses, blur: int, spacing_mm: float) -> Differences:
    """D and its Jacobian where both slices of a pair show the heart's region."""
    R = rotation_from_rotvec(poses.slice_rotvec)
    centre = images.centre_mm + poses.slice_translation_mm
    normal = torch.einsum("sij,sj->si", R, images.normal)
    a, b = images.pairs.unbind(1)
    x = _line_points(images, normal, centre, spacing_mm)
    pixel_a, seen_a = _pixels(images, a, (x - centre[a][:, None]) @ R[a])
    pixel_b, seen_b = _pixels(images, b, (x - centre[b][:, None]) @ R[b])
    inside = _in_region(images, x) & seen_a & seen_b
    pair = torch.nonzero(inside)[:, 0]
    x, a, b = x[inside], a[pair], b[pair]
    frames = images.blurred[blur]
    # a scale common to both must not make D smaller, hence the ratio
    ratio = torch.exp((poses.log_scale[b] - poses.log_scale[a]) / 2)[:, None]
    I_a, g_a = _read(frames, images, a, pixel_a[inside], R)
    I_b, g_b = _read(frames, images, b, pixel_b[inside], R)
    I_a, g_a, I_b, g_b = I_a * ratio, g_a * ratio[..., None], I_b / ratio, g_b / ratio[..., None]
    A_a, A_b = _line_motion(normal[a], normal[b])
    mean = (I_a + I_b) / 2
    of_a = _columns((g_a - g_b) @ A_a - g_a, x - centre[a], -mean)
    of_b = _columns((g_a - g_b) @ A_b + g_b, x - centre[b], mean)
    return Differences(I_a - I_b, torch.cat([of_a, of_b], dim=-1), pair, x)


def _line_points(images: CrossingImages, normal: Tensor, centre: Tensor, mm: float) -> Tensor:
    """Equally spaced points `(n_pairs, n, 3)` on each pair's line, about the place nearest to the
    middle of the heart's region."""
    a, b = images.pairs.unbind(1)
    across = torch.linalg.cross(normal[a], normal[b])
    direction = torch.nn.functional.normalize(across, dim=1)
    M = torch.stack([normal[a], normal[b], direction], dim=1)
    through = torch.stack([centre[a], centre[b], images.region_centre_mm.expand_as(across)], dim=1)
    point = torch.linalg.solve(M, (M * through).sum(2))
    half_length_mm = float(images.region_semi_axes_mm.max())
    n = round(2 * half_length_mm / mm) + 1
    along = torch.linspace(-half_length_mm, half_length_mm, n).to(point)
    return point[:, None] + along[:, None] * direction[:, None]


def _in_region(images: CrossingImages, x: Tensor) -> Tensor:
    scaled = (x - images.region_centre_mm) / images.region_semi_axes_mm
    return scaled.square().sum(-1) <= 1.0


def _pixels(images: CrossingImages, s: Tensor, relative: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels `(n_pairs, n, 2)` of points given as scanned and relative to their slice's centre, and
    which lie within the image."""
    M = images.pixel_from_canonical[s]
    scanned = relative + images.centre_mm[s][:, None]
    pixel = scanned @ M[:, :, :3].mT + M[:, None, :, 3]
    last = (images.size[s] - 1)[:, None].to(pixel)
    seen = ((pixel >= 0) & (pixel <= last)).all(-1)
    return torch.minimum(pixel.clamp(min=0.0), last - INSIDE_PIXELS), seen


def _read(
    frames: Tensor, images: CrossingImages, s: Tensor, pixel: Tensor, R: Tensor
) -> tuple[Tensor, Tensor]:
    """Bilinear values `(n, n_phases)` of slices s at pixels `(n, 2)`, and their gradients per mm in
    the corrected space, `(n, n_phases, 3)`."""
    corner = pixel.long()
    i, j = corner.unbind(1)
    u, v = (pixel - corner)[:, :, None].unbind(1)
    f00, f01 = frames[s, j, i], frames[s, j, i + 1]
    f10, f11 = frames[s, j + 1, i], frames[s, j + 1, i + 1]
    along_i = (1 - v) * (f01 - f00) + v * (f11 - f10)
    along_j = (1 - u) * (f10 - f00) + u * (f11 - f01)
    per_mm = images.pixel_from_canonical[s, :, :3] @ R[s].mT
    gradient = along_i[..., None] * per_mm[:, None, 0] + along_j[..., None] * per_mm[:, None, 1]
    return f00 + u * (f01 - f00) + v * along_j, gradient


def _line_motion(n_a: Tensor, n_b: Tensor) -> tuple[Tensor, Tensor]:
    """A_a and A_b, `(n, 3, 3)`."""
    N = torch.stack([n_a, n_b], dim=2)
    P = N @ torch.linalg.inv(N.mT @ N)
    return P[:, :, :1] * n_a[:, None], P[:, :, 1:] * n_b[:, None]


def _columns(to_shift: Tensor, arm: Tensor, to_log_scale: Tensor) -> Tensor:
    """Jacobian columns `(n, n_phases, 7)` of a slice from those of a shift `(n, n_phases, 3)`."""
    to_rotation = torch.linalg.cross(arm[:, None].expand_as(to_shift), to_shift)
    return torch.cat([to_rotation, to_shift, to_log_scale[..., None]], dim=-1)


def _per_pair(found: Differences, n_pairs: int, config: CrossingConfig) -> tuple[Tensor, Tensor]:
    """Normal matrix `(n_pairs, 14, 14)` and gradient `(n_pairs, 14)` of each pair, Huber's weights
    about the RMS of all differences; float64."""
    r, J = -found.value, found.jacobian
    sigma = r.square().mean().sqrt().clamp(min=MIN_SIGMA) if len(r) else MIN_SIGMA
    weights = (config.huber * sigma / r.abs().clamp(min=1e-9)).clamp(max=1.0)
    WJ = J * (weights * config.points_worth / (r.shape[1] * sigma**2))[..., None]
    H_points = torch.einsum("npi,npj->nij", WJ, J).double()
    g_points = torch.einsum("npi,np->ni", WJ, r).double()
    H = H_points.new_zeros(n_pairs, *H_points.shape[1:]).index_add_(0, found.pair, H_points)
    return H, g_points.new_zeros(n_pairs, g_points.shape[1]).index_add_(0, found.pair, g_points)
