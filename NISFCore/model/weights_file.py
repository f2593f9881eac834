"""Trained weights with a JSON header in one safetensors file: what priors and networks are kept in.

Nothing in such a file is executed.
"""

import json
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from NISFCore.config import from_json_object
from NISFCore.errors import ConfigError, PriorError

Header = TypeVar("Header")


def read_weights(path: Path, header_key: str, kind: str) -> tuple[str, dict[str, Tensor]]:
    """The header's text and the tensors.

    Args:
        kind: what the file should be, for errors: "prior".

    Raises:
        PriorError: if it cannot be read or has no such header.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(header_key)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise PriorError(f"{path.name} is not a readable {kind} (safetensors): {error}") from error
    if header is None:
        raise PriorError(f"{path.name} is a safetensors file, but not a NISF {kind}")
    return header, tensors


def parsed_header(
    name: str, text: str, header: type[Header], version: int, kind: str, remedy: str
) -> Header:
    """The header as its dataclass.

    Args:
        name: of the file, for errors.
        version: the one that this software reads.
        remedy: what to do with another version.

    Raises:
        PriorError: if it is of another version, or not that of a `kind`.
    """
    try:
        values = json.loads(text)
        found = values.get("format_version")
        if found != version:
            raise PriorError(
                f"{name} has {kind} format {found}, this software reads {version}; {remedy}"
            )
        return from_json_object(header, values)
    except (ConfigError, ValueError, AttributeError, TypeError) as error:
        raise PriorError(f"{name}: its header is not that of a NISF {kind}: {error}") from error


def check_finite(name: str, tensors: dict[str, Tensor]) -> None:
    """
    Raises:
        PriorError: if weights are NaN or infinite.
    """
    if not all(torch.isfinite(t).all() for t in tensors.values()):
        raise PriorError(f"{name} contains NaN or infinite weights; train it again")
