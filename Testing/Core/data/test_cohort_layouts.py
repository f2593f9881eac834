"""Cohort folders in public layouts: the right subjects, a clear message, nobody's number."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from NISFCore.data.cohort_layouts import PLAIN, find_cohort
from NISFCore.data.read import read_study
from NISFCore.data.view_hints import described_view
from NISFCore.errors import CohortError
from NISFCore.labels import Label
from NISFCore.views import View
from Testing.Core.generators.dicom_writer import classic_files, write_files
from Testing.Core.generators.odd_studies import HEART
from Testing.Core.generators.public_cohorts import (
    ED,
    ES,
    STACK,
    acdc_subject,
    kaggle_subject,
    mnms2_subject,
    mnms_subject,
    save_sa_labels,
    sunnybrook_images,
    ukb_pair,
    ukb_planes,
    ukb_zip,
    write_contours,
)

EIDS = ("1000001", "1000002", "1000003")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "Kohorte mit Umläuten ß"
    path.mkdir()
    return path


def names(root: Path) -> list[str]:
    return [s.name for s in find_cohort(root).subjects]


def lv_pixels(root: Path) -> list[set[int]]:
    """Annotated phases of every subject's slices that have LV pixels in them."""
    found = []
    for subject in find_cohort(root).subjects:
        labels = [s.labels for s in read_study(subject.path).of_view(View.SA)]
        is_lv = np.stack([v.values == Label.LV_BLOOD_POOL for v in labels if v is not None])
        found.append(set(np.flatnonzero(is_lv.any(axis=(0, 2, 3))).tolist()))
    return found


# ---------------------------------------------------------------- NIfTI


@pytest.mark.parametrize(
    ("write", "folders", "layout"),
    [
        (acdc_subject, ["training/patient001", "training/patient002"], "ACDC"),
        (acdc_subject, ["database/testing/patient101", "database/training/patient001"], "ACDC"),
        (acdc_subject, ["patient001"], "ACDC"),
        (mnms_subject, ["Training/Labeled/A0S9V9", "Validation/B1T2W3"], "M&Ms"),
        (mnms_subject, ["OpenDataset/Training/Labeled/A0S9V9"], "M&Ms"),
        (mnms2_subject, ["dataset/001", "dataset/002"], "M&Ms-2"),
        (mnms2_subject, ["MnM2/dataset/001"], "M&Ms-2"),
    ],
)
def test_nested_nifti_layouts(
    root: Path, write: Callable[[Path], None], folders: list[str], layout: str
) -> None:
    """Label numbers are those of the data set: the LV's volume is the LV's."""
    for folder in folders:
        write(root / folder)
    (root / "dataset_information.csv").write_text("SUBJECT_CODE,DISEASE\n001,NOR\n")
    cohort = find_cohort(root)
    assert [s.name for s in cohort.subjects] == folders
    assert re.fullmatch(rf"recognised {len(folders)} subjects? as {layout}", cohort.message)
    assert lv_pixels(root) == [{ED, ES}] * len(folders)
    item = read_study(cohort.subjects[0].path).of_view(View.SA)[2]
    assert item.labels is not None
    bright = item.frames[ED] == 800
    np.testing.assert_array_equal(item.labels.values[ED] == Label.LV_BLOOD_POOL, bright)


# ---------------------------------------------------------------- Kaggle


def test_a_kaggle_subject_is_one_study(root: Path) -> None:
    """A slice that was filmed twice: the later is kept, and this is said."""
    right = kaggle_subject(root / "train" / "1")
    study = read_study(root / "train" / "1")
    assert [s.provenance.series for s in study.slices] == [str(p.series) for p in right]
    assert [s.view.value for s in study.slices] == [p.truth for p in right]
    assert any("scanned 2 times" in w and "series 31" in w for w in study.warnings)


def test_a_kaggle_cohort(root: Path) -> None:
    for subject in ("train/1", "train/2", "validate/501"):
        kaggle_subject(root / subject)
    (root / "train.csv").write_text("Id,Systole,Diastole\n1,108.3,246.7\n")
    cohort = find_cohort(root)
    assert names(root) == ["train/1", "train/2", "validate/501"]
    assert cohort.message == "recognised 3 subjects as Data Science Bowl 2015"


@pytest.mark.parametrize(
    ("description", "folder", "hint"),
    [
        ("cine", "2ch_21", "2ch_21"),
        ("cine", "sax_5", "sax_5"),
        ("cine 4CH", "2ch_21", "cine 4CH"),
        ("cine", "Ao_patient", "cine"),
        ("cine", "SE_5", "cine"),
    ],
)
def test_folders_named_after_views_speak_where_the_series_is_silent(
    description: str, folder: str, hint: str
) -> None:
    assert described_view(description, folder) == hint


# ---------------------------------------------------------------- Sunnybrook


