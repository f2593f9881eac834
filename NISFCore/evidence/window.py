"""The window through which the network sees a slice: a square grid in the slice's own plane, about
the heart and turned with it, whatever the pixels of the image.

Two kinds of planes, by their angle to the LV axis (canonical z), so that hearts always stand alike:
  across the axis (SA): columns along canonical +x (to the RV), rows along +y; centred on the axis;
  along it (LA): rows along +z (apex to base), columns towards azimuth (-45, 135] degrees; centred
  on the point of the plane nearest to the origin.
Both are shifted by `RV_SHIFT_MM` towards the RV where the plane holds it. Grid indices (i, j, 0)
are (column, row), integers at pixel centres; affines are in mm of canonical space.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from NISFCore.errors import StudyError
from NISFCore.geometry.planes import normal_ras
from NISFCore.geometry.spaces import Affine, Points, apply_affine, invert_affine

ACROSS_AXIS_COSINE = 0.7
RV_SHIFT_MM = 12.0
FIRST_AZIMUTH_DEG = -45.0


@dataclass(frozen=True)
class WindowGrid:
    """Size of a window: `n_pixels` columns and rows of `pixel_mm`."""

    n_pixels: int
    pixel_mm: float

    @property
    def size_mm(self) -> float:
        return self.n_pixels * self.pixel_mm


@dataclass(frozen=True)
class WindowChange:
    """How a window is moved in its plane, for test-time augmentation.

    Attributes:
        turn_rad: about its centre.
        shift_mm: along its columns and rows.
        scale: of its pixels.
    """

    turn_rad: float = 0.0
    shift_mm: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0


UNCHANGED = WindowChange()


def is_across_axis(canonical_from_ijk: Affine) -> bool:
    """Whether a plane is about perpendicular to the LV axis."""
    return bool(abs(normal_ras(canonical_from_ijk)[2]) > ACROSS_AXIS_COSINE)


def canonical_from_window(
    canonical_from_ijk: Affine, grid: WindowGrid, change: WindowChange = UNCHANGED
) -> Affine:
    """Where the window of the plane of `canonical_from_ijk` lies: canonical <- grid index."""
    normal = normal_ras(canonical_from_ijk)
    distance = float(normal @ canonical_from_ijk[:3, 3])
    if is_across_axis(canonical_from_ijk):
        u, v = _axes_across(normal)
        centre = np.array([0.0, 0.0, distance / normal[2]])
    else:
        u, v = _axes_along(normal)
        centre = distance * normal
    centre = centre + RV_SHIFT_MM * u[0] * u
    return _window(centre, u, v, grid, change)


def _axes_across(normal: Points) -> tuple[Points, Points]:
    n = normal * np.sign(normal[2])
    u = _unit(np.array([1.0, 0.0, 0.0]) - n[0] * n)
    return u, np.cross(n, u)


def _axes_along(normal: Points) -> tuple[Points, Points]:
    v = _unit(np.array([0.0, 0.0, 1.0]) - normal[2] * normal)
    u = np.cross(v, normal)
    azimuth_deg = np.rad2deg(np.arctan2(u[1], u[0]))
    is_first = (azimuth_deg - FIRST_AZIMUTH_DEG) % 360.0 < 180.0
    return (u if is_first else -u), v


def _unit(vector: Points) -> Points:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)


def _window(centre: Points, u: Points, v: Points, grid: WindowGrid, change: WindowChange) -> Affine:
    c, s = np.cos(change.turn_rad), np.sin(change.turn_rad)
    across, along = c * u + s * v, c * v - s * u
    pixel_mm = grid.pixel_mm * change.scale
    A = np.eye(4)
    A[:3, 0], A[:3, 1] = across * pixel_mm, along * pixel_mm
    A[:3, 2] = np.cross(across, along)
    half = (grid.n_pixels - 1) / 2
    shift_u, shift_v = change.shift_mm
    corner = centre + shift_u * across + shift_v * along
    A[:3, 3] = corner - half * (A[:3, 0] + A[:3, 1])
    return A


def window_points(canonical_from_grid: Affine, grid: WindowGrid) -> Points:
    """Canonical coordinates `(n, n, 3)` of all grid points, indexed [row, column]."""
    j, i = np.meshgrid(*[np.arange(grid.n_pixels)] * 2, indexing="ij")
    return apply_affine(canonical_from_grid, np.stack([i, j, np.zeros_like(i)], axis=-1))


def sample_at(images: Tensor, ij: Tensor, is_continued: bool = False) -> Tensor:
    """Bilinear values of images at pixel positions.

    Args:
        images: `(n, channels, rows, cols)`.
        ij: `(n or 1, rows', cols', 2)` positions (column, row); integers are pixel centres.
        is_continued: continue the border values outside; otherwise 0 there.

    Returns:
        `(n, channels, rows', cols')`.
    """
    rows, cols = images.shape[-2:]
    size = images.new_tensor([cols, rows])
    # align_corners=False: -1 and 1 are the outer edges of the border pixels.
    normalised = (2 * ij + 1) / size - 1
    grid = normalised.expand(images.shape[0], -1, -1, -1).to(images.dtype)
    mode = "border" if is_continued else "zeros"
    return functional.grid_sample(
        images, grid, mode="bilinear", padding_mode=mode, align_corners=False
    )


def pixels_of_window(canonical_from_ijk: Affine, canonical_from_grid: Affine, n: int) -> Tensor:
    """Image positions `(1, n, n, 2)` (column, row) float32 of the grid points of a window."""
    ijk_from_grid = invert_affine(canonical_from_ijk) @ canonical_from_grid
    return _positions(ijk_from_grid, (n, n))


def window_of_pixels(
    canonical_from_ijk: Affine, canonical_from_grid: Affine, shape: tuple[int, int]
) -> Tensor:
    """Grid positions `(1, rows, cols, 2)` (column, row) float32 of the pixels of an image."""
    grid_from_ijk = invert_affine(canonical_from_grid) @ canonical_from_ijk
    return _positions(grid_from_ijk, shape)


def _positions(target_from_source: Affine, shape: tuple[int, int]) -> Tensor:
    rows, cols = shape
    j, i = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    points = apply_affine(target_from_source, np.stack([i, j, np.zeros_like(i)], axis=-1))
    off_plane = np.abs(points[..., 2]).max(initial=0)
    if off_plane > 1e-3 * max(shape):
        raise StudyError(f"a window lies {off_plane:.3g} pixels off its slice, allowed: 0")
    return torch.as_tensor(points[None, ..., :2].astype(np.float32))
