"""The Adam baselines: the tuned one finds the answer, and watching a solver costs it no time."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.errors import StudyError
from NISFCore.fitting.adam import solve_adam
from NISFCore.fitting.config import TUNED_ADAM, AdamConfig, GaussNewtonConfig
from NISFCore.fitting.gauss_newton import solve_gauss_newton
from NISFCore.fitting.problem import Estimate, FitProblem, Recorder, frozen
from NISFCore.fitting.result import FitStep
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.model.voxels import voxel_table
from NISFCore.progress import CancelToken, SilentProgress
from Testing.Core.fitting.teacher import Teacher, ras_from_planned, teacher_prior, teacher_study

assert TUNED_ADAM.adam is not None
SHORT_TUNED = replace(TUNED_ADAM.adam, n_steps=30, n_voxels=256)
SHORT_PAPER = AdamConfig(n_steps=30, n_voxels=256)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return teacher_study(n_phases=4)


@pytest.fixture(scope="module")
def problem(teacher: Teacher) -> FitProblem:
    frame = CanonicalFrame(invert_rigid(ras_from_planned()))
    prior = teacher_prior()
    return FitProblem(prior, voxel_table(teacher.study, frame, prior.info.decoder.region), "cpu")


def recorder(total: int) -> Recorder:
    return Recorder("fit", total, SilentProgress(), CancelToken())


def solved(problem: FitProblem, config: AdamConfig) -> Estimate:
    with frozen(problem.prior):
        return solve_adam(problem, config, 0, recorder(config.n_steps))


def test_the_tuned_descent_beats_the_paper_s_at_equal_work(
    problem: FitProblem, teacher: Teacher
) -> None:
    def error(estimate: Estimate) -> float:
        return float(np.linalg.norm(estimate.latent[0].numpy() - teacher.latent))

    start = float(np.linalg.norm(teacher.latent))
    tuned, paper = error(solved(problem, SHORT_TUNED)), error(solved(problem, SHORT_PAPER))
    assert tuned < 0.6 * start
    assert tuned < 0.8 * paper


def test_the_tuned_descent_starts_at_the_prior_s_mean(problem: FitProblem) -> None:
    seen: list[Estimate] = []
    watched = recorder(1)
    watched.on_estimate = lambda step, estimate: seen.append(estimate)
    with frozen(problem.prior):
        solve_adam(problem, replace(SHORT_TUNED, n_steps=1), 0, watched)
    # Adam's first step is one rate long in every whitened unknown
    from_mean = torch.linalg.solve(
        torch.linalg.cholesky(problem.prior.latent_covariance),
        seen[0].latent[0] - problem.prior.latent_mean,
    )
    assert SHORT_TUNED.tuning is not None
    np.testing.assert_allclose(from_mean.abs(), SHORT_TUNED.tuning.latent_rate, rtol=1e-3)


@pytest.mark.parametrize("solver", ["adam", "gauss-newton"])
def test_a_watcher_sees_every_step_and_costs_no_time(problem: FitProblem, solver: str) -> None:
    n, pause_seconds = 3, 0.4
    seen: list[tuple[FitStep, Estimate]] = []

    def watch(step: FitStep, estimate: Estimate) -> None:
        seen.append((step, estimate))
        time.sleep(pause_seconds)

    watched = recorder(n)
    watched.on_estimate = watch
    began = time.monotonic()
    with frozen(problem.prior):
        if solver == "adam":
            last = solve_adam(problem, replace(SHORT_PAPER, n_steps=n), 0, watched)
        else:
            config = GaussNewtonConfig(voxels=(256,) * n)
            last, _ = solve_gauss_newton(problem, config, 0, watched)
    wall = time.monotonic() - began
    assert [step for step, _ in seen] == watched.steps
    assert torch.equal(seen[-1][1].latent, last.latent)
    assert not torch.equal(seen[0][1].latent, last.latent)
    assert watched.steps[-1].seconds <= wall - (n - 1) * pause_seconds + 0.1


def test_a_step_that_is_no_number_ends_the_default_solver(problem: FitProblem) -> None:
    found = solve_adam(problem, replace(SHORT_PAPER, n_steps=1), 0, recorder(1))
    lost = replace(found, latent=torch.full_like(found.latent, torch.nan))
    config = GaussNewtonConfig(voxels=(256,))
    with frozen(problem.prior), pytest.raises(StudyError, match="no finite answer"):
        solve_gauss_newton(problem, config, 0, recorder(1), lost)
