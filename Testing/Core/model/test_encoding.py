"""The coordinate encoding: size, closed cycle, opening bands."""

import torch

from NISFCore.model.config import PAPER
from NISFCore.model.encoding import CoordinateEncoding


def _encode(encoding: CoordinateEncoding, t: float) -> torch.Tensor:
    points = torch.tensor([[10.0, -20.0, 30.0]])
    return encoding(points, torch.tensor([t]))


def test_paper_configuration_has_62_features() -> None:
    encoding = CoordinateEncoding(PAPER.n_space_bands, PAPER.n_time_bands, PAPER.half_extent_mm)
    assert encoding.n_features == 62
    assert _encode(encoding, 0.3).shape == (1, 62)


def test_cycle_closes_smoothly_and_opposite_phases_differ() -> None:
    encoding = CoordinateEncoding(4, 5, 90.0)
    just_before, start = _encode(encoding, 1.0 - 1e-5), _encode(encoding, 0.0)
    assert torch.allclose(just_before, start, atol=5e-3)
    # the paper's half circle would make 0 and 1 differ, a circle of radius 1 these two equal
    for a, b in ((0.25, 0.75), (0.0, 0.5), (0.1, 0.9)):
        assert (_encode(encoding, a) - _encode(encoding, b)).abs().max() > 0.5


def test_features_are_sines_and_cosines_of_scaled_coordinates() -> None:
    encoding = CoordinateEncoding(2, 1, 90.0)
    features = _encode(encoding, 0.0)[0]
    x = torch.tensor(10.0 / 90.0)
    expected = [torch.sin(torch.pi * x), torch.sin(2 * torch.pi * x)]
    expected += [torch.cos(torch.pi * x), torch.cos(2 * torch.pi * x)]
    assert torch.allclose(features[:4], torch.stack(expected), atol=1e-6)


def test_opening_bands_is_monotone_and_ends_fully_open() -> None:
    encoding = CoordinateEncoding(6, 2, 90.0)
    previous = torch.zeros(6)
    for fraction in (0.0, 0.2, 0.5, 0.8, 1.0):
        encoding.open_bands(fraction)
        weights = encoding.space_weights.clone()
        assert (weights >= previous - 1e-6).all()
        assert (weights[:-1] >= weights[1:] - 1e-6).all()
        previous = weights
    assert torch.allclose(previous, torch.ones(6))
