"""NIfTI studies: the layouts of public datasets, the exact layout, and what can be wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from NISFCore.data.nifti_manifest import MANIFEST_NAME, write_nifti_study
from NISFCore.data.read import read_study
from NISFCore.data.study import CineStudy, ExcludedSlice, SliceLabels
from NISFCore.errors import AmbiguousInputError, OutputError, StudyError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.views import View
from Testing.Core.data.comparing import RAS_FROM_LPS, assert_same_study, everything_said
from Testing.Core.generators.blob_heart import Plane, blob_heart, la_plane, la_planes, sa_planes
from Testing.Core.generators.dicom_writer import classic_files, write_files
from Testing.Core.generators.nifti_writer import blob_labels, ras_affine, save_nifti, volume
from Testing.Core.generators.odd_studies import usual

HEART = blob_heart()
STACK = [replace(p, rr_interval_ms=800.0) for p in sa_planes(HEART, n=6)]


def assert_planes(study: CineStudy, planes: list[Plane]) -> None:
    assert [s.view.value for s in study.slices] == [p.truth for p in planes]
    for item, plane in zip(study.slices, planes, strict=True):
        expected = plane.points_lps() * RAS_FROM_LPS
        centres = pixel_centres_ras(item.ras_from_ijk, item.shape)
        np.testing.assert_allclose(centres, expected, atol=1e-3)
        np.testing.assert_array_equal(item.frames, plane.images(HEART))


def save_stack(path: Path, planes: list[Plane], phase_step: float = 0.0) -> Path:
    return save_nifti(path, volume(planes, HEART), ras_affine(planes), phase_step)


# ---------------------------------------------------------------- public layouts


def test_uk_biobank_layout(tmp_path: Path) -> None:
    """sa.nii.gz from apex to base, la_?ch.nii.gz, label_sa.nii.gz; RR from the time step."""
    planes = la_planes(HEART)
    save_stack(tmp_path / "sa.nii.gz", STACK[::-1], phase_step=0.1)
    for plane in planes:
        save_stack(tmp_path / f"{plane.truth.lower()}.nii.gz", [plane], phase_step=0.1)
    labels = blob_labels(STACK[::-1], HEART)
    labels[..., 1:3] = 0
    save_nifti(tmp_path / "label_sa.nii.gz", labels, ras_affine(STACK[::-1]))
    save_nifti(tmp_path / "label_la_2ch.nii.gz", labels[:, :, :1], ras_affine(planes[:1]))
    study = read_study(tmp_path)
    assert_planes(study, [*STACK, *planes])
    np.testing.assert_allclose([s.rr_interval_ms for s in study.slices], 800.0, rtol=1e-6)
    expected = blob_labels(STACK, HEART)
    for k, item in enumerate(study.of_view(View.SA)):
        assert item.labels is not None
        np.testing.assert_array_equal(item.labels.annotated, [True, False, False] + [True] * 5)
        kept = item.labels.annotated
        truth = np.transpose(expected[:, :, k], (2, 1, 0))
        np.testing.assert_array_equal(item.labels.values[kept], truth[kept])
    assert study.slices[-1].labels is None
    assert any("labels of the atria" in w for w in study.warnings)


def test_acdc_layout(tmp_path: Path) -> None:
    """Single labelled frames by number, ACDC's own label numbers, orientation lost."""
    folder = tmp_path / "patient001"
    affine = np.diag([1.5, 1.5, 10.0, 1.0])
    data = volume(STACK, HEART)
    save_nifti(folder / "patient001_4d.nii.gz", data, affine)
    acdc = np.array([0, 3, 2, 1], dtype=np.uint8)[blob_labels(STACK, HEART)]
    for number in (1, 4):
        stem = f"patient001_frame{number:02d}"
        save_nifti(folder / f"{stem}.nii.gz", data[..., number - 1], affine)
        save_nifti(folder / f"{stem}_gt.nii.gz", acdc[..., number - 1], affine)
    (folder / "Info.cfg").write_text("ED: 1\nES: 4\nNbFrame: 8\n")
    study = read_study(folder)
    assert not study.has_patient_orientation
    assert [s.view for s in study.slices] == [View.SA] * 6
    for item in study.slices:
        assert item.labels is not None
        assert np.flatnonzero(item.labels.annotated).tolist() == [0, 3]
    values = np.stack([s.labels.values[0] for s in study.slices if s.labels is not None])
    truth = np.transpose(blob_labels(STACK, HEART)[..., 0], (2, 1, 0))
    assert sorted(v.sum() for v in values) == sorted(v.sum() for v in truth)
    assert any("ACDC" in text for text in everything_said(study))


