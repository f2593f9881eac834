"""Batches of training slices: tissue maps, painted, deformed and seen through the network's window.

The same function turns real frames and painted ones into what the network sees (`channels`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from NISFCore.evidence.channels import COORDINATES, TEMPORAL, network_input
from NISFCore.evidence.library import LIBRARY_GRID, PlaneLibrary
from NISFCore.evidence.noise import Dice, per_plane
from NISFCore.evidence.painting import paint
from NISFCore.evidence.tissue import label_table
from NISFCore.evidence.window import WindowGrid, sample_at
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import N_LABELS

DROP_TEMPORAL_SHARE, DROP_MEAN_SHARE, DROP_COORDINATES_SHARE = 0.3, 0.2, 0.15
CROP_SHARE = 0.15
MAX_DEFORMATION_MM = 6.0


@dataclass(frozen=True)
class SliceBatch:
    """Input and truth of `n` training slices.

    Attributes:
        inputs: `(n, N_CHANNELS, rows, cols)`.
        targets: `(n, N_LABELS, rows, cols)`, share of each label in a pixel.
        weights: `(n, 1, rows, cols)`, 0 outside the image.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor


class SliceGenerator:
    """Draws batches from a library of planes; equal seeds give equal batches."""

    def __init__(self, library: PlaneLibrary, grid: WindowGrid, seed: int) -> None:
        self.library = library
        self.grid = grid
        self._dice = Dice(seed)
        self._labels = label_table()
        self._window = _window_in_library(grid)

    def batch(self, n_planes: int, n_frames: int = 2) -> SliceBatch:
        """`n_planes * n_frames` slices: of each plane, under one look, several phases."""
        planes = self._dice.integers(0, len(self.library), n_planes)
        return self.slices_of(planes, n_frames)

    def slices_of(self, planes: Tensor, n_frames: int) -> SliceBatch:
        """As `batch`, of chosen planes `(n,)` of the library."""
        dice, library, n = self._dice, self.library, len(planes)
        chosen = planes.numpy()
        tissues = torch.from_numpy(library.tissues[chosen])
        times = torch.from_numpy(library.cycle_fractions[chosen].astype(np.float32))
        cine = paint(tissues, torch.from_numpy(library.surroundings[chosen]), times, dice)
        where = self._deformed_window(n)
        n_phases = tissues.shape[1]
        frames = torch.stack([torch.randperm(n_phases, generator=dice.generator) for _ in planes])
        frames = frames[:, :n_frames]
        inside = self._field_of_view(n)
        seen = sample_at(cine, where, is_continued=True)
        inputs = network_input(seen, inside, frames, self._coordinates(chosen))
        self._drop_channels(inputs)
        index = frames[:, :, None, None].expand(-1, -1, *tissues.shape[-2:])
        targets = self._targets(torch.gather(tissues, 1, index), where)
        return SliceBatch(inputs, targets, inside.repeat_interleave(frames.shape[1], dim=0))

    def _targets(self, tissues: Tensor, where: Tensor) -> Tensor:
        """Shares of labels `(n * n_frames, N_LABELS, rows, cols)`."""
        labels = self._labels[tissues.flatten(0, 1).long()]
        hot = functional.one_hot(labels, N_LABELS).permute(0, 3, 1, 2).float()
        shares = sample_at(hot, where.repeat_interleave(tissues.shape[1], dim=0), True)
        return shares.clamp(0.0, 1.0)

    def _coordinates(self, planes: np.ndarray) -> Tensor:
        """Canonical coordinates as believed `(n, 3, rows, cols)`: blind to the deformation."""
        points = [
            apply_affine(
                A, np.concatenate([self._window, np.zeros_like(self._window[..., :1])], -1)
            )
            for A in self.library.canonical_from_grid[planes]
        ]
        shift = self._dice.normal(3.0, len(planes), 3, 1, 1)
        return torch.as_tensor(np.stack(points).astype(np.float32)).permute(0, 3, 1, 2) + shift

    def _deformed_window(self, n: int) -> Tensor:
        """Positions in the library's maps `(n, rows, cols, 2)` after scale, turn and bending."""
        dice, size = self._dice, self.grid.n_pixels
        centre = (LIBRARY_GRID.n_pixels - 1) / 2
        p = torch.as_tensor(self._window.astype(np.float32)) - centre
        turn = dice.normal(0.1, n).clamp(-0.25, 0.25)
        scale = dice.uniform(0.88, 1.12, 2, n)
        c, s = per_plane(turn.cos()), per_plane(turn.sin())
        x, y = p[..., :1] * per_plane(scale[0]), p[..., 1:] * per_plane(scale[1])
        turned = torch.cat([c * x - s * y, s * x + c * y], dim=-1)
        bend_px = dice.uniform(0.0, MAX_DEFORMATION_MM / 2, n) / LIBRARY_GRID.pixel_mm
        knots = int(dice.integers(4, 8, 1))
        bend = torch.cat([dice.field(n, size, knots) for _ in range(2)], dim=1)
        return turned + centre + (per_plane(bend_px) * bend).permute(0, 2, 3, 1)

    def _field_of_view(self, n: int) -> Tensor:
        """1 on the image, 0 where it ends inside the window (some images are small)."""
        dice, size = self._dice, self.grid.n_pixels
        inside = torch.ones(n, 1, size, size)
        for k in torch.nonzero(dice.chance(CROP_SHARE, n)).flatten().tolist():
            top, left, bottom, right = dice.integers(0, size // 5, 4).tolist()
            inside[k] = 0
            inside[k, :, top : size - bottom, left : size - right] = 1
        return inside

    def _drop_channels(self, inputs: Tensor) -> None:
        """No cycle (a single frame) or no frame (unknown orientation) in some slices, in place."""
        n = len(inputs)
        inputs[self._dice.chance(DROP_TEMPORAL_SHARE, n), TEMPORAL] = 0
        inputs[self._dice.chance(DROP_MEAN_SHARE, n), TEMPORAL.start] = 0
        inputs[self._dice.chance(DROP_COORDINATES_SHARE, n), COORDINATES] = 0


def _window_in_library(grid: WindowGrid) -> np.ndarray:
    """Positions `(rows, cols, 2)` of the network's grid in the library's, both about one centre."""
    step = grid.pixel_mm / LIBRARY_GRID.pixel_mm
    along = (np.arange(grid.n_pixels) - (grid.n_pixels - 1) / 2) * step
    j, i = np.meshgrid(along, along, indexing="ij")
    return np.stack([i, j], axis=-1) + (LIBRARY_GRID.n_pixels - 1) / 2
