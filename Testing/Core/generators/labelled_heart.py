"""A study of an analytic heart whose labels are known at every point, and its label files.

Label files are arrays `[i, j, k]` or `[i, j, k, t]` with `ras_from_ijk`, written with nibabel and
pynrrd alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import numpy.typing as npt

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Affine, Points, apply_affine, lps_from_ras
from NISFCore.views import View
from Testing.Core.analysis.hearts import EllipsoidHeart, plane_ras_from_ijk

HEART = EllipsoidHeart(sharpness_per_mm=None)
SHAPE = (44, 60)
SPACING_MM = (1.9, 2.1)
SA_HEIGHTS_MM = (10.0, 0.0, -10.0, -20.0)
THICKNESS_MM = 8.0

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Drawing:
    """What a file holds: `data` `[i, j, k]` or `[i, j, k, t]`, and where."""

    data: npt.NDArray[Any]
    ras_from_ijk: Affine

    def reoriented(self, axes: Sequence[int], flips: Sequence[bool]) -> "Drawing":
        """The same voxels at the same places with permuted and flipped axes."""
        rest = tuple(range(3, self.data.ndim))
        data, A = np.transpose(self.data, (*axes, *rest)), self.ras_from_ijk.copy()
        A[:3, :3] = A[:3, list(axes)]
        for axis, flip in enumerate(flips):
            if flip:
                A[:3, 3] += A[:3, axis] * (data.shape[axis] - 1)
                A[:3, axis] *= -1
                data = np.flip(data, axis)
        return Drawing(np.ascontiguousarray(data), A)

    def cropped(self, first: Sequence[int], size: Sequence[int]) -> "Drawing":
        """The part of `size` voxels that begins at voxel `first`."""
        window = tuple(slice(f, f + n) for f, n in zip(first, size, strict=True))
        A = self.ras_from_ijk.copy()
        A[:3, 3] = apply_affine(A, first)
        return Drawing(self.data[window], A)


def labels_at(points_ras: Points, cycle_fraction: float = 0.0) -> Labels:
    """The truth at points `(..., 3)`."""
    flat = HEART.evaluate(points_ras.reshape(-1, 3), cycle_fraction).labels
    return flat.reshape(points_ras.shape[:-1]).astype(np.uint8)


def cine(
    name: str,
    view: View,
    ras_from_ijk: Affine,
    n_phases: int = 4,
    shape: tuple[int, int] = SHAPE,
    thickness_mm: float = THICKNESS_MM,
) -> CineSlice:
    times_ms = np.arange(n_phases) / n_phases * 900.0
    frames = np.zeros((n_phases, *shape), dtype=np.float32)
    return CineSlice(name, view, frames, ras_from_ijk, thickness_mm, times_ms, 900.0)


def heart_study(n_phases: int = 4, n_phases_la: int = 4) -> CineStudy:
    """Four SA slices 10 mm apart, a four- and a two-chamber slice, all oblique."""
    place = HEART.ras_from_heart
    slices = [
        cine(
            f"SA_{k:02d}",
            View.SA,
            plane_ras_from_ijk(place, [15, 0, z], [1, 0, 0], [0, 1, 0], SPACING_MM, SHAPE),
            n_phases,
        )
        for k, z in enumerate(SA_HEIGHTS_MM)
    ]
    long_axes: list[tuple[str, View, list[float]]] = [
        ("LA_4CH", View.LA_4CH, [1.0, 0, 0]),
        ("LA_2CH", View.LA_2CH, [0.6, 0.8, 0]),
    ]
    for name, view, i_axis in long_axes:
        A = plane_ras_from_ijk(place, [5, 0, -5], i_axis, [0, 0, -1], SPACING_MM, SHAPE)
        slices.append(cine(name, view, A, n_phases_la))
    return CineStudy(tuple(slices))


def truth(item: CineSlice, cycle_fraction: float = 0.0) -> Labels:
    """The labels of a slice's pixels `(rows, cols)`."""
    return labels_at(pixel_centres_ras(item.ras_from_ijk, item.shape), cycle_fraction)


