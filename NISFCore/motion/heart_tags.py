"""Tagged planes of a heart that was fitted, beside its untagged slices (`cine_study`).

The heart tells where its wall lies in each plane at ED, and goes on where tags end: tagged movies
need neither labels nor the whole cycle. What a plane shows is what its tags say of motion within
it; motion through it is left to the heart's borders and to other planes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import StudyError
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid
from NISFCore.geometry.spaces import Points
from NISFCore.labels import Label
from NISFCore.motion.config import CineConfig, MotionConfig
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.harp import Mask
from NISFCore.motion.plane import moving_slices
from NISFCore.motion.plane_in_space import WallAtED
from NISFCore.motion.quality import times_flags, wrapping_flags
from NISFCore.motion.refinement import FrameTerm, Rows, TissuePoints
from NISFCore.motion.result import MotionFlag
from NISFCore.motion.space import HeartSpace
from NISFCore.motion.study_fit import (
    MAX_GAP_MM,
    ObservedPlane,
    largest_gap_mm,
    observed_plane,
    plane_in_space,
    shows_long_axis,
    tag_terms,
)
from NISFCore.motion.tagged import tagged_series
from NISFCore.motion.tagged_shift import heart_shift

MIN_MASK_PIXELS = 20
NEAREST_FRAME = 0.51
"""How far a time may lie from a frame that speaks of it, in frames."""

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeartTags:
    """The tagged planes that show a heart's wall.

    Attributes:
        planes: at least one.
        left_out: names of the other slices.
        shifts: name -> RAS mm from where a slice's header has it to where the heart was; None where
            that is not known, and the slice stays.
    """

    planes: tuple[ObservedPlane, ...]
    left_out: tuple[str, ...]
    shifts: dict[str, Points | None]

    @property
    def notes(self) -> dict[str, Any]:
        """Plain JSON, beside a result's settings."""
        found = {k: None if s is None else s.round(2).tolist() for k, s in self.shifts.items()}
        return {"tagged_shifts_mm": found}

    @property
    def end(self) -> float:
        """Cycle fraction of the last tagged image."""
        return max(float(p.seen.times[-1]) for p in self.planes)

    def times(self, n: int) -> Times:
        """Those of the first series, from ED on; after its end evenly, as many as `n` in a whole
        cycle."""
        tagged = np.asarray(self.planes[0].cine.cycle_fractions)
        end = float(tagged[-1])
        n_after = max(0, round((1 - end) * n) - 1)
        after = end + (1 - end) * np.arange(1, n_after + 1) / (n_after + 1)
        # displacement counts from the first frame
        return np.concatenate([[0.0], tagged[1:], after])

    def stages(
        self, field: DisplacementField, wall: WallAtED, twist: FrameTerm, config: MotionConfig
    ) -> list[list[FrameTerm]]:
        """Phases, then intensities of all planes, both with `twist`."""
        coarse: list[FrameTerm] = [twist]
        fine: list[FrameTerm] = [twist]
        weight = config.space.heart_tag_weight
        for observed in self.planes:
            plane, times = plane_in_space(field, observed.cine), observed.seen.times
            phase, tags = tag_terms(plane, observed, wall, config)
            coarse.append(WithinPlane(phase, plane.normal, times, weight))
            fine.append(WithinPlane(tags, plane.normal, times, weight))
        return [coarse, fine]

    def flags(
        self, field: DisplacementField, space: HeartSpace, points: Tensor
    ) -> list[MotionFlag]:
        """What to know of the tags, at points `(n, 3)` of the wall."""
        seen = [p.seen for p in self.planes]
        return [
            *self._coverage_flags(space),
            *times_flags(seen),
            *wrapping_flags(field, seen, points),
        ]

    def _coverage_flags(self, space: HeartSpace) -> list[MotionFlag]:
        slices = [p.cine for p in self.planes]
        flags = []
        if self.left_out:
            flags.append(_left_out_flag(self.left_out))
        if not shows_long_axis(slices, space):
            flags.append(_axis_from_borders_flag())
        gap = largest_gap_mm(slices, space)
        if gap > MAX_GAP_MM:
            flags.append(_sparse_tags_flag(gap))
        return flags


