"""What one tagged plane can tell at best of the tissue that lay in it at ED.

    python -m Testing.Benchmarks.motion_floor --out DIR [--per-group 4] [--first-seed N]

A plane stands still while tissue moves through it: tags that are followed without any error give
the motion of other tissue. On the hearts of `nisf benchmark motion`, against the exact displacement
of the tissue that was in the plane, by the benchmark's own scores:

    plane     what the plane shows, exactly: at each place of the wall, what the tissue that is in
              the plane later has moved within it since ED
    tissue    the same with `through_plane.follow_tissue`, that is a fit without any error of tags
    tissue_K  the same with K orders of the angle around the LV, that is more or less local
    fit       `fit_tagged_plane` as it comes

`motion_floor.json` holds the means of all scores and, over the hearts that have both, the errors of
dysfunctional segments and of the others.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import tyro

from NISFCore.benchmark.motion_figures import dysfunction_ratio
from NISFCore.benchmark.motion_plan import FIRST_SEED, Group, MotionPlan, PlannedSubject
from NISFCore.benchmark.motion_truth import PlaneTruth
from NISFCore.motion.config import DEFAULT
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.fit import fit_tagged_plane
from NISFCore.motion.gauss_newton import coefficients_of, set_coefficients
from NISFCore.motion.plane import Plane
from NISFCore.motion.priors.subjects import simulated_plane
from NISFCore.motion.refinement import tissue_points
from NISFCore.motion.tagged_plane import TaggedPlane, tagged_plane
from NISFCore.motion.through_plane import follow_tissue
from NISFCore.motion.wall_labels import SLOW_ORDERS
from NISFCore.phantom.displacement import DisplacementTruth
from Testing.Benchmarks.motion_runs import Row, run, timed

Array = npt.NDArray[np.float64]
N_ITERATIONS = 8
"""Of a contraction: longitudinal strain is about -0.15."""


@dataclass(frozen=True)
class Settings:
    """What is run.

    Attributes:
        out: folder for `motion_floor.json`.
        per_group: hearts of each group.
        first_seed: of the hearts, those of the benchmark by default.
        groups: of hearts.
        orders: of the angle around the LV, tried beside the usual one.
    """

    out: Path
    per_group: int = 4
    first_seed: int = FIRST_SEED
    groups: tuple[Group, ...] = tuple(Group)
    orders: tuple[int, ...] = ()


def shown_motion(truth: DisplacementTruth, plane: Plane) -> Array:
    """`(n_times, n, 2)` local mm: movement within the plane of the tissue that was a distance d off
    the plane at ED, over the wall's pixels, and lies in the plane now: d + u_z(X + d n) = 0."""
    normal, points = plane.cine.normal_ras, plane.points_ras
    return (
        np.stack([_shown_at(truth, points, normal, float(t)) for t in plane.cine.cycle_fractions])
        @ plane.placement.axes.T
    )


def _shown_at(truth: DisplacementTruth, points: Array, normal: Array, t: float) -> Array:
    off = np.zeros(len(points))
    for _ in range(N_ITERATIONS):
        off = -truth.displacement_mm(points + off[:, None] * normal, t) @ normal
    return np.asarray(truth.displacement_mm(points + off[:, None] * normal, t))


def without_error(
    seen: TaggedPlane, truth: DisplacementTruth, n_orders: int | None
) -> DisplacementField:
    """The field of what the plane shows, or of the tissue as it follows from that."""
    field = seen.field(DEFAULT)
    tissue = tissue_points(field, seen.points)
    u = torch.tensor(shown_motion(truth, seen.plane), dtype=torch.float32)
    found = coefficients_of(tissue.features, seen.times, u)
    set_coefficients(field, found)
    if n_orders is not None:
        follow_tissue(field, tissue, found, seen.contours, n_orders)
    return field


def subject(planned: PlannedSubject, orders: tuple[int, ...]) -> Row:
    """All ways on one heart."""
    simulated = simulated_plane(planned.seed, planned.kind, planned.change)
    slices = list(simulated.study.slices)
    seen = tagged_plane(slices, DEFAULT)
    truth = PlaneTruth.of(simulated.truth, seen.plane)
    ways = {"plane": None, "tissue": SLOW_ORDERS, **{f"tissue_{k}": k for k in orders}}
    return {
        "seed": planned.seed,
        "group": planned.group.value,
        **{w: truth.scores(without_error(seen, simulated.truth, k)) for w, k in ways.items()},
        "fit": timed(
            lambda result: truth.scores(result.displacement_field),
            partial(fit_tagged_plane, slices),
        ),
    }


def dysfunction(rows: list[Row]) -> dict[str, Any]:
    """Errors of circumferential strain in dysfunctional segments, in the others of the same hearts,
    and their ratio."""
    names = ("dysfunctional_points", "healthy_points")
    both = [row for row in rows if all(row["fit"][name] is not None for name in names)]
    found: dict[str, Any] = {"n_hearts": len(both)}
    ways = [name for name, value in both[0].items() if isinstance(value, dict)] if both else []
    for way in ways:
        scores = [row[way] for row in both]
        errors = {name: float(np.mean([s[name] for s in scores])) for name in names}
        found[way] = {**errors, "ratio": dysfunction_ratio(scores)}
    return {"dysfunction": found}


def main() -> None:
    """Run all subjects, each written as soon as it is done."""
    settings = tyro.cli(Settings)
    plan = MotionPlan(
        groups=settings.groups, n_per_group=settings.per_group, seed=settings.first_seed
    )
    rows = (subject(planned, settings.orders) for planned in plan.subjects())
    run(rows, settings.out / "motion_floor.json", dysfunction)


if __name__ == "__main__":
    main()
