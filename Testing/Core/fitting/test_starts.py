"""Several starts: which are tried, and that the right one wins."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.study import CineStudy
from NISFCore.errors import StudyError
from NISFCore.fitting.fit import fit_study
from NISFCore.fitting.starts import candidate_starts
from NISFCore.geometry.frame import AnatomyHint, CanonicalFrame
from NISFCore.geometry.rigid import is_rigid
from NISFCore.views import View
from Testing.Core.fitting.teacher import Teacher, teacher_prior, teacher_study

FRAME = CanonicalFrame(np.eye(4), ("something was assumed",))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return teacher_study(seed=0)


def without(study: CineStudy, *views: View) -> CineStudy:
    return replace(study, slices=tuple(s for s in study.slices if s.view not in views))


def test_a_complete_study_has_one_start(teacher: Teacher) -> None:
    (start,) = candidate_starts(teacher.study, FRAME)
    assert start.frame is FRAME


@pytest.mark.parametrize(
    ("missing", "n"), [(View.LA_4CH, 3), (View.SA, 3)], ids=["no 4-chamber view", "no stack"]
)
def test_what_is_missing_is_tried(teacher: Teacher, missing: View, n: int) -> None:
    starts = candidate_starts(without(teacher.study, missing), FRAME)
    assert len(starts) == n
    assert len({s.name for s in starts}) == n
    assert all(is_rigid(s.frame.canonical_from_ras) for s in starts)
    assert starts[0].frame is FRAME


def test_labels_that_show_the_rv_need_no_trial(teacher: Teacher) -> None:
    study = without(teacher.study, View.LA_4CH)
    assert len(candidate_starts(study, FRAME, rv_is_labelled=True)) == 1


def test_a_lost_orientation_is_asked_for(teacher: Teacher) -> None:
    study = replace(teacher.study, has_patient_orientation=False)
    with pytest.raises(StudyError, match="--rv-side"):
        fit_study(study, teacher_prior(), device="cpu")


def test_a_lost_orientation_is_replaced_by_what_the_user_says(teacher: Teacher) -> None:
    right = canonical_frame_of(teacher.study)
    x, z = right.canonical_from_ras[0, :3], right.canonical_from_ras[2, :3]
    study = replace(teacher.study, has_patient_orientation=False)
    for sign in (1.0, -1.0):
        hint = AnatomyHint("the user", rv_centroid_ras=x, base_ras=sign * z)
        result = fit_study(study, teacher_prior(), anatomy=hint, device="cpu")
        found = result.frame.canonical_from_ras
        assert np.allclose(found[2, :3], sign * z)
        assert found[0, :3] @ x > 0.9  # the 4-chamber plane gives the line, the user its sign
        assert not any("swapped" in text for text in result.frame.assumptions)
