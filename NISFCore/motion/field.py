"""`DisplacementField`: u(X, t), the Lagrangian displacement of the tissue since ED.

Spaces: points and displacements that come from outside are RAS mm. Inside, `local` coordinates
have `n_dims` entries: mm along the placement's axes from its centre (2: within an imaging plane).

    u(X, t) = sum_k b_k(t) radius (h(x) A_k + g(x) B_k),   x = local(X) / radius

b_k: cumulative ramps (`temporal`); h: fixed random sine features, whose coefficients A the
Gauss-Newton start solves for; g: the residual network. All of A, B and g are free in the descent.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from NISFCore.errors import ConfigError
from NISFCore.geometry.spaces import Points
from NISFCore.motion.config import FieldConfig
from NISFCore.motion.network import HiddenLayers, Jet, RandomFeatures, input_jet, linear
from NISFCore.motion.temporal import check_knots, ramp_basis


@dataclass(frozen=True)
class Placement:
    """Where a heart lies: what makes hearts comparable, and plane and space one code.

    Attributes:
        centre_ras: `(3,)` mm, the LV's centre at ED.
        axes: `(n_dims, 3)` orthonormal rows in RAS: the first from the LV towards the RV where that
            is known; two of them span an imaging plane.
        radius_mm: of the LV, the unit of the network's coordinates.
    """

    centre_ras: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    radius_mm: float

    def __post_init__(self) -> None:
        n = len(self.axes)
        if self.axes.shape not in ((2, 3), (3, 3)) or not np.allclose(
            self.axes @ self.axes.T, np.eye(n), atol=1e-6
        ):
            raise ConfigError("Placement.axes: expected 2 or 3 orthonormal rows of 3")
        if not self.radius_mm > 0:
            raise ConfigError(f"Placement.radius_mm: got {self.radius_mm}, must be positive")

    @property
    def n_dims(self) -> int:
        return len(self.axes)

    def local_from_ras(self, points_ras: Points) -> Points:
        """`(..., 3)` RAS mm to `(..., n_dims)` local mm; what lies off the plane is projected."""
        return (np.asarray(points_ras, dtype=np.float64) - self.centre_ras) @ self.axes.T

    def ras_from_local(self, points: Points) -> Points:
        """`(..., n_dims)` local mm to `(..., 3)` RAS mm."""
        return np.asarray(points, dtype=np.float64) @ self.axes + self.centre_ras


class DisplacementField(nn.Module):
    """One heart's displacement. `config` and `placement` never change; the weights do."""

    def __init__(self, config: FieldConfig, placement: Placement) -> None:
        check_knots(config.knots)
        if config.n_dims != placement.n_dims:
            raise ConfigError(
                f"FieldConfig.n_dims: got {config.n_dims}, the placement has {placement.n_dims}"
            )
        super().__init__()
        self.config, self.placement = config, placement
        n, n_out = config.n_dims, config.n_steps * config.n_dims
        generator = torch.Generator().manual_seed(config.seed)
        self.features = RandomFeatures(
            n, config.n_features, config.omega, config.seed, config.lowest_omega
        )
        self.coefficients = nn.Parameter(torch.zeros(config.n_features + 1, n_out))
        self.hidden = HiddenLayers(n, config.network, generator)
        self.last = nn.Parameter(torch.zeros(config.network.width, n_out))
        self.register_buffer("knots", torch.tensor(config.knots, dtype=torch.float32))
        self.knots: Tensor

    def basis(self, times: Tensor) -> Tensor:
        """`(n_times, n_steps)` at cycle fractions `(n_times,)`."""
        return ramp_basis(self.knots, times.to(self.knots.dtype), self.config.is_cyclic)

    def steps(self, points: Tensor, has_derivatives: bool = False) -> Jet:
        """Movement between knots `(n, n_steps * n_dims)` in mm at local points `(n, n_dims)` mm,
        and its derivatives `(n_dims, n, n_steps * n_dims)` by them."""
        radius = self.placement.radius_mm
        jet = input_jet(points / radius, has_derivatives)
        start, start_by = linear(self.features(jet), self.coefficients)
        value, by = linear(self.hidden(jet), self.last)
        total = radius * (start + value)
        # d(radius f(X / radius)) / dX = f'
        return total, None if start_by is None or by is None else start_by + by

    def displacement(self, points: Tensor, times: Tensor) -> Tensor:
        """u `(n_times, n, n_dims)` in mm at local points `(n, n_dims)`, all times for each."""
        steps, _ = self.steps(points)
        return self._over_time(steps, self.basis(times))

    def gradient(self, points: Tensor, times: Tensor) -> Tensor:
        """F = I + du/dX, `(n_times, n, n_dims, n_dims)`, exact, rows are components of u."""
        _, by = self.steps(points, has_derivatives=True)
        assert by is not None  # asked for
        basis = self.basis(times)
        columns = [self._over_time(d, basis) for d in by]
        eye = torch.eye(self.config.n_dims, dtype=points.dtype, device=points.device)
        return eye + torch.stack(columns, dim=-1)

    def flat_state(self) -> Tensor:
        """Every weight in one vector `(n_weights,)`, a copy."""
        return parameters_to_vector(self.parameters()).detach().clone()

    def load_flat_state(self, state: Tensor) -> None:
        """Set every weight from one vector.

        Raises:
            ConfigError: if it is of another size or not finite.
        """
        n = sum(p.numel() for p in self.parameters())
        if state.shape != (n,) or not bool(torch.isfinite(state).all()):
            raise ConfigError(
                f"state of a displacement field: got shape {tuple(state.shape)}, expected {n} "
                "finite weights; it was made for a field of another configuration"
            )
        # the parameters become views of the vector: a descent must not change the caller's
        vector_to_parameters(state.to(self.knots.dtype).clone(), self.parameters())

    def _over_time(self, steps: Tensor, basis: Tensor) -> Tensor:
        n, n_dims = len(steps), self.config.n_dims
        by_step = steps.reshape(n, -1, n_dims).transpose(0, 1).reshape(-1, n * n_dims)
        return (basis.to(steps.dtype) @ by_step).reshape(len(basis), n, n_dims)
