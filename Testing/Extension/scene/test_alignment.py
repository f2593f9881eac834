"""Before, after, and everything between: every slice moves along its own screw."""

import numpy as np
import pytest

from NISFCore.geometry.rigid import invert_rigid, is_rigid, rigid_fraction, rotation_angle_deg
from NISFLib.scene import HeartScene
from NISFLib.scene.cycle import now_of
from NISFLib.scene.nodes import Role
from NISFLib.scene.slices import motion_at
from Testing.Extension.scene.folders import Folders
from Testing.Extension.scene.reading import column, column_names, ras_from_ijk_of


def pose(heart: HeartScene, name: str, ras_from_ijk: np.ndarray) -> np.ndarray:
    """The motion under which a slice stands in the scene."""
    volume = now_of(heart.nodes, Role.SLICE_IMAGES, name)
    return ras_from_ijk_of(volume) @ np.linalg.inv(ras_from_ijk)


def test_a_result_is_shown_aligned(heart: HeartScene) -> None:
    assert heart.alignment == 1.0


@pytest.mark.parametrize("amount", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_slices_stand_at_the_part_of_their_motion(
    heart: HeartScene, folders: Folders, amount: float
) -> None:
    heart.alignment = amount
    assert heart.alignment == amount
    for cine, motion in zip(folders.full.slices, folders.fitted.slice_motions, strict=True):
        found = pose(heart, cine.name, cine.ras_from_ijk)
        np.testing.assert_allclose(found, rigid_fraction(motion, amount), atol=1e-6)
        assert is_rigid(found, 1e-6)
        rest = invert_rigid(found) @ motion
        whole = rotation_angle_deg(motion[:3, :3])
        assert rotation_angle_deg(rest[:3, :3]) == pytest.approx((1 - amount) * whole, abs=1e-4)


def test_every_slice_moves_by_its_own(heart: HeartScene) -> None:
    poses = [motion_at(t, 1.0) for t in heart.nodes.all(Role.SLICE_MOTION)]
    assert len(poses) == 6
    for k, a in enumerate(poses):
        assert all(np.abs(a - b).max() > 1e-3 for b in poses[k + 1 :])


@pytest.mark.parametrize(("given", "kept"), [(-0.5, 0.0), (1.7, 1.0)])
def test_amounts_beyond_the_ends_are_the_ends(heart: HeartScene, given: float, kept: float) -> None:
    heart.alignment = given
    assert heart.alignment == kept


def test_before_a_fit_nothing_moves(folders: Folders) -> None:
    heart = HeartScene()
    heart.load_study(folders.study)
    heart.alignment = 1.0
    for cine in folders.full.slices:
        found = pose(heart, cine.name, cine.ras_from_ijk)
        np.testing.assert_allclose(found, np.eye(4), atol=1e-9)


def test_the_table_says_how_slices_moved(heart: HeartScene, folders: Folders) -> None:
    table = heart.motion_table
    names = [cine.name for cine in folders.full.slices]
    assert column(table, "slice") == names
    shifts = [np.array(column(table, f"shift {axis} (mm)")) for axis in "RAS"]
    for k, (cine, motion) in enumerate(
        zip(folders.fitted.study.slices, folders.fitted.slice_motions, strict=True)
    ):
        moved = motion[:3, :3] @ cine.centre_ras + motion[:3, 3] - cine.centre_ras
        assert [shift[k] for shift in shifts] == pytest.approx(moved, abs=0.006)
        assert column(table, "shift (mm)")[k] == pytest.approx(np.linalg.norm(moved), abs=0.006)
        angle = rotation_angle_deg(motion[:3, :3])
        assert column(table, "rotation (°)")[k] == pytest.approx(angle, abs=0.006)
    assert column(table, "intensity scale") == [1.0] * 6
    assert not any("±" in name for name in column_names(table))  # this fit knows no errors


def test_slices_know_their_motion(heart: HeartScene, folders: Folders) -> None:
    assert [s.name for s in heart.slices] == [cine.name for cine in folders.full.slices]
    for found, cine in zip(heart.slices, folders.full.slices, strict=True):
        assert (found.view, found.n_phases) == (cine.view, cine.n_phases)
        shift_mm = np.array(found.translation_mm)
        assert found.distance_mm == pytest.approx(np.linalg.norm(shift_mm))
        assert not found.is_outlier
