"""Normal equations: against least squares in closed form, and what is remembered of them."""

import pytest
import torch

from NISFCore.fitting.jacobian import Linearisation
from NISFCore.fitting.normal_equations import FadingMemory, NormalEquations, normal_equations

N_UNKNOWNS = 4
NO_HUBER = 1e9


def linear_model(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows J `(n, 4)` and noisy observations y `(n,)` of a linear model."""
    g = torch.Generator().manual_seed(seed)
    J = torch.randn(n, N_UNKNOWNS, generator=g, dtype=torch.float64)
    truth = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    return J, J @ truth + 0.1 * torch.randn(n, generator=g, dtype=torch.float64)


def at(theta: torch.Tensor, J: torch.Tensor, y: torch.Tensor) -> Linearisation:
    return Linearisation(y - J @ theta, J, torch.ones_like(y))


def ones(n: int) -> torch.Tensor:
    return torch.ones(n).double()


def solution(equations: NormalEquations) -> torch.Tensor:
    return torch.linalg.solve(equations.H, equations.b)


def test_one_solve_from_anywhere_is_least_squares() -> None:
    J, y = linear_model(60, 0)
    expected = torch.linalg.lstsq(J, y).solution
    for start in (torch.zeros(N_UNKNOWNS).double(), torch.full((N_UNKNOWNS,), 7.0).double()):
        equations = normal_equations(at(start, J, y), ones(60), start, NO_HUBER, 100.0)
        assert torch.allclose(solution(equations), expected)


def test_information_is_that_of_the_effective_voxels() -> None:
    """With residuals r and their mean square s^2: H = n_eff J^T J / (n s^2)."""
    J, y = linear_model(50, 1)
    zero = torch.zeros(N_UNKNOWNS).double()
    equations = normal_equations(at(zero, J, y), ones(50), zero, NO_HUBER, 400.0)
    assert torch.allclose(equations.H, 400.0 * J.T @ J / (50 * y.square().mean()))
    assert equations.cost == pytest.approx(400.0)
    assert equations.sigma == pytest.approx(float(y.square().mean().sqrt()))


def test_expected_noise_weighs_voxels() -> None:
    J, y = linear_model(80, 2)
    zero = torch.zeros(N_UNKNOWNS).double()
    noise = torch.linspace(0.5, 4.0, 80).double()
    equations = normal_equations(Linearisation(y, J, noise), ones(80), zero, NO_HUBER, 1.0)
    expected = torch.linalg.lstsq(J / noise[:, None], y / noise).solution
    assert torch.allclose(solution(equations), expected)


def test_an_outlier_counts_linearly() -> None:
    J = torch.ones(9, 1).double()
    y = torch.tensor([0.0] * 8 + [90.0]).double()
    zero = torch.zeros(1).double()
    equations = normal_equations(Linearisation(y, J, ones(9)), ones(9), zero, 0.5, 1.0)
    weight = 0.5 * 30.0 / 90.0  # the RMS is 30
    assert float(solution(equations)) == pytest.approx(weight * 90.0 / (8 + weight))


def test_a_voxel_that_counts_twice_is_two() -> None:
    J, y = linear_model(40, 3)
    zero = torch.zeros(N_UNKNOWNS).double()
    counts = torch.tensor([1.0, 2.0]).double().repeat_interleave(20)
    twice = (torch.cat([J, J[20:]]), torch.cat([y, y[20:]]))
    counted = normal_equations(at(zero, J, y), counts / counts.mean(), zero, 0.7, 100.0)
    repeated = normal_equations(at(zero, *twice), ones(60), zero, 0.7, 100.0)
    assert torch.allclose(counted.H, repeated.H) and torch.allclose(counted.b, repeated.b)
    assert counted.sigma == pytest.approx(repeated.sigma)
    assert counted.cost == pytest.approx(repeated.cost)


def test_memory_of_batches_is_one_large_batch() -> None:
    """With nothing forgotten, and every batch linearised somewhere else."""
    memory, rows, values = FadingMemory(), [], []
    for seed in range(5):
        J, y = linear_model(20, seed)
        theta = torch.full((N_UNKNOWNS,), float(seed)).double()
        linear = at(theta, J, y)
        equations = normal_equations(linear, ones(20), theta, NO_HUBER, 1.0)
        # the same noise level for every batch, as a settled fit has it
        scale = equations.sigma**2
        same = NormalEquations(equations.H * scale, equations.b * scale, 0.0, 1.0)
        average = memory.add(same, 1.0)
        rows.append(J)
        values.append(y)
    expected = torch.linalg.lstsq(torch.cat(rows), torch.cat(values)).solution
    assert torch.allclose(solution(average), expected)


def test_memory_fades_and_forgets() -> None:
    def of(value: float) -> NormalEquations:
        return NormalEquations(torch.eye(1).double(), torch.tensor([value]).double(), value, 1.0)

    memory = FadingMemory()
    memory.add(of(1.0), 0.5)
    assert float(memory.add(of(4.0), 0.5).b) == pytest.approx((0.5 * 1 + 4) / 1.5)
    assert float(memory.add(of(8.0), 0.0).b) == 8.0
