"""Aligned slices: transforms, images with corrected geometry, images on the scanned plane."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from NISFCore.export.borders import motion_of_itk_matrix
from NISFCore.export.slice_files import (
    SUFFIXES,
    file_stems,
    itk_transform_text,
    motion_record,
    resliced_frames,
    write_aligned_slice,
)
from NISFCore.fitting.result import FitUncertainty
from NISFCore.geometry.rigid import rigid_about
from NISFCore.geometry.spaces import Affine, apply_affine
from Testing.Core.analysis.hearts import small_case
from Testing.Core.export.nifti import load_nifti


def _parse_tfm(text: str) -> Affine:
    """An independent reader of the ITK text format: y = M (x - c) + c + t."""
    lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    assert lines["Transform"] == "AffineTransform_double_3_3"
    numbers = np.array(lines["Parameters"].split(), dtype=float)
    centre = np.array(lines["FixedParameters"].split(), dtype=float)
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    return matrix


def test_transform_file_holds_the_motion() -> None:
    motion = rigid_about([10, 20, 30], [0.1, -0.2, 0.05], [1, 2, 3])
    text = itk_transform_text(motion)
    assert text.startswith("#Insight Transform File V1.0\n#Transform 0\n")
    assert np.allclose(motion_of_itk_matrix(_parse_tfm(text)), motion)


def test_motion_record_is_about_the_slices_centre() -> None:
    fitted, _ = small_case()
    cine = fitted.study.slices[0]
    motion = rigid_about(cine.centre_ras, [0, 0.03, 0], [3, 0, 4])
    record = json.loads(json.dumps(motion_record(cine, motion, 1.05)))
    assert record["name"] == "SA_00"
    assert record["view"] == "SA"
    assert record["rotation_vector_rad"] == pytest.approx([0, 0.03, 0])
    assert record["rotation_deg"] == pytest.approx(np.rad2deg(0.03))
    assert record["translation_mm"] == pytest.approx([3, 0, 4])
    assert record["distance_mm"] == pytest.approx(5)
    assert np.allclose(record["corrected_from_scanned_ras"], motion)
    assert record["intensity_scale"] == 1.05
    assert "translation_sd_mm" not in record


def test_motion_record_tells_standard_errors() -> None:
    fitted, _ = small_case()
    n = len(fitted.study.slices)
    covariance = np.stack([np.diag([0.01, 0.02, 0.03, 1.0, 4.0, 9.0]) * (j + 1) for j in range(n)])
    uncertainty = FitUncertainty(np.eye(2), covariance)
    record = motion_record(fitted.study.slices[3], np.eye(4), 1.0, uncertainty, 3)
    assert record["translation_sd_mm"] == pytest.approx([2.0, 4.0, 6.0])
    assert record["rotation_sd_deg"] == pytest.approx(np.rad2deg(np.sqrt([0.04, 0.08, 0.12])))


def test_files_of_a_slice(tmp_path: Path) -> None:
    fitted, _ = small_case()
    cine, motion = fitted.study.slices[1], fitted.slice_motions[1]
    write_aligned_slice(tmp_path, "été 1", cine, motion)
    assert {p.name for p in tmp_path.iterdir()} == {f"été 1{s}" for s in SUFFIXES}
    aligned = load_nifti(tmp_path / "été 1_aligned.nii.gz")
    assert np.allclose(aligned.affine, motion @ cine.ras_from_ijk, atol=1e-4)
    values = np.asarray(aligned.dataobj)[:, :, 0].transpose(2, 1, 0)
    assert np.array_equal(values, cine.frames)  # untouched pixels
    seconds = aligned.header.get_zooms()[3]
    assert seconds == pytest.approx(cine.rr_interval_ms / 1000 / cine.n_phases)
    resliced = load_nifti(tmp_path / "été 1_resliced.nii.gz")
    assert np.allclose(resliced.affine, cine.ras_from_ijk, atol=1e-4)
    parsed = _parse_tfm((tmp_path / "été 1.tfm").read_text())
    assert np.allclose(motion_of_itk_matrix(parsed), motion)


def test_reslicing_undoes_a_motion_within_the_plane() -> None:
    fitted, _ = small_case()
    cine = fitted.study.slices[1]
    i_axis = cine.ras_from_ijk[:3, 0]
    two_pixels = rigid_about([0, 0, 0], [0, 0, 0], 2 * i_axis)
    resliced = resliced_frames(cine, two_pixels)
    assert np.allclose(resliced[:, :, 2:], cine.frames[:, :, :-2], atol=1e-5)
    assert np.abs(resliced[:, :, :2]).max() < 1e-12


def test_reslicing_ignores_a_motion_through_the_plane() -> None:
    fitted, _ = small_case()
    cine = fitted.study.slices[1]
    through = rigid_about([0, 0, 0], [0, 0, 0], 7 * cine.normal_ras)
    assert np.allclose(resliced_frames(cine, through), cine.frames, atol=1e-5)


def test_resliced_pixels_show_what_the_moved_slice_has_there() -> None:
    fitted, _ = small_case()
    cine = replace(fitted.study.slices[1])
    motion = rigid_about(cine.centre_ras, 0.05 * cine.normal_ras, 1.3 * cine.ras_from_ijk[:3, 1])
    resliced = resliced_frames(cine, motion)
    place = apply_affine(motion @ cine.ras_from_ijk, [30, 25, 0])
    i, j, k = apply_affine(np.linalg.inv(cine.ras_from_ijk), place)
    assert abs(k) < 1e-6
    around = resliced[0, int(j) : int(j) + 2, int(i) : int(i) + 2]
    value = cine.frames[0, 25, 30]
    assert around.min() - 0.03 <= value <= around.max() + 0.03


def test_stems_are_safe_and_different() -> None:
    assert file_stems(["SA_00", "LA_4CH"]) == ["SA_00", "LA_4CH"]
    assert file_stems(["a/b", "a:b", "Ü 1"]) == ["00_a_b", "01_a_b", "Ü_1"]
    assert file_stems(["sa", "SA"]) == ["00_sa", "01_SA"]
