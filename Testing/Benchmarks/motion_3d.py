"""Motion in space of simulated hearts from several planes, against their exact displacement.

    python -m Testing.Benchmarks.motion_3d --out DIR [--subjects 1] [--first-seed N]

Every kind of heart is tagged in six short-axis and three long-axis planes (two series of lines
each), with true labels of all frames. Truth is the displacement of the whole LV wall, in space;
strain is scored at ES. Ways that are compared:

    still        nothing moves
    tagged       `fit_tagged_study` with all planes
    tagged_ed    the same with labels of ED only
    tagged_sa    the same with the short-axis planes alone
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tyro

from NISFCore.benchmark.motion_truth import dysfunctional_segments, mean_size, segment_means
from NISFCore.data.study import CineStudy
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LONGITUDINAL, RADIAL
from NISFCore.motion.result import MotionResult
from NISFCore.motion.strain import deformation_gradient, directional_strain, displacement_ras
from NISFCore.motion.study_fit import fit_tagged_study
from NISFCore.phantom.displacement import DisplacementTruth
from NISFCore.phantom.motion_population import MotionKind, sample_motion_heart
from NISFCore.phantom.protocol import sample_protocol
from NISFCore.phantom.tag_pattern import TagKind, TagPattern
from NISFCore.phantom.tagging import simulate_tagged_study
from NISFCore.views import View
from Testing.Benchmarks.motion_runs import KINDS, run, timed, with_labels_of_ed

Array = npt.NDArray[np.float64]
FIRST_SEED = 7_720_000
TRUTH_SPACING_MM = 4.0
APICAL_CAP = 17
"""AHA segment that the axis passes through: nothing runs around the LV there."""


@dataclass(frozen=True)
class Settings:
    """What is run.

    Attributes:
        out: folder for `motion_3d.json`.
        subjects: of each kind.
        first_seed: of the hearts; the settings were chosen on seeds 100 to 103.
        kinds: of motion.
        ways: that are compared.
    """

    out: Path
    subjects: int = 1
    first_seed: int = FIRST_SEED
    kinds: tuple[MotionKind, ...] = KINDS
    ways: tuple[str, ...] = ("tagged", "tagged_ed", "tagged_sa")


@dataclass(frozen=True)
class Truth:
    """Displacement `(n_times, n, 3)` and, at ES, strain `(n, 3)` of the whole wall."""

    points_ras: Array
    displacement: Array
    directions: Array
    strain: Array
    segments: npt.NDArray[np.uint8]
    es: int

    @staticmethod
    def of(truth: DisplacementTruth, times: Array) -> "Truth":
        """On a regular grid in the wall, in the heart's own directions and segments."""
        points = truth.wall_points(TRUTH_SPACING_MM)
        u = np.stack([truth.displacement_mm(points, float(t)) for t in times])
        directions = truth.cardiac_frame(points)
        curve = truth.segment_strain(times, TRUTH_SPACING_MM).whole[:, CIRCUMFERENTIAL]
        es = int(np.argmin(curve))
        F = truth.deformation_gradient(points, float(times[es]))
        segments = truth.aha_segments(points)
        return Truth(points, u, directions, directional_strain(F, directions), segments, es)

    def scores(self, displacement: Array, strain: Array) -> dict[str, float | None]:
        """RMSE in mm; errors at ES in points (1 point is a strain of 0.01), None for segments that
        the heart does not have."""
        error = 100 * (strain - self.strain)
        around = self.segments != APICAL_CAP
        by_segment = segment_means(error[around, CIRCUMFERENTIAL], self.segments[around])
        sick = dysfunctional_segments(self.strain[around], self.segments[around])
        squares = ((displacement - self.displacement) ** 2).sum(axis=-1)
        return {
            "rmse_mm": float(np.sqrt(squares.mean())),
            "gcs_points": float(abs(error[:, CIRCUMFERENTIAL].mean())),
            "segmental_points": mean_size([*by_segment.values()]),
            "dysfunctional_points": mean_size([v for k, v in by_segment.items() if k in sick]),
            "healthy_points": mean_size([v for k, v in by_segment.items() if k not in sick]),
            "grs_points": float(abs(error[:, RADIAL].mean())),
            "gls_points": float(abs(error[:, LONGITUDINAL].mean())),
        }


def score(truth: Truth, result: MotionResult) -> dict[str, float | None]:
    """Scores of one result."""
    field, times = result.displacement_field, result.cycle_fractions
    F = deformation_gradient(field, truth.points_ras, times[[truth.es]])[0]
    strain = directional_strain(F, truth.directions)
    return truth.scores(displacement_ras(field, truth.points_ras, times), strain)


def scored(truth: Truth, fit: Callable[[], MotionResult]) -> dict[str, Any]:
    """See `timed`."""
    return timed(partial(score, truth), fit)


def seen_by(study: CineStudy, way: str) -> CineStudy:
    """The study as a way sees it."""
    slices = study.slices
    if way == "tagged_sa":
        slices = tuple(s for s in slices if s.view is View.SA)
    if way == "tagged_ed":
        slices = tuple(with_labels_of_ed(s) for s in slices)
    return replace(study, slices=slices)


def subject(seed: int, kind: MotionKind, ways: tuple[str, ...]) -> dict[str, Any]:
    """All ways on one heart."""
    heart = sample_motion_heart(seed, kind)
    protocol = sample_protocol(seed, "tagged-3d")
    simulated = simulate_tagged_study(heart, TagPattern(kind=TagKind.LINES), protocol, seed)
    study = simulated.study
    truth = Truth.of(simulated.truth, study.slices[0].cycle_fractions)
    still = truth.scores(np.zeros((1, 1, 3)), np.zeros_like(truth.strain))
    fits = {way: scored(truth, partial(fit_tagged_study, seen_by(study, way))) for way in ways}
    return {"seed": seed, "kind": kind.value, "still": still, **fits}


def main() -> None:
    """Run all subjects, each written as soon as it is done."""
    settings = tyro.cli(Settings)
    seeds = range(settings.first_seed, settings.first_seed + settings.subjects)
    rows = (subject(seed, kind, settings.ways) for seed in seeds for kind in settings.kinds)
    run(rows, settings.out / "motion_3d.json")


if __name__ == "__main__":
    main()
