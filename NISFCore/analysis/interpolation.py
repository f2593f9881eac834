"""Interpolation between grids with the same axes, as one matrix per axis.

A matrix `(n_to, n_from)` holds the weights of cubic Lagrange interpolation, so that a whole volume
is interpolated by three matrix products, which costs far less than evaluating a heart. Values are
`(..., n_k, n_j, n_i)`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.grids import Grid
from NISFCore.geometry.spaces import invert_affine

N_NODES = 4
ALIGNED_TOLERANCE = 1e-6

Array = npt.NDArray[np.float32]
Indices = tuple[npt.NDArray[np.int64], ...]


def lagrange_weights(
    nodes: npt.NDArray[np.float64], x: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weights `(n, m)` of Lagrange interpolation at `x` `(n,)` from `nodes` `(n, m)`."""
    m = nodes.shape[1]
    weights = np.ones(nodes.shape)
    for a in range(m):
        for b in range(m):
            if a != b:
                weights[:, a] *= (x - nodes[:, b]) / (nodes[:, a] - nodes[:, b])
    return weights


def axis_matrix(n_from: int, positions: npt.NDArray[np.float64]) -> Array:
    """Weights `(len(positions), n_from)` at positions in units of the samples' indices.

    Beyond the first and last sample the value there is kept; next to them the four nodes are those
    at that end.
    """
    x = np.clip(positions, 0, n_from - 1)
    n_nodes = min(N_NODES, n_from)
    first = np.clip(np.floor(x) - (n_nodes - 1) // 2, 0, n_from - n_nodes).astype(np.int64)
    nodes = first[:, None] + np.arange(n_nodes)
    matrix = np.zeros((len(x), n_from), dtype=np.float32)
    rows = np.arange(len(x))[:, None]
    matrix[rows, nodes] = lagrange_weights(nodes.astype(np.float64), x)
    return matrix


@dataclass(frozen=True)
class GridMap:
    """Where a grid's voxels lie in another grid with the same axes.

    Attributes:
        positions: for k, j, i the voxels' positions in the other grid's indices.
        n_from: the other grid's shape.
    """

    positions: tuple[npt.NDArray[np.float64], ...]
    n_from: tuple[int, int, int]

    @classmethod
    def between(cls, source: Grid, target: Grid) -> "GridMap":
        """The map from `target`'s voxels to `source`'s.

        Raises:
            ValueError: if the grids' axes do not have the same directions.
        """
        source_from_target = invert_affine(source.ras_from_ijk) @ target.ras_from_ijk
        scale = np.diag(source_from_target)[:3]
        off_axis = np.abs(source_from_target[:3, :3] - np.diag(scale)).max()
        if off_axis > ALIGNED_TOLERANCE or scale.min() <= 0:
            raise ValueError("grids: got axes of other directions, expected the same")
        axes = zip(scale[::-1], source_from_target[2::-1, 3], target.shape, strict=True)
        positions = tuple(_snapped(offset + step * np.arange(n)) for step, offset, n in axes)
        return cls(positions, source.shape)

    def matrices(self) -> tuple[Array, ...]:
        """The interpolation matrices of k, j and i."""
        pairs = zip(self.n_from, self.positions, strict=True)
        return tuple(axis_matrix(n, positions) for n, positions in pairs)

    def corners(self) -> tuple[Indices, Indices]:
        """For k, j and i the samples of the other grid on both sides of each voxel; twice the same
        where a voxel lies on one."""
        pairs = list(zip(self.n_from, self.positions, strict=True))
        below, above = (
            tuple(np.clip(round_(p), 0, n - 1).astype(np.int64) for n, p in pairs)
            for round_ in (np.floor, np.ceil)
        )
        return below, above

    def cells(self) -> Indices:
        """For k, j and i the cell of the other grid, 0 to n - 2, in which each voxel lies."""
        pairs = zip(self.n_from, self.positions, strict=True)
        return tuple(np.clip(np.floor(p), 0, max(0, n - 2)).astype(np.int64) for n, p in pairs)


def interpolated(values: Array, matrices: tuple[Array, ...]) -> Array:
    """Values `(..., n_k, n_j, n_i)` at the rows of three matrices `(m, n)`: `(..., m_k, m_j, m_i)`.

    Only the planes k that have a weight are read.
    """
    along_k, along_j, along_i = matrices
    used = np.flatnonzero(along_k.any(axis=0))
    planes = slice(used[0], used[-1] + 1)
    part = values[..., planes, :, :]
    flat = part.reshape(*part.shape[:-2], -1)
    in_k = (along_k[:, planes] @ flat).reshape(*part.shape[:-3], len(along_k), *part.shape[-2:])
    return np.asarray((along_j @ in_k) @ along_i.T)


def cell_extremes(values: Array) -> tuple[Array, Array]:
    """Largest and smallest of the eight corners of every cell, `(..., n_k - 1, ...)`; an axis with
    one sample has one cell."""
    below = tuple(np.arange(max(1, n - 1)) for n in values.shape[-3:])
    above = tuple(np.minimum(b + 1, n - 1) for b, n in zip(below, values.shape[-3:], strict=True))
    return corner_extremes(values, below, above)


def corner_extremes(values: Array, below: Indices, above: Indices) -> tuple[Array, Array]:
    """Largest and smallest of the eight samples at the indices `below` and `above` of k, j, i."""
    high = low = values
    for axis, (first, second) in zip((-3, -2, -1), zip(below, above, strict=True), strict=True):
        high = np.maximum(high.take(first, axis=axis), high.take(second, axis=axis))
        low = np.minimum(low.take(first, axis=axis), low.take(second, axis=axis))
    return high, low


def _snapped(positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Positions that are integers but for rounding become integers."""
    nearest = np.rint(positions)
    return np.where(np.abs(positions - nearest) < ALIGNED_TOLERANCE, nearest, positions)
