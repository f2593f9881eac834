"""Weights of a displacement field as flat vectors: of many hearts at once, at other times.

A prior's network lives in a *canonical* placement: centre 0, radius 1, equal intervals of the whole
cycle. Coordinates and displacements are then in radii of the LV, the first axis from the LV
towards the RV, the second one towards the anterior wall. Its linear weights (coefficients of the
random features, last layer) are those of movements between its knots; for a heart that was imaged
at other times they are summed up to that heart's knots (`resampled`), which is exact there.
"""

from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from NISFCore.errors import PriorError
from NISFCore.motion.config import FieldConfig
from NISFCore.motion.field import DisplacementField, Placement
from NISFCore.motion.temporal import ramp_basis

LINEAR = ("coefficients", "last")
"""Weights with one column per interval and dimension."""


def canonical_field(config: FieldConfig) -> DisplacementField:
    """A still field in the canonical placement."""
    return DisplacementField(config, Placement(np.zeros(3), np.eye(3)[:2], 1.0))


class ManyFields(nn.Module):
    """One architecture, many weights: evaluates fields that differ in their flat state only."""

    def __init__(self, field: DisplacementField) -> None:
        super().__init__()
        self.field = field

    def forward(self, points: Tensor) -> Tensor:
        """Movements between knots `(n, n_steps * n_dims)` at local points `(n, n_dims)`."""
        return self.field.steps(points)[0]

    def named(self, state: Tensor) -> dict[str, Tensor]:
        """Weights by name, from flat states `(..., n_weights)`."""
        shapes = {name: p.shape for name, p in self.named_parameters()}
        parts = state.split([prod(shape) for shape in shapes.values()], dim=-1)
        pairs = zip(shapes.items(), parts, strict=True)
        return {name: part.reshape(*state.shape[:-1], *shape) for (name, shape), part in pairs}

    def displacement_at(self, state: Tensor, points: Tensor, basis: Tensor) -> Tensor:
        """u `(n_times, n, n_dims)` with one flat state, at points `(n, n_dims)`; `basis`
        `(n_times, n_steps)` of the field."""
        steps = functional_call(self, self.named(state), (points,))
        n_dims = points.shape[-1]
        by_step = steps.reshape(len(points), -1, n_dims)
        return torch.einsum("tk,nkd->tnd", basis, by_step)

    def displacements(self, states: Tensor, points: Tensor) -> Tensor:
        """u at the later knots `(n_subjects, n_steps, n, n_dims)`, with states `(n_subjects,
        n_weights)` at points `(n_subjects, n, n_dims)`."""
        basis = torch.ones(self.field.config.n_steps, self.field.config.n_steps).tril()
        found = vmap(self.displacement_at, in_dims=(0, 0, None))(states, points, basis)
        return torch.as_tensor(found)


def resampled(state: Tensor, source: DisplacementField, target: DisplacementField) -> Tensor:
    """Flat states `(..., n_weights)` of `source`, for the knots of `target`.

    Raises:
        PriorError: if the fields differ in more than their knots and placement.
    """
    check_same_network(source.config, target.config)
    named = ManyFields(source).named(state)
    # steps'_j = sum_k (b_k(t'_{j+1}) - b_k(t'_j)) steps_k
    change = ramp_basis(source.knots, target.knots, source.config.is_cyclic).diff(dim=0)
    parts = []
    for name, value in named.items():
        if name.removeprefix("field.") in LINEAR:
            by_step = value.unflatten(-1, (source.config.n_steps, source.config.n_dims))
            value = torch.einsum("jk,...hkd->...hjd", change, by_step).flatten(-2)
        parts.append(value.flatten(state.ndim - 1))
    return torch.cat(parts, dim=-1)


def check_same_network(source: FieldConfig, target: FieldConfig) -> None:
    """
    Raises:
        PriorError: if weights of one mean nothing to the other.
    """
    ours = replace(source, knots=target.knots)
    if ours != target:
        raise PriorError(
            f"the motion prior is of a field {_described(source)}, the fit's is "
            f"{_described(target)}; give the fit the prior's settings"
        )


def _described(config: FieldConfig) -> str:
    network = config.network
    return (
        f"in {config.n_dims} dimensions ({'cyclic' if config.is_cyclic else 'not cyclic'}, "
        f"{config.n_features} features of {config.omega:g} and seed {config.seed}, "
        f"{network.kind} {network.n_layers} x {network.width} of {network.omega:g})"
    )
