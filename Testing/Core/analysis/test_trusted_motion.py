"""Slice motions that crossing slices contradict are taken back; true ones stay."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.analysis.checked import checked
from NISFCore.analysis.evaluation import intersection_ncc_before_after
from NISFCore.analysis.trusted_motion import with_trusted_motions
from NISFCore.fitting.result import FitResult, SliceMotion
from NISFCore.geometry.rigid import about_centre
from Testing.Core.fitting.results import made_result
from Testing.Core.fitting.teacher import Teacher, teacher_prior, teacher_study


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return teacher_study(seed=4, n_phases=6)


def result_with(teacher: Teacher, motion: tuple[SliceMotion, ...]) -> FitResult:
    """A result of the teacher's study with given motions and the teacher's own heart."""
    made = made_result(0).result
    prior = teacher_prior()
    n = len(teacher.study.slices)
    parameters = replace(
        made.parameters,
        latent=teacher.latent,
        global_pose=teacher.heart._canonical_from_ras
        @ np.linalg.inv(made.frame.canonical_from_ras),
        slice_motion=motion,
        intensity_scale=np.ones(n),
        intensity_reference=teacher.gains,
    )
    return replace(made, study=teacher.study, prior=prior, parameters=parameters, uncertainty=None)


def true_motion(teacher: Teacher) -> list[SliceMotion]:
    pairs = zip(teacher.study.slices, teacher.motions, strict=True)
    return [SliceMotion(*about_centre(motion, s.centre_ras)) for s, motion in pairs]


def test_true_motions_stay(teacher: Teacher) -> None:
    result = result_with(teacher, tuple(true_motion(teacher)))
    before, after = intersection_ncc_before_after(result)
    assert after.mean > 0.98 > before.mean
    same, put_back = with_trusted_motions(result)
    assert put_back == () and same is result


@pytest.mark.parametrize("wrong", [1, 3, 7])
def test_a_slice_that_was_moved_away_goes_back(teacher: Teacher, wrong: int) -> None:
    motion = true_motion(teacher)
    motion[wrong] = SliceMotion(np.array([0.1, -0.1, 0.1]), np.array([14.0, -11.0, 12.0]))
    result = result_with(teacher, tuple(motion))
    found, put_back = with_trusted_motions(result)
    assert [p.name for p in put_back] == [teacher.study.slices[wrong].name]
    assert put_back[0].ncc_scanned > put_back[0].ncc_moved
    assert found.parameters.slice_motion[wrong].distance_mm == 0
    for k, (a, b) in enumerate(zip(found.slice_motions, result.slice_motions, strict=True)):
        assert k == wrong or np.array_equal(a, b)
    ncc = [intersection_ncc_before_after(r)[1].mean for r in (result, found)]
    assert ncc[1] > ncc[0]


def test_all_go_back_if_all_are_wrong(teacher: Teacher) -> None:
    """No motion in truth, large ones in the fit: whatever is put back, agreement grows."""
    still = teacher_study(seed=4, n_phases=6, motion_mm=0.0, motion_deg=0.0)
    rng = np.random.default_rng(0)
    motion = tuple(
        SliceMotion(rng.normal(0, 0.05, 3), rng.normal(0, 9.0, 3)) for _ in still.study.slices
    )
    result = result_with(still, motion)
    found, put_back = with_trusted_motions(result)
    assert len(put_back) >= 6
    ncc = [intersection_ncc_before_after(r)[1].mean for r in (result, found)]
    assert ncc[1] > ncc[0] + 0.1


def test_the_user_is_told(teacher: Teacher) -> None:
    motion = true_motion(teacher)
    motion[1] = SliceMotion(np.array([0.1, -0.1, 0.1]), np.array([14.0, -11.0, 12.0]))
    told = checked(result_with(teacher, tuple(motion)))
    name = teacher.study.slices[1].name
    assert any("left where they were scanned" in w and name in w for w in told.study.warnings)
    assert told.quality is not None
    quiet = checked(result_with(teacher, tuple(true_motion(teacher))))
    assert not any("left where they were scanned" in w for w in quiet.study.warnings)
    assert quiet.figures["intersection_ncc_after"] > quiet.figures["intersection_ncc_before"]
