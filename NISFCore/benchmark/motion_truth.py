"""Exact motion of simulated hearts, and the errors of estimates against it.

In a plane, truth is the displacement of the tissue that lies there at ED, its components in the
plane; in space that of the whole LV wall. Strain is compared at true ES, in points (a strain of
0.01).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LONGITUDINAL, RADIAL
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.plane import Plane
from NISFCore.motion.result import MotionResult
from NISFCore.motion.strain import deformation_gradient, directional_strain, displacement_ras
from NISFCore.phantom.displacement import DisplacementTruth

Array = npt.NDArray[np.float64]
N_SEGMENT_POINTS = 5
DYSFUNCTIONAL_SHARE = 0.5
"""A segment that shortens by less than this share of the heart's best one is dysfunctional."""
POINTS_PER_STRAIN = 100.0
TRUTH_SPACING_MM = 4.0
APICAL_CAP = 17
"""AHA segment that the axis passes through: nothing runs around the LV there."""


@dataclass(frozen=True)
class PlaneTruth:
    """Truth at the wall's pixels.

    Attributes:
        plane: the plane.
        displacement: `(n_times, n, 3)` RAS mm, in the plane.
        strain: `(n, 3)` at ES: radial, circumferential, longitudinal.
        segments: `(n,)`.
        es: index of the frame.
    """

    plane: Plane
    displacement: Array
    strain: Array
    segments: npt.NDArray[np.uint8]
    es: int

    @staticmethod
    def of(truth: DisplacementTruth, plane: Plane) -> "PlaneTruth":
        """At the times of the plane's frames."""
        points, times = plane.points_ras, plane.cine.cycle_fractions
        axes, directions = plane.placement.axes, plane.frame.directions(points)
        u = np.stack([truth.displacement_mm(points, float(t)) for t in times])
        u = u @ axes.T @ axes
        es = int(np.argmax((u**2).sum(axis=-1).mean(axis=1)))
        near = range(max(0, es - 3), min(len(times), es + 4))
        strains = {
            j: directional_strain(truth.deformation_gradient(points, float(times[j])), directions)
            for j in near
        }
        es = min(near, key=lambda j: strains[j][:, CIRCUMFERENTIAL].mean())
        return PlaneTruth(plane, u, strains[es], plane.frame.segments(points), es)

    def rmse_mm(self, field: DisplacementField) -> float:
        """Over all points and frames."""
        return float(np.sqrt(self._squares(field).mean()))

    def scores(self, field: DisplacementField) -> dict[str, float | None]:
        """Every error of one estimate; that of dysfunctional segments is None where there is none.

        Longitudinal strain is not among them: one short-axis plane does not show it.
        """
        error = POINTS_PER_STRAIN * (self._strain(field) - self.strain)
        sick = dysfunctional_segments(self.strain, self.segments)
        in_sick = np.isin(self.segments, list(sick))
        squares = self._squares(field)
        return {
            "rmse_mm": float(np.sqrt(squares.mean())),
            "gcs_points": float(abs(error[:, CIRCUMFERENTIAL].mean())),
            "grs_points": float(abs(error[:, RADIAL].mean())),
            **segment_scores(error, self.strain, self.segments),
            "dysfunctional_mm2": float(squares[:, in_sick].mean()) if in_sick.any() else None,
            "healthy_mm2": float(squares[:, ~in_sick].mean()) if in_sick.any() else None,
        }

    def _squares(self, field: DisplacementField) -> Array:
        u = displacement_ras(field, self.plane.points_ras, self.plane.cine.cycle_fractions)
        return np.asarray(((u - self.displacement) ** 2).sum(axis=-1))

    @torch.no_grad()
    def _strain(self, field: DisplacementField) -> Array:
        points, time = self.plane.points_ras, self.plane.cine.cycle_fractions[self.es]
        F = deformation_gradient(field, points, [float(time)])[0]
        return directional_strain(F, self.plane.frame.directions(points))


