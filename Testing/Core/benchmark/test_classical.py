"""The classical baselines do what their names promise."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from NISFCore.analysis.evaluation import scanned_region
from NISFCore.analysis.metrics import heart_points_on_slice, slice_motion_errors
from NISFCore.benchmark.mask_interpolation import (
    FAR_MM,
    InterpolatedHeart,
    Interpolation,
    signed_distance_mm,
)
from NISFCore.benchmark.registration import RegistrationConfig, register_slices
from NISFCore.data.study import CineSlice, CineStudy, SliceLabels
from NISFCore.errors import Cancelled
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid_about
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.labels import Label
from NISFCore.progress import CancelToken
from NISFCore.views import View
from Testing.Core.analysis.hearts import OBLIQUE, small_case

SPACING_MM = 10.0
RADII_MM = (20.0, 10.0, 10.0)


def disc_slice(index: int, radius_mm: float) -> CineSlice:
    """A disc of LV blood pool about the axis, in a plane at height `index` x 10 mm."""
    shape = (61, 61)
    A = np.diag([1.0, 1.0, 8.0, 1.0])
    A[:3, 3] = [-30.0, -30.0, SPACING_MM * index]
    points = pixel_centres_ras(A, shape)
    inside = np.linalg.norm(points[..., :2], axis=-1) <= radius_mm
    values = np.where(inside, Label.LV_BLOOD_POOL, Label.BACKGROUND).astype(np.uint8)
    labels = SliceLabels(np.stack([values, values]), np.array([True, True]))
    frames = np.ones((2, *shape), dtype=np.float32)
    times = np.array([0.0, 400.0])
    return CineSlice(f"SA_{index}", View.SA, frames, OBLIQUE @ A, 8.0, times, 800.0, labels)


@pytest.fixture(scope="module")
def discs() -> CineStudy:
    return CineStudy(tuple(disc_slice(k, r) for k, r in enumerate(RADII_MM)))


def radius_at(heart: InterpolatedHeart, height_mm: float) -> float:
    """Radius of the disc with the area that the labels have at a height."""
    x, y = np.meshgrid(np.arange(-30, 31.0), np.arange(-30, 31.0))
    points = np.stack([x, y, np.full_like(x, height_mm)], axis=-1).reshape(-1, 3)
    labels = heart.labels(apply_affine(OBLIQUE, points), 0.1)
    return float(np.sqrt((labels == Label.LV_BLOOD_POOL).sum() / np.pi))


def still(study: CineStudy) -> list[npt.NDArray[np.float64]]:
    return [np.eye(4) for _ in study.slices]


def test_shapes_between_two_discs_have_a_radius_between(discs: CineStudy) -> None:
    heart = InterpolatedHeart(discs, still(discs), Interpolation.SHAPE)
    for height_mm, radius_mm in ((0.0, 20.0), (3.0, 17.0), (5.0, 15.0), (10.0, 10.0), (15, 10.0)):
        assert radius_at(heart, height_mm) == pytest.approx(radius_mm, abs=0.5)


def test_linear_interpolation_jumps_half_way(discs: CineStudy) -> None:
    heart = InterpolatedHeart(discs, still(discs), Interpolation.LINEAR)
    assert radius_at(heart, 4.0) == pytest.approx(20.0, abs=0.5)
    assert radius_at(heart, 6.0) == pytest.approx(10.0, abs=0.5)


def test_end_slices_stand_for_half_a_spacing(discs: CineStudy) -> None:
    heart = InterpolatedHeart(discs, still(discs), Interpolation.SHAPE)
    assert radius_at(heart, -4.5) == pytest.approx(20.0, abs=0.5)
    assert radius_at(heart, -5.5) == 0.0
    assert radius_at(heart, 24.5) == pytest.approx(10.0, abs=0.5)
    assert radius_at(heart, 25.5) == 0.0


def test_corrected_slices_move_their_masks(discs: CineStudy) -> None:
    motion = rigid_about(discs.slices[1].centre_ras, [0, 0, 0], OBLIQUE[:3, 2] * 2.0)
    heart = InterpolatedHeart(discs, [np.eye(4), motion, np.eye(4)], Interpolation.SHAPE)
    assert radius_at(heart, 6.0) == pytest.approx(15.0, abs=0.5)  # half-way between 0 and 12 mm


def test_the_box_holds_the_stack(discs: CineStudy) -> None:
    box = InterpolatedHeart(discs, still(discs), Interpolation.SHAPE).box
    assert (box.high_mm - box.low_mm)[2] == pytest.approx(3 * SPACING_MM)


def test_signed_distances() -> None:
    mask = np.zeros((41, 41), dtype=np.bool_)
    mask[18:23, :] = True
    distance = signed_distance_mm(mask, (2.0, 2.0))
    assert distance[20, 5] == pytest.approx(5.0)
    assert distance[24, 5] == pytest.approx(-3.0)
    assert distance[0, 5] == -FAR_MM
    assert (signed_distance_mm(np.zeros_like(mask), (2.0, 2.0)) == -FAR_MM).all()


def test_registration_brings_crossing_slices_together() -> None:
    fitted, truth = small_case()
    config = RegistrationConfig(blur_mm=(3.0, 2.0))
    motions = register_slices(fitted.study, scanned_region(fitted), config)
    centre = apply_affine(truth.box.ras_from_box, (truth.box.low_mm + truth.box.high_mm) / 2)
    points: list[Points] = [heart_points_on_slice(s, centre) for s in fitted.study.slices]
    true = [truth.true_from_scanned_ras(s.name) for s in fitted.study.slices]
    before = slice_motion_errors([np.eye(4)] * len(true), true, points).mean_mm
    after = slice_motion_errors(motions, true, points).mean_mm
    assert before > 2.5
    assert after < 0.6 * before


def test_registration_leaves_slices_alone_that_nothing_crosses() -> None:
    fitted, _ = small_case()
    stack = replace(fitted, study=fitted.study.restricted_to((View.SA,)))
    motions = register_slices(stack.study, fitted.field.contains, RegistrationConfig((2.0,)))
    for motion in motions:
        np.testing.assert_array_equal(motion, np.eye(4))


def test_registration_can_be_cancelled() -> None:
    fitted, _ = small_case()
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        register_slices(fitted.study, fitted.field.contains, cancel=token)
