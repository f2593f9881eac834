"""The analytic Jacobian of the Gauss-Newton solver against finite differences of the model."""

from collections.abc import Callable

import pytest
import torch

from NISFCore.fitting.gauss_newton import apply_step, latent_factor, unknowns
from NISFCore.fitting.jacobian import linearise
from NISFCore.fitting.label_term import linearise_labels
from NISFCore.fitting.problem import Estimate, FitProblem
from NISFCore.fitting.unknowns import GLOBAL, PER_SLICE
from NISFCore.labels import N_LABELS
from NISFCore.model.config import DecoderConfig
from NISFCore.model.decoder import Decoder
from NISFCore.model.forward_model import predict
from NISFCore.model.motion_correction import Poses
from NISFCore.model.prior import Prior, PriorInfo
from NISFCore.model.psf import PsfConfig, PsfKind
from NISFCore.model.receive_gain import N_GAIN
from NISFCore.model.voxels import VoxelBatch
from Testing.Core.model.tables import random_table

N_LATENT, N_SLICES = 5, 3


def _problem() -> FitProblem:
    torch.manual_seed(3)
    config = DecoderConfig(
        n_latent=N_LATENT, width=24, n_blocks=2, layers_per_block=2, n_space_bands=3, n_time_bands=2
    )
    decoder = Decoder(config).double().requires_grad_(False)
    decoder.head.weight.mul_(10.0)
    covariance = torch.eye(N_LATENT) * 0.3 + 0.1
    prior = Prior(PriorInfo(config, 1), decoder, torch.randn(N_LATENT).double() * 0.1, covariance)
    return FitProblem(prior, random_table(N_SLICES, dtype=torch.float64), "cpu")


def _poses() -> Poses:
    def rows(n: int, k: int, scale: float) -> torch.Tensor:
        return torch.randn(n, k, dtype=torch.float64) * scale

    return Poses(
        rows(1, 3, 0.1),
        rows(1, 3, 3.0),
        rows(N_SLICES, 3, 0.1),
        rows(N_SLICES, 3, 3.0),
        rows(N_SLICES, 1, 0.1)[:, 0],
        rows(1, N_GAIN, 0.1),
        rows(1, N_LABELS, 0.1),
    )


PSFS = [PsfConfig(PsfKind.NONE, 1), PsfConfig(PsfKind.THROUGH_PLANE, 3)]


@pytest.mark.parametrize("psf", PSFS)
def test_every_column_matches_finite_differences(psf: PsfConfig) -> None:
    problem, poses = _problem(), _poses()
    table = problem.table
    batch = table.sample(40, torch.Generator().manual_seed(0))
    A = latent_factor(problem.prior.latent_covariance).double()
    u = torch.randn(N_LATENT, dtype=torch.float64) * 0.3

    def predicted(step: torch.Tensor, batch: VoxelBatch = batch) -> torch.Tensor:
        moved_u, moved = apply_step(u, poses, step)
        latent = (problem.prior.latent_mean + A @ moved_u)[None]
        return predict(problem.prior.decoder, batch, table.slices, latent, moved, psf).intensity

    estimate = Estimate((problem.prior.latent_mean + A @ u)[None], poses)
    linear = linearise(problem, estimate, A, batch, psf)
    n = N_LATENT + GLOBAL + PER_SLICE * N_SLICES
    assert linear.jacobian.shape == (40, n)
    assert len(unknowns(u, poses)) == n
    assert torch.allclose(linear.residual, batch.intensity - predicted(zero(n)), atol=1e-12)
    check_columns(linear.jacobian, predicted)


@pytest.mark.parametrize("psf", PSFS)
def test_every_column_of_the_labels_matches_finite_differences(psf: PsfConfig) -> None:
    """Computed here from the forward model's probabilities."""
    problem, poses = _problem(), _poses()
    table = problem.table
    batch = table.sample(40, torch.Generator().manual_seed(0))
    target = torch.softmax(3 * torch.randn(40, N_LABELS, dtype=torch.float64), dim=1)
    target[:20] = batch.possible[:20].double()
    A = latent_factor(problem.prior.latent_covariance).double()
    u = torch.randn(N_LATENT, dtype=torch.float64) * 0.3

    def rho(step: torch.Tensor) -> torch.Tensor:
        moved_u, moved = apply_step(u, poses, step)
        latent = (problem.prior.latent_mean + A @ moved_u)[None]
        seen = predict(problem.prior.decoder, batch, table.slices, latent, moved, psf)
        p = seen.label_probabilities
        return (-2 * torch.log((p * target).sum(1) / target.amax(1))).sqrt()

    estimate = Estimate((problem.prior.latent_mean + A @ u)[None], poses)
    residual, jacobian = linearise_labels(problem, estimate, A, batch, target, psf)
    n = N_LATENT + GLOBAL + PER_SLICE * N_SLICES
    assert torch.allclose(-residual, rho(zero(n)), atol=1e-5)
    check_columns(jacobian, rho)


def zero(n: int) -> torch.Tensor:
    return torch.zeros(n, dtype=torch.float64)


def check_columns(
    jacobian: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], eps: float = 1e-6
) -> None:
    n = jacobian.shape[1]
    for column in range(n):
        step = zero(n)
        step[column] = eps
        numeric = (function(step) - function(-step)) / (2 * eps)
        # ReLU kinks make single samples jump: compare the columns as a whole
        error = (jacobian[:, column] - numeric).norm() / (numeric.norm() + 1e-9)
        assert error < 1e-4, f"column {column}: relative error {error:.2e}"
