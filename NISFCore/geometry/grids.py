"""Regular 3D grids in RAS, on which a fitted heart is rendered. Arrays are `[k, j, i]`."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.spaces import Affine, Points, apply_affine


@dataclass(frozen=True)
class Grid:
    """A box of voxels: `shape` (n_k, n_j, n_i) and `ras_from_ijk`, integers at voxel centres."""

    ras_from_ijk: Affine
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"Grid.shape: got {self.shape}, every size must be at least 1")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxel centres along i, j, k."""
        i, j, k = np.linalg.norm(self.ras_from_ijk[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_volume_ml(self) -> float:
        return float(abs(np.linalg.det(self.ras_from_ijk[:3, :3]))) / 1000.0

    @property
    def n_voxels(self) -> int:
        return int(np.prod(self.shape))

    def slab_points_ras(self, k: int) -> Points:
        """Voxel centres of plane `k`, `(n_j, n_i, 3)`."""
        _, n_j, n_i = self.shape
        j, i = np.meshgrid(np.arange(n_j), np.arange(n_i), indexing="ij")
        return apply_affine(self.ras_from_ijk, np.stack([i, j, np.full_like(i, k)], axis=-1))

    def slab(self, planes: slice) -> "Grid":
        """Some consecutive planes as a grid of their own."""
        first, last, _ = planes.indices(self.shape[0])
        ras_from_ijk = self.ras_from_ijk.copy()
        ras_from_ijk[:3, 3] = apply_affine(self.ras_from_ijk, [0, 0, first])
        return Grid(ras_from_ijk, (last - first, *self.shape[1:]))

    def points_ras(self) -> Points:
        """All voxel centres, `(n_k, n_j, n_i, 3)`."""
        return np.stack([self.slab_points_ras(k) for k in range(self.shape[0])])


def box_grid(
    ras_from_box: npt.ArrayLike, low_mm: npt.ArrayLike, high_mm: npt.ArrayLike, spacing_mm: float
) -> Grid:
    """Isotropic grid that covers the box [low, high] of a space that is rigid to RAS."""
    if not spacing_mm > 0:
        raise ValueError(f"spacing_mm: got {spacing_mm}, must be positive")
    low, high = np.asarray(low_mm, dtype=np.float64), np.asarray(high_mm, dtype=np.float64)
    n = np.maximum(1, np.ceil((high - low) / spacing_mm - 1e-9).astype(int) + 1)
    box_from_ijk = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    box_from_ijk[:3, 3] = (low + high) / 2 - (n - 1) * spacing_mm / 2
    ras_from_ijk = np.asarray(ras_from_box, dtype=np.float64) @ box_from_ijk
    return Grid(ras_from_ijk, (int(n[2]), int(n[1]), int(n[0])))
