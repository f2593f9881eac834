"""Standard errors of volumes and function against sampling."""

from collections.abc import Sequence

import numpy as np
import pytest

from NISFCore.analysis.evaluation import evaluate
from NISFCore.analysis.function_errors import function_standard_errors
from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve
from Testing.Core.analysis.hearts import small_case

T = np.array([0.0, 0.25, 0.5, 0.75])
VOLUMES = np.array(
    [[0, 150, 110, 160], [0, 90, 112, 100], [0, 60, 113, 70], [0, 120, 111, 165]], dtype=float
)


def covariance(n_times: int) -> np.ndarray:
    factor = np.random.default_rng(0).normal(0, 2.0, (n_times * 4, 20)) / np.sqrt(20)
    return (factor @ factor.T).reshape(n_times, 4, n_times, 4)


def test_they_are_the_spread_of_sampled_hearts() -> None:
    """Volumes are drawn at the times of LV ED and ES, RV ED and ES, which is what is asked for."""
    curve, asked = VolumeCurve(T, VOLUMES), []

    def volume_covariance(times: Sequence[float]) -> np.ndarray:
        asked.append(tuple(times))
        return covariance(4)

    errors = function_standard_errors(curve, volume_covariance)
    assert asked == [(0.0, 0.5, 0.75, 0.5)]
    rng, C = np.random.default_rng(1), covariance(4).reshape(16, 16)
    mean = VOLUMES[[0, 2, 3, 2]].ravel()
    draws = rng.multivariate_normal(mean, C, 20_000).reshape(-1, 4, 4)
    lv_ed, lv_es, rv_ed, rv_es = draws[:, 0, 1], draws[:, 1, 1], draws[:, 2, 3], draws[:, 3, 3]
    expected = {
        "edv_ml": lv_ed.std(),
        "esv_ml": lv_es.std(),
        "sv_ml": (lv_ed - lv_es).std(),
        "ef_percent": (100 * (lv_ed - lv_es) / lv_ed).std(),
        "mass_g": 1.05 * draws[:, 0, 2].std(),
        "rv_edv_ml": rv_ed.std(),
        "rv_esv_ml": rv_es.std(),
        "rv_sv_ml": (rv_ed - rv_es).std(),
        "rv_ef_percent": (100 * (rv_ed - rv_es) / rv_ed).std(),
    }
    assert errors == pytest.approx(expected, rel=0.03)
    assert errors.keys() == VentricularFunction.from_curve(curve).to_dict().keys()


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert function_standard_errors(VolumeCurve(T, VOLUMES), lambda _: None) == {}


def test_an_empty_ventricle_has_no_infinite_error() -> None:
    errors = function_standard_errors(VolumeCurve(T, 0 * VOLUMES), lambda _: covariance(4))
    assert errors["ef_percent"] == 0.0


def test_the_evaluation_carries_them() -> None:
    fitted, truth = small_case()
    with_errors = type(fitted)(**{**vars(fitted), "volume_covariance": covariance(4)})
    volumes = evaluate(with_errors, truth, spacing_mm=6.0, n_phases=4).to_json_object()["volumes"]
    expected = np.sqrt(covariance(4)[0, 1, 0, 1])
    assert volumes["edv_ml"]["sd"] == pytest.approx(expected)
    plain = evaluate(fitted, truth, spacing_mm=6.0, n_phases=4).to_json_object()["volumes"]
    assert plain["edv_ml"]["sd"] is None
