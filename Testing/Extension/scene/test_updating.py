"""A refitted heart takes the place of the one before, in the same nodes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NISFCore.export.settings import ExportFormat
from NISFLib.scene import HeartScene, SceneError
from NISFLib.scene.nodes import Role
from Testing.Core.analysis.hearts import Fitted
from Testing.Extension.scene.folders import Folders, write_result
from Testing.Extension.scene.reading import labels_of

REFIT_FORMATS = (ExportFormat.SEQUENCE, ExportFormat.MOTION, ExportFormat.TABLES)
SHIFT_MM = 12.0


@pytest.fixture
def refitted(folders: Folders) -> Fitted:
    """The same study with slices moved elsewhere."""
    shift = np.eye(4)
    shift[0, 3] = SHIFT_MM
    motions = tuple(shift @ m for m in folders.fitted.slice_motions)
    return replace(folders.fitted, slice_motions=motions)


def node_ids(heart: HeartScene) -> set[str]:
    return {node.GetID() for node in heart.nodes.all() if not node.IsA("vtkMRMLPlotSeriesNode")}


def emptied(heart: HeartScene, k: int) -> None:
    """Take phase k's labels away, so that a new rendering shows."""
    node = heart.nodes.one(Role.SEGMENTATION).GetNthDataNode(k)
    labels_of(node)[:] = 0
    node.Modified()


def n_labelled(heart: HeartScene, k: int) -> int:
    return int((labels_of(heart.nodes.one(Role.SEGMENTATION).GetNthDataNode(k)) > 0).sum())


def test_all_phases_are_replaced_in_place(
    heart: HeartScene, refitted: Fitted, tmp_path: Path
) -> None:
    heart.phase, heart.alignment = 2, 0.5
    before, ids = n_labelled(heart, 1), node_ids(heart)
    curve = heart.curve_chart
    for k in range(heart.n_phases):
        emptied(heart, k)
    heart.update_result(write_result(refitted, tmp_path / "refit", formats=REFIT_FORMATS))
    assert [n_labelled(heart, k) > 0 for k in range(heart.n_phases)] == [True] * heart.n_phases
    assert n_labelled(heart, 1) == before
    assert heart.phase == 2 and heart.alignment == 0.5 and heart.curve_chart is curve
    charts = {n.GetID() for n in heart.nodes.all(Role.PROFILE_CHART)}
    profile_roles = (Role.PROFILE_TABLE, Role.PROFILE_NOW, Role.PROFILE_CHART)
    new_ids = {n.GetID() for role in profile_roles for n in heart.nodes.all(role)} | charts
    assert node_ids(heart) - new_ids <= ids
    assert int((labels_of(heart.segmentation) > 0).sum()) == n_labelled(heart, 2)
    surface = heart.segmentation.GetClosedSurfaceInternalRepresentation("lv_blood_pool")
    assert surface is not None and surface.GetNumberOfPoints() > 0


def test_slices_get_their_new_motions(
    heart: HeartScene, refitted: Fitted, tmp_path: Path, folders: Folders
) -> None:
    before = {s.name: s for s in heart.slices}
    heart.update_result(write_result(refitted, tmp_path / "refit", formats=REFIT_FORMATS))
    for item in heart.slices:
        old = before[item.name].translation_mm
        assert item.translation_mm is not None and old is not None
        np.testing.assert_allclose(
            np.subtract(item.translation_mm, old), [SHIFT_MM, 0, 0], atol=1e-6
        )
    transform = heart.nodes.one(Role.SLICE_MOTION, heart.slices[0].name)
    index = [s.name for s in folders.fitted.study.slices].index(heart.slices[0].name)
    x = transform.GetMatrixTransformToParent().GetElement(0, 3)
    assert x == pytest.approx(refitted.slice_motions[index][0, 3], abs=1e-6)  # aligned


def test_one_phase_first(heart: HeartScene, refitted: Fitted, tmp_path: Path) -> None:
    """A quick rendering has one phase and no profiles; the others stay until they come."""
    folder = write_result(refitted, tmp_path / "quick", "1", REFIT_FORMATS)
    (folder / "profiles.json").unlink()
    pairs, n_phases = heart.profile_pairs, heart.n_phases
    emptied(heart, 1)
    emptied(heart, 2)
    heart.update_result(folder)
    assert n_labelled(heart, 1) > 0 and n_labelled(heart, 2) == 0
    assert heart.n_phases == n_phases and heart.profile_pairs == pairs
    assert heart.ed_phase is not None and heart.es_phase is not None


def test_what_cannot_be_read_changes_nothing(
    heart: HeartScene, refitted: Fitted, tmp_path: Path, scene: Any
) -> None:
    folder = write_result(refitted, tmp_path / "refit", formats=REFIT_FORMATS)
    (folder / "sequences" / "labels.seq.nrrd").unlink()
    before = [n_labelled(heart, k) for k in range(heart.n_phases)]
    shifts = [s.translation_mm for s in heart.slices]
    with pytest.raises(SceneError, match="missing"):
        heart.update_result(folder)
    assert [n_labelled(heart, k) for k in range(heart.n_phases)] == before
    assert [s.translation_mm for s in heart.slices] == shifts
    heart.remove()
    with pytest.raises(SceneError, match="fit the study first"):
        heart.update_result(write_result(refitted, tmp_path / "again", formats=REFIT_FORMATS))


def test_a_folder_for_updates_is_none_to_load(
    heart: HeartScene, refitted: Fitted, tmp_path: Path
) -> None:
    folder = write_result(refitted, tmp_path / "quick", "1", REFIT_FORMATS)
    (folder / "profiles.json").unlink()
    with pytest.raises(SceneError, match=r"no profiles\.json"):
        heart.load_result(folder)
    assert heart.has_result


def test_certainty_is_shown_over_the_slices_and_goes_with_its_heart(
    heart: HeartScene, refitted: Fitted, tmp_path: Path, scene: Any
) -> None:
    from NISFCore.export.nrrd_files import write_volume_nrrd

    path = tmp_path / "sure ä.nrrd"
    grid = heart.nodes.one(Role.INTENSITY).GetNthDataNode(0)
    size = grid.GetImageData().GetDimensions()[::-1]
    write_volume_nrrd(path, np.full(size, 80, dtype=np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert not heart.shows_certainty
    heart.show_certainty(path)
    volume = heart.nodes.one(Role.CERTAINTY)
    assert heart.shows_certainty and volume.GetImageData().GetScalarRange() == (80.0, 80.0)
    heart.hide_certainty()
    assert not heart.shows_certainty
    heart.show_certainty(path)
    heart.update_result(write_result(refitted, tmp_path / "refit", formats=REFIT_FORMATS))
    assert not heart.shows_certainty
    with pytest.raises(SceneError, match="missing or damaged"):
        heart.show_certainty(tmp_path / "nothing.nrrd")
