"""What one subject's images show beyond the decoder's intensities: a smooth grid in space and time.

    I(x, t) = f(x, t) + sum_k b_k(t) g_k(x),   b = 1, cos 2 pi k t, sin 2 pi k t

g is trilinear on a grid in canonical space, 0 from one cell outside it on; far from all slices the
decoder has the word. Not in the paper, whose decoder shows what its latent can express.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import grid_sample

from NISFCore.geometry.spaces import Affine, Points, apply_affine

PARALLEL_MM = 1e-3
"""A grid whose points are moved by less where its axes are taken to be the canonical ones."""

Array = npt.NDArray[np.float32]


def harmonics(cycle_fractions: npt.ArrayLike, n_harmonics: int) -> npt.NDArray[np.float64]:
    """b at times `(n,)`, `(n, 1 + 2 n_harmonics)`; orthonormal over evenly spaced times."""
    t = np.asarray(cycle_fractions, dtype=np.float64)[:, None]
    angle = 2 * np.pi * t * np.arange(1, n_harmonics + 1)
    return np.concatenate([np.ones_like(t), *(np.sqrt(2) * f(angle) for f in (np.cos, np.sin))], 1)


@dataclass(frozen=True)
class IntensityDetail:
    """g on its grid.

    Attributes:
        low_mm, spacing_mm: first node and distance of nodes along x, y, z.
        values: `(1 + 2 n_harmonics, n_z, n_y, n_x)` float32.
    """

    low_mm: npt.NDArray[np.float64]
    spacing_mm: npt.NDArray[np.float64]
    values: Array

    def at(self, points_mm: Points, cycle_fraction: float) -> Array:
        """Values at canonical points `(..., 3)`, all at one time, `(...)`."""
        scaled = ((points_mm - self.low_mm) * self._per_mm - 1).astype(np.float32)
        where = torch.from_numpy(scaled).view(1, 1, 1, -1, 3)
        volume = torch.from_numpy(self._volume(cycle_fraction))[None, None]
        found = grid_sample(volume, where, align_corners=True, padding_mode="zeros")
        return np.asarray(found.view(points_mm.shape[:-1]).numpy())

    def on_grid(
        self, canonical_from_ijk: Affine, shape_kji: tuple[int, int, int], cycle_fraction: float
    ) -> Array:
        """Values at the points of a grid, `shape_kji`, all at one time.

        Where the grid's axes are those of canonical space, as an export's are, this is three small
        matrix products; else its points are looked up.
        """
        A = canonical_from_ijk[:3, :3]
        if np.abs(A - np.diag(np.diag(A))).max() * max(shape_kji) > PARALLEL_MM:
            ijk = np.moveaxis(np.indices(shape_kji)[::-1], 0, -1)
            return self.at(apply_affine(canonical_from_ijk, ijk), cycle_fraction)
        starts = (canonical_from_ijk[:3, 3] - self.low_mm) / self.spacing_mm
        steps, sizes = np.diag(A) / self.spacing_mm, self.values.shape[:0:-1]
        along_i, along_j, along_k = (
            _hats(start + step * np.arange(n), n_nodes)
            for start, step, n, n_nodes in zip(starts, steps, shape_kji[::-1], sizes, strict=True)
        )
        rows = np.tensordot(along_k, self._volume(cycle_fraction), 1)
        return np.asarray(along_j @ (rows @ along_i.T))

    @cached_property
    def _per_mm(self) -> npt.NDArray[np.float64]:
        """From mm to the [-1, 1] of `grid_sample`, whose ends are the outer nodes."""
        return 2 / (self.spacing_mm * (np.array(self.values.shape[:0:-1]) - 1))

    def _volume(self, cycle_fraction: float) -> Array:
        weights = harmonics([cycle_fraction], (len(self.values) - 1) // 2)[0]
        return np.tensordot(weights.astype(np.float32), self.values, 1)


def _hats(positions: npt.NDArray[np.float64], n_nodes: int) -> Array:
    """Linear interpolation from nodes 0 to n_nodes - 1, `(n, n_nodes)`; beyond them it fades to 0
    within one cell, as `grid_sample` does."""
    weights = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(n_nodes)))
    return weights.astype(np.float32)