def test_acdc_without_the_cine(tmp_path: Path) -> None:
    """Only ED and ES frames: two phases at the times that Info.cfg gives."""
    folder = tmp_path / "patient002"
    affine = ras_affine(STACK)
    for number in (1, 4):
        data = volume(STACK, HEART)[..., number - 1]
        save_nifti(folder / f"patient002_frame{number:02d}.nii.gz", data, affine)
    (folder / "Info.cfg").write_text("NbFrame: 8\n")
    study = read_study(folder)
    np.testing.assert_allclose(study.slices[0].cycle_fractions, [0.0, 3 / 8])
    np.testing.assert_array_equal(study.slices[0].frames, STACK[0].images(HEART)[[0, 3]])


def test_frames_are_put_in_time_by_their_numbers(tmp_path: Path) -> None:
    """Not by their names: labels of `frame12` would go to `frame2`. Some count from 0."""
    data, labels = volume(STACK, HEART), blob_labels(STACK, HEART)
    for number, phase in ((0, 0), (2, 1), (12, 4)):
        stem = f"x_sa_frame{number}"
        save_nifti(tmp_path / f"{stem}.nii", data[..., phase], ras_affine(STACK))
        save_nifti(tmp_path / f"{stem}_gt.nii", labels[..., phase], ras_affine(STACK))
    item = read_study(tmp_path).slices[0]
    assert item.labels is not None
    np.testing.assert_array_equal(item.frames, STACK[0].images(HEART)[[0, 1, 4]])
    np.testing.assert_array_equal(
        item.labels.values, np.transpose(labels[:, :, 0], (2, 1, 0))[[0, 1, 4]]
    )
    np.testing.assert_allclose(item.cycle_fractions, [0, 2 / 36, 12 / 36])


def test_one_frame_that_is_counted_from_0(tmp_path: Path) -> None:
    data = volume(STACK, HEART)[..., 0]
    save_nifti(tmp_path / "x_sa_frame00.nii", data, ras_affine(STACK))
    assert read_study(tmp_path).slices[0].cycle_fractions.tolist() == [0.0]


def test_a_manifest_of_a_windows_editor(tmp_path: Path) -> None:
    save_stack(tmp_path / "sa.nii", STACK)
    text = json.dumps({"files": [{"image": "sa.nii", "rr_interval_ms": 800.0}]})
    (tmp_path / MANIFEST_NAME).write_text(text, encoding="utf-8-sig")
    assert_planes(read_study(tmp_path), STACK)


def test_mnms2_layout(tmp_path: Path) -> None:
    """ED and ES labels find their phase by the image beside them; LA is a 4-chamber view."""
    four = la_plane(HEART, "LA_4CH", 1)
    for name, planes in (("SA", STACK), ("LA", [four])):
        data, labels = volume(planes, HEART), blob_labels(planes, HEART)
        affine = ras_affine(planes)
        save_nifti(tmp_path / f"001_{name}_CINE.nii.gz", data, affine)
        for tag, phase in (("ED", 4), ("ES", 3)):
            save_nifti(tmp_path / f"001_{name}_{tag}.nii.gz", data[..., phase], affine)
            save_nifti(tmp_path / f"001_{name}_{tag}_gt.nii.gz", labels[..., phase], affine)
    study = read_study(tmp_path)
    assert_planes(study, [*STACK, four])
    for item in study.slices:
        assert item.labels is not None
        assert np.flatnonzero(item.labels.annotated).tolist() == [3, 4]


