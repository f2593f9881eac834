"""Which voxels of a study a solver looks at: more where the prior says that images inform.

A voxel in the middle of a cavity says nothing of where a border is, and one in the lung little that
can be predicted. A step's voxels are drawn with probabilities p that follow the size of their row
of the Jacobian, in standard deviations of what is not known over the expected noise:

    p ~ s / mean(s) + FLOOR,   s(x)^2 = E (dI/dh C dI/dh^T + sd^2 |dI/dx|^2) / noise^2,

C being the latent's covariance; of the prior's mean heart, over the cycle, and blurred, because a
subject's heart lies elsewhere. A voxel counts 1 / p: expectations stay those of uniform draws, with
less chance in them (importance sampling, stratified over the slices).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.model.config import HeartRegion
from NISFCore.model.derivatives import DecoderPass
from NISFCore.model.prior import Prior
from NISFCore.model.voxels import VoxelBatch, VoxelTable

PLACE_SD_MM = 8.0
"""How far a voxel may lie from where it was scanned."""
CELL_MM = 10.0
N_TIMES = 3
FLOOR = 0.5
TINY = 1e-20  # where nothing informs, draws are uniform


@dataclass(frozen=True)
class VoxelDraws:
    """How voxels of a table are drawn.

    Attributes:
        probability: `(n_pixels,)` of the table's pixels, their mean being 1.
        cumulative: their sums, float64.
    """

    probability: Tensor
    cumulative: Tensor

    @classmethod
    def by_interest(cls, interest: Tensor) -> "VoxelDraws":
        """Pixels drawn in proportion to `interest` `(n_pixels,)`, and a little everywhere."""
        wanted = interest + (FLOOR * interest.mean()).clamp(min=TINY)
        probability = wanted / wanted.mean()
        return cls(probability, probability.double().cumsum(0))

    def draw(
        self, table: VoxelTable, n: int, generator: torch.Generator
    ) -> tuple[VoxelBatch, Tensor]:
        """`n` voxels, one out of each n-th part of the pixels' sum, so that no part of a slice is
        missed by chance; and how much each counts `(n,)`, on average 1."""
        device = self.cumulative.device
        within = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        at = (torch.arange(n, device=device) + within) * (self.cumulative[-1] / n)
        pixel = torch.searchsorted(self.cumulative, at)
        pixel = pixel.clamp(max=len(self.probability) - 1)
        return table.at_pixels(pixel, generator), 1 / self.probability[pixel]


def voxel_draws(prior: Prior, table: VoxelTable, dtype: torch.dtype | None) -> VoxelDraws:
    """Draws for a study as it lies in the canonical frame.

    Args:
        dtype: of the decoder's hidden layers, by default that of its weights.
    """
    corners = _cells(prior.info.decoder.region)
    interest = _interest(prior, corners, table.position_mm.device, dtype)
    cell = ((table.position_mm.cpu() - corners[0, 0, 0]) / CELL_MM).long()
    last = torch.tensor(interest.shape) - 1
    i, j, k = torch.minimum(cell.clamp(min=0), last).unbind(1)
    return VoxelDraws.by_interest(interest[i, j, k].to(table.position_mm))


def _interest(
    prior: Prior, corners: Tensor, device: torch.device, dtype: torch.dtype | None
) -> Tensor:
    """s in each cell, from one random point in it at each time; always the same."""
    points = corners.view(-1, 3)
    generator = torch.Generator().manual_seed(0)
    covariance = prior.latent_covariance.to(device)
    latent = prior.latent_mean[None].to(device)
    squares = torch.zeros(len(points))
    for k in range(N_TIMES):
        inside = points + CELL_MM * torch.rand(points.shape, generator=generator)
        time = torch.full((len(points),), k / N_TIMES, device=device)
        traced = DecoderPass(prior.decoder, inside.to(device), time, latent, dtype)
        with torch.enable_grad():
            by_point, by_latent = traced.gradients(traced.output.intensity)
        unknown = (by_latent @ covariance * by_latent).sum(1)
        unknown = unknown + (PLACE_SD_MM * by_point).square().sum(1)
        squares += (unknown / traced.output.noise_sd.detach().square()).cpu()
    blurred = torch.nn.functional.avg_pool3d(
        squares.view(1, 1, *corners.shape[:3]), 3, stride=1, padding=1, count_include_pad=False
    )
    return blurred[0, 0].sqrt()


def _cells(region: HeartRegion) -> Tensor:
    """Lowest corner of each cell of the region's box, `(n_x, n_y, n_z, 3)`."""
    low = torch.tensor(region.centre_mm) - torch.tensor(region.semi_axes_mm)
    counts = (int(2 * half / CELL_MM) + 1 for half in region.semi_axes_mm)
    along = (CELL_MM * torch.arange(n) for n in counts)
    return torch.stack(torch.meshgrid(*along, indexing="ij"), dim=-1) + low
