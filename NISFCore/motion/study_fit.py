"""Motion in space from the planes of one study: `fit_tagged_study`, a `MotionResult` out."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from NISFCore.config import to_json_object
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.geometry.planes import centre_ras
from NISFCore.geometry.spaces import Points
from NISFCore.labels import Label
from NISFCore.motion.affine_lead import AffineLead
from NISFCore.motion.borders import borders_in_plane
from NISFCore.motion.config import DEFAULT, MotionConfig, RefinementConfig
from NISFCore.motion.field import DisplacementField, Placement
from NISFCore.motion.harp import Mask
from NISFCore.motion.images import mask_points_ras
from NISFCore.motion.network import input_jet
from NISFCore.motion.plane import check_moving
from NISFCore.motion.plane_in_space import (
    BorderInSpace,
    PhaseInSpace,
    PlaneInSpace,
    TagsInSpace,
    WallAtED,
    evenly,
)
from NISFCore.motion.quality import plausibility_flags, times_flags, wrapping_flags
from NISFCore.motion.refinement import FrameTerm, VolumeTerm, tissue_points, track
from NISFCore.motion.result import MotionFlag, MotionResult
from NISFCore.motion.similarity import local_windows
from NISFCore.motion.space import HeartSpace, labelled_space
from NISFCore.motion.tagged import TagObservation, observe, tagged_series
from NISFCore.motion.wall import Wall
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress

SAME_PLANE_MM = 0.05
MIN_LONG_AXES = 2
MIN_ALONG = 0.7
"""Cosine between a plane's direction and the LV axis from which it shows motion along it."""
BELOW_RIM_MM = 4.0
MAX_GAP_MM = 16.0
"""Between short-axis planes; the heart between planes farther apart is a guess."""


