"""The folded decoder gives the same numbers as the decoder."""

import pytest
import torch

from NISFCore.model import folded
from NISFCore.model.config import PAPER, DecoderConfig, HeartRegion
from NISFCore.model.decoder import Decoder
from NISFCore.model.folded import FoldedDecoder

SMALL = DecoderConfig(n_latent=8, width=24, n_blocks=2, n_space_bands=4)
ODD = DecoderConfig(n_latent=5, width=17, n_blocks=3, layers_per_block=1, predicts_noise=False)


@pytest.mark.parametrize("config", [SMALL, ODD, PAPER])
@pytest.mark.parametrize("cycle_fraction", [0.0, 0.37, 1.37])
def test_same_numbers(config: DecoderConfig, cycle_fraction: float) -> None:
    torch.manual_seed(1)
    decoder = Decoder(config)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))  # biases begin at zero
    latent, points = torch.randn(config.n_latent), 120 * torch.rand(301, 3) - 60
    with torch.inference_mode():
        times = torch.full((len(points),), cycle_fraction)
        expected = decoder(points, times, latent[None])
    intensity, logits = FoldedDecoder(decoder, latent, cycle_fraction)(points)
    assert intensity.std() > 1e-3
    torch.testing.assert_close(intensity, expected.intensity, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(logits, expected.label_logits, atol=2e-4, rtol=1e-3)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(DecoderConfig(n_latent=4, width=16, region=HeartRegion()))
    points = 100 * torch.rand(500, 3) - 50
    function = FoldedDecoder(decoder, torch.ones(4), 0.2)
    whole = function(points)
    monkeypatch.setattr(folded, "CHUNK_CPU", 64)
    parts = FoldedDecoder(decoder, torch.ones(4), 0.2)(points)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_no_points() -> None:
    decoder = Decoder(SMALL)
    intensity, logits = FoldedDecoder(decoder, torch.zeros(8), 0.0)(torch.zeros(0, 3))
    assert intensity.shape == (0,)
    assert logits.shape == (0, 4)
