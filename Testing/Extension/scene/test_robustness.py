"""What users do: load twice, delete nodes, close scenes, cancel, choose wrong folders."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from NISFCore.errors import Cancelled
from NISFLib.scene import HeartScene, LoadSettings, Part, SceneError
from NISFLib.scene.cycle import now_of
from NISFLib.scene.nodes import Role
from Testing.Extension.scene.folders import Folders
from Testing.Extension.scene.reading import column, labels_of, our_names


@pytest.fixture
def copy(folders: Folders, tmp_path: Path) -> Path:
    """An export that a test may damage."""
    return Path(shutil.copytree(folders.result, tmp_path / "copy"))


def test_an_empty_scene_answers_everything(scene: Any) -> None:
    heart = HeartScene()
    assert (heart.has_study, heart.has_result, heart.n_phases, heart.phase) == (False, False, 0, 0)
    assert (heart.ed_phase, heart.es_phase, heart.browser) == (None, None, None)
    assert (heart.slices, heart.figures, heart.profile_pairs, heart.notes) == ((), {}, (), ())
    assert (heart.subject, heart.alignment, heart.playing) == ("", 0.0, False)
    assert not any(heart.visible(part) for part in Part)
    heart.phase, heart.alignment, heart.playing = 3, 0.5, True
    for part in Part:
        heart.set_visible(part, True)
    heart.restore()
    heart.remove()
    heart.arrange_views()
    assert our_names(scene) == []


def test_removing_leaves_the_scene_as_it_was(folders: Folders, scene: Any) -> None:
    mine = scene.AddNewNodeByClass("vtkMRMLModelNode", "SA_00")
    before = our_names(scene)
    heart = HeartScene()
    heart.load_result(folders.result, settings=LoadSettings(labels=True, models=True))
    heart.phase = 2
    heart.show_profile(1)
    heart.remove()
    assert our_names(scene) == before
    assert scene.IsNodePresent(mine)


def our_classes(scene: Any) -> list[str]:
    """What nodes there are, whatever their names."""
    return sorted(name.split()[0] for name in our_names(scene))


def test_loading_twice_replaces(folders: Folders, scene: Any) -> None:
    heart = HeartScene()
    heart.load_study(folders.study)
    heart.load_result(folders.result, study=folders.study)
    once = our_classes(scene)
    heart.phase = 3
    heart.load_result(folders.result, study=folders.study)
    assert our_classes(scene) == once
    assert heart.browser.GetName() == "NISF heart"  # and not "NISF heart_1"
    assert heart.phase == heart.ed_phase


def test_a_closed_scene_is_empty_and_can_be_filled_again(
    heart: HeartScene, folders: Folders, scene: Any
) -> None:
    scene.Clear(0)
    assert not heart.has_study
    heart.load_result(folders.result)
    heart.phase = 3
    assert heart.has_result


@pytest.mark.parametrize(
    "role",
    [
        r
        for r in Role
        if r
        not in (Role.BROWSER, Role.CYCLE, Role.LABELS, Role.LABELS_NOW, Role.MODEL, Role.MODEL_NOW)
    ],
)
def test_any_node_may_be_deleted(heart: HeartScene, scene: Any, role: Role) -> None:
    heart.nodes.remove_node(heart.nodes.one(role))
    heart.restore()
    for phase in (2, 5):
        heart.phase = phase
    heart.alignment = 0.5
    heart.arrange_views()
    for part in Part:
        heart.set_visible(part, not heart.visible(part))
    assert heart.has_study
    assert len(heart.slices) >= 5
    heart.remove()
    assert our_names(scene) == []


@pytest.mark.parametrize("role", [Role.BROWSER, Role.CYCLE])
def test_a_deleted_browser_is_made_again(heart: HeartScene, role: Role) -> None:
    heart.phase = 1
    shown = heart.segmentation
    heart.set_visible(Part.SURFACES, False)
    heart.nodes.remove_node(heart.nodes.one(role))
    heart.restore()
    assert heart.has_result
    assert (heart.ed_phase, heart.es_phase, heart.n_phases) == (0, 3, 6)
    assert heart.segmentation is shown
    assert not heart.visible(Part.SURFACES)
    volumes = []
    for phase in range(6):
        heart.phase = phase
        volumes.append(int((labels_of(heart.segmentation) == 1).sum()))
        cursor = heart.curve_chart.GetNthPlotSeriesNode(4).GetTableNode()
        assert column(cursor, "cycle (%)")[0] == pytest.approx(100 * phase / 6)
    assert volumes[3] == min(volumes) < volumes[0]


def test_a_scene_of_ones_own(folders: Folders) -> None:
    """Not the application's: nothing may reach for that one."""
    other = slicer.vtkMRMLScene()
    heart = HeartScene(other)
    assert not heart.has_study
    assert our_names(slicer.mrmlScene) == []
    assert not HeartScene().has_study


