"""Training on simulated hearts, from simulation to file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from NISFCore.errors import Cancelled, ConfigError, OutputError
from NISFCore.motion.priors.config import LatentConfig, MotionTrainingConfig, PriorKind, Targets
from NISFCore.motion.priors.file import load_motion_prior
from NISFCore.motion.priors.subjects import (
    drawn_kind,
    drawn_plane,
    simulated_plane,
    training_subject,
    without_images,
)
from NISFCore.motion.priors.training import seeds, thinned, train_motion_prior
from NISFCore.phantom.motion_population import MotionKind
from NISFCore.progress import CancelToken, ProgressEvent
from Testing.Core.motion.priors.rings import small


class Heard:
    def __init__(self) -> None:
        self.stages: set[str] = set()

    def report(self, event: ProgressEvent) -> None:
        self.stages.add(event.stage)


def test_a_training_writes_a_prior(tmp_path: Path) -> None:
    heard, path = Heard(), tmp_path / "population.safetensors"
    config = small(PriorKind.POPULATION, n_subjects=2, n_iterations=20)
    train_motion_prior(config, path, "mine", progress=heard)
    prior = load_motion_prior(path)
    assert prior.info.kind is PriorKind.POPULATION and prior.info.name == "mine"
    assert prior.info.training["config"]["n_subjects"] == 2
    assert heard.stages == {"simulate", "train"}
    with pytest.raises(OutputError, match="exists"):
        train_motion_prior(config, path)


def test_a_cancelled_training_writes_nothing(tmp_path: Path) -> None:
    cancel, path = CancelToken(), tmp_path / "none.safetensors"
    cancel.cancel()
    with pytest.raises(Cancelled):
        train_motion_prior(small(PriorKind.POPULATION), path, cancel=cancel)
    assert not path.exists()


def test_images_tell_nearly_what_the_truth_is() -> None:
    knots, seed = MotionTrainingConfig(n_steps_of_cycle=8).field.knots, 501
    true, seen = (training_subject(seed, t, knots) for t in (Targets.TRUTH, Targets.IMAGES))
    assert true.radius_mm == pytest.approx(seen.radius_mm, rel=0.05)
    amount = [float(s.displacement.square().sum(-1).mean().sqrt()) for s in (true, seen)]
    assert amount[0] * true.radius_mm > 0.5
    assert amount[1] == pytest.approx(amount[0], rel=0.2)


def test_subjects_without_images_are_the_same_hearts() -> None:
    kind = MotionKind.HEALTHY
    drawn = drawn_plane(7, kind)
    cheap = simulated_plane(7, kind, without_images)
    assert cheap.truth.phantom.parameters == drawn.heart
    assert cheap.study.slices[0].n_phases == 1


def test_kinds_and_seeds_are_fixed() -> None:
    kinds = [drawn_kind(seed) for seed in range(200)]
    assert kinds == [drawn_kind(seed) for seed in range(200)]
    assert np.isclose(kinds.count(MotionKind.HEALTHY) / 200, 0.35, atol=0.1)
    first, second = (seeds(MotionTrainingConfig(seed=k, n_subjects=3)) for k in (1, 2))
    assert len(set(first + second)) == 6


def test_curves_are_thinned_to_their_ends() -> None:
    curve = [(k, float(k)) for k in range(1000)]
    kept = thinned(curve)
    assert len(kept) <= 61 and kept[0] == curve[0] and kept[-1] == curve[-1]
    assert thinned([]) == []


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="2 at least"):
        MotionTrainingConfig(n_subjects=1)
    with pytest.raises(ConfigError, match="trimmed"):
        MotionTrainingConfig(trimmed=0.5)
    with pytest.raises(ConfigError, match="n_latent"):
        MotionTrainingConfig(n_latent=0)
    with pytest.raises(ConfigError, match="phase_sd_rad"):
        LatentConfig(phase_sd_rad=0.0)
    with pytest.raises(ConfigError, match="n_iterations"):
        LatentConfig(n_iterations=0)
    assert torch.tensor(MotionTrainingConfig().field.knots).diff().min() > 0
