"""UK Biobank's original layout: two zips are one study; labels beside them; what can be wrong."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from NISFCore.data.read import read_study
from NISFCore.data.study import CineStudy
from NISFCore.errors import AmbiguousInputError, StudyError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.views import View
from Testing.Core.data.comparing import RAS_FROM_LPS, everything_said
from Testing.Core.generators.nifti_writer import blob_labels, ras_affine, save_nifti, volume
from Testing.Core.generators.odd_studies import HEART
from Testing.Core.generators.public_cohorts import (
    ED,
    ES,
    N_PHASES,
    STACK,
    save_sa_labels,
    truth,
    ukb_pair,
    ukb_planes,
    ukb_zip,
)

EID, OTHER_EID = "1234567", "7654321"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Ärzte und Herzen"


def assert_whole(study: CineStudy) -> None:
    """All planes of both zips, every pixel in its place; the eid nowhere."""
    sa, la = ukb_planes()
    assert [s.view.value for s in study.slices] == [p.truth for p in [*sa, *la]]
    for item, plane in zip(study.slices, [*sa, *la], strict=True):
        np.testing.assert_array_equal(item.frames, plane.images(HEART))
        np.testing.assert_allclose(
            pixel_centres_ras(item.ras_from_ijk, item.shape),
            plane.points_lps() * RAS_FROM_LPS,
            atol=1e-4,
        )
    assert_names_no_participant(study)


def assert_names_no_participant(study: CineStudy) -> None:
    said = repr([study.subject, everything_said(study), [s.provenance for s in study.slices]])
    assert EID not in said and OTHER_EID not in said


def labelled_phases(study: CineStudy) -> list[list[int]]:
    labels = [s.labels for s in study.of_view(View.SA)]
    return [[] if v is None else np.flatnonzero(v.annotated).tolist() for v in labels]


def assert_true_labels(study: CineStudy) -> None:
    for item, plane in zip(study.of_view(View.SA), STACK, strict=True):
        assert item.labels is not None
        kept = item.labels.annotated
        np.testing.assert_array_equal(item.labels.values[kept], truth(plane)[kept])


def test_a_folder_with_both_zips_is_one_study(folder: Path) -> None:
    ukb_pair(folder, EID)
    study = read_study(folder)
    assert_whole(study)
    assert study.warnings == ()  # the manifests are no surprise
    assert all(s.labels is None for s in study.slices)


@pytest.mark.parametrize("which", [0, 1])
def test_either_zip_of_many_finds_the_other(folder: Path, which: int) -> None:
    """All zips flat in one folder."""
    pair = ukb_pair(folder, EID)
    ukb_zip(folder / f"{OTHER_EID}_20209_2_0.zip", STACK[:3], patient_id="OTHER-1")
    ukb_zip(folder / f"{EID}_20209_3_0.zip", STACK[:3], patient_id="OTHER-1")  # a later visit
    assert_whole(read_study(pair[which]))


def test_zips_in_a_folder_for_each_field(folder: Path) -> None:
    sa, la = ukb_planes()
    ukb_zip(folder / "20208" / f"{EID}_20208_2_0.zip", la)
    path = ukb_zip(folder / "20209" / f"{EID}_20209_2_0.zip", sa)
    assert_whole(read_study(path))


@pytest.mark.parametrize(
    ("kept", "missing", "views"),
    [("20208", "short-axis zip", 3), ("20209", "long-axis zip", len(STACK))],
)
def test_a_missing_zip_is_said(folder: Path, kept: str, missing: str, views: int) -> None:
    for path in ukb_pair(folder, EID):
        if kept not in path.name:
            path.unlink()
    study = read_study(folder)
    assert len(study.slices) == views
    assert any(re.search(f"{missing}.*is missing", w) for w in study.warnings)
    assert_names_no_participant(study)


@pytest.mark.parametrize(
    ("which", "data", "message"),
    [
        (0, b"this is no zip" * 50, r"the long-axis zip \(field 20208\): not a readable zip"),
        (1, b"", r"the short-axis zip \(field 20209\): not a readable zip"),
    ],
)
def test_a_corrupt_zip_is_named_by_its_field(
    folder: Path, which: int, data: bytes, message: str
) -> None:
    path = ukb_pair(folder, EID)[which]
    path.write_bytes(data)
    with pytest.raises(StudyError, match=message) as caught:
        read_study(folder)
    assert EID not in str(caught.value)


def test_participants_are_never_mixed(folder: Path) -> None:
    sa, la = ukb_planes()
    ukb_zip(folder / f"{EID}_20208_2_0.zip", la)
    ukb_zip(folder / f"{OTHER_EID}_20209_2_0.zip", sa)
    with pytest.raises(AmbiguousInputError, match=r"2 participant.*which one is meant") as caught:
        read_study(folder)
    assert EID not in str(caught.value) and OTHER_EID not in str(caught.value)


def test_a_zip_of_somebody_else_under_the_right_name(folder: Path) -> None:
    """The files say who they show, whatever the zips are called."""
    sa, la = ukb_planes()
    ukb_zip(folder / f"{EID}_20208_2_0.zip", la, patient_id="OTHER-1")
    ukb_zip(folder / f"{EID}_20209_2_0.zip", sa)
    with pytest.raises(AmbiguousInputError, match="2 subjects"):
        read_study(folder)


def test_pictures_drawn_over_by_the_scanner_are_left_out(folder: Path) -> None:
    """The series "InlineVF" repeats the stack later, with contours burnt into it."""
    sa, la = ukb_planes()
    drawn = [replace(p, series=60 + k, n_phases=10, description="CINE_segmented_SAX_InlineVF")
             for k, p in enumerate(sa)]  # fmt: skip
    ukb_zip(folder / f"{EID}_20208_2_0.zip", la)
    ukb_zip(folder / f"{EID}_20209_2_0.zip", [*sa, *drawn])
    study = read_study(folder)
    assert_whole(study)
    assert {s.provenance.series for s in study.of_view(View.SA)} == {str(p.series) for p in sa}


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    "place", ["label_sa.nii.gz", f"{EID}_label_sa.nii.gz", f"{EID}/seg_sa.nii"]
)
def test_labels_of_all_phases_find_their_slices(folder: Path, place: str) -> None:
    ukb_pair(folder, EID)
    save_sa_labels(folder / place, annotated=(ED, ES))
    study = read_study(folder)
    assert_whole(study)
    assert labelled_phases(study) == [[ED, ES]] * len(STACK)
    assert_true_labels(study)
    assert all(s.labels is None for s in study.slices if s.view is not View.SA)


def test_plain_labels_among_many_participants_belong_to_nobody(folder: Path) -> None:
    _, path = ukb_pair(folder, EID)
    ukb_pair(folder, OTHER_EID)
    save_sa_labels(folder / "label_sa.nii.gz")
    assert labelled_phases(read_study(path)) == [[]] * len(STACK)
    save_sa_labels(folder / f"{EID}_label_sa.nii.gz")
    assert labelled_phases(read_study(path)) == [list(range(N_PHASES))] * len(STACK)


def test_labels_of_single_phases(folder: Path) -> None:
    """ED is the first phase; which one ES is, only the converted images tell."""
    ukb_pair(folder, EID)
    affine, labels = ras_affine(STACK), blob_labels(STACK, HEART)
    save_nifti(folder / "label_sa_ED.nii.gz", labels[..., ED], affine)
    save_nifti(folder / "label_sa_ES.nii.gz", labels[..., ES], affine)
    study = read_study(folder)
    assert labelled_phases(study) == [[ED]] * len(STACK)
    assert any("label_sa_es: cannot tell which phase" in w for w in study.warnings)
    save_nifti(folder / "sa.nii.gz", volume(STACK, HEART), affine)
    save_nifti(folder / "sa_ES.nii.gz", volume(STACK, HEART)[..., ES], affine)
    study = read_study(folder)
    assert_whole(study)  # from the zips, not from the converted images
    assert labelled_phases(study) == [[ED, ES]] * len(STACK)
    assert_true_labels(study)
    assert any("2 converted image(s) beside the zips not used" in w for w in study.warnings)


def test_labels_of_a_part_of_the_stack(folder: Path) -> None:
    ukb_pair(folder, EID)
    part = STACK[1:4]
    save_nifti(folder / "label_sa.nii.gz", blob_labels(part, HEART), ras_affine(part))
    study = read_study(folder)
    assert [bool(p) for p in labelled_phases(study)] == [False, True, True, True, False]
    assert any("cover 3 of 5 short-axis slices" in w for w in study.warnings)


def test_labels_that_lie_elsewhere_are_refused(folder: Path) -> None:
    ukb_pair(folder, EID)
    affine = ras_affine(STACK)
    affine[:3, 3] += affine[:3, 2] / 2  # between the slices
    save_nifti(folder / "label_sa.nii.gz", blob_labels(STACK, HEART), affine)
    with pytest.raises(StudyError, match="lies on no short-axis slice"):
        read_study(folder)


def test_labels_with_other_phases_are_refused(folder: Path) -> None:
    ukb_pair(folder, EID)
    save_nifti(folder / "label_sa.nii.gz", blob_labels(STACK, HEART)[..., :3], ras_affine(STACK))
    with pytest.raises(StudyError, match=r"3 phase\(s\) from phase 0 do not fit the 8 phase"):
        read_study(folder)


def test_a_damaged_label_map_does_not_name_the_participant(folder: Path) -> None:
    ukb_pair(folder, EID)
    (folder / f"{EID}_label_sa.nii.gz").write_bytes(b"no labels")
    with pytest.raises(StudyError, match=r"label_sa\.nii\.gz: not a readable NIfTI") as caught:
        read_study(folder)
    assert EID not in str(caught.value)
