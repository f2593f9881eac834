"""Strict configuration: JSON there and back, and an error for everything that does not fit."""

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest

from NISFCore.config import from_json_object, to_json_object
from NISFCore.errors import ConfigError


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    size_mm: tuple[float, float] = (1.0, 2.0)
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Outer:
    n: int
    rate: float = 0.5
    on: bool = True
    name: str | None = None
    inner: Inner = Inner()
    optional: Inner | None = None
    steps: tuple[int, ...] = ()
    many: tuple[Inner, ...] = ()
    scales: dict[str, float] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ConfigError(f"Outer.n: got {self.n}, must not be negative")


FULL = Outer(
    n=3,
    rate=1e-3,
    on=False,
    name="ä",
    inner=Inner((3.0, 4.0), Colour.BLUE),
    optional=Inner(),
    steps=(1, 2, 3),
    many=(Inner(), Inner((5.0, 6.0))),
    scales={"a": 1.0},
    anything={"b": [1, {"c": None}]},
)


@pytest.mark.parametrize("config", [FULL, Outer(n=0)])
def test_round_trip_through_json_text(config: Outer) -> None:
    text = json.dumps(to_json_object(config))
    assert from_json_object(Outer, json.loads(text)) == config


def test_a_whole_number_is_a_float_where_a_float_is_asked() -> None:
    outer = from_json_object(Outer, {"n": 1, "rate": 2, "inner": {"size_mm": [1, 2]}})
    assert type(outer.rate) is float
    assert [type(v) for v in outer.inner.size_mm] == [float, float]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": 1, "rat": 0.1}, r"unknown setting rat; allowed: n, rate"),
        ({"n": 1, "inner": {"colr": "red"}}, r"Inner: unknown setting colr"),
        ({}, r"Outer: .*missing.*'n'"),
        ({"n": "1"}, r"Outer\.n: got '1', expected int"),
        ({"n": 1.0}, r"Outer\.n: got 1\.0, expected int"),
        ({"n": True}, r"Outer\.n: got True, expected int"),
        ({"n": 1, "rate": True}, r"Outer\.rate: got True, expected float"),
        ({"n": 1, "rate": None}, r"Outer\.rate: got None, expected float"),
        ({"n": 1, "on": 1}, r"Outer\.on: got 1, expected bool"),
        ({"n": 1, "name": 5}, r"Outer\.name: got 5, expected str"),
        ({"n": 1, "inner": 5}, r"Inner: got 5, expected an object"),
        ({"n": 1, "inner": None}, r"Inner: got None, expected an object"),
        ({"n": 1, "optional": [1]}, r"Inner: got \[1\], expected an object"),
        ({"n": 1, "inner": {"colour": "green"}}, r"Inner\.colour: got 'green', allowed: red, blue"),
        ({"n": 1, "inner": {"size_mm": [1]}}, r"size_mm: got 1 values, expected 2"),
        ({"n": 1, "inner": {"size_mm": 1}}, r"size_mm: got 1, expected a list"),
        ({"n": 1, "steps": [1, "2"]}, r"Outer\.steps\[1\]: got '2', expected int"),
        ({"n": 1, "many": [{"colour": 1}]}, r"Inner\.colour: got 1, allowed"),
        ({"n": 1, "scales": {"a": "b"}}, r"Outer\.scales\[a\]: got 'b', expected float"),
        ({"n": 1, "scales": [1]}, r"Outer\.scales: got \[1\], expected an object"),
        ({"n": -1}, r"Outer\.n: got -1, must not be negative"),
        ([1], r"Outer: got \[1\], expected an object"),
    ],
)
def test_what_does_not_fit_is_an_error(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_json_object(Outer, values)
