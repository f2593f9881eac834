"""The warp of a heart's shape: waves, their derivatives, folding, and the decoder that is asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.errors import ConfigError
from NISFCore.model.config import DecoderConfig, HeartRegion
from NISFCore.model.decoder import Decoder
from NISFCore.model.folded import FoldedDecoder
from NISFCore.model.shape_warp import WarpConfig, WarpedDecoder, WarpModes, warp_modes

REGION = HeartRegion()
MODES = warp_modes(REGION, WarpConfig())
N_LATENT = 3


def warped_decoder(modes: WarpModes = MODES) -> WarpedDecoder:
    torch.manual_seed(0)
    config = DecoderConfig(n_latent=N_LATENT, width=24, n_blocks=1, n_space_bands=3)
    return WarpedDecoder(Decoder(config).double().requires_grad_(False), modes)


def random_code(sd: float = 1.0, modes: WarpModes = MODES, seed: int = 1) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return sd * torch.randn(N_LATENT + modes.n_coefficients, generator=g, dtype=torch.float64)


def random_points(n: int, seed: int = 2) -> torch.Tensor:
    """In the region's box."""
    low, high = (
        np.array(REGION.centre_mm) + sign * np.array(REGION.semi_axes_mm) for sign in (-1, 1)
    )
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, (n, 3)))


def displacement(decoder: WarpedDecoder, code: torch.Tensor, t: float = 0.3) -> torch.Tensor:
    points = random_points(2000)
    return decoder.warped(points, decoder.amplitudes_mm(code, t)) - points


def test_without_coefficients_it_is_the_decoder() -> None:
    decoder, points = warped_decoder(), random_points(50)
    code, t = random_code(), torch.linspace(0, 1, 50).double()
    code[N_LATENT:] = 0
    plain = decoder.decoder(points, t, code[None, :N_LATENT])
    for a, b in zip(decoder(points, t, code[None]), plain, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("sd_mm", [2.0, 5.0])
def test_displacements_are_as_large_as_configured(sd_mm: float) -> None:
    """On average over random warps and the region, the beat's part on top of the resting part."""
    config = WarpConfig(sd_mm=sd_mm, beat_share=0.0)
    modes = warp_modes(REGION, config)
    inside = random_points(4000)
    centre, semi_axes = torch.tensor(REGION.centre_mm), torch.tensor(REGION.semi_axes_mm)
    inside = inside[(((inside - centre) / semi_axes) ** 2).sum(1) <= 1]
    decoder = warped_decoder(modes)
    squares = [
        (decoder.warped(inside, decoder.amplitudes_mm(c, 0.0)) - inside).square().mean()
        for c in (random_code(1.0, modes, seed) for seed in range(200))
    ]
    assert float(torch.stack(squares).mean().sqrt()) == pytest.approx(sd_mm, rel=0.05)


def test_long_waves_vary_more_than_short_ones_as_bending_energy_has_it() -> None:
    box_mm = 2 * np.array(REGION.semi_axes_mm)
    per_mm = np.linalg.norm(MODES.half_waves / box_mm, axis=1)
    constant = MODES.sd_mm[: len(per_mm)]
    np.testing.assert_allclose(constant * per_mm**2, constant[0] * per_mm[0] ** 2)
    assert per_mm.max() <= 1 / WarpConfig().shortest_mm
    assert MODES.sd_mm.min() >= constant.min()


def test_the_box_stays_where_it_is() -> None:
    decoder, code = warped_decoder(), random_code()
    points = random_points(300)
    for axis in range(3):
        for sign in (-1, 1):
            face = points.clone()
            face[:, axis] = REGION.centre_mm[axis] + sign * REGION.semi_axes_mm[axis]
            moved = decoder.warped(face, decoder.amplitudes_mm(code, 0.1))
            assert torch.allclose(moved, face, atol=1e-9)
    assert displacement(decoder, code).norm(dim=1).max() > 5


def test_it_closes_over_the_cycle_and_changes_within_it() -> None:
    decoder, code = warped_decoder(), random_code()
    first, last = displacement(decoder, code, 0.0), displacement(decoder, code, 1.0)
    assert torch.allclose(first, last, atol=1e-4)
    assert (first - displacement(decoder, code, 0.5)).norm(dim=1).max() > 1
    still = warp_modes(REGION, WarpConfig(beat_share=0.0))
    decoder, code = warped_decoder(still), random_code(1.0, still)
    assert torch.equal(displacement(decoder, code, 0.0), displacement(decoder, code, 0.5))


def test_several_codes_are_refused() -> None:
    codes = random_code().expand(2, -1)
    with pytest.raises(ValueError, match="got 2 codes"):
        warped_decoder()(random_points(2), torch.zeros(2).double(), codes)


def test_stretch_is_the_determinant_of_finite_differences() -> None:
    decoder, code = warped_decoder(), random_code(0.3)
    amplitudes, eps = decoder.amplitudes_mm(code, 0.0), 1e-5
    points = random_points(1000)
    columns = [
        (decoder.warped(points + step, amplitudes) - decoder.warped(points - step, amplitudes))
        / (2 * eps)
        for step in eps * torch.eye(3).double()
    ]
    least = torch.linalg.det(torch.stack(columns, dim=2)).min()
    # its grid is of other points and covers other times
    assert decoder.least_stretch(code) == pytest.approx(float(least), abs=0.15)
    assert 0 < decoder.least_stretch(code) < 1
    code[N_LATENT:] = 0
    assert decoder.least_stretch(code) == 1


def test_a_warp_that_folds_is_known() -> None:
    decoder = warped_decoder()
    assert decoder.least_stretch(random_code(6.0)) < 0


@pytest.mark.parametrize("t", [0.0, 0.37])
def test_folding_the_network_keeps_the_warp(t: float) -> None:
    decoder = warped_decoder().float()
    code, points = random_code().float(), random_points(5000).float()
    intensity, logits = FoldedDecoder(decoder, code, t)(points)
    expected = decoder(points, torch.full((5000,), t), code[None])
    assert torch.allclose(intensity, expected.intensity, atol=1e-5)
    assert torch.allclose(logits, expected.label_logits, atol=1e-4)


@pytest.mark.parametrize(
    "change", [{"sd_mm": 0.0}, {"shortest_mm": -1.0}, {"beat_share": 1.5}, {"sd_mm": np.nan}]
)
def test_what_is_no_warp_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        replace(WarpConfig(), **change)


def test_waves_longer_than_the_heart_are_refused() -> None:
    with pytest.raises(ConfigError, match="no wave is so long"):
        warp_modes(REGION, WarpConfig(shortest_mm=150.0))


@pytest.mark.parametrize("n_modes", [0, 3, 5, 13])
def test_modes_that_do_not_belong_together_are_refused(n_modes: int) -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        WarpModes(np.ones((4, 3), dtype=np.int64), np.ones(n_modes))
