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
        slopes: `(n, n_phases, 5)`: of image a along its pixels' axes, of image b, and their mean.
        by_slopes: `(n, 5, 14)`, the same for all phases; slopes @ by_slopes is D's Jacobian to w, t
            and log s of slice a, then of slice b.
        inside: `(n_pairs, n_on_line)` bool: which points of the pairs' lines the n are.
        point_mm: `(n, 3)`, after the slice motions.
    """

    value: Tensor
    slopes: Tensor
    by_slopes: Tensor
    inside: Tensor
    point_mm: Tensor

    @property
    def jacobian(self) -> Tensor:
        """`(n, n_phases, 14)`."""
        return self.slopes @ self.by_slopes

    @property
    def pair(self) -> Tensor:
        """`(n,)`."""
        return torch.nonzero(self.inside)[:, 0]


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
    spacing_mm = config.spacing_of(blur)
    found = differences(images, poses, blur, spacing_mm)
    # fewer points of a line stand for all of it
    H_pairs, g_pairs = _per_pair(found, config, spacing_mm / config.spacing_mm)
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
    both = images.pairs.T
    x = _line_points(images, normal, centre, spacing_mm)
    pixel, seen = _pixels(images, both, (x - centre[both][:, :, None]) @ R[both])
    inside = _in_region(images, x) & seen.all(0)
    point = torch.nonzero(inside.flatten())[:, 0]
    pair = point // x.shape[1]
    x, pixel = x.flatten(0, 1)[point], pixel.flatten(1, 2)[:, point]
    shifts, both = _shifts(images, R, normal)[:, pair], both[:, pair]
    # a scale common to both must not make D smaller, hence the ratio
    log_ratio = (poses.log_scale[both[1]] - poses.log_scale[both[0]]) / 2
    ratio = torch.exp(torch.stack([log_ratio, -log_ratio]))[..., None]
    value, slope = _read(images.blurred[blur], both, pixel)
    value, slope = value * ratio, slope * ratio[..., None]
    slopes = torch.cat([slope[0], slope[1], value.mean(0)[..., None]], dim=-1)
    by_slopes = _by_slopes(shifts, x - centre[both])
    return Differences(value[0] - value[1], slopes, by_slopes, inside, x)


def _shifts(images: CrossingImages, R: Tensor, normal: Tensor) -> Tensor:
    """What a shift of slice a, or b, of each pair does to D: `(2, n_pairs, 4, 3)`, by the slopes of
    both images."""
    a, b = images.pairs.unbind(1)
    A_a, A_b = _line_motion(normal[a], normal[b])
    pixels_per_mm = images.pixel_from_canonical[:, :, :3] @ R.mT
    of_a, of_b = pixels_per_mm[a], pixels_per_mm[b]
    shift_a = torch.cat([of_a @ A_a - of_a, -of_b @ A_a], dim=1)
    shift_b = torch.cat([of_a @ A_b, of_b - of_b @ A_b], dim=1)
    return torch.stack([shift_a, shift_b])


def _by_slopes(shifts: Tensor, arms: Tensor) -> Tensor:
    """`Differences.by_slopes` from `(2, n, 4, 3)` and the arms `(2, n, 3)` of the rotations."""
    turns = torch.linalg.cross(arms[:, :, None].expand_as(shifts), shifts)
    by_slopes = shifts.new_zeros(shifts.shape[1], 5, 2, PER_SLICE)
    by_slopes[:, :4, :, :3] = turns.permute(1, 2, 0, 3)
    by_slopes[:, :4, :, 3:6] = shifts.permute(1, 2, 0, 3)
    by_slopes[:, 4, :, 6] = torch.tensor([-1.0, 1.0]).to(shifts)
    return by_slopes.flatten(2)


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
    """Pixels `(2, n_pairs, n, 2)` of points given as scanned and relative to the centre of their
    slice, s `(2, n_pairs)`, and which lie within the image."""
    M = images.pixel_from_canonical[s]
    scanned = relative + images.centre_mm[s][:, :, None]
    pixel = scanned @ M[..., :3].mT + M[:, :, None, :, 3]
    last = (images.size[s] - 1)[:, :, None].to(pixel)
    seen = ((pixel >= 0) & (pixel <= last)).all(-1)
    return torch.minimum(pixel.clamp(min=0.0), last - INSIDE_PIXELS), seen


def _read(frames: Tensor, s: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear values `(2, n, n_phases)` of slices s at pixels `(2, n, 2)`, and their slopes along
    the pixels' axes, `(2, n, n_phases, 2)`."""
    n_rows, n_columns, n_phases = frames.shape[1:]
    corner = pixel.long()
    first = (s * n_rows + corner[..., 1]) * n_columns + corner[..., 0]
    pixels = frames.view(-1, n_phases)
    f00, f01, f10, f11 = (pixels[first + further] for further in (0, 1, n_columns, n_columns + 1))
    u, v = (pixel - corner)[..., None].unbind(-2)
    along_i = torch.lerp(f01 - f00, f11 - f10, v)
    along_j = torch.lerp(f10 - f00, f11 - f01, u)
    return f00 + u * (f01 - f00) + v * along_j, torch.stack([along_i, along_j], dim=-1)


def _line_motion(n_a: Tensor, n_b: Tensor) -> tuple[Tensor, Tensor]:
    """A_a and A_b of each pair, `(n_pairs, 3, 3)`."""
    N = torch.stack([n_a, n_b], dim=2)
    P = N @ torch.linalg.inv(N.mT @ N)
    return P[:, :, :1] * n_a[:, None], P[:, :, 1:] * n_b[:, None]


def _per_pair(found: Differences, config: CrossingConfig, counts: float) -> tuple[Tensor, Tensor]:
    """Normal matrix `(n_pairs, 14, 14)` and gradient `(n_pairs, 14)` of each pair, Huber's weights
    about the RMS of all differences, each point counting for so many; float64."""
    r, slopes, L = -found.value, found.slopes, found.by_slopes
    sigma = r.square().mean().sqrt().clamp(min=MIN_SIGMA) if len(r) else MIN_SIGMA
    weights = (config.huber * sigma / r.abs().clamp(min=1e-9)).clamp(max=1.0)
    worth = counts * config.points_worth / (r.shape[1] * sigma**2)
    weighted = slopes * (weights * worth)[..., None]
    towards = torch.cat([weighted.mT @ slopes @ L, weighted.mT @ r[..., None]], dim=2)
    L, towards = (_on_lines(part, found.inside).flatten(1, 2) for part in (L, towards))
    together = (L.mT @ towards).double()
    return together[..., :-1], together[..., -1]


def _on_lines(values: Tensor, inside: Tensor) -> Tensor:
    """Values `(n, ...)` of the points inside, zero elsewhere, `(n_pairs, n_on_line, ...)`."""
    dense = values.new_zeros(*inside.shape, *values.shape[1:])
    dense[inside] = values
    return dense
