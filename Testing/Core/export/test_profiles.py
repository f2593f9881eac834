"""Profiles along the lines in which slices meet, as the scene shows them."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from NISFCore.analysis.evaluation import before_and_after
from NISFCore.analysis.intersections import intersection_profiles, ncc
from NISFCore.export.profiles import profiles_json
from Testing.Core.analysis.hearts import small_case

N_PHASES = 5


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return json.loads(profiles_json(small_case()[0], N_PHASES))


def test_times_are_uniform(values: dict[str, Any]) -> None:
    assert values["cycle_fractions"] == pytest.approx(np.arange(N_PHASES) / N_PHASES)


def test_every_crossing_pair_is_there_the_worst_first(values: dict[str, Any]) -> None:
    fitted = small_case()[0]
    before = [
        {(p.crossing.a, p.crossing.b) for p in intersection_profiles(fitted.study, m, r)}
        for m, r in before_and_after(fitted)
    ]
    names = [cine.name for cine in fitted.study.slices]
    expected = {(names[a], names[b]) for a, b in before[0] & before[1]}
    assert {(p["a"], p["b"]) for p in values["pairs"]} == expected
    agreements = [p["ncc_before"] for p in values["pairs"]]
    assert agreements == sorted(agreements)


def test_profiles_are_what_their_agreement_says(values: dict[str, Any]) -> None:
    for pair in values["pairs"]:
        for when in ("before", "after"):
            profile = pair[when]
            a, b = np.array(profile["a"]), np.array(profile["b"])
            assert a.shape == b.shape == (N_PHASES, len(profile["distance_mm"]))
            assert ncc(a, b) == pytest.approx(pair[f"ncc_{when}"], abs=0.01)
        assert (np.diff(pair["after"]["distance_mm"]) > 0).all()


def test_alignment_makes_slices_agree(values: dict[str, Any]) -> None:
    gains = [p["ncc_after"] - p["ncc_before"] for p in values["pairs"]]
    assert np.mean(gains) > 0.02


def test_values_are_relative_to_the_slices_own_brightness(values: dict[str, Any]) -> None:
    fitted = small_case()[0]
    brighter = replace(fitted, intensity_reference=2 * fitted.intensity_reference)
    halved = json.loads(profiles_json(brighter, N_PHASES))
    found = np.array(halved["pairs"][0]["before"]["a"])
    assert found == pytest.approx(np.array(values["pairs"][0]["before"]["a"]) / 2, abs=1e-3)


def test_slices_that_never_meet_have_no_profiles() -> None:
    fitted = small_case()[0]
    one = replace(
        fitted,
        study=replace(fitted.study, slices=fitted.study.slices[:1]),
        slice_motions=fitted.slice_motions[:1],
        intensity_scale=fitted.intensity_scale[:1],
        intensity_reference=fitted.intensity_reference[:1],
    )
    assert json.loads(profiles_json(one, N_PHASES))["pairs"] == []
