"""What the slice network sees of a slice's frames: real ones and painted ones alike."""

import torch
from torch import Tensor

from NISFCore.evidence.noise import per_plane

MM_PER_COORDINATE = 80.0
"""Canonical coordinates enter the network in this unit."""
DEVIATION_GAIN = 3.0
"""The beating is weaker than the signal itself."""
N_CHANNELS = 6
"""Frame, temporal mean, temporal deviation, canonical x, y, z."""
TEMPORAL, COORDINATES = slice(1, 3), slice(3, 6)


def network_input(cine: Tensor, inside: Tensor, frames: Tensor, coordinates_mm: Tensor) -> Tensor:
    """What the network sees of the frames `frames` of one plane's window, or of several planes'.

    Args:
        cine: `(n, n_phases, rows, cols)` signal of the whole cycle, in any unit.
        inside: `(n, 1, rows, cols)` 1 where the window lies on the image, else 0.
        frames: `(n, n_frames)` int64, which phases are asked for.
        coordinates_mm: `(n, 3, rows, cols)` canonical.

    Returns:
        `(n * n_frames, N_CHANNELS, rows, cols)`.
    """
    signal = normalised(cine, inside)
    mean = signal.mean(dim=1, keepdim=True)
    deviation = DEVIATION_GAIN * signal.std(dim=1, keepdim=True, unbiased=False)
    if cine.shape[1] == 1:
        mean = deviation = torch.zeros_like(mean)
    n_frames = frames.shape[1]
    index = frames[:, :, None, None].expand(-1, -1, *signal.shape[-2:])
    chosen = torch.gather(signal, 1, index).flatten(0, 1)[:, None]
    static = torch.cat([mean, deviation, coordinates_mm / MM_PER_COORDINATE], dim=1)
    return torch.cat([chosen, static.repeat_interleave(n_frames, dim=0)], dim=1)


def normalised(cine: Tensor, inside: Tensor) -> Tensor:
    """Signal between its 1st and 99th percentile in the window, all phases together, as 0 to 1."""
    low, high = percentiles(cine, inside)
    signal = (cine - per_plane(low)) / per_plane((high - low).clamp_min(1e-6))
    return signal.clamp(-0.2, 1.6) * inside


def percentiles(cine: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """1st and 99th percentile `(n,)` each, of a part of the pixels inside."""
    lows, highs = [], []
    for signal, mask in zip(cine[..., ::2, 1::2], inside[:, 0, ::2, 1::2] > 0.5, strict=True):
        values = signal[:, mask].flatten() if bool(mask.any()) else signal.flatten()
        n = values.numel()
        lows.append(values.kthvalue(1 + int(0.01 * (n - 1))).values)
        highs.append(values.kthvalue(1 + int(0.99 * (n - 1))).values)
    return torch.stack(lows), torch.stack(highs)
