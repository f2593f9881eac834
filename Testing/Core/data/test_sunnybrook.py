"""Sunnybrook: contours find their images, what nobody drew stays unknown, damage is said."""

import re
from pathlib import Path

import numpy as np
import pytest

from NISFCore.data.read import read_study
from NISFCore.data.study import CineStudy
from NISFCore.data.sunnybrook_contours import LV, NO_LV, NO_LV_BLOOD, rasterised
from NISFCore.labels import Label
from NISFCore.views import View
from Testing.Core.generators.odd_studies import HEART
from Testing.Core.generators.public_cohorts import (
    ED,
    ES,
    STACK,
    circle,
    image_number,
    save_contour,
    sunnybrook_images,
    truth,
    write_contours,
)

BOTH = {(k, phase): "io" for k in range(len(STACK)) for phase in (ED, ES)}
EXPERT = Path("contours-manual") / "IRCCI-expert"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "Größe des Herzens"


@pytest.fixture
def subject(root: Path) -> Path:
    """The challenge's layout: all series of a subject in one folder."""
    path = root / "challenge_training" / "SC-HF-I-1"
    sunnybrook_images(path, path)
    return path


@pytest.fixture
def contours(root: Path) -> Path:
    return root / "Sunnybrook Cardiac MR Database ContoursPart3" / "TrainingDataContours" / (
        "SC-HF-I-01"
    ) / EXPERT  # fmt: skip


def annotated(study: CineStudy) -> dict[tuple[int, int], np.ndarray]:
    """Label frames by (slice, phase), only those that count."""
    return {
        (k, int(phase)): item.labels.values[phase]
        for k, item in enumerate(study.of_view(View.SA))
        if item.labels is not None
        for phase in np.flatnonzero(item.labels.annotated)
    }


def left_ventricle(k: int, phase: int) -> np.ndarray:
    """The blob's blood pool and wall as its images show them; nobody drew what lies outside."""
    labels = truth(STACK[k])[phase]
    return np.where((labels == Label.RV_BLOOD_POOL) | (labels == 0), NO_LV, labels)


def assert_true(study: CineStudy, expected: set[tuple[int, int]]) -> None:
    found = annotated(study)
    assert set(found) == expected
    for (k, phase), frame in found.items():
        np.testing.assert_array_equal(frame, left_ventricle(k, phase))


def said(study: CineStudy, pattern: str) -> bool:
    return any(re.search(pattern, warning) for warning in study.warnings)


def test_contours_of_the_challenge(subject: Path, contours: Path) -> None:
    """Long-axis images have the same numbers as the short-axis ones, and stay unlabelled."""
    write_contours(contours, BOTH)
    study = read_study(subject)
    assert [s.view for s in study.slices] == [View.SA] * len(STACK) + [View.LA_4CH]
    np.testing.assert_array_equal(study.slices[0].frames, STACK[0].images(HEART))
    assert_true(study, set(BOTH))
    assert study.slices[-1].labels is None
    assert said(study, "10 image.s. have contours")
    assert said(study, "show no right ventricle")


def test_contours_of_the_cardiac_atlas(root: Path) -> None:
    """Subjects under other numbers, which a table tells."""
    subject = root / "SCD_IMAGES_01" / "SCD0000101"
    sunnybrook_images(subject / "CINESAX_300", subject / "CINELAX_301")
    for case, drawn in (("SC-HF-I-01", BOTH), ("SC-HF-I-02", {(0, 5): "io"})):
        write_contours(root / "SCD_ManualContours" / case / EXPERT, drawn)
    assert not annotated(read_study(subject))  # nobody says who this is
    table = "PatientID,OriginalID,Gender\nSCD0000201,SC-HF-I-2,F\nSCD0000101,SC-HF-I-1,M\n"
    (root / "scd_patientdata.csv").write_text(table, encoding="utf-8-sig")
    assert_true(read_study(subject), set(BOTH))


def test_contours_inside_the_subjects_folder(subject: Path) -> None:
    write_contours(subject / EXPERT, BOTH)
    assert_true(read_study(subject), set(BOTH))


def test_no_contours(subject: Path) -> None:
    study = read_study(subject)
    assert not annotated(study)
    assert said(study, "no contours were found for this subject")


def test_one_contour_alone_says_what_it_can(subject: Path, contours: Path) -> None:
    """An endocardium alone leaves the myocardium open; papillary muscles are not used."""
    drawn = {(0, ED): "io", (1, ED): "i", (2, ES): "i", (3, ED): "o"}
    write_contours(contours, drawn)
    save_contour(contours, image_number(0, ED), "p1", circle(3.0, STACK[0]))
    study = read_study(subject)
    found = annotated(study)
    assert set(found) == set(drawn)
    np.testing.assert_array_equal(found[0, ED], left_ventricle(0, ED))
    for k, phase in ((1, ED), (2, ES)):
        is_blood = truth(STACK[k])[phase] == Label.LV_BLOOD_POOL
        expected = np.where(is_blood, int(Label.LV_BLOOD_POOL), NO_LV_BLOOD)
        np.testing.assert_array_equal(found[k, phase], expected)
    is_lv = np.isin(truth(STACK[3])[ED], (Label.LV_BLOOD_POOL, Label.LV_MYOCARDIUM))
    np.testing.assert_array_equal(found[3, ED], np.where(is_lv, LV, NO_LV))


def test_contours_of_missing_images(subject: Path, contours: Path) -> None:
    write_contours(contours, BOTH)
    (subject / f"IM-0003-{image_number(1, ES):04d}.dcm").unlink()
    save_contour(contours, 999, "i", circle(20.0, STACK[0]))
    study = read_study(subject)
    # Without its image, phase 3 is gone and the phases after it move up.
    assert set(annotated(study)) == set(BOTH) - {(1, ES)}
    assert said(study, r"2 image.s. left out, they belong to no image.*\(12, 999\)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10 10\n60 10\n30 30\n", "leaves the image"),
        ("-5 10\n20 10\n20 30\n", "leaves the image"),
        ("10 10\n20 20\n", "no list of points"),
        ("10 10\n20 zwanzig\n10 20\n", "no list of points"),
        ("10 10\n20\n10 20\n", "no list of points"),
        ("10 10\nnan 20\n10 20\n", "no list of points"),
        ("", "no list of points"),
    ],
)
def test_contours_that_cannot_be_used(
    subject: Path, contours: Path, text: str, message: str
) -> None:
    write_contours(contours, BOTH)
    name = f"IM-0001-{image_number(2, ED):04d}-icontour-manual.txt"
    (contours / name).write_text(text, encoding="utf-8")
    study = read_study(subject)
    assert_true(study, set(BOTH) - {(2, ED)})
    assert said(study, f"1 image.s. left out, they have .*{message}.*\\(17\\)")


def test_the_first_pixel_s_centre_is_the_origin() -> None:
    """A square of the pixels 2 to 4 (columns) and 1 to 3 (rows), wall one pixel thick."""
    outer = np.array([[0.6, -0.4], [5.4, -0.4], [5.4, 4.4], [0.6, 4.4]])
    inner = np.array([[1.6, 0.6], [4.4, 0.6], [4.4, 3.4], [1.6, 3.4]])
    labels = rasterised(inner, outer, (8, 9))
    expected = np.full((8, 9), NO_LV, dtype=np.uint8)
    expected[0:5, 1:6] = Label.LV_MYOCARDIUM
    expected[1:4, 2:5] = Label.LV_BLOOD_POOL
    np.testing.assert_array_equal(labels, expected)
