"""How volumes change with the subject's code: what carries uncertainty from one to the other."""

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.labels import N_LABELS
from NISFCore.model.config import HeartRegion
from NISFCore.model.shape_warp import AnyDecoder
from NISFCore.model.voxels import inside_region

VOLUME_SPACING_MM = 4.0
"""Derivatives need a far coarser grid than the volumes themselves."""
POINTS_PER_PASS = 16_384

Matrix = npt.NDArray[np.float64]


def volume_gradients_ml(
    decoder: AnyDecoder, code: npt.NDArray[np.float32], cycle_fraction: float
) -> Matrix:
    """Derivative of each label's volume with respect to the subject's code, `(4, n_code)` in ml.

    The volume is the sum of the label's probabilities over a grid: its derivative is that of the
    boundary's position times the boundary's area, however coarse the grid is against the heart.
    """
    device = next(decoder.parameters()).device
    h = torch.tensor(code, device=device)[None].requires_grad_(True)
    points = torch.tensor(_region_points_mm(decoder.config.region), dtype=torch.float32)
    gradients = np.zeros((N_LABELS, h.shape[1]))
    for x in points.to(device).split(POINTS_PER_PASS):
        t = torch.full((len(x),), float(cycle_fraction) % 1.0, device=device)
        with torch.enable_grad():
            volumes = torch.softmax(decoder(x, t, h).label_logits, dim=1).sum(0)
            for label in range(1, N_LABELS):
                (g,) = torch.autograd.grad(volumes[label], h, retain_graph=True)
                gradients[label] += g[0].double().cpu().numpy()
    return gradients * VOLUME_SPACING_MM**3 / 1000.0


def _region_points_mm(region: HeartRegion) -> Matrix:
    """One random point, always the same, in every cell of a grid over the region, `(n, 3)`."""
    centre, semi_axes = np.array(region.centre_mm), np.array(region.semi_axes_mm)
    steps = [np.arange(-a, a, VOLUME_SPACING_MM) for a in semi_axes]
    cells = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3) + centre
    points = cells + np.random.default_rng(0).uniform(0, VOLUME_SPACING_MM, cells.shape)
    return points[inside_region(points, region)]