def test_labels_on_a_padded_stack(tmp_path: Path) -> None:
    """A label stack with empty slices added at both ends lies where its affine says."""
    affine = ras_affine(STACK)
    save_stack(tmp_path / "sa.nii.gz", STACK)
    labels = np.pad(blob_labels(STACK, HEART), ((0, 0), (0, 0), (2, 3), (0, 0)))
    padded = affine.copy()
    padded[:3, 3] -= 2 * affine[:3, 2]
    save_nifti(tmp_path / "seg_sa.nii.gz", labels, padded)
    study = read_study(tmp_path)
    truth = blob_labels(STACK, HEART)
    for k, item in enumerate(study.slices):
        assert item.labels is not None
        np.testing.assert_array_equal(
            item.labels.values, np.transpose(truth[:, :, k], (2, 1, 0))
        )  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_with_a_mirrored_axis(tmp_path: Path, axis: int) -> None:
    """Labels stored the other way round come to lie where their affine says."""
    A = ras_affine(STACK)
    save_stack(tmp_path / "sa.nii", STACK)
    labels = blob_labels(STACK, HEART)
    mirrored = A.copy()
    mirrored[:3, axis] = -A[:3, axis]
    mirrored[:3, 3] = A[:3, 3] + (labels.shape[axis] - 1) * A[:3, axis]
    save_nifti(tmp_path / "sa_seg.nii", np.flip(labels, axis), mirrored)
    for k, item in enumerate(read_study(tmp_path).slices):
        assert item.labels is not None
        np.testing.assert_array_equal(item.labels.values, np.transpose(labels[:, :, k], (2, 1, 0)))


# ---------------------------------------------------------------- odd arrays


def test_mirrored_axes_keep_their_place(tmp_path: Path) -> None:
    """A file whose first axis runs the other way shows the same points at the same places."""
    A = ras_affine(STACK)
    data = volume(STACK, HEART)
    flipped = A.copy()
    flipped[:3, 0] = -A[:3, 0]
    flipped[:3, 3] = A[:3, 3] + (data.shape[0] - 1) * A[:3, 0]
    save_nifti(tmp_path / "sa.nii.gz", data[::-1], flipped)
    study = read_study(tmp_path)
    for item, plane in zip(study.slices, STACK, strict=True):
        np.testing.assert_array_equal(item.frames, plane.images(HEART)[:, :, ::-1])
        centres = pixel_centres_ras(item.ras_from_ijk, item.shape)[:, ::-1]
        np.testing.assert_allclose(centres, plane.points_lps() * RAS_FROM_LPS, atol=1e-3)


@pytest.mark.parametrize("shape", ["xyt", "x1yt", "1xyt", "xy1t1"])
def test_single_plane_with_odd_axes(tmp_path: Path, shape: str) -> None:
    plane = la_plane(HEART, "LA_4CH", 1)
    A, data = ras_affine([plane]), volume([plane], HEART)
    if shape == "xyt":
        data = data[:, :, 0]
    elif shape == "x1yt":
        data, A = np.transpose(data, (0, 2, 1, 3)), A[:, [0, 2, 1, 3]]
    elif shape == "1xyt":
        data, A = np.transpose(data, (2, 0, 1, 3)), A[:, [2, 0, 1, 3]]
    else:
        data = data[..., None]
    save_nifti(tmp_path / "la_4ch.nii.gz", data, A)
    study = read_study(tmp_path / "la_4ch.nii.gz")
    assert study.slices[0].n_phases == 8
    points = pixel_centres_ras(study.slices[0].ras_from_ijk, study.slices[0].shape)
    expected = plane.points_lps() * RAS_FROM_LPS
    frames = plane.images(HEART)
    if study.slices[0].shape != plane.shape:  # the in-plane axes may have changed places
        points, frames = np.swapaxes(points, 0, 1), np.swapaxes(frames, 1, 2)
    np.testing.assert_allclose(points, expected, atol=1e-3)
    np.testing.assert_array_equal(study.slices[0].frames, frames)


def test_unnamed_files_are_recognised_by_geometry(tmp_path: Path) -> None:
    planes = la_planes(HEART)
    save_stack(tmp_path / "a.nii", STACK)
    for k, plane in enumerate(planes):
        save_stack(tmp_path / f"b{k}.nii", [plane])
    assert_planes(read_study(tmp_path), [*STACK, *planes])


