"""Derivatives of one subject's decoder against autograd and finite differences."""

import pytest
import torch

from NISFCore.model.config import DecoderConfig
from NISFCore.model.decoder import Decoder
from NISFCore.model.derivatives import DecoderPass
from NISFCore.model.shape_warp import AnyDecoder, WarpConfig, WarpedDecoder, warp_modes

N_LATENT, N_VALUES, N_SAMPLES = 3, 20, 3


def decoder(warped: bool, noise: bool = True) -> AnyDecoder:
    torch.manual_seed(0)
    config = DecoderConfig(
        n_latent=N_LATENT, width=24, n_blocks=2, n_space_bands=3, predicts_noise=noise
    )
    plain = Decoder(config).double().requires_grad_(False)
    return WarpedDecoder(plain, warp_modes(config.region, WarpConfig())) if warped else plain


def asked(of: AnyDecoder) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points, several of each value; their times; a code."""
    g = torch.Generator().manual_seed(1)
    n_code = N_LATENT + (of.modes.n_coefficients if isinstance(of, WarpedDecoder) else 0)
    points = 30 * torch.randn(N_VALUES * N_SAMPLES, 3, generator=g, dtype=torch.float64)
    times = torch.rand(N_VALUES, generator=g, dtype=torch.float64).repeat_interleave(N_SAMPLES)
    return points, times, 0.4 * torch.randn(1, n_code, generator=g, dtype=torch.float64)


def values_of(output: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """One number per value, of all that the decoder says."""
    intensity, logits, noise_sd = output
    likely = torch.softmax(logits, dim=1)[:, 1]
    return (intensity * noise_sd + likely.square()).view(N_VALUES, -1).sum(1)


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("warped", [True, False])
def test_they_are_those_of_autograd(warped: bool, noise: bool) -> None:
    of = decoder(warped, noise)
    x, t, code = asked(of)
    traced = DecoderPass(of, x, t, code)
    with torch.enable_grad():
        by_points, by_code = traced.gradients(values_of(traced.output))
    assert by_code.shape == (N_VALUES, code.shape[1])
    x.requires_grad_(True)
    code.requires_grad_(True)
    values = values_of(of(x, t, code))
    for mine, theirs in zip(traced.output, of(x, t, code), strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(
        by_points, torch.autograd.grad(values.sum(), x, retain_graph=True)[0]
    )
    for k in (0, 7, N_VALUES - 1):
        (row,) = torch.autograd.grad(values[k], code, retain_graph=True)
        torch.testing.assert_close(by_code[k], row[0])


@pytest.mark.parametrize("warped", [True, False])
def test_no_points_have_no_derivatives(warped: bool) -> None:
    of = decoder(warped)
    x, t, code = asked(of)
    traced = DecoderPass(of, x[:0], t[:0], code)
    with torch.enable_grad():
        by_points, by_code = traced.gradients(traced.output.intensity)
    assert by_points.shape == (0, 3) and by_code.shape == (0, code.shape[1])


@pytest.mark.parametrize("warped", [True, False])
def test_they_are_those_of_finite_differences(warped: bool) -> None:
    of = decoder(warped)
    x, t, code = asked(of)
    traced = DecoderPass(of, x, t, code)
    with torch.enable_grad():
        by_points, by_code = traced.gradients(values_of(traced.output))
    g, eps = torch.Generator().manual_seed(4), 1e-6
    dx = torch.randn(x.shape, generator=g, dtype=torch.float64)
    dh = torch.randn(code.shape, generator=g, dtype=torch.float64)
    plus, minus = (values_of(of(x + s * dx, t, code + s * dh)) for s in (eps, -eps))
    moved = (by_points * dx).view(N_VALUES, -1).sum(1)
    torch.testing.assert_close(
        moved + by_code @ dh[0], (plus - minus) / (2 * eps), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("warped", [True, False])
def test_hidden_layers_in_bfloat16_differ_by_their_rounding(warped: bool) -> None:
    """bfloat16 keeps 8 bits: 0.4 % of a number, less of what many of them add up to."""
    of = decoder(warped).float()
    x, t, code = (v.float() for v in asked(of))
    exact, rounded = DecoderPass(of, x, t, code), DecoderPass(of, x, t, code, torch.bfloat16)
    for full, short in zip(exact.output, rounded.output, strict=True):
        assert short.dtype == torch.float32
        error = (short - full).detach().norm() / full.detach().norm()
        assert 0 < error < 0.01
    for traced_full, traced_short in zip(*(_gradients(p) for p in (exact, rounded)), strict=True):
        assert traced_short.dtype == torch.float32
        assert (traced_short - traced_full).norm() / traced_full.norm() < 0.03


def _gradients(traced: DecoderPass) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.enable_grad():
        values = values_of(traced.output)
    return traced.gradients(values)
