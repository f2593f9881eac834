"""Motion in space, from planes with a closed-form answer."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import Cancelled, StudyError
from NISFCore.motion import study_fit
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LONGITUDINAL, RADIAL
from NISFCore.motion.cine_study import fit_cine_study
from NISFCore.motion.config import MotionConfig, NetworkConfig, SpaceConfig
from NISFCore.motion.result import MotionResult
from NISFCore.motion.space import labelled_space
from NISFCore.motion.study_fit import coverage_flags, fit_tagged_study
from NISFCore.progress import CancelToken
from NISFCore.views import View
from Testing.Core.motion.beating_tube import RAS_FROM_TUBE, BeatingTube, wall_points_ras

TUBE = BeatingTube()
SMALL = MotionConfig(
    network=NetworkConfig(width=8),
    space=SpaceConfig(n_features=90, n_points=250, n_volume_points=400),
)
UNTWISTED = BeatingTube(turn_rad_per_mm=0.0)
"""Twist of a round tube cannot be seen without tags."""
BASE_RAS = RAS_FROM_TUBE[:, 2]


def rms_mm(result: MotionResult | None, tube: BeatingTube = TUBE) -> float:
    """Error of a result's displacement, or size of the true one."""
    points, squares = wall_points_ras(), []
    for t in tube.times:
        found = 0.0 if result is None else result.displacement(points, float(t))
        squares.append(((found - tube.displacement(points, float(t))) ** 2).sum(axis=1))
    return float(np.sqrt(np.mean(squares)))


def codes(result: MotionResult) -> set[str]:
    return {flag.code for flag in result.flags}


@pytest.fixture(scope="module")
def tagged_study() -> CineStudy:
    return TUBE.tagged()


@pytest.fixture(scope="module")
def tagged(tagged_study: CineStudy) -> MotionResult:
    return fit_tagged_study(tagged_study, SMALL)


@pytest.fixture(scope="module")
def cine() -> MotionResult:
    return fit_cine_study(UNTWISTED.cine(), UNTWISTED, BASE_RAS, SMALL)


def test_tags_of_several_planes_give_motion_in_space(tagged: MotionResult) -> None:
    assert rms_mm(None) > 1.7
    assert rms_mm(tagged) < 0.35


def test_tags_of_several_planes_give_strain_in_all_directions(tagged: MotionResult) -> None:
    # at half of the cycle: 0.88 of the length; across, 1 / sqrt(0.88) of it
    curves = tagged.strain([0.5])
    assert curves.whole[0, LONGITUDINAL] == pytest.approx((0.88**2 - 1) / 2, abs=0.015)
    for direction in (CIRCUMFERENTIAL, RADIAL):
        assert curves.whole[0, direction] == pytest.approx((1 / 0.88 - 1) / 2, abs=0.03)
    assert tagged.has_longitudinal and not codes(tagged)


def test_twist_is_seen(tagged: MotionResult) -> None:
    turns = np.rad2deg(TUBE.turn_rad_per_mm) * 40
    assert tagged.strain([0.5]).torsion_deg[0] == pytest.approx(turns, abs=0.35 * turns)


@dataclass(frozen=True)
class FallingBack(BeatingTube):
    """Contracts over half of the cycle, and is back within a fifth of it: its ends move by 5 mm
    between two frames, 0.7 of a tag, and by 1 mm between the two before."""

    shortening: float = 0.3

    def share(self, t: float) -> float:
        if t <= 0.5:
            return super().share(t)
        return max(0.0, 1 - (t - 0.5) / 0.2)


def test_a_heart_that_falls_back_fast_is_followed() -> None:
    tube = FallingBack()
    result = fit_tagged_study(tube.tagged(), SMALL)
    assert rms_mm(None, tube) > 3.5
    # 1.3 mm where each piece of tissue is looked for where its own past leads to
    assert rms_mm(result, tube) < 0.4


def test_without_long_axes_nothing_is_said_of_longitudinal_strain(
    tagged_study: CineStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("short axes do not lead the heart along its axis")

    monkeypatch.setattr(study_fit, "AffineLead", never)
    short = tuple(s for s in tagged_study.slices if s.view is View.SA)
    result = fit_tagged_study(replace(tagged_study, slices=short), SMALL)
    assert "no_long_axis" in codes(result)
    assert np.isnan(result.strain([0.5]).whole[0, LONGITUDINAL])


def test_gaps_between_planes_are_said(tagged_study: CineStudy) -> None:
    few = [s for s in tagged_study.slices if s.name[:5] not in ("SA_02", "SA_03")]
    space, _ = labelled_space(few)
    assert [flag.code for flag in coverage_flags(few, space)] == ["sparse_coverage"]
    assert not coverage_flags(tagged_study.slices, space)


def test_a_cine_and_its_heart_give_motion_in_space(cine: MotionResult) -> None:
    assert rms_mm(cine, UNTWISTED) < 0.5 < 0.35 * rms_mm(None, UNTWISTED)
    curves = cine.strain([0.5])
    assert curves.whole[0, LONGITUDINAL] == pytest.approx((0.88**2 - 1) / 2, abs=0.03)
    assert curves.whole[0, CIRCUMFERENTIAL] == pytest.approx((1 / 0.88 - 1) / 2, abs=0.03)


def test_a_cine_is_cyclic_and_says_what_it_cannot_see(cine: MotionResult) -> None:
    points = wall_points_ras()
    assert np.abs(cine.displacement(points, 1.0)).max() < 1e-6
    assert codes(cine) == {"cine_only"}


def one_phase(s: CineSlice) -> CineSlice:
    labels = s.labels
    assert labels is not None
    return replace(
        s,
        frames=s.frames[:1],
        trigger_times_ms=s.trigger_times_ms[:1],
        labels=replace(labels, values=labels.values[:1], annotated=labels.annotated[:1]),
    )


def still(s: CineSlice) -> CineSlice:
    return replace(s, frames=np.repeat(s.frames[:1], s.n_phases, axis=0))


def without_labels(s: CineSlice) -> CineSlice:
    return replace(s, labels=None)


@pytest.mark.parametrize(
    ("change", "says"),
    [(one_phase, "phase"), (still, "same image"), (without_labels, "labelled at ED")],
)
def test_what_has_no_answer_fails_clearly(
    tagged_study: CineStudy, change: object, says: str
) -> None:
    assert callable(change)
    bad = replace(tagged_study, slices=tuple(change(s) for s in tagged_study.slices))
    with pytest.raises(StudyError, match=says):
        fit_tagged_study(bad, SMALL)


class NoHeart(BeatingTube):
    """All background."""

    def labels(self, points_ras: np.ndarray, t: float) -> np.ndarray:
        return np.zeros(points_ras.shape[:-1], dtype=np.uint8)


def test_a_heart_without_lv_fails_clearly() -> None:
    with pytest.raises(StudyError, match="no LV"):
        fit_cine_study(TUBE.cine(), NoHeart(), BASE_RAS, SMALL)


def test_a_cancel_is_heard(tagged_study: CineStudy) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        fit_tagged_study(tagged_study, SMALL, cancel=cancel)
