"""Table 2: what slices show along their intersections, and how far they are from where they were.

Errors are `NISFCore.analysis.metrics.slice_motion_errors`: the mean distance over the heart's part
of a slice, and the angle, after the rigid motion common to all slices has been removed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from NISFCore.analysis.evaluation import box_centre_ras, label_sampler, scanned_region
from NISFCore.analysis.intersections import (
    crossings,
    intersection_dice,
    intersection_ncc,
    intersection_profiles,
)
from NISFCore.analysis.metrics import heart_points_on_slice, slice_motion_errors
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.spaces import Affine
from NISFCore.phantom.truth import PhantomTruth

N_DICE_PHASES = 6


def alignment(
    result: FitResult, motions: Sequence[Affine], truth: PhantomTruth, is_corrected: bool
) -> dict[str, Any]:
    """Figures of one set of slice motions on the slices of a fit.

    Args:
        motions: corrected_from_scanned of every slice, RAS.
        is_corrected: whether the region that counts is the fitted one, or where it was scanned.

    Returns:
        `distance_mm` and `angle_deg` per slice, `ncc` and `dice` as means over pairs of slices.
    """
    centre, slices = box_centre_ras(truth.box), result.study.slices
    points = [heart_points_on_slice(cine, centre) for cine in slices]
    true = [truth.true_from_scanned_ras(cine.name) for cine in slices]
    errors = slice_motion_errors(motions, true, points)
    region = result.field.contains if is_corrected else scanned_region(result)
    profiles = intersection_profiles(result.study, motions, region)
    labels_of = label_sampler(result, truth)
    assert labels_of is not None  # there is a truth
    t = uniform_cycle_fractions(N_DICE_PHASES)
    pairs = intersection_dice(crossings(result.study, motions, region), labels_of, t)
    return {
        "distance_mm": errors.distance_mm,
        "angle_deg": errors.angle_deg,
        "ncc": intersection_ncc(profiles).mean,
        "dice": pairs.mean,
    }


def before_after(result: FitResult, truth: PhantomTruth) -> dict[str, Any]:
    """`alignment` of the slices as scanned and as fitted."""
    identities = [np.eye(4) for _ in result.study.slices]
    return {
        "before": alignment(result, identities, truth, is_corrected=False),
        "after": alignment(result, result.slice_motions, truth, is_corrected=True),
    }
