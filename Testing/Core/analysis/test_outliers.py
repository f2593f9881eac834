"""Slices that moved far more than the others are named, with the reason."""

import numpy as np
import pytest

from NISFCore.analysis.outliers import modified_z_scores, motion_outliers


def test_scores_of_normal_values_are_their_standard_deviations() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 20000)
    scores = modified_z_scores(values, least_mad=1e-6)
    assert scores.mean() == pytest.approx(0, abs=0.03)
    assert scores.std() == pytest.approx(1, rel=0.03)


def test_one_far_value_does_not_hide_itself() -> None:
    scores = modified_z_scores([1.0, 2.0, 3.0, 2.5, 1.5, 1000.0], least_mad=0.1)
    assert scores[-1] > 100
    assert np.abs(scores[:-1]).max() < 2


def test_the_slice_that_stands_out_is_named_with_its_reason() -> None:
    distance_mm = [2.0, 3.5, 2.5, 30.0, 3.0]
    rotation_deg = [1.0, 1.5, 25.0, 20.0, 0.5]
    reasons = motion_outliers(distance_mm, rotation_deg)
    assert [bool(reason) for reason in reasons] == [False, False, True, True, False]
    assert reasons[2] == "turned 25.0°, the median is 1.5°"
    assert reasons[3] == "moved 30.0 mm, the median is 3.0 mm; turned 20.0°, the median is 1.5°"


def test_small_motions_are_none_however_equal_the_others() -> None:
    assert motion_outliers([0.0, 0.0, 0.0, 1.5], [0.0, 0.0, 0.0, 1.5]) == ["", "", "", ""]


def test_a_still_slice_among_moving_ones_is_no_outlier() -> None:
    assert motion_outliers([20.0, 21.0, 20.5, 0.0], [5.0, 5.0, 5.0, 5.0]) == [""] * 4
