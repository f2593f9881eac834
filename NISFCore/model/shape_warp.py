"""What a heart's shape is beyond what the latent can say: a smooth warp of canonical space.

    f_n(x, t) = f(x + w(x, t), t, h),   w(x, t) = sum_m sd_m psi_m(x) b_m(t) c_m

psi are products of sines over the box around the modelled region, 0 on its faces, so that the
box is mapped onto itself; b is 1, cos 2 pi t or sin 2 pi t. The c are standard normal before a fit,
and sd falls with the square of the spatial frequency: -log p(c) is then a bending energy. Smooth
basis functions with such a prior, solved by Gauss-Newton, are how Ashburner and Friston (1999,
Human Brain Mapping 7, "Nonlinear spatial normalization using basis functions") fit one brain to
another.

The c follow the latent in the *subject code*, so that solvers, standard errors and renderings ask a
`WarpedDecoder` as they ask a `Decoder`. Not in the paper, whose hearts are those of the latent.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from NISFCore.errors import ConfigError
from NISFCore.model.config import DecoderConfig, HeartRegion
from NISFCore.model.decoder import Decoder, DecoderOutput

GRID_MM = 12.0
"""Of the points at which a warp is looked at as a whole; its shortest waves are far longer."""
N_TIMES = 4


@dataclass(frozen=True)
class WarpConfig:
    """How much a heart's shape may differ from all that the latent can say.

    Attributes:
        sd_mm: standard deviation of the displacement, per axis, on average over the region.
        shortest_mm: half of the shortest wave length.
        beat_share: variance of what changes with the beat, that of what does not being 1.
    """

    sd_mm: float = 4.0
    shortest_mm: float = 30.0
    beat_share: float = 0.25

    def __post_init__(self) -> None:
        if not (self.sd_mm > 0 and self.shortest_mm > 0 and 0 <= self.beat_share <= 1):
            raise ConfigError(
                f"WarpConfig: got {self}; sd_mm and shortest_mm must be positive, beat_share "
                "from 0 to 1"
            )


@dataclass(frozen=True)
class WarpModes:
    """The waves of a warp.

    Attributes:
        half_waves: `(n_waves, 3)` int64 of psi along x, y, z of the region's box, all >= 1.
        sd_mm: `(n_modes,)` float64 of each mode: all waves without a beat, then the first
            (n_modes - n_waves) / 2 of them with its cosine, then with its sine.
    """

    half_waves: npt.NDArray[np.int64]
    sd_mm: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        n, beating = len(self.half_waves), len(self.sd_mm) - len(self.half_waves)
        if self.half_waves.shape != (n, 3) or n == 0 or beating not in range(0, 2 * n + 1, 2):
            raise ValueError(f"{n} waves and {len(self.sd_mm)} modes do not belong together")

    @property
    def n_coefficients(self) -> int:
        return 3 * len(self.sd_mm)


@dataclass(frozen=True)
class ShapeWarp:
    """One heart's warp: its modes, and c `(n_modes, 3)` float32."""

    modes: WarpModes
    coefficients: npt.NDArray[np.float32]


def warp_modes(region: HeartRegion, config: WarpConfig) -> WarpModes:
    """The modes that matter: those that vary at least as much as the shortest wave does.

    Raises:
        ConfigError: if no wave is as long as `config.shortest_mm`.
    """
    box_mm = 2 * np.array(region.semi_axes_mm)
    most = np.floor(box_mm / config.shortest_mm).astype(int)
    half_waves = np.stack(np.meshgrid(*(np.arange(1, n + 1) for n in most), indexing="ij"), -1)
    half_waves = half_waves.reshape(-1, 3)
    per_mm = np.linalg.norm(half_waves / box_mm, axis=1)
    order = np.argsort(per_mm, kind="stable")
    order = order[per_mm[order] <= 1 / config.shortest_mm]
    if not len(order):
        raise ConfigError(f"WarpConfig.shortest_mm: got {config.shortest_mm}, no wave is so long")
    half_waves, per_mm = half_waves[order], per_mm[order]
    sd = per_mm**-2.0  # |Laplacian psi| = (pi per_mm)^2 psi
    beating = sd[sd * math.sqrt(config.beat_share) >= sd[-1]] * math.sqrt(config.beat_share)
    sd_mm = np.concatenate([sd, beating, beating])
    psi = _waves(_grid(region), torch.from_numpy(half_waves), region).numpy()
    typical_mm = math.sqrt(((psi * sd) ** 2).sum(1).mean())
    return WarpModes(half_waves, sd_mm * config.sd_mm / typical_mm)


