"""Which of a prior's motions a heart makes: its code, by Gauss-Newton on tag phase and labels.

All frames' displacement depends on one code z, state(z) = base + z modes:

    minimise |z|^2 + sum (r_phase / sd_phase)^2 + sum (r_border / sd_border)^2

r_phase: the wrapped phase that is left at X + u, as in `refinement.PhaseTerm`; r_border: distance
of ED border points from the border at their frame. Both count linearly beyond a limit, and not
where labels show that the wall has left the plane. Frames are opened one after another, so that
wraps are followed. A code is a start and no result: it cannot tell a scar that no training heart
had.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.motion.contours import Contour, wall_shown
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.images import ImageStack
from NISFCore.motion.network import Jet, gelu, sine
from NISFCore.motion.priors.config import LatentConfig
from NISFCore.motion.priors.weights import ManyFields
from NISFCore.motion.refinement import huber_weight
from NISFCore.motion.tagged import TagObservation, wrapped_sum
from NISFCore.motion.tagged_plane import TaggedPlane

MAX_POINTS = 300
"""Of the tissue: neighbours say the same, and a code has few entries."""
OPENING_SHARE = 0.5
"""Of the iterations, until all frames count."""
BORDER_HUBER_MM = 2.0


@dataclass(frozen=True)
class Motion:
    """Movements between knots in mm, and their derivatives by the code.

    Attributes:
        steps: `(n_steps, n, 2)`.
        by_code: `(n_steps, n, 2, n_latent)`.
    """

    steps: Tensor
    by_code: Tensor

    def at(self, basis: Tensor) -> "Motion":
        """Displacements, with `basis` `(n_times, n_steps)`."""
        pairs = (torch.tensordot(basis, v, dims=1) for v in (self.steps, self.by_code))
        return Motion(*pairs)

    def of(self, points: slice) -> "Motion":
        """At some of the points."""
        return Motion(self.steps[:, points], self.by_code[:, points])


@dataclass(frozen=True)
class Residuals:
    """Residuals `(m,)` in standard deviations, and their derivatives `(m, n_latent)`."""

    values: Tensor
    by_code: Tensor


@torch.no_grad()
def solve(
    field: DisplacementField,
    base: Tensor,
    modes: Tensor,
    seen: TaggedPlane,
    config: LatentConfig,
) -> Tensor:
    """The code `(n_latent,)` of a heart.

    Args:
        base, modes: states `(n_weights,)` and `(n_latent, n_weights)` of `field`.
    """
    z = base.new_zeros(len(modes))
    points, parts = _all_points(seen)
    for k in range(config.n_iterations):
        motion = _motion(field, base, modes, points, z)
        last = _last_time(seen, k, config)
        A, b = torch.eye(len(z)), z.clone()
        for r in _residuals(field, seen, points, parts, motion, last, config):
            A.addmm_(r.by_code.T, r.by_code)
            b.addmv_(r.by_code.T, r.values)
        z = z - torch.linalg.solve(A, b)
    return z


def _all_points(seen: TaggedPlane) -> tuple[Tensor, list[slice]]:
    """Points of the tissue, then those of each border, in one tensor; where each part is."""
    step = max(1, round(len(seen.points) / MAX_POINTS))
    groups = [seen.points[::step], *(c.points for c in seen.contours)]
    parts, start = [], 0
    for group in groups:
        parts.append(slice(start, start + len(group)))
        start += len(group)
    return torch.cat(groups), parts


def _motion(
    field: DisplacementField, base: Tensor, modes: Tensor, points: Tensor, z: Tensor
) -> Motion:
    steps, by_code = _jet(field, base + z @ modes, modes, points)
    assert by_code is not None  # derivatives of all layers
    n_steps, radius = field.config.n_steps, field.placement.radius_mm
    return Motion(
        radius * steps.unflatten(1, (n_steps, -1)).transpose(0, 1),
        radius * by_code.unflatten(2, (n_steps, -1)).permute(2, 1, 3, 0),
    )


def _jet(field: DisplacementField, state: Tensor, modes: Tensor, points: Tensor) -> Jet:
    """Steps in radii `(n, n_steps * 2)` with weights `state`, and their derivatives by the code
    `(n_latent, n, n_steps * 2)`, where a code of 1 adds `modes` to the weights."""
    many = ManyFields(field)
    w, dw = many.named(state), many.named(modes)
    x = points / field.placement.radius_mm
    h, _ = field.features((x, None))
    # the input of the first layer does not depend on the code
    hidden = _first_input(field, x)
    jet: Jet = (hidden, hidden.new_zeros(len(modes), *hidden.shape))
    activation = sine if field.hidden.is_siren else gelu
    for k in range(len(field.hidden.weights)):
        names = (f"field.hidden.weights.{k}", f"field.hidden.biases.{k}")
        jet = activation(_layer(jet, *(w[name] for name in names), *(dw[name] for name in names)))
    last, coefficients = "field.last", "field.coefficients"
    no_bias = w[last].new_zeros(()), w[last].new_zeros(len(modes), 1)
    value, by_code = _layer(jet, w[last], no_bias[0], dw[last], no_bias[1])
    assert by_code is not None  # given with the input
    return value + h @ w[coefficients], by_code + h @ dw[coefficients]


def _layer(jet: Jet, weight: Tensor, bias: Tensor, by_weight: Tensor, by_bias: Tensor) -> Jet:
    """x W + b, all of which depend on the code."""
    value, tangents = jet
    assert tangents is not None  # given with the input
    return value @ weight + bias, tangents @ weight + value @ by_weight + by_bias[:, None]


def _first_input(field: DisplacementField, x: Tensor) -> Tensor:
    if field.hidden.is_siren:
        return x
    angles = x @ field.hidden.frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _last_time(seen: TaggedPlane, iteration: int, config: LatentConfig) -> float:
    share = (iteration + 1) / max(1.0, OPENING_SHARE * config.n_iterations)
    index = round(min(1.0, share) * (len(seen.times) - 1))
    return float(seen.times[max(1, index)])


def _residuals(
    field: DisplacementField,
    seen: TaggedPlane,
    points: Tensor,
    parts: list[slice],
    motion: Motion,
    last: float,
    config: LatentConfig,
) -> list[Residuals]:
    tissue, tissue_motion = points[parts[0]], motion.of(parts[0])
    found = []
    for o in seen.observations:
        n_open = int((o.times <= last + 1e-6).sum())
        moved = tissue_motion.at(field.basis(o.times[:n_open]))
        waves = range(len(o.phases))
        shown = wall_shown(seen.contours, o.times[:n_open], tissue + moved.steps)
        found += [_phase(o, k, tissue, moved, shown, config) for k in waves]
    for contour, part in zip(seen.contours, parts[1:], strict=True):
        n_open = int((contour.times <= last + 1e-6).sum())
        moved = motion.of(part).at(field.basis(contour.times[:n_open]))
        found.append(_border(contour, moved, config))
    return found


def _phase(
    o: TagObservation,
    wave: int,
    points: Tensor,
    moved: Motion,
    shown: Tensor,
    config: LatentConfig,
) -> Residuals:
    sampled = _sampled(o.phases[wave], points, moved)
    real, imaginary = sampled[:, 0], sampled[:, 1]
    r = wrapped_sum(real, imaginary, moved.steps @ o.vectors[wave])
    modulus = torch.hypot(real, imaginary)
    # faded tags have little to say
    trust = shown * (modulus / modulus[0].median().clamp_min(1e-9)).clamp_max(1.0)
    by_code = torch.einsum("tndk,d->tnk", moved.by_code, o.vectors[wave])
    return _weighted(r, by_code, trust * huber_weight(r, config.huber_rad) / config.phase_sd_rad)


def _border(contour: Contour, moved: Motion, config: LatentConfig) -> Residuals:
    sampled = _sampled(contour.distances, contour.points, moved)
    r = sampled[:, 0]
    by_pixel = contour.distances.pixel_from_local[:, :-1]
    gradient = torch.einsum("tpn,pd->tnd", sampled[:, 1:], by_pixel)
    by_code = torch.einsum("tndk,tnd->tnk", moved.by_code, gradient)
    shown = contour.shown.at_first(contour.points + moved.steps)
    return _weighted(r, by_code, shown * huber_weight(r, BORDER_HUBER_MM) / config.border_sd_mm)


def _weighted(r: Tensor, by_code: Tensor, weight: Tensor) -> Residuals:
    return Residuals((weight * r).flatten(), (weight[..., None] * by_code).flatten(0, 1))


def _sampled(images: ImageStack, points: Tensor, moved: Motion) -> Tensor:
    """Channels `(n_times, n_channels, n)` of the first frames at moved points."""
    first = ImageStack(images.values[: len(moved.steps)], images.pixel_from_local)
    return first.sample(points + moved.steps)
