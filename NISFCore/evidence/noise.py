"""Random fields and numbers of the generator, each drawn from an explicit torch generator."""

import torch
from torch import Tensor
from torch.nn import functional


class Dice:
    """Short names for the distributions that the generator draws from."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def normal(self, sd: float, *shape: int) -> Tensor:
        return sd * torch.randn(*shape, generator=self.generator)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """Bool, True with this probability."""
        return torch.rand(*shape, generator=self.generator) < probability

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from `low` to `high` - 1."""
        return torch.randint(low, high, shape, generator=self.generator)

    def field(self, n: int, size: int, knots: int) -> Tensor:
        """Smooth noise `(n, 1, size, size)` of about unit variance, features of size / knots."""
        coarse = self.normal(1.4, n, 1, knots, knots)
        return functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)


def per_plane(values: Tensor) -> Tensor:
    """`(n,)` to `(n, 1, 1, 1)`."""
    return values.reshape(-1, 1, 1, 1)


def gaussian_kernels(sigma_px: Tensor, radius: int) -> Tensor:
    """`(n, 2 radius + 1)`, each summing to one."""
    x = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernels = torch.exp(-0.5 * (x / sigma_px[:, None].clamp_min(1e-2)).square())
    return kernels / kernels.sum(dim=1, keepdim=True)


def blurred(images: Tensor, sigma_px: Tensor, radius: int = 4) -> Tensor:
    """Images `(n, channels, rows, cols)`, each of the n blurred by its own Gaussian `(n,)`."""
    n, channels = images.shape[:2]
    kernels = gaussian_kernels(sigma_px, radius)
    along = images.transpose(0, 1)
    along = functional.conv2d(along, kernels[:, None, None, :], padding=(0, radius), groups=n)
    along = functional.conv2d(along, kernels[:, None, :, None], padding=(radius, 0), groups=n)
    return along.transpose(0, 1).reshape(n, channels, *images.shape[-2:])
