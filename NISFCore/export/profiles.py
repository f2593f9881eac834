"""Intensities along the lines in which slices meet, before and after alignment, as JSON.

```
{"profiles_version": 1, "cycle_fractions": [...],
 "pairs": [{"a": name, "b": name, "ncc_before": x, "ncc_after": x,
            "before": {"distance_mm": [n], "a": [[n] per phase], "b": [[n] per phase]},
            "after": {...}}]}
```

Values are relative to each slice's reference intensity (paper section 3.1), so that two slices of
different gain can be compared. Pairs that agreed least before alignment come first.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.evaluation import before_and_after
from NISFCore.analysis.fitted import FittedStudy
from NISFCore.analysis.intersections import IntersectionProfile, intersection_profiles

PROFILES_VERSION = 1
N_DECIMALS = 3


def profiles_json(fitted: FittedStudy, n_phases: int) -> str:
    """The text of `profiles.json`, at `n_phases` uniform times of the cycle."""
    before, after = (
        intersection_profiles(fitted.study, motions, region, n_phases)
        for motions, region in before_and_after(fitted)
    )
    by_pair = {(p.crossing.a, p.crossing.b): p for p in after}
    pairs = [(p, by_pair.get((p.crossing.a, p.crossing.b))) for p in before]
    records = [_pair(fitted, a, b) for a, b in pairs if b is not None and np.isfinite(a.ncc)]
    times = before[0].cycle_fractions.tolist() if before else []
    values = {
        "profiles_version": PROFILES_VERSION,
        "cycle_fractions": times,
        "pairs": sorted(records, key=lambda record: float(record["ncc_before"])),
    }
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"


def _pair(
    fitted: FittedStudy, before: IntersectionProfile, after: IntersectionProfile
) -> dict[str, Any]:
    a, b = before.crossing.a, before.crossing.b
    return {
        "a": fitted.study.slices[a].name,
        "b": fitted.study.slices[b].name,
        "ncc_before": before.ncc,
        "ncc_after": after.ncc if np.isfinite(after.ncc) else None,
        "before": _profile(fitted, before),
        "after": _profile(fitted, after),
    }


def _profile(fitted: FittedStudy, profile: IntersectionProfile) -> dict[str, Any]:
    reference = fitted.intensity_reference
    return {
        "distance_mm": _rounded(profile.crossing.distances_mm),
        "a": _rounded(profile.a_values / reference[profile.crossing.a]),
        "b": _rounded(profile.b_values / reference[profile.crossing.b]),
    }


def _rounded(values: npt.NDArray[np.float64]) -> Any:
    return np.round(values, N_DECIMALS).tolist()