def far_from_borders(item: CineSlice, reach_mm: float, cycle_fraction: float = 0.0) -> Any:
    """Pixels around which the truth is the same in 26 directions, `reach_mm` and half of it
    away."""
    points = pixel_centres_ras(item.ras_from_ijk, item.shape)
    here, same = labels_at(points, cycle_fraction), np.ones(item.shape, dtype=np.bool_)
    for direction in np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3):
        for part in (0.5, 1.0):
            step = direction / max(float(np.linalg.norm(direction)), 1.0) * reach_mm * part
            same &= labels_at(points + step, cycle_fraction) == here
    return same


def grid_points(ras_from_ijk: Affine, size: Sequence[int]) -> Points:
    """Voxel centres `[i, j, k, 3]`."""
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
    return apply_affine(ras_from_ijk, ijk)


def drawn_on(
    items: Sequence[CineSlice],
    refine: int = 1,
    cycle_fractions: Sequence[float] | None = None,
) -> Drawing:
    """Equally spaced parallel slices, labelled voxel by voxel, `refine` times as fine in-plane.

    For odd `refine`, every pixel centre is a voxel centre.
    """
    first = items[0]
    A = first.ras_from_ijk.copy()
    A[:3, :2] /= refine
    A[:3, 3] = apply_affine(A, [-(refine // 2), -(refine // 2), 0])
    if len(items) > 1:
        A[:3, 2] = items[1].ras_from_ijk[:3, 3] - first.ras_from_ijk[:3, 3]
    rows, cols = first.shape
    points = grid_points(A, (cols * refine, rows * refine, len(items)))
    if cycle_fractions is None:
        return Drawing(labels_at(points), A)
    return Drawing(np.stack([labels_at(points, t) for t in cycle_fractions], axis=-1), A)


def dense_drawing(spacing_mm: float, axes: Affine, cycle_fraction: float = 0.0) -> Drawing:
    """The whole heart on a regular grid with the directions of `axes`."""
    size = [int(140 / spacing_mm)] * 3
    A = axes.copy()
    A[:3, :3] *= spacing_mm
    centre = apply_affine(HEART.ras_from_heart, [15.0, 0, -5])
    A[:3, 3] = centre - A[:3, :3] @ ((np.array(size) - 1) / 2)
    return Drawing(labels_at(grid_points(A, size), cycle_fraction), A)


def write_nifti(path: Path, drawing: Drawing, code: int = 1) -> Path:
    """`code` 0 leaves the geometry out, as far as NIfTI can."""
    image = nib.Nifti1Image(drawing.data, drawing.ras_from_ijk)
    image.set_sform(drawing.ras_from_ijk, code=code)
    # A qform has no room for sheared axes.
    image.set_qform(drawing.ras_from_ijk, code=0)
    nib.save(image, path)
    return path


def write_nrrd(
    path: Path,
    drawing: Drawing,
    fields: dict[str, Any] | None = None,
    space: str = "left-posterior-superior",
    list_first: bool = False,
) -> Path:
    """A volume, or with a fourth axis (or first, if `list_first`) a list of volumes."""
    A = drawing.ras_from_ijk
    if space == "left-posterior-superior":
        A = lps_from_ras() @ A
    directions, data = A[:3, :3].T, drawing.data
    if data.ndim == 4:
        none = np.full((1, 3), np.nan)
        parts = (none, directions) if list_first else (directions, none)
        directions = np.concatenate(parts)
        data = np.moveaxis(data, -1, 0) if list_first else data
    header = {"space": space, "space directions": directions, "space origin": A[:3, 3]}
    nrrd.write(str(path), np.asfortranarray(data), header | (fields or {}))
    return path


def segment_fields(*segments: tuple[str, int, int]) -> dict[str, str]:
    """Header of a segmentation with segments (name, value, layer)."""
    fields = {}
    for index, (name, value, layer) in enumerate(segments):
        fields[f"Segment{index}_ID"] = f"Segment_{index + 1}"
        fields[f"Segment{index}_Name"] = name
        fields[f"Segment{index}_LabelValue"] = str(value)
        fields[f"Segment{index}_Layer"] = str(layer)
    return fields


OUR_SEGMENTS = segment_fields(("LV", 1, 0), ("Myocardium", 2, 0), ("right ventricle", 3, 0))
