"""A valve's line on a slice: where it begins, that it is dragged, written and read as guidance."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NISFCore.data.guidance import read_guidance
from NISFCore.data.label_files import LabelFile
from NISFCore.data.valve_points import read_valve_points
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import apply_affine
from NISFLib.scene import HeartScene, SceneError, save_bundle
from NISFLib.scene.valves import points_of
from Testing.Core.analysis.hearts import BASE_MM
from Testing.Extension.scene.folders import Folders

LA = "LA_4CH"
VOXEL_MM = 6.0
"""Of the rendered labels, in which the fit's valve is looked for."""


def world_points(node: Any) -> np.ndarray:
    n_points = node.GetNumberOfControlPoints()
    return np.array([node.GetNthControlPointPositionWorld(k) for k in range(n_points)])


def height_mm(folders: Folders, points_ras: np.ndarray) -> np.ndarray:
    local = apply_affine(invert_rigid(folders.fitted.field.ras_from_heart), points_ras)
    return np.asarray(local[:, 2])


def test_it_begins_where_the_fit_has_the_base(heart: HeartScene, folders: Folders) -> None:
    heart.alignment = 1.0
    node = heart.place_valve(LA)
    assert np.abs(height_mm(folders, world_points(node)) - BASE_MM).max() < VOXEL_MM
    assert 20.0 < np.linalg.norm(np.diff(points_of(node), axis=0)) < 60.0
    (item,) = heart.annotations
    assert (item.slice_name, item.origin, item.problem) == (LA, "valve", "")
    assert item.is_used and not item.has_labels
    assert heart.place_valve(LA) is node  # one per frame


def test_it_moves_with_its_slice(heart: HeartScene) -> None:
    node = heart.place_valve(LA)
    heart.alignment = 0.0
    np.testing.assert_allclose(world_points(node), points_of(node), atol=1e-9)
    heart.alignment = 1.0
    assert np.abs(world_points(node) - points_of(node)).max() > 0.1


def test_what_is_dragged_is_what_a_fit_reads(
    heart: HeartScene, folders: Folders, tmp_path: Path
) -> None:
    heart.phase, heart.alignment = 2, 1.0
    node = heart.place_valve(LA)
    before = heart.annotations[0].changed
    dragged = points_of(node)[0] + 2.0 * np.diff(points_of(node), axis=0)[0] / 30.0
    node.SetNthControlPointPosition(0, *dragged)
    (written,) = heart.write_annotations(tmp_path / "ä ö")
    assert written.path.name.endswith(".mrk.json") and before
    np.testing.assert_allclose(read_valve_points(written.path), points_of(node), atol=1e-4)
    file = LabelFile(written.path, written.frame, written.complete, written.slice_name)
    (entry,) = read_guidance(folders.full, [file]).entries
    assert (entry.slice_name, entry.phase) == (LA, written.frame)
    assert entry.probabilities[..., 1].any() and entry.probabilities[..., 0].any()
    assert 0 < entry.known.sum() < entry.known.size / 2


def test_labels_and_a_valve_of_one_frame(heart: HeartScene) -> None:
    heart.annotate(LA)
    heart.place_valve(LA)
    heart.annotate(LA)
    assert [item.origin for item in heart.annotations] == ["fit", "valve"]


def test_only_the_frame_that_is_shown_has_its_line(heart: HeartScene) -> None:
    heart.phase = 0
    node = heart.place_valve(LA)
    heart.phase = 2
    heart.follow_annotations()
    assert not node.GetDisplayNode().GetVisibility()
    heart.phase = 0
    heart.follow_annotations()
    assert node.GetDisplayNode().GetVisibility()


def test_it_is_saved_with_the_scene(heart: HeartScene, tmp_path: Path, scene: Any) -> None:
    points = points_of(heart.place_valve(LA))
    path = save_bundle(heart, tmp_path / "Herz ä.mrb")
    scene.Clear(0)
    assert scene.ReadFromMRB(str(path), False)
    heart.restore()
    (item,) = heart.annotations
    assert item.origin == "valve" and not item.problem
    np.testing.assert_allclose(points_of(heart.annotation_node(item.node_id)), points, atol=1e-4)


def test_a_line_that_lost_a_point_is_not_used(heart: HeartScene, tmp_path: Path) -> None:
    node = heart.place_valve(LA)
    node.RemoveNthControlPoint(0)
    assert heart.annotations[0].problem == "a valve's line has two points"
    assert heart.write_annotations(tmp_path) == []


def test_wrong_wishes(heart: HeartScene, folders: Folders) -> None:
    short_axis = next(s.name for s in heart.slices if s.name.startswith("SA"))
    with pytest.raises(SceneError, match="choose a long-axis slice"):
        heart.place_valve(short_axis)
    with pytest.raises(SceneError, match="no slice 'nothing'"):
        heart.place_valve("nothing")
    assert heart.annotations == ()
