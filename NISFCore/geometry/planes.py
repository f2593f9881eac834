"""Imaging planes as rectangles in RAS, and the segments in which two of them intersect.

A plane's `ras_from_ijk` maps (i, j, 0) = (column, row, 0) of a frame of shape (rows, cols); its
third column is the unit normal times the slice thickness (or any positive length).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.spaces import Affine, Points, apply_affine, invert_affine


def normal_ras(ras_from_ijk: npt.ArrayLike) -> Points:
    """Unit normal `(3,)`, i axis × j axis: (i, j, normal) is right-handed in RAS."""
    A = np.asarray(ras_from_ijk, dtype=np.float64)
    normal = np.cross(A[:3, 0], A[:3, 1])
    return normal / np.linalg.norm(normal)


def centre_ras(ras_from_ijk: npt.ArrayLike, shape: tuple[int, int]) -> Points:
    """Centre `(3,)` of a frame of `shape` (rows, cols): voxel centres, hence (n - 1) / 2."""
    rows, cols = shape
    return apply_affine(ras_from_ijk, [(cols - 1) / 2, (rows - 1) / 2, 0.0])


def corners_ras(ras_from_ijk: npt.ArrayLike, shape: tuple[int, int]) -> Points:
    """Outer corners `(4, 3)` of the pixel area, in order around the rectangle."""
    rows, cols = shape
    i, j = cols - 0.5, rows - 0.5
    corners = [[-0.5, -0.5, 0], [i, -0.5, 0], [i, j, 0], [-0.5, j, 0]]
    return apply_affine(ras_from_ijk, corners)


def pixel_centres_ras(ras_from_ijk: npt.ArrayLike, shape: tuple[int, int]) -> Points:
    """Centres of all pixels, `(rows, cols, 3)`."""
    rows, cols = shape
    j, i = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    return apply_affine(ras_from_ijk, np.stack([i, j, np.zeros_like(i)], axis=-1))


@dataclass(frozen=True)
class Segment:
    """A straight piece of line in RAS, from `start_ras` to `end_ras`, each `(3,)`."""

    start_ras: Points
    end_ras: Points

    @property
    def length_mm(self) -> float:
        return float(np.linalg.norm(self.end_ras - self.start_ras))

    def points(self, n: int) -> Points:
        """`n` equally spaced points `(n, 3)`, both ends included."""
        w = np.linspace(0.0, 1.0, n)[:, None]
        return (1 - w) * self.start_ras + w * self.end_ras


def intersection_line(
    a_ras_from_ijk: npt.ArrayLike, b_ras_from_ijk: npt.ArrayLike, min_angle_deg: float = 10.0
) -> tuple[Points, Points] | None:
    """Line (point, unit direction) in which two unbounded planes meet; None if nearly parallel.

    The point is the one nearest to the midpoint of the two planes' origins.
    """
    A, B = np.asarray(a_ras_from_ijk), np.asarray(b_ras_from_ijk)
    n_a, n_b = normal_ras(A), normal_ras(B)
    direction = np.cross(n_a, n_b)
    sine = float(np.linalg.norm(direction))
    if sine < np.sin(np.deg2rad(min_angle_deg)):
        return None
    direction = direction / sine
    reference = (A[:3, 3] + B[:3, 3]) / 2
    M = np.stack([n_a, n_b, direction])
    point = np.linalg.solve(M, [n_a @ A[:3, 3], n_b @ B[:3, 3], direction @ reference])
    return point, direction


def intersection_segment(
    a_ras_from_ijk: npt.ArrayLike,
    a_shape: tuple[int, int],
    b_ras_from_ijk: npt.ArrayLike,
    b_shape: tuple[int, int],
    min_angle_deg: float = 10.0,
) -> Segment | None:
    """The part of the planes' intersection line that lies on both frames, or None."""
    line = intersection_line(a_ras_from_ijk, b_ras_from_ijk, min_angle_deg)
    if line is None:
        return None
    point, direction = line
    low, high = -np.inf, np.inf
    frames = ((np.asarray(a_ras_from_ijk), a_shape), (np.asarray(b_ras_from_ijk), b_shape))
    for ras_from_ijk, shape in frames:
        frame_low, frame_high = _clip_to_frame(point, direction, ras_from_ijk, shape)
        low, high = max(low, frame_low), min(high, frame_high)
    if not low < high:
        return None
    return Segment(point + low * direction, point + high * direction)


def _clip_to_frame(
    point: Points, direction: Points, ras_from_ijk: Affine, shape: tuple[int, int]
) -> tuple[float, float]:
    """Range of s for which point + s direction lies between the frame's outer pixel centres."""
    ijk_from_ras = invert_affine(ras_from_ijk)
    p = apply_affine(ijk_from_ras, point)[:2]
    d = ijk_from_ras[:2, :3] @ direction
    low, high = -np.inf, np.inf
    for axis, n in enumerate((shape[1], shape[0])):
        if abs(d[axis]) < 1e-12:
            if not 0 <= p[axis] <= n - 1:
                return np.inf, -np.inf
            continue
        s = sorted(((0 - p[axis]) / d[axis], (n - 1 - p[axis]) / d[axis]))
        low, high = max(low, s[0]), min(high, s[1])
    return low, high
