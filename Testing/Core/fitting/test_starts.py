"""Several starts: which are tried, and that the right one wins."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.data.study import CineStudy
from NISFCore.fitting.fit import fit_study
from NISFCore.fitting.starts import candidate_starts
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.rigid import invert_rigid, is_rigid, rotation_angle_deg
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


def test_an_unknown_orientation_tries_every_handedness(teacher: Teacher) -> None:
    starts = candidate_starts(replace(teacher.study, has_patient_orientation=False), FRAME)
    turns = [s.frame.canonical_from_ras[:3, :3] for s in starts]
    assert len(turns) == 4
    angles = [rotation_angle_deg(a.T @ b) for i, a in enumerate(turns) for b in turns[:i]]
    assert angles == pytest.approx([180.0] * 6)


def test_a_frame_that_is_upside_down_is_found_out(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planes of a file without patient orientation, read with base and apex exchanged."""
    import NISFCore.fitting.fit as fitting

    right = fitting.canonical_frame_of(teacher.study)
    turned = np.diag([1.0, -1.0, -1.0, 1.0]) @ right.canonical_from_ras
    wrong = replace(right, canonical_from_ras=turned)
    monkeypatch.setattr(fitting, "canonical_frame_of", lambda study: wrong)
    study = replace(teacher.study, has_patient_orientation=False)
    result = fit_study(study, teacher_prior(), device="cpu")
    assert "base and apex exchanged" in result.frame.assumptions[-1]
    off = result.frame.canonical_from_ras @ invert_rigid(right.canonical_from_ras)
    assert np.allclose(off, np.eye(4), atol=1e-9)
    assert any("of 4 starts" in warning for warning in result.study.warnings)
