"""What to know before trusting an estimate of motion: flags for the user."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.labels import Label
from NISFCore.motion.contours import Contour
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.regularisers import determinant
from NISFCore.motion.result import MotionFlag
from NISFCore.motion.tagged import TagObservation

FAST_PHASE_RAD = 0.6 * math.pi
"""From one frame to the next; beyond pi a tag cannot be told from its neighbour."""
MIN_SHARE = 0.02
"""Share of the tissue's points that a flag takes."""
MAX_STRAIN = 2.0
"""Green-Lagrange: a length more than doubles. Healthy walls reach about 1 at the endocardium."""
MAX_TIME_DIFFERENCE = 0.25
"""Of the times of two series of one plane, over the time between frames."""

MIN_WALL_SHARE = 0.5
"""Of a plane's wall at ED: with less of it in a later frame, the tissue has left the plane."""
MAX_LOST_SHARE = 0.05
"""Of the wall's circumference."""


def leaving_flags(cine: CineSlice, contours: Sequence[Contour] = ()) -> list[MotionFlag]:
    """Whether a plane's wall leaves the plane in some labelled frame: how much of it is left, and
    along how much of its circumference (`contours`: of the plane)."""
    if cine.labels is None:
        return []
    walls = (cine.labels.values == Label.LV_MYOCARDIUM).sum(axis=(1, 2))[cine.labels.annotated]
    least = float(walls.min() / max(walls[0], 1))
    lost = max((c.shown.lost_share() for c in contours if not c.is_inner), default=0.0)
    if least >= MIN_WALL_SHARE and lost <= MAX_LOST_SHARE:
        return []
    return [
        MotionFlag(
            "wall_leaves_plane",
            f"in some frame the labels show only {least:.0%} as much wall as at ED, along "
            f"{1 - lost:.0%} of its circumference: the tissue has moved through the plane, and "
            "what is said of it then is a guess; planes nearer the middle of the LV are safer",
        )
    ]


def wrapping_flags(
    field: DisplacementField, observations: Sequence[TagObservation], points: Tensor
) -> list[MotionFlag]:
    """Whether the tissue moves so fast against its tags that wraps are likely."""
    times = observations[0].times
    with torch.no_grad():
        steps = field.displacement(points, times).diff(dim=0)
    fastest = 0.0
    for o in observations:
        share = ((steps @ o.vectors.T).abs() > FAST_PHASE_RAD).any(dim=-1).float().mean(dim=1)
        fastest = max(fastest, float(share.max()))
    if fastest < MIN_SHARE:
        return []
    return [
        MotionFlag(
            "tag_wrapping",
            f"{fastest:.0%} of the wall moves by more than {FAST_PHASE_RAD / (2 * math.pi):.0%} of "
            "the tags' distance between two frames: a tag may be taken for its neighbour; more "
            "frames per beat or wider tags are needed to be sure",
        )
    ]


def plausibility_flags(field: DisplacementField, points: Tensor, times: Tensor) -> list[MotionFlag]:
    """Whether tissue folds (det F <= 0) or is strained beyond what tissue can be."""
    with torch.no_grad():
        F = field.gradient(points, times)
        E = (F.transpose(-1, -2) @ F - torch.eye(F.shape[-1])) / 2
        folded = (determinant(F) <= 0).any(dim=0).float().mean()
        huge = (torch.linalg.eigvalsh(E)[..., -1] > MAX_STRAIN).any(dim=0).float().mean()
    if float(folded) == 0 and float(huge) < MIN_SHARE:
        return []
    return [
        MotionFlag(
            "implausible_field",
            f"the tissue folds at {float(folded):.0%} and is stretched to more than twice its "
            f"length at {float(huge):.0%} of the wall's points: strain there is wrong",
        )
    ]


def coverage_flags(observations: Sequence[TagObservation]) -> list[MotionFlag]:
    """What a single plane and its tags cannot show."""
    flags = [no_long_axis_flag()]
    directions = torch.cat([o.vectors for o in observations]).numpy()
    if np.linalg.matrix_rank(directions, tol=0.2 * np.abs(directions).max()) < 2:
        flags.append(
            MotionFlag(
                "one_tag_direction",
                "the tags have one direction only: motion along the lines comes from labels and "
                "smoothness, not from tags; give the series with lines across these, too",
            )
        )
    return flags + times_flags(observations)


def no_long_axis_flag() -> MotionFlag:
    """A plane does not see what crosses it."""
    return MotionFlag(
        "no_long_axis",
        "one short-axis plane shows no motion along the LV axis: no longitudinal strain",
    )


def times_flags(observations: Sequence[TagObservation]) -> list[MotionFlag]:
    """Whether series that are taken together show different times."""
    first = observations[0].times
    step = float(first.diff().median())
    worst = max(
        float((o.times[None] - first[:, None]).abs().min(dim=1).values.max()) for o in observations
    )
    if worst <= MAX_TIME_DIFFERENCE * step:
        return []
    return [
        MotionFlag(
            "times_differ",
            "the series are not of the same times (up to "
            f"{worst / step:.1f} frames apart); the nearest frames were taken together",
        )
    ]
