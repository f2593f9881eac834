"""Figure 4: what two slices show along their common line, before and after the fit."""

import numpy as np

from NISFCore.analysis.evaluation import before_and_after
from NISFCore.analysis.intersections import intersection_profiles
from NISFCore.benchmark.store import Arrays
from NISFCore.fitting.result import FitResult
from NISFCore.views import View


def profile_arrays(result: FitResult) -> Arrays:
    """`PAIR/WHEN/a`, `/b` `(n_phases, n)` and `/ncc` of the middle SA slice with each LA view.

    PAIR is "a × b"; WHEN is before or after.
    """
    names = [s.name for s in result.study.slices]
    stack = result.study.of_view(View.SA)
    middle = names.index(stack[len(stack) // 2].name)
    found: Arrays = {}
    for when, (motions, region) in zip(("before", "after"), before_and_after(result), strict=True):
        for profile in intersection_profiles(result.study, motions, region):
            if profile.crossing.a == middle:
                pair = f"{names[middle]} × {names[profile.crossing.b]}"
                found[f"{pair}/{when}/a"] = profile.a_values.astype(np.float32)
                found[f"{pair}/{when}/b"] = profile.b_values.astype(np.float32)
                found[f"{pair}/{when}/ncc"] = np.array(profile.ncc)
    pairs = {key.split("/")[0] for key in found}
    both = {p for p in pairs if f"{p}/before/a" in found and f"{p}/after/a" in found}
    return {key: value for key, value in found.items() if key.split("/")[0] in both}
