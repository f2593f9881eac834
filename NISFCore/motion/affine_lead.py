"""Where a whole heart is next, when it moves farther than its past says: `AffineLead`.

A frame is expected where the frames before lead to. A base that falls back within two frames moves
by most of a tag's distance more than that, and each piece of tissue for itself may settle on the
neighbouring tag. All of it together cannot: with an affine change of the expected places x = X + u,

    x' = x + M x + t          12 numbers in space, 6 in a plane

only the right one fits the tags of all planes. They are found by a few damped Gauss-Newton steps on
the terms of the coarse stage. u = h C is linear in C, so the change is one of the coefficients,
dC = (C_X + C) M^T + c_1 t^T with C_X and c_1 those of places at ED and of 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from NISFCore.motion.gauss_newton import coefficients_of
from NISFCore.motion.refinement import FrameTerm, TissuePoints

N_STEPS = 3
MOVED_WEIGHT = 1e-3
"""Of a point's squared change in mm^2, so that what no term sees stays."""


class AffineLead:
    """Corrects what is expected of a frame.

    Args:
        tissue: `(n, n_dims)` points all over the heart.
        terms: that say where it is, from as far away as may be.
    """

    def __init__(self, tissue: TissuePoints, terms: Sequence[FrameTerm]) -> None:
        self._features, self._terms = tissue.features, terms
        X = tissue.points
        # mm, so that every column of the basis moves tissue by about as much
        self._radius_mm = float(X.square().sum(dim=1).mean().sqrt())
        functions = torch.stack([X, torch.ones_like(X)])
        places, one = coefficients_of(tissue.features, torch.zeros(2), functions).values
        self._places, self._one = places, one[:, :1]

    def corrected(self, expected: Tensor, moment: float) -> Tensor:
        """Coefficients `(n_features + 1, n_dims)` nearer to what the terms say."""
        C = expected
        for _ in range(N_STEPS):
            C = C - self._step(C, moment)
        return C

    def _step(self, C: Tensor, moment: float) -> Tensor:
        basis = self._basis(C)
        moved = self._features @ basis.unflatten(0, C.shape).flatten(1)
        by_place = moved.reshape(-1, basis.shape[1])
        A = MOVED_WEIGHT * by_place.T @ by_place
        b = C.new_zeros(basis.shape[1])
        for term in self._terms:
            r, J = term.rows(moment, C)
            by_change = J @ basis
            A.addmm_(by_change.T, by_change)
            b.addmv_(by_change.T, r)
        return (basis @ torch.linalg.solve(A, b)).reshape(C.shape)

    def _basis(self, C: Tensor) -> Tensor:
        """`((n_features + 1) * n_dims, n_dims * (n_dims + 1))`: entries of M and t, one each."""
        n_dims = C.shape[1]
        functions = torch.cat([(self._places + C) / self._radius_mm, self._one], dim=1)
        columns = functions[:, None, :, None] * torch.eye(n_dims)[None, :, None, :]
        return columns.flatten(2).flatten(0, 1)
