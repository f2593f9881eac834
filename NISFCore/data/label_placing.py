"""Where the pixels of a study's slices lie in a file of labels, and what it says there.

A file that is one plane or a stack speaks of those slices only that lie in one of its planes: what
is between its planes nobody drew. A map that is dense in all directions is sampled by every slice
that it covers. Hard labels are looked up (nearest voxel), probabilities interpolated.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from NISFCore.data.label_volume import Array, LabelVolume, Probabilities
from NISFCore.data.study import CineSlice
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Points, apply_affine, invert_affine
from NISFCore.labels import N_LABELS, UNKNOWN

MAX_DENSE_SPACING_MM = 3.0
"""A map with voxels of at most this along every axis is dense."""

MAX_TILT_DEG = 3.0
"""Between a slice's normal and that of a file's planes, to be the same plane."""

EDGE = 1e-6
"""Voxels; a pixel this far beyond the outer face of a voxel counts as inside."""


@dataclass(frozen=True)
class Planes:
    """The parallel planes of a file.

    Attributes:
        axis: of the file, across its planes: 0, 1, 2 for i, j, k.
        count: number of planes.
        spacing_mm: between planes; for a single plane, what the file says without meaning it.
        normal_ras: unit vector towards higher indices.
        first_ras: centre of plane 0.
    """

    axis: int
    count: int
    spacing_mm: float
    normal_ras: Points
    first_ras: Points


@dataclass(frozen=True)
class Placement:
    """A slice's pixels in a file.

    Attributes:
        cine: the slice.
        ijk: `(rows, cols, 3)` voxel coordinates of its pixel centres, whole across the planes.
        inside: `(rows, cols)`, pixels within the file's voxels.
        plane: (axis, index) of the file's plane; None in a dense map.
    """

    cine: CineSlice
    ijk: Points
    inside: npt.NDArray[np.bool_]
    plane: tuple[int, int] | None = None


@dataclass(frozen=True)
class Miss:
    """Why a slice is in none of a file's planes: how far the nearest is off, and its tilt."""

    distance_mm: float
    tilt_deg: float


def planes_of(volume: LabelVolume) -> Planes | None:
    """The planes of a file; None if it is dense."""
    ijk_from_ras = invert_affine(volume.ras_from_ijk)
    gradients = ijk_from_ras[:3, :3]
    spacing = 1 / np.linalg.norm(gradients, axis=1)
    sizes = np.array(volume.sizes)
    single = np.flatnonzero(sizes == 1)
    if not len(single) and spacing.max() <= MAX_DENSE_SPACING_MM:
        return None
    candidates = single if len(single) else np.arange(3)
    axis = int(candidates[np.argmax(spacing[candidates])])
    centre = (sizes - 1) / 2.0
    centre[axis] = 0
    return Planes(
        axis=axis,
        count=int(sizes[axis]),
        spacing_mm=float(spacing[axis]),
        normal_ras=gradients[axis] * spacing[axis],
        first_ras=apply_affine(volume.ras_from_ijk, centre),
    )


def place_by_geometry(
    volume: LabelVolume, planes: Planes | None, cine: CineSlice
) -> Placement | Miss:
    """The slice's pixels in the file, or why it is in none of its planes."""
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
    ijk_from_ras = invert_affine(volume.ras_from_ijk)
    if planes is None:
        return _placement(volume, cine, apply_affine(ijk_from_ras, points))
    found = _plane_of(planes, cine)
    if isinstance(found, Miss):
        return found
    above_mm = (points - planes.first_ras) @ planes.normal_ras - found * planes.spacing_mm
    within = points - above_mm[..., None] * planes.normal_ras
    ijk = apply_affine(ijk_from_ras, within)
    ijk[..., planes.axis] = found  # exactly, not up to rounding
    return _placement(volume, cine, ijk, (planes.axis, found))


