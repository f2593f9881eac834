"""Networks from place to movement, each with the exact derivative by place.

Forward mode: a layer maps a value `(n, width_in)` and its tangents `(n_dims, n, width_in)` to those
of its output, so that F = I + du/dX costs n_dims more passes and is itself differentiable by the
weights. Initialisation of sine layers: Sitzmann et al. 2020, section 3.2.
"""

import math

import torch
from torch import Tensor, nn

from NISFCore.motion.config import SIREN, NetworkConfig

Jet = tuple[Tensor, Tensor | None]
"""A value `(n, width)` and, if asked for, its derivatives `(n_dims, n, width)`."""


def input_jet(points: Tensor, has_derivatives: bool) -> Jet:
    """The points `(n, n_dims)` themselves: their derivative is the identity."""
    if not has_derivatives:
        return points, None
    n, n_dims = points.shape
    eye = torch.eye(n_dims, dtype=points.dtype, device=points.device)
    return points, eye[:, None].expand(n_dims, n, n_dims)


def linear(jet: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    """x W + b; `weight` is `(width_in, width_out)`."""
    value, tangents = jet
    out = value @ weight if bias is None else torch.addmm(bias, value, weight)
    return out, None if tangents is None else tangents @ weight


def sine(jet: Jet) -> Jet:
    """sin x, and cos x times the tangents."""
    value, tangents = jet
    return value.sin(), None if tangents is None else value.cos() * tangents


def gelu(jet: Jet) -> Jet:
    """x P(x) with P the normal distribution; its derivative is P(x) + x p(x)."""
    value, tangents = jet
    out = nn.functional.gelu(value)
    if tangents is None:
        return out, None
    P = 0.5 * (1 + torch.erf(value / math.sqrt(2)))
    p = (-0.5 * value.square()).exp() / math.sqrt(2 * math.pi)
    return out, (P + value * p) * tangents


class RandomFeatures(nn.Module):
    """sin(x W + b) with fixed random W, b, and a constant: `(n, n_features + 1)`.

    `lowest_omega`: frequencies spread evenly in their logarithm from there to `omega`, each feature
    its own; None gives all of them `omega`. Low ones carry over where nothing is seen.
    """

    def __init__(
        self,
        n_dims: int,
        n_features: int,
        omega: float,
        seed: int,
        lowest_omega: float | None = None,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        W = torch.randn(n_dims, n_features, generator=generator)
        lowest = omega if lowest_omega is None else lowest_omega
        scales = lowest * (omega / lowest) ** torch.linspace(0, 1, n_features)
        self.register_buffer("weight", scales * W)
        self.register_buffer("bias", 2 * math.pi * torch.rand(n_features, generator=generator))
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, jet: Jet) -> Jet:
        value, tangents = sine(linear(jet, self.weight, self.bias))
        value = torch.cat([value, torch.ones_like(value[:, :1])], dim=1)
        if tangents is not None:
            tangents = torch.cat([tangents, torch.zeros_like(tangents[..., :1])], dim=2)
        return value, tangents


class HiddenLayers(nn.Module):
    """Place to hidden features `(n, width)`."""

    def __init__(self, n_dims: int, config: NetworkConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.is_siren = config.kind == SIREN
        widths = [n_dims if self.is_siren else config.width] + [config.width] * config.n_layers
        self.register_buffer("frequencies", torch.empty(0))
        self.frequencies: Tensor
        if not self.is_siren:
            B = torch.randn(n_dims, config.width // 2, generator=generator)
            self.frequencies = config.omega * B
        bounds = [_bound(w, i, config) for i, w in enumerate(widths[:-1])]
        pairs = zip(widths[:-1], widths[1:], bounds, strict=True)
        self.weights = nn.ParameterList(_uniform((a, b), c, generator) for a, b, c in pairs)
        self.biases = nn.ParameterList(
            _uniform((width,), math.pi if self.is_siren else 0.0, generator) for width in widths[1:]
        )

    def forward(self, jet: Jet) -> Jet:
        if not self.is_siren:
            jet = _fourier(linear(jet, self.frequencies))
        for weight, bias in zip(self.weights, self.biases, strict=True):
            jet = linear(jet, weight, bias)
            jet = sine(jet) if self.is_siren else gelu(jet)
        return jet


def _bound(width: int, layer: int, config: NetworkConfig) -> float:
    """Half-width of the uniform distribution of a layer's weights."""
    if config.kind != SIREN:
        return math.sqrt(6 / width)
    return config.omega if layer == 0 else math.sqrt(6 / width)


def _fourier(jet: Jet) -> Jet:
    """(sin x, cos x)."""
    value, tangents = jet
    s, c = value.sin(), value.cos()
    out = torch.cat([s, c], dim=1)
    return out, None if tangents is None else torch.cat([c * tangents, -s * tangents], dim=2)


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(bound * (2 * torch.rand(shape, generator=generator) - 1))
