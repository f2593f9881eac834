"""The network file: round trip, and every way in which it can be wrong."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from NISFCore.config import to_json_object
from NISFCore.errors import ConfigError, PriorError
from NISFCore.evidence.channels import N_CHANNELS
from NISFCore.evidence.network import (
    BUNDLED_NETWORK,
    HEADER_KEY,
    NetworkConfig,
    NetworkInfo,
    SliceNetwork,
    SliceUNet,
    load_slice_network,
)
from NISFCore.evidence.window import WindowGrid
from NISFCore.labels import N_LABELS
from Testing.Core.evidence.hearts import SMALL

MAX_BUNDLED_BYTES = 4_000_000


@pytest.fixture
def network() -> SliceNetwork:
    torch.manual_seed(0)
    return SliceNetwork(NetworkInfo(SMALL, 1.3, {"note": "untrained"}, "tiny"), SliceUNet(SMALL))


@pytest.fixture
def path(network: SliceNetwork, tmp_path: Path) -> Path:
    file = tmp_path / "réseau 1.safetensors"
    network.save(file)
    return file


def rewritten(
    path: Path,
    header: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> Path:
    """The file with values of its header, or tensors, replaced."""
    info = to_json_object(load_slice_network(path).info) | dict(header)
    weights = load_file(path) | dict(tensors)
    save_file(weights, path, metadata={HEADER_KEY: json.dumps(info)})
    return path


def test_round_trip(network: SliceNetwork, path: Path) -> None:
    loaded = load_slice_network(path)
    assert loaded.info == network.info
    inputs = torch.rand(2, N_CHANNELS, 64, 64)
    p, q = network.probabilities(inputs), loaded.probabilities(inputs)
    assert p.shape == (2, N_LABELS, 64, 64)
    assert torch.allclose(p.sum(dim=1), torch.ones(2, 64, 64), atol=1e-5)
    assert torch.allclose(p, q, atol=0.02)  # kept in half precision
    assert not any(w.requires_grad for w in loaded.unet.parameters())


def test_contrast_and_brightness_of_features_are_normalised(network: SliceNetwork) -> None:
    inputs = torch.rand(1, N_CHANNELS, 64, 64)
    p, q = network.probabilities(inputs), network.probabilities(3 * inputs)
    assert float((p - q).abs().max()) < 0.05


def test_the_bundled_file_is_small_and_names_its_training() -> None:
    assert BUNDLED_NETWORK.stat().st_size < MAX_BUNDLED_BYTES
    info = load_slice_network().info
    assert info.training["n_steps"] > 0
    assert BUNDLED_NETWORK.with_suffix(".md").is_file()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="train-slices"):
        load_slice_network(tmp_path / "none.safetensors")


def test_no_safetensors(tmp_path: Path) -> None:
    file = tmp_path / "text.safetensors"
    file.write_bytes(b"not tensors at all")
    with pytest.raises(PriorError, match="not a readable"):
        load_slice_network(file)


def test_another_safetensors_file(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(PriorError, match="not a NISF slice network"):
        load_slice_network(file)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format_version": 99}, "format 99"),
        ({"surprise": 1}, "surprise"),
        ({"labels": ["background", "lv", "myo", "rv"]}, "has labels"),
        ({"temperature": 0.0}, "temperature"),
        ({"network": {"grid": {"n_pixels": 50, "pixel_mm": 2.0}}}, "50 pixels"),
    ],
)
def test_wrong_headers(path: Path, header: dict[str, Any], message: str) -> None:
    with pytest.raises(PriorError, match=message):
        load_slice_network(rewritten(path, header))


def test_weights_that_are_not_finite(path: Path) -> None:
    bias = torch.full((N_LABELS * 4,), float("nan")).half()
    with pytest.raises(PriorError, match="NaN"):
        load_slice_network(rewritten(path, {}, {"head.bias": bias}))


def test_weights_of_another_shape(path: Path) -> None:
    header = {"network": to_json_object(replace(SMALL, widths=(16, 24, 16)))}
    with pytest.raises(PriorError, match="do not fit"):
        load_slice_network(rewritten(path, header))


def test_configurations_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="multiples of 8"):
        NetworkConfig(WindowGrid(90, 2.0))
    with pytest.raises(ConfigError, match="widths"):
        NetworkConfig(widths=(10, 20, 40))
