"""`MotionResult`: the displacement of one heart, sampled anywhere, and what to know of it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.spaces import Points
from NISFCore.motion.cardiac_frame import LVFrame
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.strain import (
    StrainCurves,
    deformation_gradient,
    displacement_ras,
    strain_curves,
)


@dataclass(frozen=True)
class MotionFlag:
    """Something to know before trusting a result.

    Attributes:
        code: "tag_wrapping", "sparse_coverage", "no_long_axis", "implausible_field",
            "one_tag_direction", "times_differ", "wall_leaves_plane", "led_by_prior", "cine_only";
            with tags beside a fitted heart "axis_from_borders", "sparse_tags",
            "tagged_slices_left_out".
        text: for the user.
    """

    code: str
    text: str


@dataclass(frozen=True)
class MotionResult:
    """An estimate of cardiac motion.

    Attributes:
        displacement_field: u(X, t).
        frame: the LV's directions and segments.
        points_ras: `(n, 3)` the wall at ED that was followed, evenly spread.
        cycle_fractions: `(n_times,)` of the images.
        has_longitudinal: whether motion along the LV axis was seen.
        flags: what to know.
        settings: plain JSON.
        seconds: of each stage.
    """

    displacement_field: DisplacementField
    frame: LVFrame
    points_ras: Points
    cycle_fractions: npt.NDArray[np.float64]
    has_longitudinal: bool
    flags: tuple[MotionFlag, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def n_dims(self) -> int:
        """2: known within an imaging plane only; 3: in space."""
        return self.displacement_field.config.n_dims

    def displacement(self, points_ras: Points, cycle_fraction: float) -> Points:
        """Movement in mm (RAS) since ED of the tissue that is at `points_ras` `(n, 3)` at ED."""
        return displacement_ras(self.displacement_field, points_ras, [cycle_fraction])[0]

    def deformation_gradient(self, points_ras: Points, cycle_fraction: float) -> Points:
        """F `(n, 3, 3)` in RAS at material points."""
        return deformation_gradient(self.displacement_field, points_ras, [cycle_fraction])[0]

    def strain(self, cycle_fractions: npt.ArrayLike | None = None) -> StrainCurves:
        """Strain of the wall; at the images' times by default."""
        times = self.cycle_fractions if cycle_fractions is None else cycle_fractions
        return strain_curves(
            self.displacement_field, self.frame, self.points_ras, times, self.has_longitudinal
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(flag.text for flag in self.flags)
