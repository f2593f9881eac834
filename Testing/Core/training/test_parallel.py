"""Two processes train as one: gradients averaged, equal weights, stopped together, resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed

from NISFCore.config import to_json_object
from NISFCore.model.prior import load_prior
from NISFCore.model.voxels import VoxelTable, concatenate
from NISFCore.training import loop
from NISFCore.training.cohort import read_cohort
from Testing.Core.training import parallel_program
from Testing.Core.training.cohorts import CONFIG, write_cohort

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
        reason="this build of torch has no gloo: no data-parallel training on CPUs",
    ),
]


def run_two_processes(out: Path, cohort: Path, *more: str) -> None:
    """Run the program on two processes by torch's own launcher."""
    out.mkdir(exist_ok=True)
    (out / "config.json").write_text(json.dumps(to_json_object(CONFIG)), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = [parallel_program.__file__, str(cohort), str(out), str(out / "config.json"), *more]
    repository = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [*launcher, "--nproc-per-node", "2", *program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": repository},
    )
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        process.terminate()  # the launcher then ends its processes
        process.wait()
    assert process.returncode == 0, output[-3000:]


def weights(path: Path) -> torch.Tensor:
    prior = load_prior(path)
    parts = [p.flatten() for p in prior.decoder.parameters()]
    return torch.cat([*parts, prior.latent_mean, prior.latent_covariance.flatten()])


def trained_by_hand(table: VoxelTable) -> torch.Tensor:
    """One process that does what two should: two draws a step, their mean gradient."""
    state = loop.new_state(table, CONFIG, "cpu")
    generators = [torch.Generator().manual_seed(CONFIG.seed + 1 + rank) for rank in range(2)]
    heart = table.heart_pixels()
    for _ in range(CONFIG.n_steps):
        loop.set_schedule(state, CONFIG)
        state.optimiser.zero_grad()
        for state.generator in generators:
            batch = table.sample(CONFIG.voxels_per_step, state.generator, heart, CONFIG.heart_share)
            prediction = loop._predict(table, batch, state, CONFIG)
            loss, _ = loop.objective(prediction, batch, table, state, CONFIG)
            (loss / len(generators)).backward()
        state.optimiser.step()
        state.step += 1
    return torch.cat([p.detach().flatten() for p in state.decoder.parameters()])


def test_two_processes_train_stop_and_resume_as_one(tmp_path: Path) -> None:
    """The second process alone is asked to stop: both do. Resumed, each goes on with its own
    draws, and the end is what one process comes to that draws for two."""
    cohort, out = write_cohort(tmp_path / "cohort ä"), tmp_path / "out"
    run_two_processes(out, cohort, "7")
    messages = {(out / f"cancelled{k}.txt").read_text() for k in range(2)}
    assert len(messages) == 1
    assert "after step 7; its checkpoint is kept" in messages.pop()
    assert not (out / "prior.safetensors").exists()
    run_two_processes(out, cohort)
    first, second = (weights(out / f"rank{k}.safetensors") for k in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first, weights(out / "prior.safetensors"))
    assert load_prior(out / "prior.safetensors").info.training["n_processes"] == 2
    assert not (out / "prior.checkpoint.pt").exists()
    by_hand = trained_by_hand(concatenate(read_cohort(cohort, CONFIG.decoder.region)))
    torch.testing.assert_close(first[: len(by_hand)], by_hand, atol=1e-5, rtol=1e-4)
