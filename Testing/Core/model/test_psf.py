"""The point-spread function against closed forms."""

import math

import pytest
import torch

from NISFCore.errors import ConfigError
from NISFCore.model.psf import NO_PSF, PsfConfig, PsfKind, gauss_hermite, psf_offsets

SIGMA = torch.tensor([[0.6, 0.8, 3.0]])


def _axes() -> torch.Tensor:
    return torch.linalg.qr(torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(1)))[0]


@pytest.mark.parametrize("n", [2, 3, 5])
def test_quadrature_integrates_polynomials_up_to_degree_2n_minus_1(n: int) -> None:
    nodes, weights = (v.double() for v in gauss_hermite(n))
    for degree in range(2 * n):
        moment = 0.0 if degree % 2 else float(math.prod(range(degree - 1, 0, -2)))
        assert float(weights @ nodes**degree) == pytest.approx(moment, abs=2e-4 * max(1, moment))


def test_through_plane_offsets_lie_on_the_normal_with_the_slice_sigma() -> None:
    axes = _axes()
    offsets, weights = psf_offsets(PsfConfig(PsfKind.THROUGH_PLANE, 5), SIGMA, axes)
    local = offsets[0] @ axes[0]
    assert torch.allclose(local[:, :2], torch.zeros(5, 2), atol=1e-5)
    assert float(weights @ local[:, 2] ** 2) == pytest.approx(9.0, rel=1e-4)


def test_monte_carlo_has_the_anisotropic_covariance_of_the_paper() -> None:
    axes, n = _axes(), 200_000
    generator = torch.Generator().manual_seed(0)
    offsets, weights = psf_offsets(PsfConfig(PsfKind.MONTE_CARLO, n), SIGMA, axes, generator)
    local = offsets[0] @ axes[0]
    covariance = (local.T * weights) @ local
    assert torch.allclose(covariance, torch.diag(SIGMA[0] ** 2), atol=0.08)


def test_quadrature_of_a_blurred_edge_agrees_with_the_error_function() -> None:
    axes, width = torch.eye(3)[None], 2.0
    for z in (-3.0, -1.0, 0.5, 2.0):
        offsets, weights = psf_offsets(PsfConfig(PsfKind.THROUGH_PLANE, 9), SIGMA, axes)
        soft_edge = 0.5 * (1 + torch.erf((z + offsets[0, :, 2]) / (width * math.sqrt(2))))
        exact = 0.5 * (1 + math.erf(z / math.sqrt(2 * (width**2 + 3.0**2))))
        assert float(weights @ soft_edge) == pytest.approx(exact, abs=2e-3)


def test_no_psf_is_one_sample_at_the_centre() -> None:
    offsets, weights = psf_offsets(NO_PSF, SIGMA, _axes())
    assert offsets.abs().max() == 0
    assert weights.tolist() == [1.0]


def test_zero_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_samples"):
        PsfConfig(PsfKind.MONTE_CARLO, 0)
