"""What a user would do without a learned prior, on the same slices (see the imported modules)."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from NISFCore.analysis.dense import compare_dense
from NISFCore.analysis.evaluation import box_centre_ras, scanned_region
from NISFCore.analysis.metrics import common_rigid, heart_points_on_slice
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.benchmark.accuracy import volumes
from NISFCore.benchmark.mask_interpolation import InterpolatedHeart, Interpolation
from NISFCore.benchmark.misalignment import alignment
from NISFCore.benchmark.plan import BenchmarkPlan
from NISFCore.benchmark.registration import register_slices
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.spaces import Affine
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.phantom.truth import PhantomTruth
from NISFCore.progress import CancelToken

METHODS = (
    (Interpolation.LINEAR, False),
    (Interpolation.SHAPE, False),
    (Interpolation.SHAPE, True),
)
"""Kind of interpolation, and whether slices are registered first."""


def classical(
    result: FitResult,
    simulated: SimulatedStudy,
    plan: BenchmarkPlan,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Figures of the baselines on the slices of a fit (its motions are not used).

    Keys: `registration` (see `misalignment.alignment`, and `seconds`), `hearts` (name → dense Dice
    and volumes).
    """
    truth, began = simulated.truth, perf_counter()
    registered = register_slices(result.study, scanned_region(result), cancel=cancel)
    seconds = perf_counter() - began
    still = [np.eye(4) for _ in registered]
    hearts = {}
    for kind, is_registered in METHODS:
        name = f"{kind.value}{' after registration' if is_registered else ''}"
        motions = registered if is_registered else still
        hearts[name] = _heart(result, motions, kind, truth, plan, cancel)
    figures = alignment(result, registered, truth, is_corrected=False)
    return {"registration": figures | {"seconds": seconds}, "hearts": hearts}


def _heart(
    result: FitResult,
    motions: Sequence[Affine],
    kind: Interpolation,
    truth: PhantomTruth,
    plan: BenchmarkPlan,
    cancel: CancelToken | None,
) -> dict[str, Any]:
    centre, slices = box_centre_ras(truth.box), result.study.slices
    points = [heart_points_on_slice(cine, centre) for cine in slices]
    true = [truth.true_from_scanned_ras(cine.name) for cine in slices]
    T = common_rigid(motions, true, points)
    heart = InterpolatedHeart(result.study, motions, kind)
    t = uniform_cycle_fractions(plan.n_dense_phases)
    dense = compare_dense(heart, truth, T, t, plan.dense_spacing_mm, cancel=cancel)
    return {
        "dice": dense.dice,
        "dice_anchored": dense.dice_anchored,
        "volumes": volumes(dense.estimate, dense.truth),
    }
