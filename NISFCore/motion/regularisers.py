"""What tissue cannot do, as penalties on F = I + du/dX.

In space the myocardium keeps its volume: log det F = 0. In a plane it does not: tissue shortens
along the long axis and thickens in the plane, everywhere by about as much, so only the spatial
variance of log det F is penalised.
"""

import torch
from torch import Tensor

MIN_DETERMINANT = 0.05
"""Below it the logarithm goes on as its tangent: a folded field is pushed back, not an error."""


def log_determinant(F: Tensor) -> Tensor:
    """log det F of `(..., n_dims, n_dims)`, continued linearly below `MIN_DETERMINANT`."""
    d = determinant(F)
    low = (d - MIN_DETERMINANT) / MIN_DETERMINANT
    floor = torch.tensor(MIN_DETERMINANT, dtype=d.dtype, device=d.device)
    return torch.where(d > floor, d.clamp_min(MIN_DETERMINANT).log(), floor.log() + low)


def determinant(F: Tensor) -> Tensor:
    """det F of 2 x 2 or 3 x 3 matrices, written out: many small ones."""
    if F.shape[-1] == 2:
        return F[..., 0, 0] * F[..., 1, 1] - F[..., 0, 1] * F[..., 1, 0]
    return (F[..., 0, :] * torch.linalg.cross(F[..., 1, :], F[..., 2, :])).sum(-1)


def inverse(F: Tensor) -> Tensor:
    """F^-1 of 2 x 2 or 3 x 3 matrices, written out; of a folded F that of its cofactors over
    `MIN_DETERMINANT`."""
    rows = F.unbind(dim=-2)
    if len(rows) == 2:
        (a, b), (c, d) = (row.unbind(dim=-1) for row in rows)
        adjugate = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2))
    else:
        cross = torch.linalg.cross
        others = ((rows[1], rows[2]), (rows[2], rows[0]), (rows[0], rows[1]))
        adjugate = torch.stack([cross(b, c) for b, c in others], dim=-1)
    return adjugate / determinant(F).clamp_min(MIN_DETERMINANT)[..., None, None]


def volume_penalty(F: Tensor) -> Tensor:
    """Mean of (log det F)^2 in space; of its variance over points in a plane. F `(n_times, n, d,
    d)`."""
    log_det = log_determinant(F)
    if F.shape[-1] == 2:
        log_det = log_det - log_det.mean(dim=1, keepdim=True)
    return log_det.square().mean()
