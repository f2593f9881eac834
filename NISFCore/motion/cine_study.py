"""Motion in space from an untagged study and a heart that was fitted to it: `fit_cine_study`."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from NISFCore.config import to_json_object
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.spaces import Points
from NISFCore.motion.cine import (
    IntensityTerm,
    SlidingTerm,
    around_axis,
    blurred_intensities,
    widened,
)
from NISFCore.motion.config import DEFAULT, MotionConfig
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.heart_labels import (
    BorderInVolume,
    HeartLabels,
    heart_labels,
    space_of_heart,
)
from NISFCore.motion.heart_tags import MIN_MASK_PIXELS, TwistTerm, tags_of_heart, wall_in_plane
from NISFCore.motion.images import mask_points_ras
from NISFCore.motion.plane import MIN_PHASES, moving_slices
from NISFCore.motion.plane_in_space import evenly
from NISFCore.motion.quality import plausibility_flags
from NISFCore.motion.refinement import (
    FrameTerm,
    Rows,
    TissuePoints,
    VolumeTerm,
    tissue_points,
    track,
)
from NISFCore.motion.result import MotionFlag, MotionResult
from NISFCore.motion.study_fit import (
    coverage_flags,
    plane_in_space,
    shows_long_axis,
    stiffness,
    tracking_settings,
)
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress


def fit_cine_study(
    study: CineStudy,
    heart: HeartField,
    base_from_apex_ras: Points,
    config: MotionConfig = DEFAULT,
    *,
    tagged: CineStudy | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> MotionResult:
    """Estimate the motion of the LV in space, from ED over one cycle.

    Args:
        study: slices where the heart was, that is after the correction of slice motion.
        heart: labels everywhere and at all times, such as a fit's.
        base_from_apex_ras: unit vector along the LV's axis.
        tagged: tagged slices of the same examination; labels of theirs are not looked at.

    Raises:
        StudyError: for a heart without LV, a single frame, still images, or movies that begin
            after ED; for tagged slices that show nothing of the heart, or no tags.
        Cancelled: soon after a request.
    """
    began = time.monotonic()
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    slices = moving_slices(study)
    space = space_of_heart(heart, base_from_apex_ras)
    tags = None if tagged is None else tags_of_heart(tagged, heart, space, config)
    times = common_times(slices)
    if tags is not None:
        times = tags.times(len(times))
    labels = heart_labels(heart, space, times.tolist(), progress, cancel)
    field = space.field(config, times.tolist(), is_cyclic=True)
    anchors = evenly(space.local_of(space.points_ras), config.space.n_volume_points)
    tissue = tissue_points(field, anchors)
    settings = replace(tracking_settings(config), smoothing=0.0)
    around = around_axis(space.frame, space.placement, anchors)
    if tags is None:
        more: list[list[FrameTerm]] = [
            [SlidingTerm(tissue, around, config.cine.sliding_weight)] for _ in range(2)
        ]
    else:
        more = tags.stages(field, labels, TwistTerm(tissue, around, config.cine, tags.end), config)
    stages = _stages(field, slices, heart, labels, anchors, config)
    stages = [[*terms, *others] for terms, others in zip(stages, more, strict=True)]
    prepared = time.monotonic()
    stiff = stiffness(field, anchors, config)
    moments = torch.tensor(times, dtype=torch.float32)
    track(field, tissue, moments, stages, settings, progress, cancel, stiff)
    flags = [
        *coverage_flags(slices, space),
        *([along_border_flag()] if tags is None else tags.flags(field, space, anchors)),
        *plausibility_flags(field, anchors, moments),
    ]
    seconds = {"prepare": prepared - began, "start": time.monotonic() - prepared}
    return MotionResult(
        displacement_field=field,
        frame=space.frame,
        points_ras=space.points_ras,
        cycle_fractions=times,
        has_longitudinal=shows_long_axis(slices, space),
        flags=tuple(flags),
        settings={**to_json_object(config), **({} if tags is None else tags.notes)},
        seconds=seconds,
    )


def common_times(slices: Sequence[CineSlice]) -> np.ndarray:
    """Equal cycle fractions from ED, as many as the slices have frames (their median)."""
    n = max(MIN_PHASES, int(np.median([s.n_phases for s in slices])))
    return np.arange(n) / n


def along_border_flag() -> MotionFlag:
    """What an untagged study does not show."""
    return MotionFlag(
        "cine_only",
        "untagged images show how the wall's borders move, hardly how the wall slides along "
        "itself: twist is underestimated, strain of single segments is smoothed",
    )


class OffPlaneIntensity:
    """Intensities of one plane, counting less the farther the tissue has left the plane."""

    def __init__(
        self, term: IntensityTerm, tissue: TissuePoints, normal: Tensor, reach_mm: float
    ) -> None:
        self._term, self._tissue = term, tissue
        self._normal, self._reach_mm = normal, reach_mm

    def rows(self, moment: float, C: Tensor) -> Rows:
        r, J = self._term.rows(moment, C)
        off = (self._tissue.features @ C) @ self._normal
        w = (-0.25 * (off / self._reach_mm).square()).exp()
        return w * r, w[:, None] * J


def _stages(
    field: DisplacementField,
    slices: Sequence[CineSlice],
    heart: HeartField,
    labels: HeartLabels,
    anchors: Tensor,
    config: MotionConfig,
) -> list[list[FrameTerm]]:
    """Blurred images, then sharp ones, each with borders and volume."""
    weight, huber_mm = config.space.heart_weight, config.space.heart_huber_mm
    shared: list[FrameTerm] = [
        VolumeTerm(field, anchors, config.space.heart_volume_weight),
        BorderInVolume(tissue_points(field, labels.endocardium), labels.blood, weight, huber_mm),
        BorderInVolume(tissue_points(field, labels.epicardium), labels.lv, weight, huber_mm),
    ]
    stages = []
    for blur in (config.cine.blur_pixels, 0.0):
        terms = [_intensity_term(field, s, heart, blur, config) for s in slices]
        stages.append([*(t for t in terms if t is not None), *shared])
    return stages


def _intensity_term(
    field: DisplacementField,
    cine: CineSlice,
    heart: HeartField,
    blur_pixels: float,
    config: MotionConfig,
) -> FrameTerm | None:
    """None for a slice that shows next to nothing of the wall at ED."""
    mask = wall_in_plane(cine, heart)
    if mask.sum() < MIN_MASK_PIXELS:
        return None
    settings, placement = config.cine, field.placement
    wide = mask_points_ras(cine, widened(mask, cine.spacing_mm, settings.reach_mm))
    local = torch.tensor(placement.local_from_ras(wide), dtype=torch.float32)
    near = tissue_points(field, evenly(local, config.space.n_image_points))
    images = blurred_intensities(cine, mask, placement, blur_pixels)
    times = torch.tensor(cine.cycle_fractions, dtype=torch.float32)
    weight = config.space.intensity_weight
    term = IntensityTerm(near, images, times, weight, settings.intensity_huber)
    normal = plane_in_space(field, cine).normal
    return OffPlaneIntensity(term, near, normal, config.space.image_reach_mm)
