"""Where a plane cuts a closed triangle mesh: the pixels whose centres lie inside it."""

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.spaces import Affine, Points, apply_affine, invert_affine


def section_mask(
    points_ras: Points,
    triangles: npt.NDArray[np.int64],
    ras_from_ijk: Affine,
    shape: tuple[int, int],
) -> npt.NDArray[np.bool_]:
    """Pixels `(rows, cols)` of a plane inside a closed mesh, by the even-odd rule along rows.

    What lies exactly on the plane or on a row counts as just above it, so that every crossing is
    counted once.
    """
    ijk = apply_affine(invert_affine(ras_from_ijk), points_ras)
    segments = _cut_segments(ijk[triangles])
    row, col = _row_crossings(segments, shape[0])
    first = np.clip(np.ceil(col), 0, shape[1]).astype(np.int64)  # the first pixel beyond
    turns = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)
    np.add.at(turns, (row, first), 1)
    return np.asarray(np.cumsum(turns, axis=1)[:, :-1] % 2 == 1)


def _cut_segments(corners: Points) -> Points:
    """Segments `(n, 2, 2)` of (column, row) in which triangles `(n, 3, 3)` of voxel coordinates cut
    the plane k = 0."""
    above = corners[:, :, 2] >= 0
    cut = corners[above.any(axis=1) & ~above.all(axis=1)]
    above = cut[:, :, 2] >= 0
    # the corner that is alone on its side, and the edges from it to the other two
    alone = np.argmax(above == (above.sum(axis=1) == 1)[:, None], axis=1)
    return np.stack([_cut_point(cut, alone, (alone + k) % 3) for k in (1, 2)], axis=1)


def _cut_point(corners: Points, a: npt.NDArray[np.intp], b: npt.NDArray[np.intp]) -> Points:
    """Where edges cross k = 0, `(n, 2)`; always reckoned from above, so that both triangles of an
    edge find exactly the same point."""
    index = np.arange(len(corners))
    p, q = corners[index, a], corners[index, b]
    is_above = p[:, 2:] >= 0
    p, q = np.where(is_above, p, q), np.where(is_above, q, p)
    return np.asarray(p[:, :2] + p[:, 2:] / (p[:, 2:] - q[:, 2:]) * (q - p)[:, :2])


def _row_crossings(
    segments: Points, n_rows: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Rows `(n,)` whose centre lines segments cross, and the columns `(n,)` where they do."""
    low, high = np.sort(segments[:, :, 1], axis=1).T
    first, last = np.ceil(low), np.ceil(high) - 1  # rows in [low, high)
    first, last = np.clip(first, 0, n_rows), np.clip(last, -1, n_rows - 1)
    counts = np.maximum(last - first + 1, 0).astype(np.int64)
    which = np.repeat(np.arange(len(segments)), counts)
    rows = first[which].astype(np.int64) + np.arange(len(which))
    rows -= np.repeat(np.cumsum(counts) - counts, counts)
    (x0, y0), (x1, y1) = segments[which, 0].T, segments[which, 1].T
    return rows, x0 + (rows - y0) / (y1 - y0) * (x1 - x0)
