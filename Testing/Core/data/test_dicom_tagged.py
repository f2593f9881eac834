"""Tagged and mixed examinations as DICOM: what is read as cine, what as tagged."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from NISFCore.data.read import read_study, read_tagged
from NISFCore.errors import StudyError
from NISFCore.phantom import CLINICAL, HeartParameters, simulate_study
from NISFCore.phantom.dicom_writer import write_dicom
from NISFCore.phantom.protocol import TAGGED_3D
from NISFCore.phantom.tag_pattern import TagKind, TagPattern
from NISFCore.phantom.tagging import SimulatedTagged, simulate_tagged_study
from NISFCore.views import View

QUICK: dict[str, Any] = {"n_profile": 1, "n_sub_pixels": 1, "is_blurred": False}
TAGGED = replace(TAGGED_3D, sa_levels=(0.7, 0.4), n_phases=8, fov_mm=180.0, pixel_mm=1.6, **QUICK)
CINE = replace(
    CLINICAL, n_sa_slices=3, n_phases=4, pixel_mm=4.0, fov_mm=200.0, slice_spacing_mm=20.0, **QUICK
)


@pytest.fixture(scope="module")
def lines() -> SimulatedTagged:
    return simulate_tagged_study(HeartParameters(), TagPattern(kind=TagKind.LINES), TAGGED, seed=2)


@pytest.fixture(scope="module")
def tagged_folder(lines: SimulatedTagged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tags") / "tägged exam"
    write_dicom(lines.study, folder)
    return folder


@pytest.fixture(scope="module")
def mixed(tagged_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cine examination, and the tagged one with series numbers from 101."""
    folder = tmp_path_factory.mktemp("mixed") / "exam"
    write_dicom(simulate_study(HeartParameters(), CINE, seed=2).study, folder)
    one = pydicom.dcmread(next(folder.rglob("*.dcm")))

    def joined(dataset: pydicom.Dataset) -> None:
        dataset.SeriesNumber = 100 + int(dataset.SeriesNumber)
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(dataset, keyword, getattr(one, keyword))

    edit_into(tagged_folder, folder / "tagged", joined)
    return folder


def edit_into(source: Path, target: Path, edit: Callable[[pydicom.Dataset], None]) -> None:
    """Copy the files of a folder, each changed by `edit`."""
    shutil.copytree(source, target)
    for path in target.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        edit(dataset)
        dataset.save_as(path)


def say_nothing(dataset: pydicom.Dataset) -> None:
    """Names and attributes of a plain cine."""
    dataset.SeriesDescription = dataset.ProtocolName = "cine_retro"
    del dataset.Tagging
    del dataset.TagSpacingFirstDimension


def test_tagged_studies_come_back_as_they_were_written(
    lines: SimulatedTagged, tagged_folder: Path
) -> None:
    study = read_tagged(tagged_folder)
    written = {s.name: s for s in lines.study.slices}
    assert {s.name for s in study.slices} == set(written)
    for item in study.slices:
        original = written[item.name]
        assert item.view is original.view
        assert np.array_equal(item.frames, original.frames)
        assert np.allclose(item.ras_from_ijk, original.ras_from_ijk, atol=1e-6)
        assert np.allclose(item.cycle_fractions, original.cycle_fractions, atol=2e-3)
        (found,), (laid,) = item.tags, original.tags
        assert abs(float(np.dot(found.normal_ras, laid.normal_ras))) > np.cos(np.deg2rad(0.5))
        assert found.spacing_mm == pytest.approx(laid.spacing_mm, rel=0.01)


