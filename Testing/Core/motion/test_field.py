"""The displacement field: exact derivatives, still at ED, one state for every weight."""

import numpy as np
import pytest
import torch
from torch import Tensor

from NISFCore.errors import ConfigError
from NISFCore.motion.config import FieldConfig, NetworkConfig
from NISFCore.motion.field import DisplacementField, Placement
from Testing.Core.motion.movies import small_field

KINDS = [(n, kind) for n in (2, 3) for kind in ("siren", "fourier")]
TIMES = torch.tensor([0.05, 0.45, 0.9], dtype=torch.float64)


def some_points(n_dims: int, n: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 20 * torch.randn(n, n_dims, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("n_dims", "kind"), KINDS)
def test_the_gradient_is_that_of_autograd(n_dims: int, kind: str) -> None:
    field, points = small_field(n_dims, kind=kind), some_points(n_dims)
    F = field.gradient(points, TIMES)
    assert (F - torch.eye(n_dims)).abs().max() > 0.01
    for k, x in enumerate(points):

        def moved(x: Tensor) -> Tensor:
            return x + field.displacement(x[None], TIMES)[:, 0]

        jacobian = torch.autograd.functional.jacobian(moved, x)
        assert isinstance(jacobian, Tensor)
        assert torch.allclose(F[:, k], jacobian, atol=1e-12)


@pytest.mark.parametrize("is_cyclic", [False, True])
def test_nothing_has_moved_at_ed(is_cyclic: bool) -> None:
    field = small_field(is_cyclic=is_cyclic)
    points, ed = some_points(2), torch.zeros(1, dtype=torch.float64)
    assert torch.equal(field.displacement(points, ed), torch.zeros(1, 7, 2, dtype=torch.float64))
    assert field.displacement(points, TIMES).abs().max() > 0.1


def test_a_cyclic_field_closes() -> None:
    field = small_field(is_cyclic=True)
    times = torch.tensor([0.25, 1.25], dtype=torch.float64)
    u = field.displacement(some_points(2), times)
    assert torch.allclose(u[0], u[1], atol=1e-6)


def test_the_derivative_by_weights_reaches_all_of_them() -> None:
    field = small_field()
    field.gradient(some_points(2), TIMES).square().sum().backward()
    for name, weight in field.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_the_state_is_all_of_a_field() -> None:
    first, second = small_field(), DisplacementField(small_field().config, small_field().placement)
    second = second.double()
    second.load_flat_state(first.flat_state())
    points = some_points(2)
    assert torch.equal(first.displacement(points, TIMES), second.displacement(points, TIMES))
    with pytest.raises(ConfigError, match="another configuration"):
        first.load_flat_state(first.flat_state()[:-1])
    with pytest.raises(ConfigError, match="finite"):
        first.load_flat_state(first.flat_state() * float("nan"))


def test_a_new_field_is_still() -> None:
    field = DisplacementField(small_field().config, small_field().placement)
    assert field.displacement(some_points(2).float(), TIMES.float()).abs().max() == 0


def test_placement_maps_there_and_back() -> None:
    placement = small_field().placement
    local = np.array([[3.0, -4.0], [10.0, 2.0]])
    assert np.allclose(placement.local_from_ras(placement.ras_from_local(local)), local)
    across = np.cross(placement.axes[0], placement.axes[1])
    off = placement.ras_from_local(local) + 5 * across
    assert np.allclose(placement.local_from_ras(off), local)


def test_wrong_settings_are_refused() -> None:
    placement = small_field().placement
    with pytest.raises(ConfigError, match="placement has 2"):
        DisplacementField(FieldConfig(3, (0.0, 1.0)), placement)
    with pytest.raises(ConfigError, match="n_dims"):
        FieldConfig(4, (0.0, 1.0))
    with pytest.raises(ConfigError, match="orthonormal"):
        Placement(np.zeros(3), np.ones((2, 3)), 20.0)
    with pytest.raises(ConfigError, match="kind"):
        NetworkConfig(kind="relu")


def test_a_state_that_was_given_is_not_changed_by_the_field() -> None:
    field = small_field()
    state = field.flat_state()
    before = state.clone()
    field.load_flat_state(state)
    with torch.no_grad():
        field.last.add_(1.0)
    assert torch.equal(state, before)
