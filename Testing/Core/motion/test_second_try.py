"""A second solution where tissue moves far between two frames: when it is taken, and that it is
said."""

from dataclasses import replace

import pytest
import torch

from NISFCore.benchmark.motion_plan import Group, PlannedSubject
from NISFCore.benchmark.motion_truth import PlaneTruth
from NISFCore.data.study import CineSlice
from NISFCore.errors import StudyError
from NISFCore.motion import second_try
from NISFCore.motion.config import DEFAULT, MotionConfig
from NISFCore.motion.fit import fit_tagged_plane
from NISFCore.motion.gauss_newton import FrameCoefficients
from NISFCore.motion.plane import plane_of
from NISFCore.motion.priors.file import MotionPrior, load_motion_prior
from NISFCore.motion.priors.subjects import simulated_plane
from NISFCore.motion.refinement import TissuePoints, tissue_points
from NISFCore.motion.result import MotionResult
from NISFCore.motion.second_try import prior_motion
from NISFCore.motion.tagged_plane import TaggedPlane, tagged_plane
from NISFCore.phantom.tagging import SimulatedTagged
from Testing.Core.motion.movies import Ring, RingMotion

ALONE = replace(DEFAULT, refinement=replace(DEFAULT.refinement, has_second_try=False))
FAST = Ring(RingMotion(shrinking=0.05, turn_rad=0.0, shift_mm=9.0), n_phases=6, noise=0.05)


@pytest.fixture(scope="module")
def fast_heart() -> SimulatedTagged:
    """At half the frame rate, so that tissue moves far between two frames."""
    planned = PlannedSubject(19, 50_000_018, Group.HALF_RATE, 0)
    return simulated_plane(planned.seed, planned.kind, planned.change)


def codes(result: MotionResult) -> set[str]:
    return {flag.code for flag in result.flags}


def two_series(ring: Ring) -> list[CineSlice]:
    return [ring.tagged(45.0), ring.tagged(135.0)]


def same(a: MotionResult, b: MotionResult) -> bool:
    one, other = (r.displacement_field.flat_state() for r in (a, b))
    return bool(torch.allclose(one, other, atol=1e-6))


def test_the_better_of_two_solutions_is_taken_and_said(fast_heart: SimulatedTagged) -> None:
    slices = list(fast_heart.study.slices)
    truth = PlaneTruth.of(fast_heart.truth, plane_of(slices[0], None))
    alone, led = fit_tagged_plane(slices, ALONE), fit_tagged_plane(slices)
    assert "led_by_prior" in codes(led) and "led_by_prior" not in codes(alone)
    assert "tag_wrapping" in codes(alone)
    wrong, found = (truth.rmse_mm(r.displacement_field) for r in (alone, led))
    assert wrong > 0.3 and found < 0.85 * wrong
    (text,) = (f.text for f in led.flags if f.code == "led_by_prior")
    better, worse = (float(word.strip("(),")) for word in text.split() if word[:2] == "0.")
    assert better < worse


def test_what_moves_slowly_is_tracked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> FrameCoefficients:
        raise AssertionError("no second solution is needed")

    monkeypatch.setattr(second_try, "prior_motion", never)
    fit_tagged_plane(two_series(Ring(RingMotion(0.1, 0.05), n_phases=10)))
    with pytest.raises(AssertionError, match="no second"):
        fit_tagged_plane(two_series(FAST))


def test_a_second_solution_that_is_worse_or_fails_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = fit_tagged_plane(two_series(FAST), ALONE)

    def still(_: MotionPrior, seen: TaggedPlane, tissue: TissuePoints) -> FrameCoefficients:
        shape = (len(seen.times), tissue.features.shape[1], 2)
        return FrameCoefficients(seen.times, 9 * torch.ones(shape))

    def failing(*_: object) -> FrameCoefficients:
        raise StudyError("no code could be found")

    for wrong in (still, failing):
        monkeypatch.setattr(second_try, "prior_motion", wrong)
        result = fit_tagged_plane(two_series(FAST))
        assert "led_by_prior" not in codes(result)
        assert same(result, first)


def test_a_priors_motion_is_what_its_network_says(fast_heart: SimulatedTagged) -> None:
    seen = tagged_plane(list(fast_heart.study.slices), DEFAULT)
    prior = load_motion_prior()
    # whatever the fit's own network is
    other = MotionConfig(start=replace(DEFAULT.start, n_features=150, omega=2.5))
    field = seen.field(other)
    tissue = tissue_points(field, seen.points)
    found = prior_motion(prior, seen, tissue)
    own = seen.field(DEFAULT)
    own.load_flat_state(prior.state(own, seen))
    with torch.no_grad():
        wanted = own.displacement(seen.points, seen.times)
    assert float(wanted.norm(dim=-1).max()) > 3.0
    error = (tissue.features @ found.values - wanted).norm(dim=-1)
    assert float(error.square().mean().sqrt()) < 0.05
