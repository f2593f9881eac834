"""Volumes against closed forms."""

import numpy as np
import pytest

from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve, volume_curve
from NISFCore.labels import Label
from Testing.Core.analysis.hearts import EllipsoidHeart


def test_curve_matches_closed_form() -> None:
    heart = EllipsoidHeart(sharpness_per_mm=20.0)
    t = uniform_cycle_fractions(2)
    curve = volume_curve(heart, heart.box.grid(2.5), t)
    expected = np.stack([heart.volumes_ml(x) for x in t])
    assert np.allclose(curve.volumes_ml[:, 1:], expected[:, 1:], rtol=0.01)
    assert not curve.of(Label.BACKGROUND).any()
    assert (curve.ed_index, curve.es_index) == (0, 1)


def test_function_of_a_known_curve() -> None:
    volumes = np.zeros((3, 4))
    volumes[:, Label.LV_BLOOD_POOL] = [120.0, 50.0, 90.0]
    volumes[:, Label.LV_MYOCARDIUM] = [100.0, 101.0, 102.0]
    volumes[:, Label.RV_BLOOD_POOL] = [140.0, 75.0, 70.0]
    function = VentricularFunction.from_curve(VolumeCurve(np.arange(3) / 3, volumes))
    assert (function.edv_ml, function.esv_ml, function.sv_ml) == (120, 50, 70)
    assert function.ef_percent == pytest.approx(100 * 70 / 120)
    assert function.mass_g == pytest.approx(105)
    assert (function.rv_edv_ml, function.rv_esv_ml, function.rv_sv_ml) == (140, 70, 70)
    assert function.rv_ef_percent == pytest.approx(50)


def test_a_missing_ventricle_has_zero_ejection_fraction() -> None:
    curve = VolumeCurve(np.array([0.0, 0.5]), np.zeros((2, 4)))
    assert VentricularFunction.from_curve(curve).rv_ef_percent == 0


def test_rows_are_ready_for_csv() -> None:
    volumes = np.arange(8.0).reshape(2, 4)
    rows = VolumeCurve(np.array([0.0, 0.5]), volumes).rows()
    assert rows[1] == {
        "phase": 1,
        "cycle_fraction": 0.5,
        "lv_blood_pool_ml": 5.0,
        "lv_myocardium_ml": 6.0,
        "rv_blood_pool_ml": 7.0,
    }