def test_lost_orientation_is_said(tmp_path: Path) -> None:
    save_nifti(tmp_path / "sa.nii", volume(STACK, HEART), np.diag([1.5, 1.5, 10.0, 1]))
    save_nifti(tmp_path / "la_4ch.nii", volume(STACK[:1], HEART), np.diag([1.5, 1.5, 8.0, 1]))
    study = read_study(tmp_path)
    assert not study.has_patient_orientation
    assert [s.view for s in study.slices] == [View.SA] * 6
    assert any("how the patient lay" in w for w in study.warnings)


def test_missing_affine_is_lost_orientation(tmp_path: Path) -> None:
    save_nifti(tmp_path / "sa.nii", volume(STACK, HEART), ras_affine(STACK), code=0)
    assert not read_study(tmp_path).has_patient_orientation


def test_one_phase_stack(tmp_path: Path) -> None:
    save_nifti(tmp_path / "sa_ED.nii.gz", volume(STACK, HEART)[..., 0], ras_affine(STACK))
    study = read_study(tmp_path)
    assert [s.n_phases for s in study.slices] == [1] * 6
    assert any("1 phase" in w for w in study.warnings)


# ---------------------------------------------------------------- what can be wrong


def nan_stack(folder: Path) -> None:
    data = volume(STACK, HEART).astype(np.float32)
    data[3, 4, 1, 2] = np.nan
    save_nifti(folder / "sa.nii", data, ras_affine(STACK))


def truncated_file(folder: Path) -> None:
    path = save_stack(folder / "sa.nii.gz", STACK)
    path.write_bytes(path.read_bytes()[:2000])


def not_nifti(folder: Path) -> None:
    (folder / "sa.nii").write_bytes(b"no image" * 100)


def empty_file(folder: Path) -> None:
    (folder / "sa.nii").write_bytes(b"")


def tiny_image(folder: Path) -> None:
    save_nifti(folder / "sa.nii", volume(STACK, HEART)[:4, :4], ras_affine(STACK))


def singular_affine(folder: Path) -> None:
    save_stack(folder / "sa.nii", STACK)
    image = nib.Nifti1Image.from_filename(folder / "sa.nii", mmap=False)
    image.header["srow_x"] = image.header["srow_y"] = image.header["srow_z"] = 0
    image.header["qform_code"] = 0
    data = (folder / "sa.nii").read_bytes()
    (folder / "sa.nii").write_bytes(image.header.binaryblock + data[348:])


def sheared_in_plane(folder: Path) -> None:
    A = ras_affine(STACK)
    A[:3, 1] += 0.5 * A[:3, 0]
    image = nib.Nifti1Image(volume(STACK, HEART), A)
    nib.save(image, folder / "sa.nii")


def unknown_label(folder: Path) -> None:
    save_stack(folder / "sa.nii", STACK)
    labels = blob_labels(STACK, HEART)
    labels[0, 0, 0, 0] = 9
    save_nifti(folder / "sa_seg.nii", labels, ras_affine(STACK))


def labels_of_another_grid(folder: Path) -> None:
    save_stack(folder / "sa.nii", STACK)
    A = ras_affine(STACK)
    A[:3, :2] *= 0.5
    save_nifti(folder / "sa_seg.nii", blob_labels(STACK, HEART), A)


def labels_of_other_phases(folder: Path) -> None:
    save_stack(folder / "sa.nii", STACK)
    save_nifti(folder / "sa_seg.nii", blob_labels(STACK, HEART)[..., :3], ras_affine(STACK))


def same_view_twice(folder: Path) -> None:
    save_stack(folder / "sa.nii", STACK)
    save_stack(folder / "sa.nii.gz", STACK)


def colours(folder: Path) -> None:
    rgb = np.zeros((48, 40, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, ras_affine(STACK)), folder / "sa.nii")


def complex_numbers(folder: Path) -> None:
    save_nifti(folder / "sa.nii", volume(STACK, HEART).astype(np.complex64), ras_affine(STACK))


def _with_labels(folder: Path, labels: npt.NDArray[np.generic]) -> None:
    save_stack(folder / "sa.nii", STACK)
    save_nifti(folder / "sa_seg.nii", labels, ras_affine(STACK))


def interpolated_labels(folder: Path) -> None:
    _with_labels(folder, 0.5 * blob_labels(STACK, HEART).astype(np.float32))


def labels_with_nan(folder: Path) -> None:
    labels = blob_labels(STACK, HEART).astype(np.float32)
    labels[0] = np.nan
    _with_labels(folder, labels)


