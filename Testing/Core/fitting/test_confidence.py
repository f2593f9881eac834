"""Confidence in labels against the mean probability over sampled latents."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

from NISFCore.fitting.confidence import label_confidence
from NISFCore.fitting.volume_gradients import _region_points_mm
from NISFCore.model.config import DecoderConfig
from NISFCore.model.decoder import Decoder
from Testing.Core.fitting.results import N_LATENT, made_result, random_prior

DECODER = random_prior().decoder
POINTS = _region_points_mm(DECODER.config.region)[::40]
LATENT = np.array([0.3, -0.2, 0.5, 0.1], dtype=np.float32)


def probabilities(latents: np.ndarray) -> np.ndarray:
    """`(n_latents, n_points, 4)` at t = 0.2."""
    x, t = torch.tensor(POINTS, dtype=torch.float32), torch.full((len(POINTS),), 0.2)
    with torch.inference_mode():
        found = [
            torch.softmax(DECODER(x, t, torch.tensor(h, dtype=torch.float32)[None])[1], dim=1)
            for h in latents
        ]
    return np.stack(found)


def test_a_certain_latent_leaves_the_probability() -> None:
    confidence = label_confidence(DECODER, POINTS, 0.2, LATENT, np.zeros((N_LATENT, N_LATENT)))
    np.testing.assert_allclose(confidence, probabilities(LATENT[None])[0].max(1), atol=1e-5)


def two_labels() -> Decoder:
    """Logits (z - h_0, 2 h_1, -60, -60): their difference is normal if the latent is."""
    far_mm = 1e4  # sin z is z
    config = DecoderConfig(
        n_latent=2, width=2, n_blocks=1, layers_per_block=1, n_space_bands=1, half_extent_mm=far_mm
    )
    decoder = Decoder(config).requires_grad_(False)
    for parameter in decoder.parameters():
        parameter.zero_()
    sine_of_z, open_by = 4, 100.0  # far from where a ReLU closes
    decoder.point_layer.weight[0, sine_of_z] = far_mm / torch.pi
    decoder.point_layer.bias.fill_(open_by)
    decoder.latent_layer.weight.copy_(torch.diag(torch.tensor([-1.0, 2.0])))
    decoder.head.weight[1:3] = torch.eye(2)
    decoder.head.bias[1:5] = torch.tensor([-open_by, -open_by, -60.0, -60.0])
    return decoder


@pytest.mark.parametrize("sd", [0.1, 1.0, 3.0])
def test_it_is_the_mean_probability_over_latents(sd: float) -> None:
    points = np.zeros((21, 3))
    points[:, 2] = np.linspace(-8, 8, 21)
    covariance = sd**2 * np.array([[1.0, 0.3], [0.3, 0.5]])
    decoder = two_labels()
    confidence = label_confidence(decoder, points, 0.2, np.zeros(2, np.float32), covariance)
    gradient = np.array([-1.0, -2.0])  # of the difference z - h_0 - 2 h_1
    spread = np.sqrt(gradient @ covariance @ gradient)
    draws = np.abs(points[:, 2])[:, None] + spread * norm.ppf((np.arange(4000) + 0.5) / 4000)
    np.testing.assert_allclose(confidence, expit(draws).mean(1), atol=0.02)


def test_a_result_asks_in_scanner_space() -> None:
    result = made_result(1).result
    assert result.uncertainty is not None
    points = result.field.box.grid(20.0).points_ras().reshape(-1, 3)
    points = points[result.field.contains(points)]
    confidence = result.label_confidence(points, 0.6)
    assert confidence is not None and confidence.shape == (len(points),)
    p = result.field.evaluate(points, 0.6).label_probabilities.max(1)
    assert (confidence <= p + 1e-4)[p > 0.5].all()
    assert confidence.min() > 0.2
    no_points = result.label_confidence(points[:0], 0.6)
    assert no_points is not None and no_points.shape == (0,)
