"""`train_motion_prior`: simulate hearts, learn, write the file."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from NISFCore.config import to_json_object
from NISFCore.errors import OutputError
from NISFCore.motion.priors.config import MotionTrainingConfig, PriorKind, Targets
from NISFCore.motion.priors.file import MotionPrior, MotionPriorInfo
from NISFCore.motion.priors.learning import (
    Learned,
    Learning,
    learn_auto_decoder,
    learn_consensus,
    learn_modes,
    learn_population,
)
from NISFCore.motion.priors.meta import learn_meta, training_planes
from NISFCore.motion.priors.subjects import Subjects, training_subjects
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress

FIRST_SEED = 20_000_000
"""Seeds of training hearts: none of them is a benchmark's."""
SEEDS_PER_TRAINING = 100_000
N_CURVE = 60
"""Points of the curve that a file keeps."""

_LEARNERS: dict[PriorKind, Callable[[Learning], Learned]] = {
    PriorKind.POPULATION: learn_population,
    PriorKind.CONSENSUS: learn_consensus,
    PriorKind.AUTO_DECODER: learn_auto_decoder,
    PriorKind.MODES: learn_modes,
}
USUAL = {
    PriorKind.POPULATION: MotionTrainingConfig(PriorKind.POPULATION, n_iterations=600),
    PriorKind.CONSENSUS: MotionTrainingConfig(PriorKind.CONSENSUS, n_iterations=1500),
    PriorKind.AUTO_DECODER: MotionTrainingConfig(PriorKind.AUTO_DECODER, n_iterations=1500),
    PriorKind.META: MotionTrainingConfig(PriorKind.META, n_iterations=600, n_subjects=48),
    PriorKind.MODES: MotionTrainingConfig(PriorKind.MODES, n_iterations=1500),
}
"""Settings of each kind that its curve is flat with."""


def train_motion_prior(
    config: MotionTrainingConfig,
    out: Path | None = None,
    name: str = "unnamed",
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> MotionPrior:
    """Train on simulated hearts; write the prior to `out` if given.

    Raises:
        OutputError: if `out` exists and may not be replaced, or cannot be written.
        Cancelled: if asked through `cancel`; nothing is written then.
    """
    if out is not None and out.exists() and not overwrite:
        raise OutputError(f"{out} exists; choose another name or allow it to be replaced")
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    began = time.monotonic()
    learned = learn(config, progress, cancel)
    training = {
        "config": to_json_object(config),
        "curve": thinned(learned.curve),
        "seconds": time.monotonic() - began,
    }
    info = MotionPriorInfo(config.kind, config.field, training=training, name=name)
    prior = MotionPrior(info, learned.base, learned.modes)
    if out is not None:
        prior.save(out)
    return prior


def usual_config(
    kind: PriorKind,
    n_subjects: int | None = None,
    n_iterations: int | None = None,
    targets: Targets = Targets.TRUTH,
    seed: int = 1,
) -> MotionTrainingConfig:
    """`USUAL` of a kind, with what is given in its place.

    Raises:
        ConfigError: if it contradicts itself.
    """
    usual = USUAL[kind]
    return replace(
        usual,
        n_subjects=usual.n_subjects if n_subjects is None else n_subjects,
        n_iterations=usual.n_iterations if n_iterations is None else n_iterations,
        targets=targets,
        seed=seed,
    )


def learn(config: MotionTrainingConfig, progress: ProgressReporter, cancel: CancelToken) -> Learned:
    """The weights of one kind of prior.

    Raises:
        Cancelled: if asked through `cancel`.
    """
    if config.kind is PriorKind.META:
        usual = USUAL[PriorKind.POPULATION]
        population = replace(config, kind=usual.kind, n_iterations=usual.n_iterations)
        start = learn(population, progress, cancel).base
        planes = training_planes(seeds(config), progress, cancel)
        return learn_meta(start, planes, config, progress, cancel)
    hearts = training_subjects(seeds(config), config.targets, config.field.knots, progress, cancel)
    subjects = Subjects.of(hearts, config.seed)
    return _LEARNERS[config.kind](Learning(config, subjects, progress, cancel))


def seeds(config: MotionTrainingConfig) -> list[int]:
    """Of the training hearts; equal for every kind of prior."""
    first = FIRST_SEED + SEEDS_PER_TRAINING * config.seed
    return list(range(first, first + config.n_subjects))


def thinned(curve: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `N_CURVE` points, the last one among them."""
    step = max(1, -(-len(curve) // N_CURVE))
    kept = curve[::step]
    return kept if kept[-1:] == curve[-1:] else [*kept, *curve[-1:]]
