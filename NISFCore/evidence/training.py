"""Training of the slice network on simulated slices only: one flat loop.

The number of steps, or the minutes that it may take, set the learning rate's schedule; the weights
that are kept are their moving average. After the last step the temperature is calibrated on
simulated hearts that no step has seen.
"""

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from NISFCore.config import to_json_object
from NISFCore.errors import ConfigError, OutputError
from NISFCore.evidence.generator import SliceBatch, SliceGenerator
from NISFCore.evidence.library import PlaneMix, build_library
from NISFCore.evidence.network import (
    MatrixConv,
    NetworkConfig,
    NetworkInfo,
    SliceNetwork,
    SliceUNet,
)
from NISFCore.labels import FOREGROUND
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress

HELD_OUT_SEED = 1_000_003
"""Added to the seed for the hearts that calibrate and validate."""
DICE_WEIGHT = 0.3
WEIGHT_DECAY = 1e-2
WARM_UP = 0.02
REPORT_EVERY = 20


@dataclass(frozen=True)
class SliceTrainingConfig:
    """How the slice network is trained.

    Attributes:
        network: its shape.
        seed: of hearts, contrast and weights.
        n_hearts: simulated hearts to cut planes from (about 1.2 s and 3.5 MB each).
        n_held_out: hearts for calibration and validation.
        n_check_batches: batches of them.
        mix: planes that are cut from each heart.
        steps: at most; 0 for no limit but `minutes`.
        minutes: at most, after the hearts are there; 0 for no limit but `steps`.
        n_planes, n_frames: planes in a batch, and phases of each.
        learning_rate: highest, of Adam: norms, biases and the 1 x 1 convolutions.
        matrix_rate: highest, of Muon: all other convolutions.
        average_share: the kept weights are averaged over about this share of the steps so far.
    """

    network: NetworkConfig = NetworkConfig()
    seed: int = 1
    n_hearts: int = 300
    n_held_out: int = 16
    n_check_batches: int = 12
    mix: PlaneMix = PlaneMix()
    steps: int = 0
    minutes: float = 45.0
    n_planes: int = 6
    n_frames: int = 3
    learning_rate: float = 3e-3
    matrix_rate: float = 0.03
    average_share: float = 0.04

    def __post_init__(self) -> None:
        if self.steps <= 0 and self.minutes <= 0:
            raise ConfigError("SliceTrainingConfig: steps and minutes are both 0, give one of them")
        counts = ("n_hearts", "n_held_out", "n_check_batches", "n_planes", "n_frames")
        for name in counts:
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"SliceTrainingConfig.{name}: got {getattr(self, name)}, must be 1 or more"
                )