def place_by_index(volume: LabelVolume, cine: CineSlice) -> Placement | None:
    """Pixel by pixel, for a file without geometry; None if its size is not the slice's."""
    rows, cols = cine.shape
    if volume.sizes != (cols, rows, 1):
        return None
    return _placement(volume, cine, pixel_centres_ras(np.eye(4), cine.shape), (2, 0))


def sampled(
    volume: LabelVolume, frame: int, placement: Placement
) -> tuple[Probabilities, npt.NDArray[np.bool_]]:
    """What a frame of the file says of a slice: probabilities `(rows, cols, N_LABELS)`, 0 where it
    says nothing, and where it says something, `(rows, cols)`."""
    values = volume.values[frame]
    p = _interpolated(values, placement.ijk) if volume.is_soft else _nearest(values, placement.ijk)
    p[~placement.inside] = 0
    return p, np.asarray(p.any(axis=-1))


def foreground_planes(volume: LabelVolume, axis: int) -> npt.NDArray[np.int_]:
    """Indices along `axis` of the planes in which a frame has a label other than background."""
    if volume.is_soft:
        is_label = np.argmax(volume.values, axis=-1) > 0
    else:
        is_label = (volume.values != 0) & (volume.values != UNKNOWN)
    others = tuple(a for a in range(4) if a != 3 - axis)
    return np.flatnonzero(is_label.any(axis=others))


def _plane_of(planes: Planes, cine: CineSlice) -> int | Miss:
    """Index of the plane that the slice lies in: where the line through the centres of the
    file's planes meets the slice."""
    cosine = float(cine.normal_ras @ planes.normal_ras)
    tilt_deg = float(np.rad2deg(np.arccos(min(abs(cosine), 1.0))))
    if tilt_deg > MAX_TILT_DEG:
        away = abs((cine.centre_ras - planes.first_ras) @ cine.normal_ras)
        return Miss(float(away), tilt_deg)
    along_mm = float((cine.centre_ras - planes.first_ras) @ cine.normal_ras) / cosine
    index = int(np.clip(np.rint(along_mm / planes.spacing_mm), 0, planes.count - 1))
    distance_mm = abs(along_mm - index * planes.spacing_mm)
    limit_mm = cine.thickness_mm / 2
    if planes.count > 1:
        limit_mm = min(limit_mm, planes.spacing_mm / 2)
    return index if distance_mm < limit_mm else Miss(distance_mm, tilt_deg)


def _placement(
    volume: LabelVolume, cine: CineSlice, ijk: Points, plane: tuple[int, int] | None = None
) -> Placement:
    last_face = np.array(volume.sizes) - 0.5 + EDGE
    inside = np.asarray(((ijk >= -0.5 - EDGE) & (ijk <= last_face)).all(axis=-1))
    return Placement(cine, ijk, inside, plane)


def _clipped(values: Array, ijk: npt.NDArray[np.int_]) -> tuple[npt.NDArray[np.int_], ...]:
    """Index arrays (k, j, i) of the nearest voxels that exist."""
    sizes = values.shape[:3]
    return tuple(np.clip(ijk[..., 2 - a], 0, n - 1) for a, n in enumerate(sizes))


def _nearest(values: Array, ijk: Points) -> Probabilities:
    labels = values[_clipped(values, np.rint(ijk).astype(np.int_))]
    table = np.zeros((UNKNOWN + 1, N_LABELS), dtype=np.float32)
    table[:N_LABELS] = np.eye(N_LABELS)
    return table[labels]


def _interpolated(values: Array, ijk: Points) -> Probabilities:
    """Trilinear over the voxels that say something; known where these weigh more than half."""
    first = np.floor(ijk).astype(np.int_)
    w = ijk - first
    total = np.zeros((*ijk.shape[:-1], N_LABELS))
    for corner in product((0, 1), repeat=3):
        weight = np.prod(np.where(np.array(corner, dtype=bool), w, 1 - w), axis=-1)
        total += weight[..., None] * values[_clipped(values, first + np.array(corner))]
    said = total.sum(axis=-1, keepdims=True)
    return np.where(said > 0.5, total / np.maximum(said, 1e-6), 0).astype(np.float32)