@dataclass(frozen=True)
class SpaceTruth:
    """Truth on a regular grid in the whole wall, in the heart's own directions and segments.

    Attributes:
        points_ras: `(n, 3)`, at ED.
        displacement: `(n_times, n, 3)` RAS mm.
        directions, strain: `(n, 3, 3)`, and `(n, 3)` at ES: radial, circumferential, longitudinal.
        segments: `(n,)`.
        es: index of the time.
    """

    points_ras: Array
    displacement: Array
    directions: Array
    strain: Array
    segments: npt.NDArray[np.uint8]
    es: int

    @staticmethod
    def of(truth: DisplacementTruth, times: Array) -> "SpaceTruth":
        """At these times of the cycle."""
        points = truth.wall_points(TRUTH_SPACING_MM)
        u = np.stack([truth.displacement_mm(points, float(t)) for t in times])
        directions = truth.cardiac_frame(points)
        curve = truth.segment_strain(times, TRUTH_SPACING_MM).whole[:, CIRCUMFERENTIAL]
        es = int(np.argmin(curve))
        F = truth.deformation_gradient(points, float(times[es]))
        segments = truth.aha_segments(points)
        return SpaceTruth(points, u, directions, directional_strain(F, directions), segments, es)

    def scores(self, displacement: Array, strain: Array) -> dict[str, float | None]:
        """RMSE in mm; errors at ES in points, None for segments that the heart does not have."""
        error = POINTS_PER_STRAIN * (strain - self.strain)
        around = self.segments != APICAL_CAP
        squares = ((displacement - self.displacement) ** 2).sum(axis=-1)
        return {
            "rmse_mm": float(np.sqrt(squares.mean())),
            "gcs_points": float(abs(error[:, CIRCUMFERENTIAL].mean())),
            **segment_scores(error[around], self.strain[around], self.segments[around]),
            "grs_points": float(abs(error[:, RADIAL].mean())),
            "gls_points": float(abs(error[:, LONGITUDINAL].mean())),
        }

    def still(self) -> dict[str, float | None]:
        """Scores if nothing moves."""
        return self.scores(np.zeros((1, 1, 3)), np.zeros_like(self.strain))

    def scores_of(self, result: MotionResult) -> dict[str, float | None]:
        """Those of one estimate, whose times are the truth's."""
        field, times = result.displacement_field, result.cycle_fractions
        F = deformation_gradient(field, self.points_ras, times[[self.es]])[0]
        strain = directional_strain(F, self.directions)
        return self.scores(displacement_ras(field, self.points_ras, times), strain)


def segment_scores(
    error: Array, strain: Array, segments: npt.NDArray[np.uint8]
) -> dict[str, float | None]:
    """Mean sizes of the segments' errors of circumferential strain, and those of dysfunctional ones
    and the others; `error` in points and `strain` are `(n, 3)`."""
    by_segment = segment_means(error[:, CIRCUMFERENTIAL], segments)
    sick = dysfunctional_segments(strain, segments)
    return {
        "segmental_points": mean_size([*by_segment.values()]),
        "dysfunctional_points": mean_size([v for k, v in by_segment.items() if k in sick]),
        "healthy_points": mean_size([v for k, v in by_segment.items() if k not in sick]),
        "n_dysfunctional": float(len(sick)),
    }


def dysfunctional_segments(strain: Array, segments: npt.NDArray[np.uint8]) -> set[int]:
    """Segments whose circumferential shortening is less than a share of the best one's; `strain`
    `(n, 3)` at points of `segments` `(n,)`."""
    shortening = segment_means(-strain[:, CIRCUMFERENTIAL], segments)
    limit = DYSFUNCTIONAL_SHARE * max(shortening.values())
    return {segment for segment, value in shortening.items() if value < limit}


def segment_means(values: Array, segments: npt.NDArray[np.uint8]) -> dict[int, float]:
    """Mean of values `(n,)` in every segment that enough of the points lie in."""
    members = {int(k): segments == k for k in np.unique(segments)}
    return {k: float(values[m].mean()) for k, m in members.items() if m.sum() >= N_SEGMENT_POINTS}


def mean_size(values: list[float]) -> float | None:
    """Mean magnitude; None of nothing."""
    return float(np.mean(np.abs(values))) if values else None
