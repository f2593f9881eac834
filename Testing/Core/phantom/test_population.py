"""Random hearts: cited ranges, plausibility, reproducibility, storage."""

import dataclasses
import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from NISFCore.errors import ConfigError
from NISFCore.phantom import HeartParameters, Mode, sample_heart
from NISFCore.phantom.population import MEN, MODE_WEIGHTS, WOMEN, _draw_mode
from NISFCore.phantom.shape import solve_shape, wall_thickness_mm

N = 60


@pytest.fixture(scope="module")
def normals() -> list[HeartParameters]:
    return [sample_heart(seed, Mode.NORMAL) for seed in range(N)]


def test_normal_hearts_have_the_cited_statistics(normals: list[HeartParameters]) -> None:
    """Means within three standard errors of the equal mixture of the cited men and women."""
    measured = {
        "lv_edv_ml": [p.lv.edv_ml for p in normals],
        "lv_ef_percent": [p.lv.ef_percent for p in normals],
        "lv_mass_g": [p.lv.mass_g for p in normals],
    }
    for name, values in measured.items():
        (m1, s1), (m2, s2) = getattr(MEN, name), getattr(WOMEN, name)
        mean, sd = (m1 + m2) / 2, math.sqrt((s1**2 + s2**2) / 2 + ((m1 - m2) / 2) ** 2)
        assert np.mean(values) == pytest.approx(mean, abs=3 * sd / math.sqrt(N)), name
        assert 0.6 * sd < np.std(values) < 1.4 * sd, name


def test_normal_right_ventricles_are_plausible(normals: list[HeartParameters]) -> None:
    ef = np.array([p.rv.ef_percent for p in normals])
    assert 50 < ef.mean() < 62
    assert ef.min() > 35
    assert ef.max() <= 75
    strokes = np.array(
        [(p.lv.edv_ml * p.lv.ef_percent) / (p.rv.edv_ml * p.rv.ef_percent) for p in normals]
    )
    assert np.abs(strokes - 1).max() < 0.15


def test_wall_thickness_is_anatomical(normals: list[HeartParameters]) -> None:
    mid = np.array([float(wall_thickness_mm(solve_shape(p))[:, 20].mean()) for p in normals])
    assert 5.0 < mid.mean() < 9.5


@pytest.mark.parametrize(
    ("mode", "name", "low", "high"),
    [
        (Mode.DILATED, "edv_ml", 130, 480),
        (Mode.DILATED, "ef_percent", 15, 42),
        (Mode.HYPERTROPHIC, "ef_percent", 60, 76),
        (Mode.REDUCED_EF, "ef_percent", 25, 50),
    ],
)
def test_diseases_are_what_they_say(mode: Mode, name: str, low: float, high: float) -> None:
    values = [getattr(sample_heart(seed, mode).lv, name) for seed in range(12)]
    assert low <= min(values)
    assert max(values) <= high


def test_reduced_ef_has_a_scar_and_rv_overload_a_large_rv() -> None:
    assert all(sample_heart(s, Mode.REDUCED_EF).motion.scar_depth > 0 for s in range(6))
    overloaded = [sample_heart(s, Mode.RV_OVERLOAD) for s in range(6)]
    assert all(p.rv.edv_ml > 1.35 * p.lv.edv_ml for p in overloaded)


def test_seeds_reproduce_and_differ() -> None:
    assert sample_heart(7) == sample_heart(7)
    assert sample_heart(7) != sample_heart(8)
    assert sample_heart(np.random.default_rng(7)) == sample_heart(7)


def test_modes_are_drawn_with_their_weights() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(_draw_mode(rng) for _ in range(2000))
    assert sum(MODE_WEIGHTS.values()) == pytest.approx(1)
    for mode, weight in MODE_WEIGHTS.items():
        assert drawn[mode] / 2000 == pytest.approx(weight, abs=0.03)


def test_json_round_trip_is_exact() -> None:
    parameters = sample_heart(11)
    text = json.dumps(parameters.to_json_object())
    assert HeartParameters.from_json_object(json.loads(text)) == parameters


def test_misspelt_parameter_is_an_error() -> None:
    values: dict[str, Any] = HeartParameters().to_json_object()
    values["lv"]["edv"] = 100.0
    with pytest.raises(ConfigError, match="edv"):
        HeartParameters.from_json_object(values)


def count_numbers(config: object) -> int:
    values = [getattr(config, f.name) for f in dataclasses.fields(config)]  # type: ignore[arg-type]
    return sum(
        count_numbers(v)
        if dataclasses.is_dataclass(v)
        else len(v)
        if isinstance(v, tuple)
        else isinstance(v, float)
        for v in values
    )


def test_hearts_vary_in_many_ways() -> None:
    """At least 35 numbers of a heart differ between two draws."""
    a, b = sample_heart(1, Mode.REDUCED_EF), sample_heart(2, Mode.REDUCED_EF)
    assert count_numbers(a) >= 60
    flat_a, flat_b = (json.dumps(p.to_json_object()).split(",") for p in (a, b))
    assert sum(x != y for x, y in zip(flat_a, flat_b, strict=True)) >= 60