def tags_of_heart(
    study: CineStudy, heart: HeartField, space: HeartSpace, config: MotionConfig
) -> HeartTags:
    """The planes of a tagged study that show a heart's wall at ED.

    Raises:
        StudyError: if none does, none moves, or one has no tags.
    """
    shown = _with_wall(moving_slices(study), heart)
    shifts = {s.name: heart_shift(s, m, tagged_series(s, m).waves, heart) for s, m in shown}
    placed = _with_wall([_shifted(s, shifts[s.name]) for s, _ in shown], heart)
    if not placed:
        raise StudyError(
            f"none of the {len(study.slices)} tagged slice(s) shows the wall of the fitted heart; "
            "give tagged series of the same examination, in the same patient coordinates"
        )
    planes = tuple(observed_plane(s, mask, space.placement, config) for s, mask in placed)
    used = {s.name for s, _ in placed}
    left_out = tuple(s.name for s in study.slices if s.name not in used)
    return HeartTags(planes, left_out, {name: shifts[name] for name in shifts if name in used})


def _with_wall(slices: Sequence[CineSlice], heart: HeartField) -> list[tuple[CineSlice, Mask]]:
    """The slices that show the heart's wall, and where."""
    found = [(s, wall_in_plane(s, heart)) for s in slices]
    return [(s, mask) for s, mask in found if mask.sum() >= MIN_MASK_PIXELS]


def _shifted(cine: CineSlice, shift_ras: Points | None) -> CineSlice:
    if shift_ras is None:
        return cine
    return replace(cine, ras_from_ijk=rigid(np.eye(3), shift_ras) @ cine.ras_from_ijk)


def wall_in_plane(cine: CineSlice, heart: HeartField) -> Mask:
    """Pixels `(rows, cols)` of a slice that show the heart's LV wall at ED."""
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape).reshape(-1, 3)
    labels = heart.evaluate(points, 0.0).labels.reshape(cine.shape)
    return np.asarray(labels == Label.LV_MYOCARDIUM)


@dataclass(frozen=True)
class WithinPlane:
    """A term of one plane's tags, where a frame is near in time, about motion within the plane.

    What tags say of motion through their plane is the difference of neighbouring tissue: little,
    and mostly that the borders disagree.

    Attributes:
        term: the term.
        normal: `(3,)` of the plane, local.
        times: of its frames.
        weight: of its squares.
    """

    term: FrameTerm
    normal: Tensor
    times: Tensor
    weight: float

    def rows(self, moment: float, C: Tensor) -> Rows:
        reach = NEAREST_FRAME * float(self.times.diff().max())
        if float((self.times - moment).abs().min()) > reach:
            return C.new_zeros(0), C.new_zeros(0, C.numel())
        r, J = self.term.rows(moment, C)
        by_u = J.unflatten(1, C.shape)
        within = by_u - (by_u @ self.normal)[..., None] * self.normal
        w = self.weight**0.5
        return w * r, w * within.flatten(1)


class TwistTerm:
    """While tags are seen, the wall turns around the LV's axis by angles that are linear in height,
    but for what the tags show; afterwards hardly (`cine.SlidingTerm`)."""

    def __init__(
        self, tissue: TissuePoints, around_axis: Tensor, config: CineConfig, tags_end: float
    ) -> None:
        self._tags_end = tags_end
        self._J = config.sliding_weight**0.5 * tissue.jacobian(around_axis)
        arms, heights = tissue.points[:, :2].norm(dim=1), tissue.points[:, 2]
        free, _ = torch.linalg.qr(torch.stack([arms, arms * heights], dim=1))
        self._J_tagged = self._J - free @ (free.T @ self._J)

    def rows(self, moment: float, C: Tensor) -> Rows:
        J = self._J_tagged if moment <= self._tags_end else self._J
        return J @ C.flatten(), J


def _left_out_flag(names: Sequence[str]) -> MotionFlag:
    return MotionFlag(
        "tagged_slices_left_out",
        f"tagged slice(s) {', '.join(names)} show no wall of the fitted heart, or nothing that "
        "moves, and are left out",
    )


def _axis_from_borders_flag() -> MotionFlag:
    return MotionFlag(
        "axis_from_borders",
        "no tagged planes lie along the LV axis: motion along it, and longitudinal strain, come "
        "from the fitted heart's borders as without tags, and may be wrong by 1 to 2 points",
    )


def _sparse_tags_flag(gap_mm: float) -> MotionFlag:
    return MotionFlag(
        "sparse_tags",
        f"tagged short-axis planes are up to {gap_mm:.0f} mm apart (at most {MAX_GAP_MM:.0f} mm "
        "are safe): between them and beyond them, twist and the strain of single segments are "
        "continued from the planes",
    )
