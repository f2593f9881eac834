"""Standard errors: what is reported is what a small change of the unknowns does to the report."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from NISFCore.fitting.problem import Estimate, Posterior, fitted_parameters
from NISFCore.fitting.uncertainty import fit_uncertainty
from NISFCore.fitting.unknowns import GLOBAL, PER_SLICE
from NISFCore.fitting.volume_gradients import (
    VOLUME_SPACING_MM,
    _region_points_mm,
    volume_gradients_ml,
)
from NISFCore.labels import N_LABELS
from NISFCore.model.motion_correction import Poses
from NISFCore.model.prior import Calibration
from NISFCore.model.receive_gain import N_GAIN
from Testing.Core.fitting.results import N_LATENT, Made, made_result, random_posterior, random_prior


@pytest.fixture(scope="module")
def made() -> Made:
    return made_result(2)


def reported(made: Made, motion: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotation vectors and shifts `(n_slices, 6)` in RAS for the solver's `(n_slices, 6)`."""
    n = len(made.result.study.slices)
    values = torch.tensor(motion)
    zero = torch.zeros(1, 3, dtype=torch.float64)
    scale, look = torch.zeros(n, dtype=torch.float64), torch.zeros(1, N_GAIN + N_LABELS)
    look = look.split((N_GAIN, N_LABELS), dim=1)
    poses = Poses(zero, zero, values[:, :3], values[:, 3:], scale, *look)
    estimate = Estimate(torch.zeros(1, N_LATENT), poses)
    result = made.result
    p = fitted_parameters(estimate, result.study, result.frame, made.table)
    return np.stack([np.r_[m.rotvec_rad, m.translation_mm] for m in p.slice_motion])


def single(n_slices: int, slice_index: int, component: int) -> Posterior:
    """All uncertainty in one number."""
    n = N_LATENT + GLOBAL + PER_SLICE * n_slices
    covariance = torch.zeros(n, n, dtype=torch.float64)
    k = N_LATENT + GLOBAL + PER_SLICE * slice_index + component
    covariance[k, k] = 1.0
    return Posterior(covariance, torch.eye(N_LATENT).double())


@pytest.mark.parametrize("component", range(6))
@pytest.mark.parametrize("index", [0, 3])
def test_it_is_the_derivative_of_the_report(made: Made, index: int, component: int) -> None:
    result, n, eps = made.result, len(made.result.study.slices), 1e-5
    motion = np.zeros((n, 6))
    motion[index, component] = eps
    change = (reported(made, motion) - reported(made, -motion)) / (2 * eps)
    uncertainty = fit_uncertainty(
        single(n, index, component), result.study, result.frame, made.table, Calibration()
    )
    expected = np.einsum("ja,jb->jab", change, change)
    np.testing.assert_allclose(uncertainty.motion_covariance, expected, atol=1e-5)


def test_a_motion_common_to_all_slices_is_no_uncertainty(made: Made) -> None:
    result, n = made.result, len(made.result.study.slices)
    directions = torch.zeros(N_LATENT + GLOBAL + PER_SLICE * n, dtype=torch.float64)
    for j in range(n):
        first = N_LATENT + GLOBAL + PER_SLICE * j
        directions[first + 3 : first + 6] = torch.tensor([1.0, -2.0, 0.5])
    posterior = Posterior(torch.outer(directions, directions), torch.eye(N_LATENT).double())
    uncertainty = fit_uncertainty(posterior, result.study, result.frame, made.table, Calibration())
    assert np.abs(uncertainty.translation_sd_mm).max() < 1e-6


def test_calibration_multiplies_standard_errors(made: Made) -> None:
    result = made.result
    posterior = random_posterior(len(result.study.slices))
    plain, scaled = (
        fit_uncertainty(posterior, result.study, result.frame, made.table, c)
        for c in (Calibration(), Calibration(translation=2.0, rotation=3.0, volume=1.5))
    )
    np.testing.assert_allclose(scaled.translation_sd_mm, 2 * plain.translation_sd_mm)
    np.testing.assert_allclose(scaled.rotation_sd_deg, 3 * plain.rotation_sd_deg)
    np.testing.assert_allclose(scaled.code_covariance, 2.25 * plain.code_covariance)


def test_the_latent_is_unwhitened(made: Made) -> None:
    result = made.result
    posterior = random_posterior(len(result.study.slices))
    uncertainty = fit_uncertainty(posterior, result.study, result.frame, made.table, Calibration())
    A = posterior.latent_factor.numpy()
    u = posterior.covariance.numpy()[:N_LATENT, :N_LATENT]
    np.testing.assert_allclose(uncertainty.code_covariance, A @ u @ A.T)


def test_volume_gradients_match_finite_differences() -> None:
    decoder = random_prior().decoder
    rng, eps, t = np.random.default_rng(3), 1e-2, 0.3
    latent = rng.normal(0, 0.5, N_LATENT).astype(np.float32)
    points = torch.tensor(_region_points_mm(decoder.config.region), dtype=torch.float32)

    def volumes_ml(h: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        x, times = points, torch.full((len(points),), t)
        with torch.inference_mode():
            p = torch.softmax(decoder(x, times, torch.tensor(h)[None]).label_logits, dim=1)
        return p.double().sum(0).numpy() * VOLUME_SPACING_MM**3 / 1000

    gradients = volume_gradients_ml(decoder, latent, t)
    assert gradients.shape == (4, N_LATENT)
    for k in range(N_LATENT):
        step = eps * np.eye(N_LATENT, dtype=np.float32)[k]
        change = (volumes_ml(latent + step) - volumes_ml(latent - step)) / (2 * eps)
        np.testing.assert_allclose(gradients[1:, k], change[1:], rtol=2e-2, atol=0.05)


def test_the_covariance_of_volumes_is_that_of_the_latent(made: Made) -> None:
    result = made.result
    assert result.uncertainty is not None
    C = result.volume_covariance_ml2([0.0, 0.4])
    assert C is not None and C.shape == (2, 4, 2, 4)
    decoder, latent = result.prior.decoder, result.parameters.latent
    g = [volume_gradients_ml(decoder, latent, t)[2] for t in (0.0, 0.4)]
    expected = g[0] @ result.uncertainty.code_covariance @ g[1]
    assert C[0, 2, 1, 2] == pytest.approx(expected)
