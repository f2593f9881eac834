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
    waves = torch.from_numpy(half_waves)
    psi = _Sines.at(_grid(region), waves, region).waves(waves).numpy()
    typical_mm = math.sqrt(((psi * sd[:, None]) ** 2).sum(0).mean())
    return WarpModes(half_waves, sd_mm * config.sd_mm / typical_mm)


class WarpedDecoder(nn.Module):
    """A decoder asked at warped points; its code `(1, n_latent + 3 n_modes)` is latent and c."""

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
        """As `Decoder.forward`, of one subject: its code `(1, n_code)` instead of the latent."""
        moved_mm = self.at(points_mm, cycle_fraction, code).points_mm
        return self.decoder(moved_mm, cycle_fraction, code[:, : self.n_latent])

    def at(self, points_mm: Tensor, cycle_fraction: Tensor, code: Tensor) -> "WarpAtPoints":
        """The warp of one subject, code `(1, n_code)`, at points `(n, 3)` and times `(n,)`."""
        if len(code) != 1:
            raise ValueError(f"got {len(code)} codes; a warp is that of one subject")
        sd_mm = self.sd_mm[:, None].to(code)
        c_mm = code[0, self.n_latent :].view(-1, 3) * sd_mm
        return WarpAtPoints(
            points_mm, _beat(cycle_fraction), c_mm, sd_mm, self.half_waves, self.config.region
        )

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
        sines = _Sines.at(points_mm, self.half_waves, self.config.region)
        return points_mm + sines.waves(self.half_waves).T @ amplitudes_mm

    def least_stretch(self, code: Tensor) -> float:
        """The smallest ratio of volumes after and before the warp, anywhere in the region and at
        any time: at 0 and below it folds; `code` is `(n_code,)`."""
        region = self.config.region
        sines = _Sines.at(_grid(region).to(code), self.half_waves, region)
        gradients = sines.gradients(self.half_waves)
        eye = torch.eye(3).to(code)
        ratios = [
            torch.linalg.det(eye + torch.einsum("amn,md->nda", gradients, amplitudes)).min()
            for amplitudes in (self.amplitudes_mm(code, k / N_TIMES) for k in range(N_TIMES))
        ]
        return float(torch.stack(ratios).min())


AnyDecoder = Decoder | WarpedDecoder


class WarpAtPoints:
    """One subject's warp at some points and times.

    Attributes:
        points_mm: `(n, 3)` where they are looked up.

    Args:
        points_mm: `(n, 3)`.
        beat: `(n, 2)` cosine and sine of the time.
        coefficients_mm: `(n_modes, 3)` sd_m c_m.
        sd_mm: `(n_modes, 1)`.
    """

    def __init__(
        self,
        points_mm: Tensor,
        beat: Tensor,
        coefficients_mm: Tensor,
        sd_mm: Tensor,
        half_waves: Tensor,
        region: HeartRegion,
    ) -> None:
        n = len(half_waves)
        self._n_beating = (len(coefficients_mm) - n) // 2
        self._beat, self._sd_mm = beat, sd_mm
        self._static, self._cosine, self._sine = (
            coefficients_mm[:n],
            coefficients_mm[n : n + self._n_beating],
            coefficients_mm[n + self._n_beating :],
        )
        self._half_waves, self._sines = half_waves, _Sines.at(points_mm, half_waves, region)
        self._psi = self._sines.waves(half_waves)
        self.points_mm = points_mm + self._contracted(self._psi)

    def by_points(self, by_moved: Tensor) -> Tensor:
        """Derivatives `(n, 3)` by the points, from those by where they are looked up."""
        turned = [
            (self._contracted(gradient) * by_moved).sum(1, keepdim=True)
            for gradient in self._sines.gradients(self._half_waves)
        ]
        return by_moved + torch.cat(turned, dim=1)

    def by_coefficients(self, by_moved: Tensor, n_values: int) -> Tensor:
        """Derivatives `(n_values, 3 n_modes)` by c, summed over each value's points, which are
        consecutive and of one time."""
        k = max(1, len(by_moved) // max(1, n_values))
        psi = self._psi.view(len(self._psi), n_values, k).transpose(0, 1)
        static = psi @ by_moved.view(n_values, k, 3)
        beating = static[:, : self._n_beating]
        beat = self._beat[::k]
        parts = [static, *(beating * beat[:, b, None, None] for b in (0, 1))]
        return (torch.cat(parts, dim=1) * self._sd_mm).flatten(1)

    def _contracted(self, psi: Tensor) -> Tensor:
        """Sum over all modes of `(n_waves, n)` waves, `(n, 3)`."""
        first = psi[: self._n_beating].T
        cosine, sine = self._beat[:, :1], self._beat[:, 1:]
        return psi.T @ self._static + cosine * (first @ self._cosine) + sine * (first @ self._sine)


def _beat(cycle_fraction: Tensor) -> Tensor:
    angle = 2 * math.pi * cycle_fraction
    return torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)


@dataclass(frozen=True)
class _Sines:
    """sin and cos of 1, 2, ... half waves along each axis at some points, `(3, k, n)`.

    Attributes:
        per_mm: `(3, k)` their derivative's factor.
    """

    sine: Tensor
    cosine: Tensor
    per_mm: Tensor

    @staticmethod
    def at(points_mm: Tensor, half_waves: Tensor, region: HeartRegion) -> "_Sines":
        centre, semi_axes = (
            torch.tensor(v).to(points_mm)[:, None] for v in (region.centre_mm, region.semi_axes_mm)
        )
        k = torch.arange(1, int(half_waves.max()) + 1).to(points_mm)
        scale = math.pi / 2 / semi_axes
        phase = ((points_mm.T - centre + semi_axes) * scale)[:, None] * k[:, None]
        return _Sines(torch.sin(phase), torch.cos(phase), scale * k)

    def waves(self, half_waves: Tensor) -> Tensor:
        """psi `(n_waves, n)`; their squares are 1 on average over the box."""
        x, y, z = (self.sine[a][half_waves[:, a] - 1] for a in range(3))
        return math.sqrt(8) * x * y * z

    def gradients(self, half_waves: Tensor) -> Tensor:
        """Derivatives of psi per mm, `(3, n_waves, n)`."""
        index = half_waves - 1
        x, y, z = (self.sine[a][index[:, a]] for a in range(3))
        slopes = self.cosine * (math.sqrt(8) * self.per_mm[:, :, None])
        dx, dy, dz = (slopes[a][index[:, a]] for a in range(3))
        return torch.stack([dx * y * z, x * dy * z, x * y * dz])


def _grid(region: HeartRegion) -> Tensor:
    """Points of the region, `(n, 3)` float64."""
    steps = [np.arange(-a + GRID_MM / 2, a, GRID_MM) for a in region.semi_axes_mm]
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = ((offsets / np.array(region.semi_axes_mm)) ** 2).sum(axis=1) <= 1
    return torch.from_numpy(offsets[inside] + np.array(region.centre_mm))
