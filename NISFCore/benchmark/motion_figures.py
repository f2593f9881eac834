"""The headline figures of `nisf benchmark motion`, each with its definition."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from NISFCore.benchmark.figures import mean
from NISFCore.benchmark.motion_plan import LEARNED, Arm

Part = dict[str, Any]
COMPARED_STEPS = "20"


@dataclass(frozen=True)
class MotionParts:
    """Finished parts, by subject.

    Attributes:
        tuning: each arm's rates, and how they were found.
        usuals: usual fits of a tagged plane.
        arms: descents from every beginning in a tagged plane.
        cines: fits of untagged planes.
        spaces: fits in space.
    """

    tuning: Part
    usuals: Sequence[Part]
    arms: Sequence[Part]
    cines: Sequence[Part]
    spaces: Sequence[Part]


@dataclass(frozen=True)
class MotionFigure:
    """One figure: its name in `benchmark.json`, what it means, and how it is had."""

    key: str
    definition: str
    of: Callable[[MotionParts], float | None]


def usual(name: str) -> Callable[[MotionParts], float | None]:
    """Mean over subjects of one score of the usual fit."""
    return lambda parts: mean(part[name] for part in parts.usuals)


def arm_rmse(parts: MotionParts, arm: Arm, steps: str) -> float:
    """Mean RMSE in mm of an arm after a budget."""
    return mean(part["arms"][arm.value][steps]["rmse_mm"] for part in parts.arms)


def ratio_to_random(parts: MotionParts, arms: Iterable[Arm], steps: str) -> float | None:
    """Least mean RMSE of the arms over that of the random beginning."""
    random = arm_rmse(parts, Arm.RANDOM, steps)
    return min(arm_rmse(parts, arm, steps) for arm in arms) / random


def dysfunction_ratio(scores: Sequence[Part]) -> float | None:
    """Mean error of dysfunctional segments over that of the others, in hearts that have both."""
    both = [s for s in scores if s["n_dysfunctional"] and s["healthy_points"] is not None]
    both = [s for s in both if s["dysfunctional_points"] is not None]
    if not both:
        return None
    sick = np.mean([s["dysfunctional_points"] for s in both])
    return float(sick / np.mean([s["healthy_points"] for s in both]))


FIGURES = (
    MotionFigure(
        "tagged_rmse_mm",
        "Root mean squared error of displacement in the plane over the wall and all frames, usual "
        "fit of a tagged plane (Gauss-Newton), mean over all subjects of all groups.",
        usual("rmse_mm"),
    ),
    MotionFigure(
        "tagged_gcs_points",
        "Absolute error of global circumferential strain at true end-systole, in points (0.01).",
        usual("gcs_points"),
    ),
    MotionFigure(
        "tagged_segmental_points",
        "Mean absolute error of circumferential strain of AHA segments at true end-systole.",
        usual("segmental_points"),
    ),
    MotionFigure(
        "tagged_grs_points",
        "Absolute error of global radial strain at true end-systole.",
        usual("grs_points"),
    ),
    MotionFigure(
        "gn_start_ratio",
        "RMSE of the Gauss-Newton start on tag phase and labels over that of the random "
        "initialisation, both before any descent.",
        lambda parts: ratio_to_random(parts, [Arm.PHASE], "0"),
    ),
    MotionFigure(
        "best_prior_ratio_20",
        "RMSE after a descent of 20 steps from the best of the four learned priors over that from "
        "the random initialisation, each at its own tuned rate; all weights are free.",
        lambda parts: ratio_to_random(parts, LEARNED, COMPARED_STEPS),
    ),
    MotionFigure(
        "dysfunction_ratio",
        "Mean absolute error of circumferential strain in segments that shorten by less than half "
        "of their heart's best one, over that in the same hearts' other segments; usual fit in "
        "space (first healthy and dysfunctional subjects).",
        lambda parts: dysfunction_ratio(parts.spaces),
    ),
    MotionFigure(
        "dysfunction_ratio_plane",
        "The same of the usual fit of a single tagged plane, which other tissue comes through.",
        lambda parts: dysfunction_ratio(parts.usuals),
    ),
    MotionFigure(
        "cine_rmse_mm",
        "As tagged_rmse_mm, usual fit of untagged planes (first subjects only).",
        lambda parts: mean(part["rmse_mm"] for part in parts.cines),
    ),
    MotionFigure(
        "tagged_3d_rmse_mm",
        "RMSE in space over the LV wall and all frames, usual fit of six short-axis and three "
        "long-axis tagged planes (first healthy and dysfunctional subjects).",
        lambda parts: mean(part["rmse_mm"] for part in parts.spaces),
    ),
    MotionFigure(
        "seconds_per_subject",
        "Processor seconds of the usual fit of a tagged plane on one thread.",
        usual("seconds"),
    ),
)


def headline(parts: MotionParts) -> dict[str, float | None]:
    """Every figure by key; None where it cannot be had."""
    values = {figure.key: figure.of(parts) for figure in FIGURES}
    return {k: v if v is not None and np.isfinite(v) else None for k, v in values.items()}


def missing(values: dict[str, float | None]) -> dict[str, str]:
    """Why figures are missing."""
    return {key: "not measured in this plan" for key, value in values.items() if value is None}
