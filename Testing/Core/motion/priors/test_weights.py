"""Flat weights of many fields, and at other times."""

from dataclasses import replace

import pytest
import torch

from NISFCore.errors import PriorError
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.priors.config import PriorKind
from NISFCore.motion.priors.weights import ManyFields, canonical_field, resampled
from Testing.Core.motion.priors.rings import small

CONFIG = small(PriorKind.POPULATION).field
POINTS = torch.linspace(-1.0, 1.0, 14).reshape(7, 2)


def moved(field: DisplacementField, seed: int) -> torch.Tensor:
    """The field's state with noise on every weight."""
    generator = torch.Generator().manual_seed(seed)
    state = field.flat_state()
    return state + 0.05 * torch.randn(state.shape, generator=generator)


def test_many_fields_are_each_field() -> None:
    field = canonical_field(CONFIG)
    states = torch.stack([moved(field, 1), moved(field, 2)])
    points = torch.stack([POINTS, POINTS.flip(0)])
    with torch.no_grad():
        found = ManyFields(canonical_field(CONFIG)).displacements(states, points)
        for k in range(2):
            field.load_flat_state(states[k])
            expected = field.displacement(points[k], field.knots[1:])
            torch.testing.assert_close(found[k], expected, atol=1e-5, rtol=1e-4)


def test_other_knots_show_the_same_motion() -> None:
    source = canonical_field(CONFIG)
    state = moved(source, 3)
    knots = (0.0, 0.09, 0.31, 0.5, 0.77, 0.9)
    target = canonical_field(replace(CONFIG, knots=knots))
    source.load_flat_state(state)
    target.load_flat_state(resampled(state, source, target))
    times = torch.tensor(knots)
    with torch.no_grad():
        expected, found = (f.displacement(POINTS, times) for f in (source, target))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert found.abs().max() > 0.1


def test_modes_are_resampled_as_states_are() -> None:
    source = canonical_field(CONFIG)
    target = canonical_field(replace(CONFIG, knots=(0.0, 0.2, 0.6)))
    base, mode = moved(source, 4), moved(source, 5)
    both = resampled(base + 0.5 * mode, source, target)
    apart = resampled(base, source, target) + 0.5 * resampled(mode[None], source, target)[0]
    torch.testing.assert_close(both, apart)


def test_weights_of_another_network_are_refused() -> None:
    source, target = canonical_field(CONFIG), canonical_field(replace(CONFIG, seed=5))
    with pytest.raises(PriorError, match=r"seed 0.*seed 5"):
        resampled(source.flat_state(), source, target)
