"""The truth of motion: exact displacement, strain in the cardiac frame, segments, files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from NISFCore.geometry.rigid import rotation_from_rotvec
from NISFCore.labels import Label
from NISFCore.phantom import HeartParameters, Mode, sample_heart
from NISFCore.phantom.displacement import (
    CIRCUMFERENTIAL,
    LONGITUDINAL,
    RADIAL,
    DisplacementTruth,
)
from NISFCore.phantom.parameters import MotionParameters, RVParameters
from NISFCore.phantom.protocol import TAGGED_2D
from NISFCore.phantom.tag_pattern import TagPattern
from NISFCore.phantom.tagging import simulate_tagged_study

TINY = replace(TAGGED_2D, n_phases=1, pixel_mm=5.0, fov_mm=100.0, n_sub_pixels=1, n_profile=1)


def truth_of(parameters: HeartParameters) -> DisplacementTruth:
    return simulate_tagged_study(parameters, TagPattern(), TINY, seed=8).truth


@pytest.fixture(scope="module")
def truth() -> DisplacementTruth:
    return truth_of(sample_heart(11, Mode.REDUCED_EF))


@pytest.fixture(scope="module")
def wall(truth: DisplacementTruth) -> npt.NDArray[np.float64]:
    return truth.wall_points(5.0)


def test_maps_are_inverse_and_differ_by_the_displacement(
    truth: DisplacementTruth, wall: npt.NDArray[np.float64]
) -> None:
    es = truth.heart.es_fraction
    there = truth.spatial_from_material(wall, es)
    assert np.allclose(truth.material_from_spatial(there, es), wall, atol=1e-6)
    assert np.allclose(there - wall, truth.displacement_mm(wall, es), atol=1e-9)
    assert np.abs(truth.displacement_mm(wall, 0.0)).max() < 1e-9
    assert np.abs(truth.displacement_mm(wall, 1.0)).max() < 1e-9
    assert np.linalg.norm(there - wall, axis=1).max() > 3.0


def test_a_time_for_every_point(truth: DisplacementTruth, wall: npt.NDArray[np.float64]) -> None:
    times = np.linspace(0.0, 0.9, len(wall))
    together = truth.displacement_mm(wall, times)
    one_by_one = truth.displacement_mm(wall[40:41], times[40])
    assert np.allclose(together[40:41], one_by_one, atol=1e-9)


def test_deformation_gradient_is_that_of_the_displacement(
    truth: DisplacementTruth, wall: npt.NDArray[np.float64]
) -> None:
    points, step = wall[::7], 1e-5
    F = truth.deformation_gradient(points, 0.3)
    for axis in range(3):
        h = step * np.eye(3)[axis]
        ahead = truth.spatial_from_material(points + h, 0.3)
        behind = truth.spatial_from_material(points - h, 0.3)
        assert np.allclose(F[:, :, axis], (ahead - behind) / (2 * step), atol=1e-5)


def test_muscle_keeps_its_volume(truth: DisplacementTruth, wall: npt.NDArray[np.float64]) -> None:
    J = np.linalg.det(truth.deformation_gradient(wall, truth.heart.es_fraction))
    assert np.abs(J - 1).max() < 1e-6


def test_cardiac_frame_is_right_handed_and_points_outwards(
    truth: DisplacementTruth, wall: npt.NDArray[np.float64]
) -> None:
    frame = truth.cardiac_frame(wall)
    assert np.allclose(frame @ frame.transpose(0, 2, 1), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(frame), 1.0)
    axis = truth.phantom.ras_from_heart[:3, 2]
    assert np.abs(frame[:, CIRCUMFERENTIAL] @ axis).max() < 1e-9
    segments = truth.aha_segments(wall)
    assert (frame[segments < 17, LONGITUDINAL] @ axis > 0.5).all()
    assert (frame[segments < 13, LONGITUDINAL] @ axis > 0.9).all()
    assert (frame[segments == 17, RADIAL] @ axis).mean() < -0.7  # across the wall there as well
    # A step along the radial direction leads from blood to wall, never from wall to blood.
    outside = truth.labels_ed(wall + 4.0 * frame[:, RADIAL])
    assert (outside != Label.LV_BLOOD_POOL).all()


def test_a_heart_that_contracts_thickens_and_shortens(truth: DisplacementTruth) -> None:
    strain = truth_of(HeartParameters()).segment_strain([0.0, 0.36], spacing_mm=4.0)
    assert np.abs(strain.segments[0]).max() < 1e-9
    assert np.abs(strain.whole[0]).max() < 1e-9
    assert strain.whole[1, RADIAL] > 0.2
    assert -0.25 < strain.whole[1, CIRCUMFERENTIAL] < -0.10
    assert -0.20 < strain.whole[1, LONGITUDINAL] < -0.08


def test_pure_long_axis_shortening_has_the_strain_of_the_closed_form() -> None:
    """Without ejection by the walls the map is z -> lambda z: E_ll = (lambda^2 - 1) / 2."""
    motion = MotionParameters(long_axis_shortening=0.1, twist_apex_rad=0.0, twist_base_rad=0.0)
    straight = replace(
        HeartParameters(motion=motion, rv=RVParameters(ef_percent=20.0)),
        lv=replace(
            HeartParameters().lv,
            ef_percent=1e-9,
            bend_mm=(0.0, 0.0),
            base_tilt=(0.0, 0.0),
            ellipticity=1.0,
        ),
    )
    truth = truth_of(straight)
    points = truth.wall_points(6.0)
    mid = points[np.isin(truth.aha_segments(points), range(7, 13))]
    axis = truth.phantom.ras_from_heart[:3, 2]
    F = truth.deformation_gradient(mid, motion.es_fraction)
    along_axis = ((F @ axis) ** 2).sum(axis=1)
    assert np.allclose((along_axis - 1) / 2, (0.9**2 - 1) / 2, atol=1e-9)


def test_strain_does_not_depend_on_where_the_patient_lies(truth: DisplacementTruth) -> None:
    turn = rotation_from_rotvec([0.3, -0.2, 0.5])
    moved_rows = np.eye(4)
    moved_rows[:3, :3] = turn
    moved_rows[:3, 3] = [5.0, -20.0, 9.0]
    moved = DisplacementTruth(
        replace(
            truth.phantom,
            ras_from_heart_rows=tuple(
                tuple(r) for r in (moved_rows @ truth.phantom.ras_from_heart).tolist()
            ),
        )
    )
    points = truth.wall_points(8.0)
    there = points @ turn.T + moved_rows[:3, 3]
    assert np.allclose(moved.strain(there, 0.3), truth.strain(points, 0.3), atol=1e-9)


def test_segments_are_where_anatomy_has_them() -> None:
    truth = truth_of(HeartParameters())
    shape = truth.heart.shape
    heart = truth.phantom.heart_from_ras
    points = truth.wall_points(3.0)
    segments = truth.aha_segments(points)
    assert set(segments.tolist()) == set(range(1, 18))
    local = points @ heart[:3, :3].T + heart[:3, 3]
    centre = {k: local[segments == k].mean(axis=0) for k in range(1, 18)}
    for anterior, inferior in ((1, 4), (7, 10), (13, 15)):
        assert centre[anterior][1] > 10 > -10 > centre[inferior][1]
    for septal, lateral in ((2, 5), (3, 6), (8, 11), (9, 12), (14, 16)):
        assert centre[septal][0] > centre[lateral][0] + 15
    assert centre[2][1] > centre[3][1]  # anteroseptal before inferoseptal
    assert centre[6][1] > centre[5][1]
    assert centre[1][2] > centre[7][2] > centre[13][2] > centre[17][2]
    assert centre[17][2] < shape.endo.z_apex_mm
    blood = truth.phantom.ras_from_heart[:3, 3]
    assert truth.aha_segments(blood[None])[0] == 0


def test_a_scar_strains_less_than_the_rest() -> None:
    scarred = sample_heart(11, Mode.REDUCED_EF)
    motion = replace(
        scarred.motion, scar_depth=0.95, scar_angle_rad=np.pi, scar_height=0.5, scar_length=0.5
    )
    truth = truth_of(replace(scarred, motion=motion))
    strain = truth.segment_strain([motion.es_fraction], spacing_mm=4.0).segments[0]
    lateral, septal = strain[[10, 11], CIRCUMFERENTIAL], strain[[7, 8], CIRCUMFERENTIAL]
    assert lateral.min() > 0.5 * septal.max()


def test_truth_survives_its_file(truth: DisplacementTruth, tmp_path: Path) -> None:
    truth.save(tmp_path / "an öther place")
    again = DisplacementTruth.load(tmp_path / "an öther place")
    assert again == truth
    assert again.phantom.tags == TagPattern()
    points = truth.wall_points(9.0)
    assert np.array_equal(again.displacement_mm(points, 0.4), truth.displacement_mm(points, 0.4))
