"""The training loop on small tables: it learns, resumes to the bit, cancels, keeps its gauge."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from NISFCore.errors import Cancelled, CohortError, ConfigError
from NISFCore.model.config import DecoderConfig
from NISFCore.model.psf import PAPER_PSF
from NISFCore.model.voxels import VoxelTable, concatenate
from NISFCore.progress import CancelToken, ProgressEvent
from NISFCore.training import loop
from NISFCore.training.config import PAPER, TrainingConfig
from NISFCore.training.loop import TrainingState, new_state, train, trained_prior
from NISFCore.training.run import load_checkpoint, save_checkpoint, split_cohort
from Testing.Core.model.tables import random_table

CONFIG = TrainingConfig(
    decoder=DecoderConfig(n_latent=4, width=24, n_blocks=1, layers_per_block=2),
    n_steps=40,
    voxels_per_step=256,
    validate_every=40,
    checkpoint_every=10,
)


def _smooth_table(seed: int) -> VoxelTable:
    """A bright ball in the middle of random slices, labelled as LV blood pool."""
    table = random_table(4, n_pixels=200, seed=seed)
    inside = table.position_mm.norm(dim=1) < 25 + 5 * seed
    per_value = torch.cat([inside[table.slice_index == j].repeat(4) for j in range(4)])
    return replace(table, values=0.2 + 0.6 * per_value.float(), labels=per_value.to(torch.uint8))


def _cohort() -> VoxelTable:
    return concatenate([_smooth_table(0), _smooth_table(1), _smooth_table(2)])


def _weights(state: TrainingState) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in state.decoder.parameters()])


def test_training_reduces_the_loss_and_reports() -> None:
    table = _cohort()
    rows: list[dict[str, float]] = []
    events: list[ProgressEvent] = []

    class Keep:
        def report(self, event: ProgressEvent) -> None:
            events.append(event)

    config = replace(CONFIG, n_steps=150, validate_every=150)
    state = new_state(table, config, "cpu")
    train(
        table, state, config, validation_table=_smooth_table(1), on_log=rows.append, progress=Keep()
    )
    assert rows[-1]["loss"] < rows[0]["loss"] - 5
    assert rows[-1]["validation_psnr_db"] > 10
    assert events[-1].step == events[-1].total == 150
    assert "unseen subjects" in (events[-1].message or "")


def test_resume_continues_to_the_bit(tmp_path: Path) -> None:
    table = _cohort()
    whole = new_state(table, CONFIG, "cpu")
    train(table, whole, CONFIG)

    class KilledError(Exception):
        pass

    def kill_at_20(state: TrainingState) -> None:
        save_checkpoint(state, CONFIG, tmp_path / "c.pt")
        if state.step == 20:
            raise KilledError

    with pytest.raises(KilledError):
        train(table, new_state(table, CONFIG, "cpu"), CONFIG, on_checkpoint=kill_at_20)
    resumed = new_state(table, CONFIG, "cpu")
    load_checkpoint(resumed, CONFIG, tmp_path / "c.pt", "cpu")
    assert resumed.step == 20
    train(table, resumed, CONFIG)
    assert torch.equal(_weights(resumed), _weights(whole))
    assert torch.equal(resumed.cohort.latents, whole.cohort.latents)


def test_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    table = _cohort()
    save_checkpoint(new_state(table, CONFIG, "cpu"), CONFIG, tmp_path / "c.pt")
    other = replace(CONFIG, latent_rate=1.0)
    with pytest.raises(ConfigError, match="latent_rate"):
        load_checkpoint(new_state(table, other, "cpu"), other, tmp_path / "c.pt", "cpu")


def test_checkpoint_of_another_cohort_is_refused(tmp_path: Path) -> None:
    table = _cohort()
    save_checkpoint(new_state(table, CONFIG, "cpu"), CONFIG, tmp_path / "c.pt")
    state = new_state(_smooth_table(0), CONFIG, "cpu")
    with pytest.raises(ConfigError, match="does not belong to this cohort"):
        load_checkpoint(state, CONFIG, tmp_path / "c.pt", "cpu")


def test_cancel_leaves_a_checkpoint() -> None:
    table, token = _cohort(), CancelToken()
    saved: list[int] = []
    token.cancel()
    state = new_state(table, CONFIG, "cpu")
    with pytest.raises(Cancelled):
        train(table, state, CONFIG, on_checkpoint=lambda s: saved.append(s.step), cancel=token)
    assert saved == [0]


def test_gauge_of_the_poses() -> None:
    table = _cohort()
    state = new_state(table, CONFIG, "cpu")
    with torch.no_grad():
        for p in state.cohort.motion:
            p.normal_()
    poses = state.cohort.poses(table.slices.subject, CONFIG)
    assert torch.allclose(poses.global_translation_mm.mean(0), torch.zeros(3), atol=1e-4)
    first = poses.slice_rotvec[table.slices.subject == 0]
    assert torch.allclose(first.mean(0), torch.zeros(3), atol=1e-6)
    assert torch.equal(poses.log_gain, state.cohort.log_gain)
    aligned = replace(CONFIG, learn_slice_motion=False, learn_gain=False)
    still = state.cohort.poses(table.slices.subject, aligned)
    assert still.slice_rotvec.abs().max() == 0
    assert still.log_gain.abs().max() == 0


def test_paper_recipe_runs_with_its_monte_carlo_psf() -> None:
    assert PAPER.psf == PAPER_PSF
    config = replace(
        PAPER, decoder=CONFIG.decoder, n_steps=4, voxels_per_step=64, psf_from=0.5, seed=3
    )
    table = _cohort()
    state = new_state(table, config, "cpu")
    before = _weights(state).clone()
    train(table, state, config)
    assert state.step == 4
    assert not torch.equal(before, _weights(state))


def test_prior_of_a_state_evaluates_like_it() -> None:
    table = _cohort()
    state = new_state(table, CONFIG, "cpu")
    train(table, state, CONFIG)
    prior = trained_prior(state, CONFIG, "test", {"cohort": "balls"})
    assert prior.info.n_subjects == 3
    assert prior.info.training["cohort"] == "balls"
    assert torch.allclose(prior.latent_mean, state.cohort.latents.mean(0))
    x, t, h = torch.randn(5, 3), torch.rand(5), torch.randn(1, 4)
    state.decoder.encoding.open_bands(1.0)
    state.decoder.hidden_dtype = None
    with torch.no_grad():
        assert torch.allclose(prior.decoder(x, t, h)[1], state.decoder(x, t, h)[1], atol=1e-6)


def test_split_needs_a_training_subject() -> None:
    tables = [_smooth_table(0), _smooth_table(1)]
    training, validation = split_cohort(tables, 1)
    assert (len(training), len(validation)) == (1, 1)
    with pytest.raises(CohortError, match="at least one"):
        split_cohort(tables, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, None])
def test_short_numbers_are_for_hidden_layers_alone(
    dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight bits of a place 80 mm from the middle are a quarter of a millimetre."""
    monkeypatch.setattr(loop, "training_dtype", lambda device: dtype)
    table, config = _cohort(), replace(CONFIG, n_steps=1)
    state = new_state(table, config, "cpu")
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        return lambda module, given: seen.update({name: given[0].detach()})

    decoder = state.decoder
    parts = (decoder.encoding, decoder.point_layer, decoder.blocks[0], decoder.head)
    for name, part in zip(("place", "features", "hidden", "last"), parts, strict=True):
        part.register_forward_pre_hook(keep(name))
    train(table, state, config)
    assert seen["hidden"].dtype == (dtype or torch.float32)
    for name in ("place", "features", "last"):
        assert seen[name].dtype == torch.float32
    assert (seen["place"] != seen["place"].bfloat16().float()).float().mean() > 0.9
    assert all(p.dtype == torch.float32 for p in decoder.parameters())


def test_training_in_short_numbers_learns_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    table, config = _cohort(), replace(CONFIG, n_steps=150, validate_every=150)
    reached = []
    for dtype in (None, torch.bfloat16):
        monkeypatch.setattr(loop, "training_dtype", lambda device, dtype=dtype: dtype)
        rows: list[dict[str, float]] = []
        train(table, new_state(table, config, "cpu"), config, on_log=rows.append)
        reached.append(sum(row["psnr_db"] for row in rows[-20:]) / 20)
    assert abs(reached[1] - reached[0]) < 0.5, reached
