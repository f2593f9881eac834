"""Metrics against closed forms and known motions."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.analysis.metrics import (
    DiceCounts,
    common_rigid,
    dice,
    heart_points_on_slice,
    psnr_db,
    slice_motion_errors,
    ssim,
)
from NISFCore.errors import StudyError
from NISFCore.geometry.rigid import rigid, rigid_about, rotation_from_rotvec
from NISFCore.geometry.spaces import apply_affine
from Testing.Core.analysis.hearts import small_case

COMMON = rigid(rotation_from_rotvec([0.2, 0.1, -0.3]), [7.0, -11.0, 5.0])


def test_dice_of_shifted_boxes() -> None:
    a, b = np.zeros((2, 10, 10), dtype=np.uint8)
    a[2:6, 2:6] = 1
    b[3:7, 2:6] = 1
    b[0, 0] = 3
    result = dice(a, b)
    assert result["lv_blood_pool"] == pytest.approx(2 * 12 / 32)
    assert np.isnan(result["lv_myocardium"])
    assert result["rv_blood_pool"] == 0


def test_dice_counts_are_pooled_not_averaged() -> None:
    counts = DiceCounts()
    full, empty = np.full((5, 5), 2, np.uint8), np.zeros((5, 5), np.uint8)
    counts.add(full, full)
    counts.add(full, empty)
    assert counts.by_key()["lv_myocardium"] == pytest.approx(2 * 25 / 75)
    assert counts.mean() == pytest.approx(2 / 3)


def test_dice_of_a_part_counts_the_whole() -> None:
    counts = DiceCounts()
    part = np.array([1, 1, 0], np.uint8)
    counts.add(part, part, whole_b=np.array([1, 1, 1], np.uint8))
    assert counts.by_key()["lv_blood_pool"] == pytest.approx(4 / 5)


def test_dice_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 3\)"):
        dice(np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8))


def test_psnr_of_a_known_error() -> None:
    reference = np.zeros((3, 4, 4))
    predicted = reference + 0.1
    predicted[:, 0] = 5
    mask = np.ones((4, 4), dtype=bool)
    mask[0] = False
    assert psnr_db(predicted, reference, mask) == pytest.approx(20)
    assert psnr_db(predicted * 0, reference) == np.inf
    assert psnr_db(predicted, reference, mask, data_range=10) == pytest.approx(40)


def test_ssim_sees_only_windows_inside_the_mask() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((32, 32)).astype(np.float32)
    spoiled = image.copy()
    spoiled[:, :8] = 0
    mask = np.zeros((32, 32), dtype=bool)
    mask[:, 8:] = True
    assert ssim(image, image) == pytest.approx(1)
    assert ssim(spoiled, image, mask) == pytest.approx(1)
    assert ssim(spoiled, image) < 0.9
    assert np.isnan(ssim(image, image, np.zeros((32, 32), dtype=bool)))


def _case() -> tuple[list[np.ndarray], list[np.ndarray]]:
    fitted, truth = small_case()
    centre = apply_affine(truth.ras_from_heart, [15.0, 0, -5])
    points = [heart_points_on_slice(c, centre) for c in fitted.study.slices]
    return list(fitted.slice_motions), points


def test_points_are_those_near_the_heart_on_the_slice() -> None:
    fitted, truth = small_case()
    centre = apply_affine(truth.ras_from_heart, [15.0, 0, -5])
    cine = fitted.study.slices[3]
    points = heart_points_on_slice(cine, centre, radius_mm=30, spacing_mm=4)
    assert np.abs((points - cine.centre_ras) @ cine.normal_ras).max() < 1e-9
    foot = apply_affine(truth.ras_from_heart, [15.0, 0, -35])
    assert np.linalg.norm(points - foot, axis=1).max() <= 30
    # 1.9 mm and 2.1 mm pixels, every second one
    assert len(points) == pytest.approx(np.pi * 30**2 / (3.8 * 4.2), rel=0.05)
    far = replace(cine, ras_from_ijk=rigid(np.eye(3), [900.0, 0, 0]) @ cine.ras_from_ijk)
    assert len(heart_points_on_slice(far, centre)) == 0


def test_common_motion_is_found_and_removed_exactly() -> None:
    true, points = _case()
    estimated = [COMMON @ M for M in true]
    T = common_rigid(estimated, true, points)
    assert np.allclose(T @ COMMON, np.eye(4), atol=1e-9)
    errors = slice_motion_errors(estimated, true, points)
    assert errors.mean_mm < 1e-9
    assert errors.mean_deg < 1e-4


def test_error_of_one_known_shift() -> None:
    true, points = _case()
    estimated = list(true)
    shift = rigid(np.eye(3), [3.0, 0, 0])
    estimated[2] = shift @ true[2]
    errors = slice_motion_errors(estimated, true, points)
    # a translation of 3 mm on one of n slices: the mean moves by 3/n, if nothing turns
    assert errors.distance_mm[2] == pytest.approx(3 * 5 / 6, abs=0.35)
    assert errors.distance_mm[2] > 4 * np.delete(errors.distance_mm, 2).max() / 2


def test_angle_of_one_known_rotation() -> None:
    points = [np.random.default_rng(k).normal(0, 30, (50, 3)) for k in range(40)]
    true = [np.eye(4)] * 40
    estimated = [np.eye(4)] * 39 + [rigid_about(points[-1].mean(axis=0), [0, 0, 0.1], [0, 0, 0])]
    errors = slice_motion_errors(estimated, true, points)
    assert errors.angle_deg[-1] == pytest.approx(np.rad2deg(0.1), rel=0.05)


def test_errors_do_not_depend_on_the_gauge() -> None:
    true, points = _case()
    rng = np.random.default_rng(5)
    estimated = [
        rigid_about(x.mean(axis=0), rng.normal(0, 0.05, 3), rng.normal(0, 2, 3)) @ M
        for x, M in zip(points, true, strict=True)
    ]
    a = slice_motion_errors(estimated, true, points)
    b = slice_motion_errors([COMMON @ E for E in estimated], true, points)
    assert np.allclose(a.distance_mm, b.distance_mm)
    assert np.allclose(a.angle_deg, b.angle_deg)
    assert a.mean_mm > 1


def test_a_slice_without_points_is_an_error_with_advice() -> None:
    true, points = _case()
    points[1] = points[1][:2]
    with pytest.raises(StudyError, match="slice 2 of 6 does not show the heart"):
        slice_motion_errors(true, true, points)
