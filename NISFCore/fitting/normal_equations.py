"""Robust normal equations of a linearised fit, remembered over steps.

Every step looks at fresh voxels. Relinearised at zero, J^T W r becomes b = J^T W (r + J theta),
which does not depend on where the step started, so those of earlier steps still count while the
estimate moves little: a running average with a fading memory has the precision of many batches for
the price of one (an information filter with exponential forgetting).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.fitting.jacobian import Linearisation

MIN_SIGMA = 1e-4


@dataclass(frozen=True)
class NormalEquations:
    """`H theta = b`: H `(n, n)` the information of the voxels, without the prior; float64.

    `cost` is the robust cost of the residuals; `sigma` their RMS over the expected noise.
    """

    H: Tensor
    b: Tensor
    cost: float
    sigma: float


def normal_equations(
    linear: Linearisation, counts: Tensor, theta: Tensor, huber: float, effective_voxels: float
) -> NormalEquations:
    """Those of n_eff / (n sigma^2) sum_v c_v rho(r_v); r_v the residual over the voxel's noise,
    sigma their RMS, rho Huber's function as iteratively reweighted squares.

    Args:
        counts: c `(n,)`, how much each voxel counts, 1 on average (see `voxel_draws`).
        theta: the unknowns `(n_unknowns,)` float64 at which `linear` was taken.
        huber: residuals beyond this many sigma count linearly.
        effective_voxels: how many independent observations the voxels stand for.
    """
    r, J = linear.residual / linear.noise_sd, linear.jacobian / linear.noise_sd[:, None]
    sigma = (counts * r.square()).mean().sqrt().clamp(min=MIN_SIGMA)
    weights = counts * (huber * sigma / r.abs().clamp(min=1e-9)).clamp(max=1.0)
    information = effective_voxels / (len(r) * sigma**2)
    WJ = J * (weights * information)[:, None]
    H = (J.T @ WJ).double()
    b = H @ theta + (WJ.T @ r).double()
    cost = float(information * (weights * r.square()).sum())
    return NormalEquations(H, b, cost, float(sigma))


class FadingMemory:
    """The average of normal equations, those of k steps ago with weight keep^k."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._H = self._b = torch.zeros(())

    def add(self, new: NormalEquations, keep: float) -> NormalEquations:
        """Take in the newest and return the average; `keep` 0 forgets all before it."""
        self._H, self._b = keep * self._H + new.H, keep * self._b + new.b
        self._weight = keep * self._weight + 1.0
        return NormalEquations(self._H / self._weight, self._b / self._weight, new.cost, new.sigma)
