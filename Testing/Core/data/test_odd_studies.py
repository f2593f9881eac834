"""Every broken or odd study gives either the right result or one clear error."""

import re
from pathlib import Path

import pytest

from NISFCore.data.read import read_study
from NISFCore.errors import AmbiguousInputError, NISFError
from Testing.Core.data.comparing import assert_is_study, everything_said
from Testing.Core.generators import odd_dicom, odd_files  # noqa: F401 - they register the cases
from Testing.Core.generators.dicom_writer import BIRTH_DATE, PATIENT_ID, PATIENT_NAME, STUDY_DATE
from Testing.Core.generators.odd_studies import ODD_STUDIES

IDENTITY = (PATIENT_ID, *PATIENT_NAME.split("^"), BIRTH_DATE, STUDY_DATE, "OTHER-1", "Anders")


def assert_names_nobody(text: str) -> None:
    assert not [word for word in IDENTITY if word.lower() in text.lower()]


@pytest.mark.parametrize("name", ODD_STUDIES)
def test_right_result_or_clear_error(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    case = ODD_STUDIES[name](folder)
    if case.error is not None:
        with pytest.raises(NISFError, match=re.compile(case.error, re.DOTALL)) as caught:
            read_study(case.path, select=case.select)
        assert_names_nobody(str(caught.value).replace(str(case.path), ""))
        return
    study = read_study(case.path, select=case.select)
    assert_is_study(study, case)
    said = everything_said(study)
    for pattern in case.says:
        assert any(re.search(pattern, text) for text in said), (pattern, said)
    assert_names_nobody(repr([study.subject, said, [s.provenance for s in study.slices]]))


def test_there_are_enough_cases() -> None:
    assert len(ODD_STUDIES) >= 50


@pytest.mark.parametrize("name", ["two_subjects", "two_frames_of_reference"])
def test_more_than_one_examination_is_a_question(name: str, tmp_path: Path) -> None:
    case = ODD_STUDIES[name](tmp_path)
    with pytest.raises(AmbiguousInputError) as caught:
        read_study(case.path)
    assert re.search(r"1: subject 1, \d+ series, \d+ images", str(caught.value))
    for choice in ("1", "2"):
        assert read_study(case.path, select=choice).slices


def test_a_usual_study_needs_no_warning(tmp_path: Path) -> None:
    study = read_study(ODD_STUDIES["usual_study"](tmp_path).path)
    assert study.warnings == ()
    assert study.excluded == ()
    assert [s.name for s in study.slices] == [
        *(f"SA_{k:02d}" for k in range(1, 6)), "LA_2CH", "LA_3CH", "LA_4CH"
    ]  # fmt: skip
