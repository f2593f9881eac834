"""Offsets of the tissues: what they do to a prediction."""

from dataclasses import replace

import torch

from NISFCore.labels import N_LABELS
from NISFCore.model.config import DecoderConfig
from NISFCore.model.decoder import Decoder
from NISFCore.model.forward_model import predict
from NISFCore.model.motion_correction import Poses
from NISFCore.model.psf import NO_PSF
from NISFCore.model.tissue_offset import offset_intensity
from Testing.Core.model.tables import random_table

OFFSET = torch.tensor([[0.0, 0.1, -0.2, 0.3]])


def test_a_certain_label_gets_its_own_offset() -> None:
    seen = offset_intensity(torch.full((N_LABELS,), 0.5), torch.eye(N_LABELS), OFFSET)
    assert torch.allclose(seen, 0.5 + OFFSET[0])


def test_an_undecided_point_gets_the_mean() -> None:
    seen = offset_intensity(torch.zeros(1), torch.full((1, N_LABELS), 1 / N_LABELS), OFFSET)
    assert torch.allclose(seen, OFFSET.mean())


def test_predictions_are_brighter_where_the_tissue_is_before_the_slice_is_scaled() -> None:
    table = random_table(3)
    batch = table.sample(50, torch.Generator().manual_seed(0))
    decoder = Decoder(DecoderConfig(n_latent=4, width=8, n_blocks=1, layers_per_block=1))
    poses = replace(Poses.identity(1, 3), log_scale=torch.full((3,), 0.2))
    latent = torch.randn(1, 4)
    plain = predict(decoder, batch, table.slices, latent, poses, NO_PSF)
    brighter = replace(poses, tissue_offset=OFFSET)
    seen = predict(decoder, batch, table.slices, latent, brighter, NO_PSF)
    expected = torch.exp(torch.tensor(0.2)) * plain.label_probabilities @ OFFSET[0]
    assert torch.allclose(seen.intensity - plain.intensity, expected, atol=1e-6)
    assert torch.equal(seen.label_probabilities, plain.label_probabilities)