class WarpedDecoder(nn.Module):
    """A decoder asked at warped points; its codes `(n, n_latent + 3 n_modes)` are latent and c."""

    def __init__(self, decoder: Decoder, modes: WarpModes) -> None:
        super().__init__()
        self.decoder, self.modes = decoder, modes
        device = decoder.head.weight.device
        self.register_buffer("half_waves", torch.from_numpy(modes.half_waves).to(device))
        self.register_buffer("sd_mm", torch.from_numpy(modes.sd_mm).to(device))
        self.half_waves: Tensor
        self.sd_mm: Tensor

    @property
    def config(self) -> DecoderConfig:
        """That of the decoder."""
        return self.decoder.config

    @property
    def n_latent(self) -> int:
        return self.config.n_latent

    def forward(self, points_mm: Tensor, cycle_fraction: Tensor, code: Tensor) -> DecoderOutput:
        """As `Decoder.forward`, with codes instead of latents."""
        n = len(self.half_waves)
        c = code[:, self.n_latent :].view(len(code), len(self.sd_mm), 3)
        c = c * self.sd_mm[:, None].to(code)
        beat, n_beating = _beat(cycle_fraction), (c.shape[1] - n) // 2
        with_beat = c[:, n:].view(len(code), 2, n_beating, 3)
        moving = torch.einsum("nb,nbmd->nmd", beat, with_beat.expand(len(beat), -1, -1, -1))
        psi = _waves(points_mm, self.half_waves, self.config.region)
        w = torch.einsum("nm,nmd->nd", psi, c[:, :n].expand(len(psi), -1, -1))
        w = w + torch.einsum("nm,nmd->nd", psi[:, :n_beating], moving)
        return self.decoder(points_mm + w, cycle_fraction, code[:, : self.n_latent])

    def amplitudes_mm(self, code: Tensor, cycle_fraction: float) -> Tensor:
        """Of each wave at one time, `(n_waves, 3)`; `code` is `(n_code,)`."""
        n = len(self.half_waves)
        c = code[self.n_latent :].view(-1, 3) * self.sd_mm[:, None].to(code)
        beat = _beat(torch.tensor([cycle_fraction]).to(code))[0]
        amplitudes = c[:n].clone()
        with_beat = c[n:].view(2, -1, 3)
        amplitudes[: with_beat.shape[1]] += torch.einsum("b,bmd->md", beat, with_beat)
        return amplitudes

    def warped(self, points_mm: Tensor, amplitudes_mm: Tensor) -> Tensor:
        """Where points `(n, 3)` are looked up."""
        return points_mm + _waves(points_mm, self.half_waves, self.config.region) @ amplitudes_mm

    def least_stretch(self, code: Tensor) -> float:
        """The smallest ratio of volumes after and before the warp, anywhere in the region and at
        any time: at 0 and below it folds; `code` is `(n_code,)`."""
        region = self.config.region
        gradients = _wave_gradients(_grid(region).to(code), self.half_waves, region)
        eye = torch.eye(3).to(code)
        ratios = [
            torch.linalg.det(eye + torch.einsum("nam,md->nda", gradients, amplitudes)).min()
            for amplitudes in (self.amplitudes_mm(code, k / N_TIMES) for k in range(N_TIMES))
        ]
        return float(torch.stack(ratios).min())


AnyDecoder = Decoder | WarpedDecoder


def _beat(cycle_fraction: Tensor) -> Tensor:
    angle = 2 * math.pi * cycle_fraction
    return torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)


def _phases(points_mm: Tensor, half_waves: Tensor, region: HeartRegion) -> tuple[Tensor, Tensor]:
    """Phase per half wave `(n, 3)` at points, and 1..the largest number of half waves."""
    centre, semi_axes = (
        torch.tensor(v).to(points_mm) for v in (region.centre_mm, region.semi_axes_mm)
    )
    phase = (points_mm - centre + semi_axes) * (math.pi / 2 / semi_axes)
    return phase, torch.arange(1, int(half_waves.max()) + 1).to(points_mm)


def _waves(points_mm: Tensor, half_waves: Tensor, region: HeartRegion) -> Tensor:
    """psi at points `(n, 3)`, `(n, n_waves)`; their squares are 1 on average over the box."""
    phase, k = _phases(points_mm, half_waves, region)
    tables = torch.sin(phase[:, :, None] * k)
    along_x, along_y, along_z = (tables[:, a, half_waves[:, a] - 1] for a in range(3))
    return math.sqrt(8) * along_x * along_y * along_z


def _wave_gradients(points_mm: Tensor, half_waves: Tensor, region: HeartRegion) -> Tensor:
    """Derivatives of psi per mm, `(n, 3, n_waves)`."""
    phase, k = _phases(points_mm, half_waves, region)
    per_mm = (math.pi / 2 / torch.tensor(region.semi_axes_mm).to(points_mm))[:, None] * k
    sines, cosines = torch.sin(phase[:, :, None] * k), torch.cos(phase[:, :, None] * k) * per_mm
    parts = []
    for axis in range(3):
        factors = [(cosines if a == axis else sines)[:, a, half_waves[:, a] - 1] for a in range(3)]
        parts.append(factors[0] * factors[1] * factors[2])
    return math.sqrt(8) * torch.stack(parts, dim=1)


def _grid(region: HeartRegion) -> Tensor:
    """Points of the region, `(n, 3)` float64."""
    steps = [np.arange(-a + GRID_MM / 2, a, GRID_MM) for a in region.semi_axes_mm]
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = ((offsets / np.array(region.semi_axes_mm)) ** 2).sum(axis=1) <= 1
    return torch.from_numpy(offsets[inside] + np.array(region.centre_mm))
