"""The canonical frame of planned planes against the heart that they were planned on."""

import numpy as np
import pytest

from NISFCore.errors import StudyError
from NISFCore.geometry.frame import CanonicalFrame, ViewPlane, canonical_frame
from NISFCore.geometry.spaces import Affine, apply_affine, apply_direction
from NISFCore.views import LONG_AXIS_VIEWS, View
from Testing.Core.geometry.planned_planes import (
    Planning,
    angle_between_deg,
    frame_errors,
    heart_pose,
    of_views,
    planned_planes,
)

SEEDS = range(20)
PERFECT = Planning()


def planned(
    seed: int, planning: Planning = PERFECT, max_turn_deg: float = 20.0
) -> tuple[Affine, list[ViewPlane]]:
    rng = np.random.default_rng(seed)
    pose = heart_pose(rng, max_turn_deg)
    return pose, planned_planes(pose, rng, planning)


def axis_error_deg(frame: CanonicalFrame, pose: Affine, axis: int) -> float:
    """Angle between the found and the true canonical axis."""
    return angle_between_deg(frame.canonical_from_ras[axis, :3], pose[:3, axis])


@pytest.mark.parametrize("seed", SEEDS)
def test_perfect_planning_gives_the_exact_frame(seed: int) -> None:
    pose, planes = planned(seed)
    frame = canonical_frame(planes)
    turn_deg, origin_mm = frame_errors(frame.canonical_from_ras, pose)
    assert turn_deg < 1e-5
    np.testing.assert_allclose(origin_mm, 0, atol=1e-6)
    assert frame.assumptions == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_axes_point_to_base_rv_and_anterior(seed: int) -> None:
    pose, planes = planned(seed)
    canonical_from_ras = canonical_frame(planes).canonical_from_ras
    base_ras = apply_affine(pose, [0, 0, 50])
    rv_ras = apply_affine(pose, [40, 0, 0])
    assert apply_affine(canonical_from_ras, base_ras)[2] == pytest.approx(50)
    assert apply_affine(canonical_from_ras, rv_ras)[0] == pytest.approx(40)
    # +y is the anterior wall, which faces forwards and upwards (mean of three real hearts)
    anterior_ras = apply_direction(np.linalg.inv(canonical_from_ras), [0, 1, 0])
    assert angle_between_deg(anterior_ras, np.array([-0.06, 0.71, 0.69])) < 20 + 5
    R = canonical_from_ras[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_signs_hold_for_hearts_that_lie_far_from_typical(seed: int) -> None:
    pose, planes = planned(seed, max_turn_deg=60.0)
    turn_deg, _ = frame_errors(canonical_frame(planes).canonical_from_ras, pose)
    assert turn_deg < 1e-5


@pytest.mark.parametrize("seed", SEEDS)
def test_images_off_centre_pull_the_origin_only_a_little(seed: int) -> None:
    pose, planes = planned(seed, Planning(off_centre_mm=25.0))
    turn_deg, origin_mm = frame_errors(canonical_frame(planes).canonical_from_ras, pose)
    assert turn_deg < 1e-5
    # the hint's weight, 0.05, against planes at 55 degrees or more: below a tenth of 35 mm
    assert np.linalg.norm(origin_mm) < 3.5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hint_at_the_heart_takes_the_pull_away(seed: int) -> None:
    pose, planes = planned(seed, Planning(off_centre_mm=25.0))
    frame = canonical_frame(planes, centre_hint_ras=pose[:3, 3])
    _, origin_mm = frame_errors(frame.canonical_from_ras, pose)
    np.testing.assert_allclose(origin_mm, 0, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_planning_errors_pass_on_undiminished_at_most(seed: int) -> None:
    tilt_deg, shift_mm = 5.0, 4.0
    pose, planes = planned(seed, Planning(tilt_deg, shift_mm, off_centre_mm=10.0))
    frame = canonical_frame(planes)
    assert axis_error_deg(frame, pose, 2) < 1.5 * tilt_deg
    assert axis_error_deg(frame, pose, 0) < 2 * tilt_deg
    _, origin_mm = frame_errors(frame.canonical_from_ras, pose)
    assert np.linalg.norm(origin_mm) < 2 * shift_mm + 10.0 * np.deg2rad(tilt_deg) + 2.0


def test_planning_errors_average_out_over_the_planes() -> None:
    """The least-squares axis of four kinds of plane is better than one tilted plane."""
    errors = []
    for seed in range(60):
        pose, planes = planned(seed, Planning(tilt_deg=5.0))
        errors.append(axis_error_deg(canonical_frame(planes), pose, 2))
    single = [axis_error_deg(canonical_frame(of_views(p, View.SA)), q, 2) for q, p in _tilted()]
    assert np.mean(errors) < np.mean(single)


def _tilted() -> list[tuple[Affine, list[ViewPlane]]]:
    return [planned(seed, Planning(tilt_deg=5.0)) for seed in range(60)]


@pytest.mark.parametrize("seed", SEEDS)
def test_short_axis_only(seed: int) -> None:
    pose, planes = planned(seed)
    hint = pose[:3, 3]
    frame = canonical_frame(of_views(planes, View.SA), hint)
    assert axis_error_deg(frame, pose, 2) < 1e-5
    # the typical direction of the RV stands in: the patient was turned by up to 20 degrees
    assert axis_error_deg(frame, pose, 0) < 30.0
    _, origin_mm = frame_errors(frame.canonical_from_ras, pose)
    np.testing.assert_allclose(origin_mm, 0, atol=1e-6)
    assert len(frame.assumptions) == 2
    assert "no 4-chamber view" in frame.assumptions[0]
    assert "where the images beat most" in frame.assumptions[1]


def test_short_axis_only_without_a_hint_says_so() -> None:
    _, planes = planned(0)
    frame = canonical_frame(of_views(planes, View.SA))
    assert "passes through the images' centre" in frame.assumptions[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_long_axis_only(seed: int) -> None:
    pose, planes = planned(seed)
    frame = canonical_frame(of_views(planes, *LONG_AXIS_VIEWS))
    turn_deg, origin_mm = frame_errors(frame.canonical_from_ras, pose)
    assert turn_deg < 1e-5
    np.testing.assert_allclose(origin_mm, 0, atol=1e-6)
    assert frame.assumptions == (
        "no short-axis slice: the LV axis comes from the long-axis planes alone",
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_four_chamber_view(seed: int) -> None:
    pose, planes = planned(seed)
    frame = canonical_frame(of_views(planes, View.SA, View.LA_2CH, View.LA_3CH))
    assert axis_error_deg(frame, pose, 2) < 1e-5
    assert axis_error_deg(frame, pose, 0) < 30.0
    assert [a for a in frame.assumptions if "no 4-chamber view" in a]
    assert len(frame.assumptions) == 1


@pytest.mark.parametrize("seed", range(5))
def test_one_short_axis_slice_is_enough(seed: int) -> None:
    pose, planes = planned(seed, Planning(n_sa=1))
    frame = canonical_frame(planes)
    turn_deg, origin_mm = frame_errors(frame.canonical_from_ras, pose)
    assert turn_deg < 1e-5
    np.testing.assert_allclose(origin_mm, 0, atol=1e-6)


def test_lost_patient_orientation_is_said() -> None:
    _, planes = planned(0)
    frame = canonical_frame(planes, has_patient_orientation=False)
    assert "LV and RV may be swapped" in frame.assumptions[0]


def test_the_frame_moves_with_the_patient() -> None:
    _, planes = planned(3, Planning(tilt_deg=4.0, shift_mm=3.0, off_centre_mm=10.0))
    shift = np.eye(4)
    shift[:3, 3] = [31.0, -12.0, 57.0]
    moved = [ViewPlane(p.view, shift @ p.ras_from_ijk, p.shape) for p in planes]
    before = canonical_frame(planes).canonical_from_ras
    after = canonical_frame(moved).canonical_from_ras
    np.testing.assert_allclose(after @ shift, before, atol=1e-9)


@pytest.mark.parametrize("views", [(), (View.LA_4CH,), (View.LA_2CH,), (View.OTHER,)])
def test_planes_that_do_not_determine_the_axis(views: tuple[View, ...]) -> None:
    _, planes = planned(0)
    with pytest.raises(StudyError, match="do not determine the LV axis"):
        canonical_frame(of_views(planes, *views))


def test_two_long_axis_planes_that_are_nearly_the_same() -> None:
    _, planes = planned(0)
    one = of_views(planes, View.LA_4CH)[0]
    with pytest.raises(StudyError, match="2 long-axis and 0 short-axis planes"):
        canonical_frame([one, ViewPlane(View.LA_2CH, one.ras_from_ijk, one.shape)])
