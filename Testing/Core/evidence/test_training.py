"""Training, small: it learns, repeats itself, calibrates and can be cancelled."""

from pathlib import Path

import pytest
import torch

from NISFCore.errors import Cancelled, ConfigError, OutputError
from NISFCore.evidence.generator import SliceBatch, SliceGenerator
from NISFCore.evidence.network import load_slice_network
from NISFCore.evidence.training import (
    SliceTrainingConfig,
    best_temperature,
    slice_loss,
    soft_dice,
    train_slice_network,
)
from NISFCore.progress import CancelToken
from Testing.Core.events import Keep
from Testing.Core.evidence.hearts import MIX, SMALL, small_library

QUICK = SliceTrainingConfig(
    network=SMALL,
    seed=2,
    n_hearts=2,
    n_held_out=1,
    n_check_batches=2,
    mix=MIX,
    steps=40,
    minutes=0,
    n_planes=4,
)


def batch() -> SliceBatch:
    return SliceGenerator(small_library(), SMALL.grid, 8).batch(8, 2)


def test_it_learns_and_writes_a_file(tmp_path: Path) -> None:
    events, out = Keep(), tmp_path / "small.safetensors"
    network = train_slice_network(QUICK, out, "small", progress=events)
    loaded = load_slice_network(out)
    assert loaded.info == network.info
    assert loaded.info.name == "small"
    assert loaded.info.training["n_steps"] == 40
    known = batch()
    with torch.no_grad():
        learned = float(slice_loss(network.unet(known.inputs), known))
    uniform = float(slice_loss(torch.zeros_like(known.targets), known))
    assert learned < 0.75 * uniform
    assert {e.stage for e in events.events} == {"hearts", "training"}


def test_equal_seeds_equal_networks() -> None:
    short = SliceTrainingConfig(
        network=SMALL,
        seed=3,
        n_hearts=1,
        n_held_out=1,
        n_check_batches=1,
        mix=MIX,
        steps=3,
        minutes=0,
        n_planes=2,
    )
    first, second = (train_slice_network(short) for _ in range(2))
    for a, b in zip(first.unet.parameters(), second.unet.parameters(), strict=True):
        assert torch.equal(a, b)


def test_cancelling_writes_nothing(tmp_path: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        train_slice_network(QUICK, tmp_path / "x.safetensors", cancel=cancel)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        train_slice_network(QUICK, out)
    assert out.read_bytes() == b"mine"


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="steps and minutes"):
        SliceTrainingConfig(steps=0, minutes=0)
    with pytest.raises(ConfigError, match="1 or more"):
        SliceTrainingConfig(n_hearts=0)


def test_perfect_answers_cost_nothing_and_uniform_ones_do() -> None:
    known = batch()
    hard = torch.nn.functional.one_hot(known.targets.argmax(dim=1), 4).permute(0, 3, 1, 2).float()
    exact = SliceBatch(known.inputs, hard, known.weights)
    assert float(slice_loss(60 * hard, exact)) < 1e-3
    assert float(slice_loss(torch.zeros_like(hard), exact)) > 1.0
    assert torch.allclose(soft_dice(hard, exact), torch.ones(3), atol=1e-4)


@pytest.mark.parametrize("overconfidence", [0.7, 1.0, 2.0])
def test_temperature_undoes_overconfidence(overconfidence: float) -> None:
    """Labels drawn from known probabilities; logits too large by a known factor."""
    generator = torch.Generator().manual_seed(1)
    logits = 1.5 * torch.randn(4, 4, 48, 48, generator=generator)
    p = torch.softmax(logits, dim=1).permute(0, 2, 3, 1).reshape(-1, 4)
    drawn = torch.multinomial(p, 1, generator=generator).reshape(4, 48, 48)
    targets = torch.nn.functional.one_hot(drawn, 4).permute(0, 3, 1, 2).float()
    known = SliceBatch(torch.zeros(4, 1, 48, 48), targets, torch.ones(4, 1, 48, 48))
    found = best_temperature([overconfidence * logits], [known])
    assert found == pytest.approx(overconfidence, rel=0.12)