def test_tags_are_known_without_any_name(tagged_folder: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    edit_into(tagged_folder, plain, say_nothing)
    assert len(read_tagged(plain).slices) == len(read_tagged(tagged_folder).slices)
    with pytest.raises(StudyError, match=r"series 1 left out: it shows tag lines 7\.0 mm apart"):
        read_study(plain)


@pytest.mark.parametrize("keyword", ["SeriesDescription", "ScanOptions", "Tagging"])
def test_one_word_says_that_a_series_is_tagged(
    keyword: str, tagged_folder: Path, tmp_path: Path
) -> None:
    value = {"SeriesDescription": "sax_tagging_b1", "ScanOptions": "CARD_TAG", "Tagging": "LINE"}

    def say_once(dataset: pydicom.Dataset) -> None:
        say_nothing(dataset)
        setattr(dataset, keyword, value[keyword])

    edit_into(tagged_folder / "series_001", tmp_path / keyword, say_once)
    with pytest.raises(StudyError, match=r"series 1: 8 image\(s\) left out, tagging"):
        read_study(tmp_path / keyword)


def test_a_mixed_examination_is_a_cine_and_names_the_tagged_series(mixed: Path) -> None:
    study = read_study(mixed)
    assert all(s.tags == () for s in study.slices)
    assert {int(s.provenance.series) for s in study.slices} <= set(range(1, 100))
    for number in range(101, 111):
        assert f"series {number}: 8 image(s) left out, tagging" in study.warnings


def test_a_mixed_examination_without_names_is_a_cine_too(mixed: Path, tmp_path: Path) -> None:
    """Tagged series that say nothing lie in the very planes of the cine, and later."""

    def plain_tags(dataset: pydicom.Dataset) -> None:
        if "Tagging" in dataset:
            say_nothing(dataset)

    edit_into(mixed, tmp_path / "plain", plain_tags)
    study, expected = read_study(tmp_path / "plain"), read_study(mixed)
    assert [(s.name, s.provenance.series) for s in study.slices] == [
        (s.name, s.provenance.series) for s in expected.slices
    ]
    assert sum("it shows tag lines" in w for w in study.warnings) == 10


def test_the_tagged_part_of_a_mixed_examination(mixed: Path, tagged_folder: Path) -> None:
    study = read_tagged(mixed)
    assert [s.name for s in study.slices] == [s.name for s in read_tagged(tagged_folder).slices]
    assert {int(s.provenance.series) for s in study.slices} == set(range(101, 111))


def test_of_a_repeated_direction_the_last_is_kept(tagged_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repeated"
    shutil.copytree(tagged_folder, folder)

    def again(dataset: pydicom.Dataset) -> None:
        dataset.SeriesNumber = 50
        for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, generate_uid(entropy_srcs=[getattr(dataset, keyword)]))
        dataset.AcquisitionTime = dataset.ContentTime = "120000.000000"
        pixels = dataset.pixel_array + 1
        dataset.PixelData = pixels.astype("<u2").tobytes()

    edit_into(tagged_folder / "series_001", folder / "again", again)
    study = read_tagged(folder)
    assert len(study.slices) == 10
    sa = {s.name: s.provenance.series for s in study.of_view(View.SA)}
    assert set(sa.values()) == {"50", "2", "3", "4"}


def test_views_may_be_given_by_any_series_of_a_plane(tagged_folder: Path) -> None:
    study = read_tagged(tagged_folder, views={"2": View.OTHER})
    assert len(study.of_view(View.SA)) == 2
    assert [e.slice.name for e in study.excluded] == ["OTHER_01_tags_1", "OTHER_01_tags_2"]
    with pytest.raises(StudyError, match="no series 77"):
        read_tagged(tagged_folder, views={"77": View.SA})


def test_called_tagged_but_without_tags_is_left_out(mixed: Path, tmp_path: Path) -> None:
    def call_tagged(dataset: pydicom.Dataset) -> None:
        dataset.SeriesDescription = "tagging"

    edit_into(mixed / "series_001", tmp_path / "named", call_tagged)
    with pytest.raises(StudyError, match=r"no tagged series.*its first frames show no tag lines"):
        read_tagged(tmp_path / "named")


def test_what_is_not_there_or_no_dicom(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="exists"):
        read_tagged(tmp_path / "nothing")
    nifti = tmp_path / "sa.nii.gz"
    nifti.write_bytes(b"")
    with pytest.raises(StudyError, match="DICOM only"):
        read_tagged(nifti)
