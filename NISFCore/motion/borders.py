"""Borders of the wall in one plane's labels, frame by frame, as places in space."""

import numpy as np
import numpy.typing as npt
import torch
from skimage.measure import find_contours
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import Label
from NISFCore.motion.contours import signed_distances
from NISFCore.motion.field import Placement
from NISFCore.motion.images import around
from NISFCore.motion.plane_in_space import BorderInPlane

INSIDE_MM = 2.0
"""The blood pool's border counts as endocardium where it is deeper than this in the LV: its basal
end borders on blood."""
NEAR_WALL_MM = 1.5
"""The LV's border is that of tissue where wall is this near."""
N_PLACES = 48

Distances = npt.NDArray[np.float64]


def borders_in_plane(cine: CineSlice, placement: Placement) -> list[BorderInPlane]:
    """Inner and outer border of a slice that is labelled in every frame, else none.

    A frame in which a border is not seen has no places.
    """
    if cine.labels is None or not cine.labels.annotated.all():
        return []
    seen = (cine.labels.values == Label.LV_MYOCARDIUM).any(axis=0)
    near, _ = around(cine, seen)
    assert near.labels is not None  # cropped with the slice
    wall = near.labels.values == Label.LV_MYOCARDIUM
    blood = near.labels.values == Label.LV_BLOOD_POOL
    d_wall, d_blood, d_lv = (
        signed_distances(r, near.spacing_mm) for r in (wall, blood, wall | blood)
    )
    times = torch.tensor(cine.cycle_fractions, dtype=torch.float32)
    inner = [_places(near, d_blood[j], d_lv[j] < -INSIDE_MM, placement) for j in range(len(times))]
    outer = [_places(near, d_lv[j], d_wall[j] < NEAR_WALL_MM, placement) for j in range(len(times))]
    return [
        BorderInPlane(tuple(inner), times, is_inner=True),
        BorderInPlane(tuple(outer), times, is_inner=False),
    ]


def _places(
    cine: CineSlice, distance: Distances, counts: npt.NDArray[np.bool_], placement: Placement
) -> Tensor:
    """Local mm `(n, 3)` on the zero line, where the nearest pixel `(rows, cols)` counts."""
    lines = find_contours(distance, 0.0)
    points = np.concatenate(lines) if lines else np.zeros((0, 2))
    row, column = np.rint(points).astype(int).T
    points = points[counts[row, column]]
    chosen = points[np.linspace(0, len(points) - 1, min(N_PLACES, len(points))).astype(int)]
    ijk = np.column_stack([chosen[:, ::-1], np.zeros(len(chosen))])
    ras = apply_affine(cine.ras_from_ijk, ijk)
    return torch.tensor(placement.local_from_ras(ras), dtype=torch.float32)