def test_a_sunnybrook_cohort(root: Path) -> None:
    """Folders of contours and tables are no subjects."""
    expert = Path("contours-manual") / "IRCCI-expert"
    for number, case in ((1, "SC-HF-I-1"), (2, "SC-N-2")):
        subject = root / "SCD_IMAGES_01" / f"SCD000{number}001"
        sunnybrook_images(subject / "CINESAX_3", subject / "CINELAX_5")
        padded = case[:-1] + "0" + case[-1]
        drawn = {(k, phase): "io" for k in range(5) for phase in (ED, ES)[:number]}
        write_contours(root / "SCD_ManualContours" / padded / expert, drawn)
    table = "PatientID,OriginalID\nSCD0001001,SC-HF-I-1\nSCD0002001,SC-N-2\n"
    (root / "scd_patientdata.csv").write_text(table)
    assert names(root) == ["SCD_IMAGES_01/SCD0001001", "SCD_IMAGES_01/SCD0002001"]
    assert lv_pixels(root) == [{ED}, {ED, ES}]
    message = find_cohort(root).message
    assert re.match("recognised 2 subjects as Sunnybrook; .*show no right ventricle", message)


# ---------------------------------------------------------------- UK Biobank


def assert_names_no_eid(text: str) -> None:
    assert not any(eid in text for eid in EIDS)


def test_flat_zips_of_many_participants(root: Path) -> None:
    """With labels in a folder of the participant's number, which is no subject itself."""
    for eid in EIDS[:2]:
        ukb_pair(root, eid)
        save_sa_labels(root / eid / "label_sa.nii.gz", annotated=(ED, ES))
    cohort = find_cohort(root)
    assert cohort.message == "recognised 2 subjects as UK Biobank zips"
    assert [len(read_study(s.path).slices) for s in cohort.subjects] == [len(STACK) + 3] * 2
    assert lv_pixels(root) == [{ED, ES}] * 2
    assert_names_no_eid(repr([s.name for s in cohort.subjects]))


def test_zips_in_a_folder_per_participant(root: Path) -> None:
    """One of them holds another's zip: it is left out, and the others are read."""
    sa, la = ukb_planes()
    ukb_pair(root / EIDS[0], EIDS[0])
    ukb_zip(root / EIDS[1] / f"{EIDS[1]}_20208_2_0.zip", la)
    ukb_zip(root / EIDS[1] / f"{EIDS[2]}_20209_2_0.zip", sa)
    ukb_zip(root / "subject 3" / "dicom" / f"{EIDS[2]}_20209_2_0.zip", sa)
    cohort = find_cohort(root)
    assert [s.path.parent.name for s in cohort.subjects] == [EIDS[0], "dicom"]
    assert cohort.message == (
        "recognised 2 subjects as UK Biobank zips; participant 3 (in order of name): the "
        "long-axis zip (field 20208) is missing; left out 1: participant 2 (in order of name): "
        "its folder holds zips of several participants"
    )
    assert_names_no_eid(cohort.message)


def test_zips_in_a_folder_per_field(root: Path) -> None:
    sa, la = ukb_planes()
    for eid in EIDS[:2]:
        ukb_zip(root / "20208" / f"{eid}_20208_2_0.zip", la)
        ukb_zip(root / "20209" / f"{eid}_20209_2_0.zip", sa)
    cohort = find_cohort(root)
    assert cohort.message == "recognised 2 subjects as UK Biobank zips"
    assert [len(read_study(s.path).slices) for s in cohort.subjects] == [len(STACK) + 3] * 2


def test_two_visits_are_two_subjects(root: Path) -> None:
    sa, _ = ukb_planes()
    ukb_pair(root / "a", EIDS[0])
    ukb_zip(root / "a" / f"{EIDS[0]}_20209_3_0.zip", sa)
    cohort = find_cohort(root)
    assert [len(read_study(s.path).slices) for s in cohort.subjects] == [len(STACK) + 3, len(STACK)]


# ---------------------------------------------------------------- plain and odd folders


def test_a_plain_cohort_needs_no_words(root: Path) -> None:
    """Folders of DICOM in any nesting stay one subject each, hidden ones none."""
    write_files(classic_files(STACK, HEART), root / "Herz 1" / "a" / "b")
    (root / "Herz 2" / "images").mkdir(parents=True)
    (root / ".cache" / "x").mkdir(parents=True)
    cohort = find_cohort(root)
    assert names(root) == ["Herz 1", "Herz 2"]
    assert {s.layout for s in cohort.subjects} == {PLAIN}
    assert cohort.is_plain


def test_layouts_side_by_side(root: Path) -> None:
    acdc_subject(root / "acdc" / "training" / "patient001")
    kaggle_subject(root / "dsb" / "train" / "1")
    ukb_pair(root / "ukb", EIDS[0])
    assert find_cohort(root).message == (
        "recognised 1 subject as ACDC, 1 subject as Data Science Bowl 2015, "
        "1 subject as UK Biobank zips"
    )


def test_no_cohort(root: Path) -> None:
    with pytest.raises(CohortError, match="no subject folders"):
        find_cohort(root)
    with pytest.raises(CohortError, match="no folder"):
        find_cohort(root / "nowhere")
