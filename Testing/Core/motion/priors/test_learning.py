"""What the trainings learn, on motions in closed form."""

from dataclasses import replace

import pytest
import torch

from NISFCore.errors import Cancelled
from NISFCore.motion.priors.config import MotionTrainingConfig, PriorKind
from NISFCore.motion.priors.learning import (
    Learning,
    learn_auto_decoder,
    learn_consensus,
    learn_modes,
    learn_population,
    learn_subject_wise,
    misfits_mm2,
    principal_modes,
    robust,
    trimmed_mean,
    whitened,
)
from NISFCore.motion.priors.subjects import Subjects
from NISFCore.progress import CancelToken, SilentProgress
from Testing.Core.motion.priors.rings import rings, small, subjects_of


def learning(config: MotionTrainingConfig, subjects: Subjects | None = None) -> Learning:
    subjects = subjects_of(rings(), config) if subjects is None else subjects
    return Learning(config, subjects, SilentProgress(), CancelToken())


def mean_rmse_mm(found: Learning, state: torch.Tensor) -> float:
    n = len(found.subjects.points)
    misfits = misfits_mm2(found.many, state.expand(n, -1), found.subjects)
    return float(misfits.mean().sqrt())


def still_mm(subjects: Subjects) -> float:
    """RMS of the motion itself."""
    squares = subjects.displacement.square().sum(dim=-1).mean(dim=(1, 2))
    return float((squares * subjects.radii_mm.square()).mean().sqrt())


@pytest.mark.parametrize("kind", [PriorKind.POPULATION, PriorKind.CONSENSUS])
def test_one_state_is_near_the_mean_motion(kind: PriorKind) -> None:
    under_way = learning(small(kind))
    learner = learn_population if kind is PriorKind.POPULATION else learn_consensus
    learned = learner(under_way)
    assert len(learned.modes) == 0
    rmse, subjects = mean_rmse_mm(under_way, learned.base), under_way.subjects
    # the rings are equal but for their motion: no one motion is nearer to all than the mean one
    best = replace(subjects, displacement=subjects.displacement - subjects.displacement.mean(dim=0))
    assert still_mm(best) < rmse < 1.1 * still_mm(best) < still_mm(subjects)


def test_codes_tell_hearts_apart() -> None:
    under_way = learning(small(PriorKind.AUTO_DECODER))
    learned = learn_auto_decoder(under_way)
    one_state = mean_rmse_mm(under_way, learned.base)
    assert learned.modes.shape == (2, len(learned.base))
    assert learned.curve[-1][1] < 0.5 * one_state


def test_modes_of_weights_are_modes_of_motion() -> None:
    under_way = learning(small(PriorKind.MODES))
    learned = learn_modes(under_way)
    states, _ = learn_subject_wise(under_way)
    deviation = states[5] - learned.base
    unit = learned.modes / learned.modes.norm(dim=1, keepdim=True)
    seen = learned.base + (deviation @ unit.T) @ unit
    last = replace(under_way, subjects=one_of(under_way.subjects, 5))
    assert mean_rmse_mm(last, seen) < 0.6 * mean_rmse_mm(last, learned.base)


def one_of(subjects: Subjects, k: int) -> Subjects:
    at = slice(k, k + 1)
    return Subjects(subjects.points[at], subjects.displacement[at], subjects.radii_mm[at])


def test_one_wrong_heart_does_not_move_the_consensus() -> None:
    values = torch.tensor([[1.0], [1.1], [0.9], [1.0], [60.0]])
    assert float(trimmed_mean(values, 0.2)) == pytest.approx(1.0, abs=0.05)


def test_one_wrong_heart_names_no_mode() -> None:
    generator = torch.Generator().manual_seed(0)
    deviations = torch.zeros(12, 3)
    deviations[:, 0] = torch.randn(12, generator=generator)
    deviations[11] = torch.tensor([0.0, 0.0, 500.0])
    first = principal_modes(deviations, 1)[0]
    assert abs(float(first[0])) > 0.7 * float(first.norm())


def test_errors_count_as_squares_then_linearly() -> None:
    misfits = torch.tensor([1e-4, 1e4], dtype=torch.float64)
    near, far = robust(misfits, 1.0).tolist()
    assert near == pytest.approx(1e-4, rel=1e-3)
    assert far == pytest.approx(2 * 100.0, rel=0.02)


def test_whitened_codes_give_the_same_motions() -> None:
    generator = torch.Generator().manual_seed(1)
    base, modes = torch.randn(5, generator=generator), torch.randn(2, 5, generator=generator)
    codes = 3.0 + torch.randn(40, 2, generator=generator) @ torch.tensor([[2.0, 1.0], [0.0, 0.1]])
    learned = whitened(base, modes, codes, [])
    states = base + codes @ modes
    torch.testing.assert_close(learned.base, states.mean(dim=0), atol=1e-4, rtol=1e-4)
    spread = torch.cov(states.T, correction=0)
    torch.testing.assert_close(learned.modes.T @ learned.modes, spread, atol=1e-3, rtol=1e-3)


def test_a_training_can_be_cancelled() -> None:
    cancel = CancelToken()
    cancel.cancel()
    stopped = replace(learning(small(PriorKind.POPULATION)), cancel=cancel)
    with pytest.raises(Cancelled):
        learn_population(stopped)