def label_number_without_a_label(folder: Path) -> None:
    save_stack(folder / "sa.nii", STACK)
    save_nifti(folder / "sa_seg.nii", blob_labels(STACK, HEART), ras_affine(STACK))
    (folder / MANIFEST_NAME).write_text(json.dumps({"label_numbers": {"1": 9}}))


def misspelt_manifest(folder: Path) -> None:
    save_stack(folder / "sa.nii", STACK)
    manifest = {"files": [{"image": "sa.nii", "thicknes_mm": 8}]}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


def manifest_that_escapes(folder: Path) -> None:
    save_stack(folder.parent / "sa.nii", STACK)
    (folder / MANIFEST_NAME).write_text(json.dumps({"files": [{"image": "../sa.nii"}]}))


def manifest_of_missing_file(folder: Path) -> None:
    (folder / MANIFEST_NAME).write_text(json.dumps({"files": [{"image": "sa.nii"}]}))


def manifest_of_another_version(folder: Path) -> None:
    (folder / MANIFEST_NAME).write_text(json.dumps({"version": 99, "files": []}))


def manifest_that_is_no_json(folder: Path) -> None:
    (folder / MANIFEST_NAME).write_text("{")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (nan_stack, "NaN"),
        (truncated_file, "not a readable NIfTI file"),
        (not_nifti, "not a readable NIfTI file"),
        (empty_file, "not a readable NIfTI file"),
        (tiny_image, "at least 8 x 8"),
        (singular_affine, "affine is singular"),
        (sheared_in_plane, "not perpendicular"),
        (unknown_label, r"label number\(s\) \[9\].*label_numbers"),
        (labels_of_another_grid, "its grid is not that of sa"),
        (labels_of_other_phases, "3 phase"),
        (same_view_twice, "more than one file for the same view"),
        (colours, "voxels of type .*'R'.*one real number"),
        (complex_numbers, "voxels of type complex64"),
        (interpolated_labels, "sa_seg: got values that are not whole"),
        (labels_with_nan, "sa_seg: got values that are not whole"),
        (label_number_without_a_label, r"label_numbers: got \{'1': 9\}"),
        (misspelt_manifest, "unknown setting thicknes_mm"),
        (manifest_that_escapes, "outside the study's folder"),
        (manifest_of_missing_file, "does not exist"),
        (manifest_of_another_version, "99"),
        (manifest_that_is_no_json, "manifest.json"),
    ],
)
def test_clear_errors(build: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    build(folder)
    with pytest.raises(StudyError, match=message) as caught:
        read_study(folder)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["ed.nii.gz", "ed_seg.nii.gz", "labels/ed.nii.gz"])
def test_labels_beside_dicom_are_not_the_images(name: str, tmp_path: Path) -> None:
    write_files(classic_files(usual(), HEART), tmp_path)
    save_nifti(tmp_path / name, blob_labels(STACK, HEART)[..., 0], ras_affine(STACK))
    study = read_study(tmp_path)
    assert_planes(study, usual())
    assert any("beside the DICOM images are not read" in text for text in study.warnings)


def test_a_converted_study_beside_its_dicom_is_the_study(tmp_path: Path) -> None:
    """It may have labels, which the DICOM files have not."""
    write_files(classic_files(usual()[:1], HEART), tmp_path)
    save_stack(tmp_path / "sa.nii", STACK, phase_step=0.1)
    assert_planes(read_study(tmp_path), STACK)


def test_a_manifest_of_another_program_beside_dicom(tmp_path: Path) -> None:
    write_files(classic_files(usual(), HEART), tmp_path)
    (tmp_path / MANIFEST_NAME).write_text('{"items": ["Se1"]}')
    assert_planes(read_study(tmp_path), usual())


def test_folder_of_several_subjects_is_a_question(tmp_path: Path) -> None:
    save_stack(tmp_path / "subject 1" / "sa.nii", STACK)
    save_stack(tmp_path / "subject 2" / "sa.nii", STACK)
    with pytest.raises(AmbiguousInputError, match=r"2 folder\(s\).*'subject 1'"):
        read_study(tmp_path)


# ---------------------------------------------------------------- the manifest and the round trip


