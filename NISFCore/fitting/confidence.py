"""How sure a label is, at any point: its probability under the subject code's uncertainty.

With m = logit p of the most probable label and v = dm/dh Cov(h) dm/dh^T, the mean of sigmoid over
N(m, v) is about sigmoid(m / sqrt(1 + pi v / 8)) (MacKay 1992, eq. 9).
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.model.derivatives import DecoderPass
from NISFCore.model.shape_warp import AnyDecoder

POINTS_PER_PASS = 8192


def label_confidence(
    decoder: AnyDecoder,
    points_mm: npt.NDArray[np.float64],
    cycle_fraction: float,
    code: npt.NDArray[np.float32],
    code_covariance: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Confidence `(n,)` in the most probable label at canonical points `(n, 3)`, 0.25 to 1."""
    found = []
    for m, g in _in_parts(decoder, points_mm, cycle_fraction, code):
        C = torch.tensor(code_covariance, dtype=torch.float32, device=g.device)
        v = ((g @ C) * g).sum(1).clamp(min=0)
        found.append(torch.sigmoid(m / torch.sqrt(1 + math.pi * v / 8)).cpu().numpy())
    return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)


def label_sensitivity(
    decoder: AnyDecoder,
    points_mm: npt.NDArray[np.float64],
    cycle_fraction: float,
    code: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """logit of the most probable label's probability at canonical points `(n, 3)`, `(n,)`, and
    its derivative with respect to the subject's code `(n, n_code)`."""
    parts = list(_in_parts(decoder, points_mm, cycle_fraction, code))
    logits = [m.double().cpu().numpy() for m, _ in parts]
    slopes = [g.double().cpu().numpy() for _, g in parts]
    nothing = np.zeros((0, len(code)))
    return np.concatenate([*logits, nothing[:, 0]]), np.concatenate([*slopes, nothing])


def _in_parts(
    decoder: AnyDecoder,
    points_mm: npt.NDArray[np.float64],
    cycle_fraction: float,
    code: npt.NDArray[np.float32],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The winning logit m and dm/dh, some points at a time."""
    device = next(decoder.parameters()).device
    h = torch.tensor(code, device=device)[None]
    for x in torch.tensor(points_mm, dtype=torch.float32).split(POINTS_PER_PASS):
        t = torch.full((len(x),), float(cycle_fraction) % 1.0, device=device)
        traced = DecoderPass(decoder, x.to(device), t, h)
        with torch.enable_grad():
            m = _winning_logit(traced.output.label_logits)
        yield m.detach(), traced.gradients(m)[1]


def _winning_logit(logits: torch.Tensor) -> torch.Tensor:
    """logit of the largest softmax probability, `(n,)`: its logit less all others'."""
    winner = logits.argmax(dim=1, keepdim=True)
    others = logits.scatter(1, winner, -math.inf)
    return logits.gather(1, winner)[:, 0] - torch.logsumexp(others, dim=1)
