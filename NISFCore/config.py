"""Strict conversion between frozen configuration dataclasses and JSON objects.

Unknown or misspelt keys are errors: a setting never silently takes its default.
"""

import dataclasses
import types
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from NISFCore.errors import ConfigError

T = TypeVar("T")


def to_json_object(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON types (tuples become lists, enums their values)."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def from_json_object(cls: type[T], values: dict[str, Any]) -> T:
    """Build dataclass `cls` from a JSON object.

    Raises:
        ConfigError: for unknown or missing keys, and values of the wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{cls.__name__}: got {values!r}, expected an object with its settings")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(
            f"{cls.__name__}: unknown setting {', '.join(unknown)}; allowed: {', '.join(fields)}"
        )
    hints = get_type_hints(cls)
    arguments = {k: _typed(f"{cls.__name__}.{k}", hints[k], v) for k, v in values.items()}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_json_object(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return value


def _typed(name: str, hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _typed(name, next(a for a in arguments if a is not type(None)), value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_json_object(hint, value)
    if origin is tuple:
        return _typed_tuple(name, arguments, value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{name}: got {value!r}, expected an object")
        return {k: _typed(f"{name}[{k}]", arguments[1], v) for k, v in value.items()}
    if isinstance(hint, type):
        return _typed_scalar(name, hint, value)
    return value


def _typed_tuple(name: str, arguments: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{name}: got {value!r}, expected a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_typed(f"{name}[{i}]", arguments[0], v) for i, v in enumerate(value))
    if len(arguments) != len(value):
        raise ConfigError(f"{name}: got {len(value)} values, expected {len(arguments)}")
    pairs = zip(arguments, value, strict=True)
    return tuple(_typed(f"{name}[{i}]", a, v) for i, (a, v) in enumerate(pairs))


def _typed_scalar(name: str, hint: type, value: Any) -> Any:
    if issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            allowed = ", ".join(str(item.value) for item in hint)
            raise ConfigError(f"{name}: got {value!r}, allowed: {allowed}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise ConfigError(f"{name}: got {value!r}, expected {hint.__name__}")
    return value
