"""Voxels drawn where images inform: the same on average, with less chance in it."""

from dataclasses import replace

import pytest
import torch

from NISFCore.fitting.gauss_newton import latent_factor
from NISFCore.fitting.jacobian import linearise
from NISFCore.fitting.normal_equations import normal_equations
from NISFCore.fitting.problem import Estimate, FitProblem
from NISFCore.fitting.voxel_draws import FLOOR, VoxelDraws, voxel_draws
from NISFCore.model.motion_correction import Poses
from NISFCore.model.prior import load_prior
from NISFCore.model.psf import NO_PSF
from NISFCore.model.voxels import VoxelTable
from Testing.Core.fitting.teacher import teacher_prior
from Testing.Core.model.tables import random_table

N_DRAWN = 100_000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def interest_of(table: VoxelTable) -> torch.Tensor:
    return table.position_mm[:, 0].abs() + 5.0


def test_pixels_come_as_often_as_they_should() -> None:
    table = random_table(3, n_pixels=40)
    draws = VoxelDraws.by_interest(interest_of(table))
    batch, counts = draws.draw(table, N_DRAWN, seeded(0))
    same = (batch.position_mm[:, None] == table.position_mm).all(-1)
    share = same.float().mean(0)
    expected = draws.probability / draws.probability.sum()
    assert (share - expected).abs().max() < 5 * (expected.max() / N_DRAWN).sqrt()
    torch.testing.assert_close(counts, 1 / draws.probability[same.float().argmax(1)])


def test_means_stay_those_of_uniform_draws() -> None:
    table = random_table(3, n_pixels=40)
    batch, counts = VoxelDraws.by_interest(interest_of(table)).draw(table, N_DRAWN, seeded(1))
    z = table.position_mm[:, 2]
    error = (counts * batch.position_mm[:, 2]).mean() - z.mean()
    assert error.abs() < 5 * z.abs().max() * counts.max() / N_DRAWN**0.5
    assert counts.mean() == pytest.approx(1.0, abs=0.02)


def test_no_pixel_is_left_out() -> None:
    interest = torch.zeros(1000)
    interest[7] = 1.0
    draws = VoxelDraws.by_interest(interest)
    assert draws.probability.min() == pytest.approx(FLOOR / (1 + FLOOR))
    assert draws.probability.mean() == pytest.approx(1.0)


def test_where_nothing_informs_draws_are_uniform() -> None:
    draws = VoxelDraws.by_interest(torch.zeros(50))
    torch.testing.assert_close(draws.probability, torch.ones(50))


def test_the_same_study_is_drawn_alike_again() -> None:
    prior, table = teacher_prior(), random_table(3, n_pixels=40)
    first, again = (voxel_draws(prior, table, torch.float32) for _ in range(2))
    assert torch.equal(first.probability, again.probability)


def test_as_many_voxels_say_more_of_the_heart() -> None:
    """The normal matrix of the bundled prior's latent spreads less from draw to draw."""
    prior, region = load_prior(), load_prior().info.decoder.region
    table = random_table(12, n_pixels=3000)
    reach = torch.tensor(region.semi_axes_mm) / 40
    table = replace(table, position_mm=table.position_mm * reach + torch.tensor(region.centre_mm))
    uniform = FitProblem(prior, table, "cpu")
    informed = replace(uniform, draws=voxel_draws(prior, table, torch.float32))
    (spread, mean), (informed_spread, informed_mean) = (spread_of(p) for p in (uniform, informed))
    assert informed_spread < 0.85 * spread, (informed_spread, spread)
    assert float(informed_mean.trace() / mean.trace()) == pytest.approx(1.0, abs=0.1)


def spread_of(problem: FitProblem) -> tuple[float, torch.Tensor]:
    """Of the normal matrix's latent part over draws of 256 voxels: total variance, and mean."""
    factor = latent_factor(problem.prior.latent_covariance)
    n_slices, n_latent = len(problem.table.slices), len(problem.prior.latent_mean)
    estimate = Estimate(problem.prior.latent_mean[None], Poses.identity(1, n_slices))
    found = []
    for seed in range(60):
        batch, counts = problem.draw(256, seeded(seed))
        linear = linearise(problem, estimate, factor, batch, NO_PSF)
        theta = torch.zeros(linear.jacobian.shape[1]).double()
        equations = normal_equations(linear, counts, theta, 1e9, 1000.0)
        scaled = equations.H * equations.sigma**2  # the noise level is another matter
        found.append(scaled[:n_latent, :n_latent])
    all_of_them = torch.stack(found)
    return float(all_of_them.var(0).sum()), all_of_them.mean(0)
