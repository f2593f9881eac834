"""Decoders and training recipes side by side, each with the same time on the same cohort.

    nisf simulate COHORT --subjects 600 --seed 1 --preset cohort --format nifti --workers 2
    python -m Testing.Benchmarks.training_recipes --cohort COHORT --out DIR [--seconds 600]

Every recipe gets the same processor time on one thread, whatever a step costs it, and its own full
learning-rate schedule within it. `DIR/training_recipes.md` tells accuracy on unseen subjects, time
per point at fitting and rendering, and size.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from NISFCore.files import write_text_atomically
from NISFCore.model.decoder import Decoder
from NISFCore.model.voxels import VoxelTable, concatenate
from NISFCore.training import config as configs
from NISFCore.training.cohort import read_cohort
from NISFCore.training.config import TrainingConfig
from NISFCore.training.loop import new_state, train
from NISFCore.training.run import split_cohort
from NISFCore.training.validation import validate

N_PROBE_STEPS, N_WARM_STEPS = 60, 10
N_UNSEEN_GROUPS, N_IN_GROUP = 3, 8
"""Unseen subjects; a group shares the voxels of each step of its validation."""
N_TIMED_POINTS = 16_384


@dataclass(frozen=True)
class Settings:
    """What is compared.

    Attributes:
        cohort: a folder of aligned, labelled studies.
        out: folder for the table.
        seconds: processor time of each training.
        recipes: names out of `RECIPES`; all by default.
    """

    cohort: Path
    out: Path
    seconds: float = 600.0
    recipes: tuple[str, ...] = ()


def _decoder(**changes: Any) -> TrainingConfig:
    return replace(configs.ALIGNED, decoder=replace(configs.ALIGNED.decoder, **changes))


RECIPES = {
    "shipped": configs.ALIGNED,
    "Adam instead of Muon": replace(configs.ALIGNED, muon_rate=0.0),
    "voxels from anywhere": replace(configs.ALIGNED, heart_share=0.0),
    "2048 voxels a step": replace(configs.ALIGNED, voxels_per_step=2048),
    "all bands open at once": replace(configs.ALIGNED, first_bands=1.0, open_bands_until=0.0),
    "no latent noise": replace(configs.ALIGNED, latent_noise=0.0),
    "no noise head": _decoder(predicts_noise=False),
    "width 128": _decoder(width=128),
    "width 256": _decoder(width=256),
    "5 blocks": _decoder(n_blocks=5),
    "paper's network, 16 x 256": _decoder(width=256, n_blocks=4, layers_per_block=4),
}


def run(settings: Settings) -> dict[str, dict[str, float]]:
    """Figures of every recipe; written after each, and those that are there are kept."""
    torch.set_num_threads(1)
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / "training_recipes.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    tables = read_cohort(settings.cohort, configs.ALIGNED.decoder.region)
    training, unseen = split_cohort(tables, N_UNSEEN_GROUPS * N_IN_GROUP)
    groups = [unseen[i : i + N_IN_GROUP] for i in range(0, len(unseen), N_IN_GROUP)]
    data = concatenate(training), [concatenate(group) for group in groups]
    for name in settings.recipes or tuple(RECIPES):
        if name not in found:
            found[name] = _figures(RECIPES[name], *data, settings.seconds)
            write_text_atomically(path, json.dumps(found, indent=2))
            write_text_atomically(settings.out / "training_recipes.md", table(found))
    return found


def _figures(
    config: TrainingConfig, training: VoxelTable, unseen: list[VoxelTable], seconds: float
) -> dict[str, float]:
    config = replace(config, n_steps=_steps_within(seconds, config, training))
    config = replace(config, validate_every=config.n_steps, checkpoint_every=config.n_steps)
    state = new_state(training, config, "cpu")
    began = time.process_time()
    train(training, state, config)
    spent = time.process_time() - began
    state.decoder.encoding.open_bands(1.0)
    mean = state.cohort.latents.detach().mean(0)
    found = [validate(state.decoder, group, mean) for group in unseen]
    n_parameters = sum(p.numel() for p in state.decoder.parameters())
    return {
        **{key: sum(f[key] for f in found) / len(found) for key in found[0]},
        "steps": config.n_steps,
        "seconds": spent,
        "us_per_point": _microseconds_per_point(state.decoder),
        "megabytes": 4e-6 * n_parameters,
    }


def _steps_within(seconds: float, config: TrainingConfig, training: VoxelTable) -> int:
    """How many steps fit into the time, from a short probe without what comes before its steps."""
    probe = replace(config, n_steps=N_PROBE_STEPS, validate_every=N_PROBE_STEPS + 1)
    after: list[float] = []
    train(
        training,
        new_state(training, probe, "cpu"),
        probe,
        on_log=lambda figures: after.append(time.process_time()),  # of each of so few steps
    )
    per_step = (after[-1] - after[N_WARM_STEPS]) / (len(after) - 1 - N_WARM_STEPS)
    return max(N_PROBE_STEPS, round(seconds / per_step))


def _microseconds_per_point(decoder: Decoder) -> float:
    """Processor time of a forward and a backward pass to the inputs, as a fit does it."""
    points = torch.randn(N_TIMED_POINTS, 3) * 30
    latent = torch.zeros(N_TIMED_POINTS, decoder.config.n_latent)
    spent = 0.0
    for x, h in zip(points.split(2048), latent.split(2048), strict=True):
        x, h = x.requires_grad_(True), h.requires_grad_(True)
        began = time.process_time()
        intensity = decoder(x, torch.zeros(len(x)), h).intensity
        torch.autograd.grad(intensity.sum(), (x, h))
        spent += time.process_time() - began
    return 1e6 * spent / N_TIMED_POINTS


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown, one row per recipe."""
    rows = [
        "| recipe | steps | PSNR (dB) | Dice LV / myocardium / RV | fit (µs per point) | MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, f in found.items():
        dice = " / ".join(
            f"{f[f'dice_{key}']:.3f}" for key in ("lv_blood_pool", "lv_myocardium", "rv_blood_pool")
        )
        rows.append(
            f"| {name} | {f['steps']:.0f} | {f['psnr_db']:.2f} | {dice} | {f['us_per_point']:.1f} "
            f"| {f['megabytes']:.1f} |"
        )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    run(tyro.cli(Settings, description=__doc__))
