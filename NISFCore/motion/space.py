"""The LV in space: axes, wall and points of one heart, from labelled slices of several planes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.errors import StudyError
from NISFCore.geometry.frame import TYPICAL_RV_FROM_LV_RAS, AnatomyHint, ViewPlane, canonical_frame
from NISFCore.geometry.spaces import Points
from NISFCore.labels import Label
from NISFCore.motion.cardiac_frame import LVFrame
from NISFCore.motion.config import FieldConfig, MotionConfig
from NISFCore.motion.field import DisplacementField, Placement
from NISFCore.motion.images import mask_points_ras
from NISFCore.motion.temporal import knots_of_frames
from NISFCore.motion.wall import Wall, wall_at_ed, wall_points
from NISFCore.views import View

WALL_SPACING_MM = 2.5
FAR_MM, BEYOND_MM = 10.0, 2.0
"""Points of the wall are not farther from a labelled pixel, and from the axis than any of them."""


@dataclass(frozen=True)
class HeartSpace:
    """One heart at ED.

    Attributes:
        frame: the LV's directions and segments.
        placement: local coordinates: towards the RV, towards anterior, towards the base.
        points_ras: `(n, 3)` the wall, evenly spread.
    """

    frame: LVFrame
    placement: Placement
    points_ras: Points

    def local_of(self, points_ras: Points) -> Tensor:
        """`(n, 3)` local mm."""
        return torch.tensor(self.placement.local_from_ras(points_ras), dtype=torch.float32)

    def field(self, config: MotionConfig, times: list[float], is_cyclic: bool) -> DisplacementField:
        """A still field."""
        start, space = config.start, config.space
        return DisplacementField(
            FieldConfig(
                n_dims=3,
                knots=knots_of_frames(times, is_cyclic),
                is_cyclic=is_cyclic,
                network=config.network,
                n_features=space.n_features,
                omega=space.omega,
                seed=start.seed,
                lowest_omega=space.lowest_omega,
            ),
            self.placement,
        )


def labelled_space(
    slices: Sequence[CineSlice], spacing_mm: float = WALL_SPACING_MM
) -> tuple[HeartSpace, Wall]:
    """The space of a study whose slices are labelled at ED.

    Raises:
        StudyError: without labels of the LV's wall and cavity, or if the planes do not tell where
            the LV's axis is.
    """
    points = {label: _points_at_ed(slices, label) for label in (1, 2, 3)}
    wall_ras, blood_ras = points[Label.LV_MYOCARDIUM], points[Label.LV_BLOOD_POOL]
    if not len(wall_ras) or not len(blood_ras):
        raise StudyError(
            "no slice is labelled at ED with LV blood pool and LV myocardium; motion needs to know "
            "where the tissue is: fit the study first, or give label maps"
        )
    frame = _frame(slices, blood_ras, points[Label.RV_BLOOD_POOL])
    placement = placement_of(frame, wall_ras)
    wall = wall_at_ed(slices, placement)
    local = placement.local_from_ras(wall_ras)
    extent = np.stack([local.min(axis=0), local.max(axis=0)])
    inside = _seen(wall_points(wall, extent, spacing_mm), local)
    if not len(inside):
        raise StudyError("the labels at ED show no LV wall around the cavity; correct them")
    points_ras = placement.ras_from_local(inside.double().numpy())
    return HeartSpace(frame.with_wall(points_ras), placement, points_ras), wall


def _seen(points: Tensor, labelled: Points) -> Tensor:
    """Those of the local points `(n, 3)` that labels speak of: far from them, functions that are
    fitted to their distances may be anything."""
    nearest_mm, _ = cKDTree(labelled).query(points.numpy())
    radius_mm = np.linalg.norm(labelled[:, :2], axis=1).max() + BEYOND_MM
    within = np.linalg.norm(points.numpy()[:, :2], axis=1) < radius_mm
    return points[torch.from_numpy(within & (nearest_mm < FAR_MM))]


def placement_of(frame: LVFrame, wall_ras: Points) -> Placement:
    """Local coordinates about the LV's centre; unit is the wall's distance from the axis (root mean
    square over its points `(n, 3)`)."""
    anterior = np.cross(frame.base_from_apex_ras, frame.rv_from_lv_ras)
    axes = np.stack([frame.rv_from_lv_ras, anterior, frame.base_from_apex_ras])
    across = (wall_ras - frame.centre_ras) @ axes[:2].T
    return Placement(frame.centre_ras, axes, float(np.sqrt((across**2).sum(axis=1).mean())))


def frame_from_points(along: Points, blood_ras: Points, rv_ras: Points) -> LVFrame:
    """The LV's frame from points of the cavities at ED.

    Args:
        along: unit vector from apex to base.
        blood_ras, rv_ras: `(n, 3)` in the LV's and the RV's cavity; the latter may be empty.
    """
    centre = blood_ras.mean(axis=0)
    toward = rv_ras.mean(axis=0) - centre if len(rv_ras) else TYPICAL_RV_FROM_LV_RAS
    toward = toward - (toward @ along) * along
    heights = (blood_ras - centre) @ along
    ends = float(heights.min()), float(heights.max())
    return LVFrame(centre, along, toward / np.linalg.norm(toward), *ends)


def _frame(slices: Sequence[CineSlice], blood_ras: Points, rv_ras: Points) -> LVFrame:
    planes = [ViewPlane(s.view, s.ras_from_ijk, s.shape) for s in slices if _is_cardiac(s.view)]
    rv = rv_ras.mean(axis=0) - blood_ras.mean(axis=0) if len(rv_ras) else None
    found = canonical_frame(planes, hint=AnatomyHint("labels", rv_centroid_ras=rv))
    along = found.canonical_from_ras[2, :3]
    # short-axis slices where there are any: long-axis ones show both ends, but more of the middle
    sa = [s for s in slices if s.view is View.SA] or list(slices)
    rv_sa = _points_at_ed(sa, Label.RV_BLOOD_POOL)
    frame = frame_from_points(along, _points_at_ed(sa, Label.LV_BLOOD_POOL), rv_sa)
    heights = frame.heights_mm(blood_ras)
    return LVFrame(
        frame.centre_ras,
        frame.base_from_apex_ras,
        frame.rv_from_lv_ras,
        float(heights.min()),
        float(heights.max()),
    )


def _is_cardiac(view: View) -> bool:
    return view is View.SA or view.is_long_axis


def _points_at_ed(slices: Sequence[CineSlice], label: int) -> npt.NDArray[np.float64]:
    """Pixels `(n, 3)` of a label in the first frames."""
    parts = [
        mask_points_ras(s, s.labels.values[0] == label)
        for s in slices
        if s.labels is not None and s.labels.annotated[0]
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 3))
