"""Borders of labels as signed distances per frame: what labels say of a plane, tagged or not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.measure import find_contours
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import Label
from NISFCore.motion.field import Placement
from NISFCore.motion.images import ImageStack, around, image_stack
from NISFCore.motion.shown_wall import ShownBorder, shown_borders
from NISFCore.motion.tagged import with_derivatives

SMOOTHING_PIXELS = 1.0
"""Of signed distances: labels are pixels, borders are not staircases."""
MAX_DISTANCE_MM = 12.0

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Contour:
    """One border of the LV wall in one plane over time.

    Attributes:
        points: `(n, n_dims)` local mm, on the border in the first frame.
        distances: channels as `tagged.with_derivatives`: mm, negative inside.
        times: `(n_frames,)` cycle fractions.
        is_inner: the endocardium, with the wall outside of it; else the epicardium.
        shown: where around the LV the labels still have it.
    """

    points: Tensor
    distances: ImageStack
    times: Tensor
    is_inner: bool
    shown: ShownBorder

    def frame_at(self, moment: float) -> int:
        """Index of the frame nearest to a cycle fraction."""
        return int((self.times - moment).abs().argmin())


def wall_shown(contours: Sequence[Contour], times: Tensor, moved: Tensor) -> Tensor:
    """How much images say of tissue `(n_times, n)` in [0, 1] that has come to `moved`
    `(n_times, n, 2)`: 0 where labels show that the wall has left the plane, 1 without labels."""
    shown = moved.new_ones(moved.shape[:2])
    for contour in contours:
        if not contour.is_inner:
            frames = [contour.frame_at(float(t)) for t in times]
            weights = [contour.shown.at(j, x) for j, x in zip(frames, moved, strict=True)]
            shown = shown * torch.stack(weights)
    return shown


def wall_contours(cine: CineSlice, placement: Placement, n_points: int = 64) -> list[Contour]:
    """Endocardium and epicardium of a slice that is labelled in every frame; where the blood pool
    is absent at ED there is only the outer one, without labels none."""
    if cine.labels is None or not cine.labels.annotated.all():
        return []
    wall = cine.labels.values[0] == Label.LV_MYOCARDIUM
    near, _ = around(cine, wall)
    assert near.labels is not None  # cropped with the slice
    blood = near.labels.values == Label.LV_BLOOD_POOL
    both = blood | (near.labels.values == Label.LV_MYOCARDIUM)
    inner, outer = shown_borders(near, placement)
    found = [
        _contour(near, region, placement, n_points, is_inner, shown)
        for region, is_inner, shown in ((blood, True, inner), (both, False, outer))
        if region[0].any()
    ]
    return [c for c in found if c is not None]


def _contour(
    cine: CineSlice,
    region: npt.NDArray[np.bool_],
    placement: Placement,
    n_points: int,
    is_inner: bool,
    shown: ShownBorder,
) -> Contour | None:
    distances = signed_distances(region, cine.spacing_mm)
    points = _border_points(distances[0], cine, n_points)
    if points is None:
        return None
    stack = image_stack(distances[:, None], cine.ras_from_ijk, placement)
    local = torch.tensor(placement.local_from_ras(points), dtype=torch.float32)
    times = torch.tensor(cine.cycle_fractions, dtype=torch.float32)
    return Contour(local, with_derivatives(stack), times, is_inner, shown)


def signed_distances(
    region: npt.NDArray[np.bool_], spacing_mm: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """mm to the border of a region `(n_frames, rows, cols)`, negative inside, smoothed; the border
    is taken half a pixel from the centres of the pixels beside it."""
    sampling, half_mm = (spacing_mm[1], spacing_mm[0]), sum(spacing_mm) / 4
    signed = [
        np.where(
            r,
            half_mm - distance_transform_edt(r, sampling),
            distance_transform_edt(~r, sampling) - half_mm,
        )
        for r in region
    ]
    clipped = np.clip(np.stack(signed), -MAX_DISTANCE_MM, MAX_DISTANCE_MM)
    return np.asarray(gaussian_filter(clipped, (0.0, SMOOTHING_PIXELS, SMOOTHING_PIXELS)))


def _border_points(
    distance: npt.NDArray[np.float64], cine: CineSlice, n_points: int
) -> npt.NDArray[np.float64] | None:
    """RAS points `(n, 3)` on the longest zero line."""
    lines = find_contours(distance, 0.0)
    if not lines:
        return None
    line = max(lines, key=len)
    chosen = line[np.linspace(0, len(line) - 1, min(n_points, len(line))).astype(int)]
    ijk = np.column_stack([chosen[:, ::-1], np.zeros(len(chosen))])
    return apply_affine(cine.ras_from_ijk, ijk)