def test_manifest_corrects_names_and_timing(tmp_path: Path) -> None:
    save_stack(tmp_path / "whatever_4ch.nii", STACK)
    labels = np.array([0, 5, 6, 7], dtype=np.uint8)[blob_labels(STACK, HEART)]
    save_nifti(tmp_path / "masks.nii", labels, ras_affine(STACK))
    entry = {
        "image": "whatever_4ch.nii",
        "view": "SA",
        "labels": "masks.nii",
        "thickness_mm": 6.5,
        "rr_interval_ms": 913.0,
        "trigger_times_ms": [0, 50, 120, 200, 300, 410, 600, 800],
    }
    manifest = {"files": [entry], "label_numbers": {"5": 1, "6": 2, "7": 3}, "subject": "S 7"}
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest))
    study = read_study(tmp_path)
    assert_planes(study, STACK)
    assert study.subject == "S 7"
    assert study.warnings == ()
    item = study.slices[2]
    assert (item.thickness_mm, item.rr_interval_ms) == (6.5, 913.0)
    assert item.trigger_times_ms.tolist() == entry["trigger_times_ms"]
    assert item.labels is not None
    truth = np.transpose(blob_labels(STACK, HEART)[:, :, 2], (2, 1, 0))
    np.testing.assert_array_equal(item.labels.values, truth)


def test_views_given_by_the_user(tmp_path: Path) -> None:
    save_stack(tmp_path / "sa.nii", STACK)
    save_stack(tmp_path / "la_4ch.nii", [la_plane(HEART, "LA_4CH", 1)])
    study = read_study(tmp_path, views={"la_4ch": View.OTHER})
    assert {s.view for s in study.slices} == {View.SA}
    assert "user" in study.excluded[0].reason
    with pytest.raises(StudyError, match=r"no series la_5ch.*it has la_4ch, sa"):
        read_study(tmp_path, views={"la_5ch": View.OTHER})


def labelled_study(folder: Path) -> CineStudy:
    """A study as DICOM gives it, with some labels, an excluded plane and odd numbers."""
    study = read_study(write_files(classic_files(usual(), HEART), folder))
    rng = np.random.default_rng(5)
    slices = []
    for k, item in enumerate(study.slices):
        labels = None
        if k % 2 == 0:
            values = rng.integers(0, 4, item.frames.shape, dtype=np.uint8)
            labels = SliceLabels(values, rng.random(item.n_phases) < 0.5)
        frames = item.frames if k < 3 else item.frames * np.float32(0.1234567)
        times = item.trigger_times_ms + rng.random()
        slices.append(replace(item, labels=labels, frames=frames, trigger_times_ms=times))
    excluded = ExcludedSlice(slices[-1].renamed("OTHER_01", View.OTHER), "wäre schön")
    return replace(
        study,
        slices=tuple(slices[:-1]),
        excluded=(excluded,),
        warnings=("one", "zwei – ü"),
        subject="Fall ä 1",
        has_patient_orientation=False,
    )


@pytest.mark.parametrize("compress", [False, True])
def test_exact_round_trip(tmp_path: Path, compress: bool) -> None:
    study = labelled_study(tmp_path / "dicom")
    folder = tmp_path / "größer als" / "心臓"
    write_nifti_study(study, folder, compress=compress)
    assert_same_study(read_study(folder), study)


def test_other_programs_see_the_same_geometry(tmp_path: Path) -> None:
    study = labelled_study(tmp_path / "dicom")
    write_nifti_study(study, tmp_path / "nifti")
    for item in study.slices:
        image = nib.Nifti1Image.from_filename(tmp_path / "nifti" / f"{item.name}.nii")
        assert image.shape == (item.shape[1], item.shape[0], 1, item.n_phases)
        np.testing.assert_allclose(image.affine, item.ras_from_ijk, atol=1e-4)
        np.testing.assert_allclose(image.header.get_qform(), item.ras_from_ijk, atol=1e-3)


def test_existing_output_is_not_overwritten(tmp_path: Path) -> None:
    study = labelled_study(tmp_path / "dicom")
    with pytest.raises(OutputError, match="not empty"):
        write_nifti_study(study, tmp_path / "dicom")
    with pytest.raises(OutputError):
        write_nifti_study(study, tmp_path / "dicom" / "Se1" / "im_001.dcm" / "x")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
