"""The receive gain: its basis by hand, and what it does to predictions."""

from dataclasses import replace

import torch

from NISFCore.model.config import DecoderConfig
from NISFCore.model.decoder import Decoder
from NISFCore.model.forward_model import predict
from NISFCore.model.motion_correction import Poses
from NISFCore.model.psf import NO_PSF
from NISFCore.model.receive_gain import N_GAIN, gain_basis
from Testing.Core.model.tables import random_table


def test_the_basis_is_every_monomial_of_degree_one_and_two() -> None:
    x, y, z = 0.2, -0.3, 0.5
    expected = [x, y, z, x * x, x * y, x * z, y * y, y * z, z * z]
    basis = gain_basis(torch.tensor([[20.0, -30.0, 50.0]]))
    assert basis.shape == (1, N_GAIN)
    assert torch.allclose(basis[0], torch.tensor(expected))


def test_predictions_are_shaded_where_they_were_scanned() -> None:
    """Not where the slices' motion puts them: the coil stays."""
    table = random_table(3)
    batch = table.sample(50, torch.Generator().manual_seed(0))
    decoder = Decoder(DecoderConfig(n_latent=4, width=8, n_blocks=1, layers_per_block=1))
    poses = replace(
        Poses.identity(1, 3), slice_translation_mm=torch.full((3, 3), 7.0), log_scale=torch.ones(3)
    )
    gain = torch.linspace(-0.4, 0.5, N_GAIN)[None]
    latent = torch.randn(1, 4)
    plain = predict(decoder, batch, table.slices, latent, poses, NO_PSF)
    shaded = predict(decoder, batch, table.slices, latent, replace(poses, log_gain=gain), NO_PSF)
    expected = torch.exp(gain_basis(batch.position_mm) @ gain[0])
    assert torch.allclose(shaded.intensity / plain.intensity, expected, rtol=1e-4)
    assert torch.equal(shaded.label_probabilities, plain.label_probabilities)