# Cancelling and failing ---------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["slices", "images", "labels", "segmentation"])
def test_cancelling_leaves_nothing_of_the_new(folders: Folders, scene: Any, stage: str) -> None:
    def progress(name: str, step: int, total: int) -> None:
        assert 1 <= step <= total
        if name == stage:
            raise Cancelled("enough")

    heart = HeartScene()
    with pytest.raises(Cancelled):
        heart.load_result(folders.result, progress=progress)
    assert our_names(scene) == []


def test_cancelling_while_reading_keeps_what_was_there(heart: HeartScene, folders: Folders) -> None:
    def progress(*_: object) -> None:
        raise Cancelled("enough")

    heart.phase = 2
    with pytest.raises(Cancelled):
        heart.load_result(folders.result, progress=progress)
    assert (heart.has_result, heart.phase) == (True, 2)


def test_progress_counts_to_the_end(folders: Folders) -> None:
    seen: list[tuple[str, int, int]] = []
    settings = LoadSettings(models=True)
    HeartScene().load_result(
        folders.result, settings=settings, progress=lambda *event: seen.append(event)
    )
    totals = {total for _, _, total in seen}
    assert [step for _, step, _ in seen] == list(range(1, len(seen) + 1))
    assert totals == {len(seen)}


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    for load in (HeartScene().load_study, HeartScene().load_result):
        with pytest.raises(SceneError, match="no folder for the scene"):
            load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest.json", "{"),
        ("manifest.json", "[]"),
        ("manifest.json", '{"manifest_version": 1}'),
        ("manifest.json", '{"manifest_version": 99}'),
        ("slices/slices.json", '{"slices_version": 1, "slices": 3}'),
        ("slices/motion.json", "{}"),
        ("volumes.csv", "a,b\n1"),
        ("function.json", "nonsense"),
        ("slices/SA_00.seq.nrrd", "NRRD0005\n"),
        ("sequences/labels.seq.nrrd", "no image"),
        ("surfaces/lv_myocardium_001.vtp", "<VTKFile"),
    ],
)
def test_damaged_files_are_named(copy: Path, name: str, text: str) -> None:
    import vtk

    (copy / name).write_text(text)
    heart = HeartScene()
    before = vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(vtk.vtkStringOutputWindow())  # VTK complains too, rightly
    try:
        with pytest.raises(SceneError, match=r"damaged|this extension reads") as error:
            heart.load_result(copy)
    finally:
        vtk.vtkOutputWindow.SetInstance(before)
    assert str(copy) in str(error.value)
    assert not heart.has_study


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "slices/slices.json",
        "profiles.json",
        "sequences/intensity.seq.nrrd",
        "slices/LA_2CH.seq.nrrd",
        "surfaces/rv_blood_pool_002.vtp",
        "volumes.csv",
    ],
)
def test_missing_files_are_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    heart = HeartScene()
    with pytest.raises(SceneError, match=Path(name).name):
        heart.load_result(copy)
    assert not heart.has_study


def test_an_export_without_surfaces_gets_slicers(copy: Path) -> None:
    shutil.rmtree(copy / "surfaces")
    heart = HeartScene()
    heart.load_result(copy)
    heart.phase = 4
    assert heart.segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


def test_slices_of_another_study_are_not_mixed_in(folders: Folders, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folders.study, tmp_path / "other"))
    values = json.loads((other / "slices.json").read_text(encoding="utf-8"))
    values["slices"][2]["ras_from_ijk"][0][3] += 3.0
    (other / "slices.json").write_text(json.dumps(values), encoding="utf-8")
    heart = HeartScene()
    heart.load_result(folders.result, study=other)
    assert any("another study" in note for note in heart.notes)
    volume = now_of(heart.nodes, Role.SLICE_IMAGES, "SA_00")
    shape = slicer.util.arrayFromVolume(volume).shape[1:]
    assert shape == folders.fitted.study.slices[0].shape  # cropped, its own


def test_a_study_folder_that_is_gone(folders: Folders, tmp_path: Path) -> None:
    heart = HeartScene()
    heart.load_result(folders.result, study=tmp_path / "gone")
    assert any("cropped" in note for note in heart.notes)
    assert "be careful" in heart.notes


def test_excluded_slices_stay_out(folders: Folders, tmp_path: Path) -> None:
    study = Path(shutil.copytree(folders.study, tmp_path / "study"))
    values = json.loads((study / "slices.json").read_text(encoding="utf-8"))
    values["slices"][0] |= {"included": False, "reason": "one phase"}
    (study / "slices.json").write_text(json.dumps(values), encoding="utf-8")
    heart = HeartScene()
    heart.load_study(study)
    assert [s.name for s in heart.slices] == [c.name for c in folders.full.slices[1:]]
    for record in values["slices"]:
        record["included"] = False
    (study / "slices.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(SceneError, match="no slice that is included"):
        heart.load_study(study)


def test_the_subject_is_the_studys_pseudonym(heart: HeartScene) -> None:
    assert heart.subject == "subject ä"
    assert np.isfinite(heart.cycle_fractions).all()
