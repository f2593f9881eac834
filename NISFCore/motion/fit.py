"""Motion within one plane: `fit_tagged_plane` and `fit_cine_plane`, a `MotionResult` out."""

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from NISFCore.config import to_json_object
from NISFCore.data.study import CineSlice
from NISFCore.geometry.spaces import Points
from NISFCore.motion.cine import (
    IntensityTerm,
    SlidingTerm,
    around_axis,
    blurred_intensities,
    septal_turns,
    widened,
)
from NISFCore.motion.config import DEFAULT, DescentConfig, MotionConfig, RefinementConfig
from NISFCore.motion.contours import Contour, wall_contours
from NISFCore.motion.descent import descend
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.images import mask_points_ras
from NISFCore.motion.plane import Plane, check_moving, plane_of
from NISFCore.motion.quality import (
    coverage_flags,
    leaving_flags,
    no_long_axis_flag,
    plausibility_flags,
    wrapping_flags,
)
from NISFCore.motion.refinement import (
    ContourTerm,
    FrameTerm,
    VolumeTerm,
    tissue_points,
    track,
)
from NISFCore.motion.result import MotionFlag, MotionResult
from NISFCore.motion.second_try import PlaneTracker
from NISFCore.motion.tagged_plane import TaggedPlane, tagged_plane
from NISFCore.motion.through_plane import follow_expected_tissue, follow_tissue
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress


class Initialisation(Protocol):
    """Where a field's weights come from instead of the Gauss-Newton start: a prior, or chance."""

    def state(self, field: DisplacementField, seen: TaggedPlane) -> Tensor:
        """Every weight of the field, as `DisplacementField.load_flat_state` takes them.

        Args:
            seen: what a prior may look at to choose among its motions.
        """
        ...


def fit_tagged_plane(
    slices: Sequence[CineSlice],
    config: MotionConfig = DEFAULT,
    *,
    base_from_apex_ras: Points | None = None,
    initialisation: Initialisation | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> MotionResult:
    """Estimate the motion within one tagged plane.

    Args:
        slices: series of the plane: two with lines across each other, or a grid. The first one
            carries labels, at ED at least; labels of all its frames are used if it has them.
        base_from_apex_ras: the LV axis; the plane's normal by default.
        initialisation: of all weights, in place of the Gauss-Newton start; the descent
            (`config.descent`, or its defaults) then goes on from it with all of them free.

    Raises:
        StudyError: without labels of the LV wall at ED, without tags, for a single frame, still
            images, or a movie that begins after ED.
        Cancelled: soon after a request.
    """
    began = time.monotonic()
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    seen = tagged_plane(slices, config, base_from_apex_ras)
    field, points, times = seen.field(config), seen.points, seen.times
    prepared = time.monotonic()
    descent = config.descent
    led: tuple[MotionFlag, ...] = ()
    if initialisation is not None:
        field.load_flat_state(initialisation.state(field, seen))
        descent = descent or DescentConfig()
    else:
        tissue = tissue_points(field, points)
        solution = PlaneTracker(seen, field, tissue, config, cancel).tracked(progress)
        led = solution.flags
        follow_tissue(field, tissue, solution.found, seen.contours)
    tracked = time.monotonic()
    if descent is not None:
        descend(field, seen.data_terms(descent), points, times, descent, progress, cancel)
    flags = [
        *coverage_flags(seen.observations),
        *wrapping_flags(field, seen.observations, points),
        *led,
        *leaving_flags(seen.plane.cine, seen.contours),
        *plausibility_flags(field, points, times),
    ]
    seconds = {
        "prepare": prepared - began,
        "start": tracked - prepared,
        "descent": time.monotonic() - tracked,
    }
    return _result(field, seen.plane, flags, config, seconds)


def fit_cine_plane(
    cine: CineSlice,
    config: MotionConfig = DEFAULT,
    *,
    base_from_apex_ras: Points | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> MotionResult:
    """Estimate the motion within one untagged plane, cyclic, from its images and labels.

    Motion along the wall's borders is hardly seen in a cine: see `cine` and `docs/motion.md`.

    Raises:
        StudyError: without labels of the LV wall at ED, for a single frame, still images, or a
            movie that begins after ED.
        Cancelled: soon after a request.
    """
    began = time.monotonic()
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    check_moving([cine])
    plane = plane_of(cine, base_from_apex_ras)
    field = plane.field(config, cine.cycle_fractions.tolist(), is_cyclic=True)
    has_labels = config.refinement.contour_weight > 0
    contours = wall_contours(cine, plane.placement) if has_labels else []
    stages = _cine_stages(field, plane, contours, config)
    tissue = tissue_points(field, plane.local_points())
    prepared = time.monotonic()
    times = plane.times()
    found = track(field, tissue, times, stages, config.refinement, progress, cancel)
    follow_expected_tissue(field, tissue, found, contours, config.cine.taper_mm)
    flags = [
        no_long_axis_flag(),
        *leaving_flags(cine, contours),
        *plausibility_flags(field, tissue.points, times),
    ]
    seconds = {"prepare": prepared - began, "start": time.monotonic() - prepared}
    return _result(field, plane, flags, config, seconds)


def _cine_stages(
    field: DisplacementField, plane: Plane, contours: Sequence[Contour], config: MotionConfig
) -> list[list[FrameTerm]]:
    """Blurred images, then sharp ones, each with labels and volume."""
    cine, settings = plane.cine, config.cine
    labels = _label_terms(field, plane, contours, config.refinement)
    wide = widened(plane.mask, cine.spacing_mm, settings.reach_mm)
    near = tissue_points(field, plane.local_of(mask_points_ras(cine, wide)))
    tissue = tissue_points(field, plane.local_points())
    around = around_axis(plane.frame, plane.placement, tissue.points)
    arms_mm = tissue.points.norm(dim=1)
    turns = septal_turns(cine, plane.frame)
    sliding = SlidingTerm(tissue, around, settings.sliding_weight, turns, arms_mm)
    shared = [*labels, sliding]
    stages = []
    for blur in (settings.blur_pixels, 0.0):
        images = blurred_intensities(cine, plane.mask, plane.placement, blur)
        term = IntensityTerm(
            near, images, plane.times(), settings.intensity_weight, settings.intensity_huber
        )
        stages.append([term, *shared])
    return stages


def _label_terms(
    field: DisplacementField, plane: Plane, contours: Sequence[Contour], config: RefinementConfig
) -> list[FrameTerm]:
    """What labels and the tissue's volume say, whatever the images are."""
    terms: list[FrameTerm] = [VolumeTerm(field, plane.local_points(), config.volume_weight)]
    for contour in contours:
        border = tissue_points(field, contour.points)
        terms.append(ContourTerm(border, contour, config.contour_weight, config.contour_huber_mm))
    return terms


def _result(
    field: DisplacementField,
    plane: Plane,
    flags: Sequence[MotionFlag],
    config: MotionConfig,
    seconds: dict[str, float],
) -> MotionResult:
    return MotionResult(
        displacement_field=field,
        frame=plane.frame,
        points_ras=plane.points_ras,
        cycle_fractions=np.asarray(plane.cine.cycle_fractions),
        has_longitudinal=False,
        flags=tuple(flags),
        settings=to_json_object(config),
        seconds=seconds,
    )