def train_slice_network(
    config: SliceTrainingConfig,
    out: Path | None = None,
    name: str = "unnamed",
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> SliceNetwork:
    """Train on simulated hearts; write the network to `out` if given.

    Raises:
        OutputError: if `out` exists and may not be replaced, or cannot be written.
        Cancelled: if asked through `cancel`; nothing is written then.
    """
    if out is not None and out.exists() and not overwrite:
        raise OutputError(f"{out} exists; choose another name or allow it to be replaced")
    progress = SilentProgress() if progress is None else progress
    cancel = CancelToken() if cancel is None else cancel
    library = build_library(config.n_hearts, config.seed, config.mix, progress, cancel)
    batches = SliceGenerator(library, config.network.grid, config.seed)
    start = time.monotonic()
    unet, n_steps = _optimised(config, batches, progress, cancel)
    seconds = time.monotonic() - start
    other_seed = config.seed + HELD_OUT_SEED
    held_out = build_library(config.n_held_out, other_seed, config.mix, cancel=cancel)
    checks = SliceGenerator(held_out, config.network.grid, other_seed)
    network = _calibrated(unet, config, checks, n_steps, seconds, name)
    if out is not None:
        network.save(out)
    return network


def _optimised(
    config: SliceTrainingConfig,
    batches: SliceGenerator,
    progress: ProgressReporter,
    cancel: CancelToken,
) -> tuple[SliceUNet, int]:
    """The averaged network and how many steps it took."""
    torch.manual_seed(config.seed)
    unet = SliceUNet(config.network)
    average = copy.deepcopy(unet).requires_grad_(False)
    optimiser = SliceOptimiser(unet, config)
    start, step, smooth = time.monotonic(), 0, 1.0
    while (done := _share_done(config, step, time.monotonic() - start)) < 1:
        cancel.check()
        batch = batches.batch(config.n_planes, config.n_frames)
        loss = slice_loss(unet(_channels_last(batch.inputs)), batch)
        optimiser.step(loss, _schedule(done))
        step += 1
        _average_in(average, unet, 1 / max(1.0, config.average_share * step))
        smooth += (float(loss.detach()) - smooth) / min(step, 100)
        if step % REPORT_EVERY == 0:
            seconds = time.monotonic() - start
            total = max(step, round(step / max(done, 1e-9)))
            progress.report(ProgressEvent("training", step, total, seconds, loss=smooth))
    return average.eval(), step


class SliceOptimiser:
    """Muon (Jordan et al. 2024) for the convolutions, Adam for the rest. After 120 steps of equal
    time Muon's loss was 0.40, that of Adam alone 0.56."""

    def __init__(self, unet: SliceUNet, config: SliceTrainingConfig) -> None:
        matrices = [m.matrix for m in unet.modules() if isinstance(m, MatrixConv)]
        others = [p for p in unet.parameters() if all(p is not m for m in matrices)]
        self._muon = torch.optim.Muon(matrices, lr=config.matrix_rate, weight_decay=WEIGHT_DECAY)
        self._adam = torch.optim.AdamW(others, lr=config.learning_rate, weight_decay=WEIGHT_DECAY)
        self._rates = (config.matrix_rate, config.learning_rate)

    def step(self, loss: Tensor, schedule: float) -> None:
        """One step down the gradient of `loss`, at this share of the highest rates."""
        torch.autograd.backward(loss)
        for optimiser, rate in zip((self._muon, self._adam), self._rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * schedule
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)


def _share_done(config: SliceTrainingConfig, step: int, seconds: float) -> float:
    by_steps = step / config.steps if config.steps > 0 else 0.0
    by_time = seconds / (60 * config.minutes) if config.minutes > 0 else 0.0
    return max(by_steps, by_time)


def _schedule(done: float) -> float:
    """Linear warm-up, then half a cosine down to nearly nothing."""
    return min(1.0, (done + 1e-3) / WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()
def _average_in(average: SliceUNet, unet: SliceUNet, weight: float) -> None:
    for kept, new in zip(average.parameters(), unet.parameters(), strict=True):
        kept.lerp_(new, weight)


def slice_loss(logits: Tensor, batch: SliceBatch) -> Tensor:
    """Cross-entropy against shares of labels, and a soft Dice per batch that keeps small parts."""
    log_p = functional.log_softmax(logits, dim=1)
    entropy = -(batch.targets * log_p).sum(dim=1, keepdim=True)
    cross_entropy = (entropy * batch.weights).sum() / batch.weights.sum().clamp_min(1)
    return cross_entropy + DICE_WEIGHT * (1 - soft_dice(log_p.exp(), batch).mean())


def soft_dice(probabilities: Tensor, batch: SliceBatch) -> Tensor:
    """Dice of every foreground label over a batch, `(len(FOREGROUND),)`."""
    labels = [int(label) for label in FOREGROUND]
    p = (probabilities * batch.weights)[:, labels]
    q = (batch.targets * batch.weights)[:, labels]
    both = 2 * (p * q).sum(dim=(0, 2, 3))
    return (both + 1) / (p.square().sum(dim=(0, 2, 3)) + q.square().sum(dim=(0, 2, 3)) + 1)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------- calibration


@torch.no_grad()
def _calibrated(
    unet: SliceUNet,
    config: SliceTrainingConfig,
    checks: SliceGenerator,
    n_steps: int,
    seconds: float,
    name: str,
) -> SliceNetwork:
    """The network with its temperature, and how it does on hearts that it was not trained on."""
    batches = [
        checks.batch(config.n_planes, config.n_frames) for _ in range(config.n_check_batches)
    ]
    logits = [unet(_channels_last(batch.inputs)) for batch in batches]
    temperature = best_temperature(logits, batches)
    dice = _hard_dice(logits, batches)
    training = {
        "config": to_json_object(config),
        "n_steps": n_steps,
        "minutes": round(seconds / 60, 1),
        "held_out_dice": [round(float(d), 4) for d in dice],
        "torch": torch.__version__,
    }
    info = NetworkInfo(config.network, temperature, training, name)
    return SliceNetwork(info, unet.requires_grad_(False).eval())


def best_temperature(logits: list[Tensor], batches: list[SliceBatch]) -> float:
    """The temperature under which held-out labels are most probable."""
    choices = torch.logspace(math.log10(0.5), math.log10(4.0), 31)
    costs = [
        sum(float(_entropy_sum(z / t, b)) for z, b in zip(logits, batches, strict=True))
        for t in choices
    ]
    return round(float(choices[int(torch.tensor(costs).argmin())]), 4)


def _entropy_sum(logits: Tensor, batch: SliceBatch) -> Tensor:
    entropy = -(batch.targets * functional.log_softmax(logits, dim=1)).sum(dim=1, keepdim=True)
    return (entropy * batch.weights).sum()


def _hard_dice(logits: list[Tensor], batches: list[SliceBatch]) -> Tensor:
    """Dice of the most probable labels against the most present ones, per foreground label."""
    counts = torch.zeros(3, len(FOREGROUND))
    for z, batch in zip(logits, batches, strict=True):
        found, truth = z.argmax(dim=1), batch.targets.argmax(dim=1)
        inside = batch.weights[:, 0] > 0.5
        for k, label in enumerate(FOREGROUND):
            a, b = (found == label) & inside, (truth == label) & inside
            counts[:, k] += torch.stack([(a & b).sum(), a.sum(), b.sum()])
    return 2 * counts[0] / (counts[1] + counts[2]).clamp_min(1)