def fit_tagged_study(
    study: CineStudy,
    config: MotionConfig = DEFAULT,
    *,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> MotionResult:
    """Estimate the motion of the LV in space from tagged planes.

    Args:
        study: tagged slices; those of one plane with lines across each other follow one another.
            Labels at ED are needed in every plane that is to count, labels of all frames are used.

    Raises:
        StudyError: without labels at ED, without tags, for a single frame, still images, movies
            that begin after ED, or planes that do not tell where the LV's axis is.
        Cancelled: soon after a request.
    """
    began = time.monotonic()
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    check_moving(study.slices)
    slices = [s for s in study.slices if _shows_wall(s)]
    space, wall = labelled_space(slices)
    planes = [observed_plane(s, _wall_mask(s), space.placement, config) for s in slices]
    times = planes[0].seen.times
    field = space.field(config, times.tolist(), is_cyclic=False)
    points = space.local_of(space.points_ras)
    stages = _tagged_stages(field, planes, wall, points, config)
    prepared = time.monotonic()
    anchors = evenly(points, config.space.n_volume_points)
    settings = tracking_settings(config)
    tissue, stiff = tissue_points(field, anchors), stiffness(field, anchors, config)
    has_long_axes = shows_long_axis(slices, space)
    # what short axes alone say of motion along the axis is mostly wrong
    lead = AffineLead(tissue, stages[0]) if has_long_axes else None
    track(field, tissue, times, stages, settings, progress, cancel, stiff, lead=lead)
    observations = [p.seen for p in planes]
    flags = [
        *coverage_flags(slices, space),
        *times_flags(observations),
        *wrapping_flags(field, observations, anchors),
        *plausibility_flags(field, anchors, times),
    ]
    seconds = {"prepare": prepared - began, "start": time.monotonic() - prepared}
    return MotionResult(
        displacement_field=field,
        frame=space.frame,
        points_ras=space.points_ras,
        cycle_fractions=np.asarray(planes[0].cine.cycle_fractions),
        has_longitudinal=has_long_axes,
        flags=tuple(flags),
        settings=to_json_object(config),
        seconds=seconds,
    )


def tracking_settings(config: MotionConfig) -> RefinementConfig:
    """What `refinement.track` needs, in space."""
    space = config.space
    return replace(
        config.refinement,
        n_iterations=space.n_iterations,
        inertia=space.inertia,
        smoothing=space.smoothing,
    )


@torch.no_grad()
def stiffness(field: DisplacementField, points: Tensor, config: MotionConfig) -> Tensor:
    """`(3, n_features + 1, n_features + 1)` for `refinement.track`: what no plane sees follows its
    surroundings, over distances that random features alone do not reach. Motion along the LV's axis
    is smoother than across it, and fewer planes see it."""
    _, by = field.features(input_jet(points / field.placement.radius_mm, True))
    assert by is not None  # asked for
    gradients = sum((d.T @ d for d in by), torch.zeros(by.shape[2], by.shape[2])) / len(points)
    across, along = config.space.smoothness, config.space.axial_smoothness
    weights = torch.tensor([across, across, along])[:, None, None]
    return weights * gradients + config.space.ridge * torch.eye(by.shape[2])


@dataclass(frozen=True)
class ObservedPlane:
    """A tagged slice, where its wall is at ED `(rows, cols)`, and its images as tensors."""

    cine: CineSlice
    mask: Mask
    seen: TagObservation


def observed_plane(
    cine: CineSlice, mask: Mask, placement: Placement, config: MotionConfig
) -> ObservedPlane:
    """Prepare a tagged slice.

    Raises:
        StudyError: if there are no tags.
    """
    seen = observe(tagged_series(cine, mask), mask, placement, config.start.band_width)
    return ObservedPlane(cine, mask, seen)


def _shows_wall(cine: CineSlice) -> bool:
    labels = cine.labels
    if labels is None or not labels.annotated[0]:
        return False
    return bool((labels.values[0] == Label.LV_MYOCARDIUM).any())


def _wall_mask(cine: CineSlice) -> Mask:
    assert cine.labels is not None  # shows wall
    return np.asarray(cine.labels.values[0] == Label.LV_MYOCARDIUM)


def plane_in_space(field: DisplacementField, cine: CineSlice) -> PlaneInSpace:
    """The plane of a slice in the field's local coordinates."""
    placement = field.placement
    normal = placement.axes @ cine.normal_ras
    centre = placement.local_from_ras(centre_ras(cine.ras_from_ijk, cine.shape))
    return PlaneInSpace(field, torch.tensor(normal, dtype=torch.float32), float(normal @ centre))


def _tagged_stages(
    field: DisplacementField,
    planes: Sequence[ObservedPlane],
    wall: Wall,
    anchors: Tensor,
    config: MotionConfig,
) -> list[list[FrameTerm]]:
    """Phase, then intensity, each with borders and volume."""
    settings = config.space
    coarse: list[FrameTerm] = []
    fine: list[FrameTerm] = []
    shared: list[FrameTerm] = [
        VolumeTerm(field, evenly(anchors, settings.n_volume_points), settings.volume_weight)
    ]
    done: list[CineSlice] = []
    for observed in planes:
        cine = observed.cine
        plane = plane_in_space(field, cine)
        phase, tags = tag_terms(plane, observed, wall, config)
        coarse.append(phase)
        fine.append(tags)
        if not any(_is_same_plane(cine, other) for other in done):
            shared += _border_terms(plane, cine, wall, float(anchors[:, 2].max()), config)
            done.append(cine)
    return [coarse + shared, fine + shared]


def tag_terms(
    plane: PlaneInSpace, observed: ObservedPlane, wall: WallAtED, config: MotionConfig
) -> tuple[PhaseInSpace, TagsInSpace]:
    """What the phase, and what the intensities of a tagged slice's tags say."""
    settings, seen = config.space, observed.seen
    ras = mask_points_ras(observed.cine, observed.mask)
    local = plane.field.placement.local_from_ras(ras)
    points = evenly(torch.tensor(local, dtype=torch.float32), settings.n_points)
    windows = local_windows(points, config.refinement.window_mm, 1.0)
    huber = config.refinement.tag_huber
    return (
        PhaseInSpace(plane, points, seen, wall, settings.phase_weight),
        TagsInSpace(plane, points, seen, windows, wall, settings.tag_weight, huber),
    )


def _border_terms(
    plane: PlaneInSpace, cine: CineSlice, wall: Wall, base_mm: float, config: MotionConfig
) -> list[FrameTerm]:
    weight, huber = config.space.contour_weight, config.space.contour_huber_mm
    if weight == 0:
        return []
    # a short-axis plane that the base has left shows the rim and what is beyond it
    is_short_axis = abs(float(plane.normal[2])) > MIN_ALONG
    top_mm = base_mm - BELOW_RIM_MM if is_short_axis else math.inf
    return [
        BorderInSpace(plane, b, wall.blood if b.is_inner else wall.lv, weight, huber, top_mm)
        for b in borders_in_plane(cine, plane.field.placement)
    ]


def _is_same_plane(a: CineSlice, b: CineSlice) -> bool:
    return a.shape == b.shape and np.allclose(a.ras_from_ijk, b.ras_from_ijk, atol=SAME_PLANE_MM)


def shows_long_axis(slices: Sequence[CineSlice], space: HeartSpace) -> bool:
    """Whether enough planes lie along the LV's axis to see motion along it."""
    along = space.frame.base_from_apex_ras
    planes: list[CineSlice] = []
    for cine in slices:
        across = abs(float(cine.normal_ras @ along))
        if across < np.sqrt(1 - MIN_ALONG**2) and not any(_is_same_plane(cine, p) for p in planes):
            planes.append(cine)
    return len(planes) >= MIN_LONG_AXES


def coverage_flags(slices: Sequence[CineSlice], space: HeartSpace) -> list[MotionFlag]:
    """What the planes of a study do not show."""
    flags = []
    if not shows_long_axis(slices, space):
        flags.append(
            MotionFlag(
                "no_long_axis",
                f"fewer than {MIN_LONG_AXES} planes lie along the LV axis: motion along it is not "
                "seen, there is no longitudinal strain, and what short-axis planes show is not "
                "corrected for the tissue that moves through them",
            )
        )
    gap = largest_gap_mm(slices, space)
    if gap > MAX_GAP_MM:
        flags.append(
            MotionFlag(
                "sparse_coverage",
                f"neighbouring short-axis planes are up to {gap:.0f} mm apart (at most "
                f"{MAX_GAP_MM:.0f} mm are safe): strain between them is a guess",
            )
        )
    return flags


def largest_gap_mm(slices: Sequence[CineSlice], space: HeartSpace) -> float:
    """Between neighbouring short-axis planes along the LV axis; infinite for fewer than two."""
    along = space.frame.base_from_apex_ras
    centres: list[Points] = [s.centre_ras for s in slices if abs(s.normal_ras @ along) > MIN_ALONG]
    heights = np.sort([float(c @ along) for c in centres])
    return float(np.diff(heights).max()) if len(heights) > 1 else float("inf")
