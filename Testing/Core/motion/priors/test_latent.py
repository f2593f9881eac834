"""The code of a heart: derivatives, and what it sees."""

from dataclasses import replace

import pytest
import torch

from NISFCore.motion.config import FOURIER, SIREN, NetworkConfig
from NISFCore.motion.priors.latent import _motion
from NISFCore.motion.priors.weights import ManyFields, canonical_field
from Testing.Core.motion.priors.test_weights import CONFIG, POINTS, moved


@pytest.mark.parametrize("kind", [SIREN, FOURIER])
def test_derivatives_by_the_code_are_those_of_the_field(kind: str) -> None:
    config = replace(CONFIG, network=NetworkConfig(kind=kind, width=8, n_layers=2))
    field = canonical_field(config).double()
    points = POINTS.double()
    base, modes = moved(field, 1), torch.stack([moved(field, 2), moved(field, 3)]) * 0.1
    z = torch.tensor([0.7, -0.4], dtype=torch.float64)
    found = _motion(field, base, modes, points, z)
    step, many = 1e-6, ManyFields(field)
    with torch.no_grad():
        for k in range(2):
            shift = torch.zeros(2, dtype=torch.float64)
            shift[k] = step
            values = []
            for code in (z - shift, z + shift):
                field.load_flat_state(base + code @ modes)
                values.append(many(points).unflatten(1, (config.n_steps, -1)).transpose(0, 1))
            numerical = (values[1] - values[0]) / (2 * step)
            torch.testing.assert_close(found.by_code[..., k], numerical, atol=1e-7, rtol=1e-5)
            middle = (values[1] + values[0]) / 2
            torch.testing.assert_close(found.steps, middle, atol=1e-8, rtol=1e-6)
    assert found.by_code.abs().min() > 0
