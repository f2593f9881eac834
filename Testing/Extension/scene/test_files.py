"""Files that others open: written from the scene, edits included, and read back."""

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
import slicer
import vtk

from NISFCore.labels import FOREGROUND, LABEL_INFO
from NISFLib.scene import HeartScene, SceneError, SceneFormat, save_files
from NISFLib.scene.files import keep_edits, segmentation_at
from NISFLib.scene.nodes import Role
from Testing.Core.export.nifti import load_nifti
from Testing.Extension.scene.folders import SPACING_MM, Folders
from Testing.Extension.scene.reading import labels_of, points_of


def read(node: Any, storage: Any, path: Path) -> Any:
    """Read a file with 3D Slicer's own reader into a scene of its own."""
    scene = slicer.vtkMRMLScene()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    node.kept = scene  # the node must not outlive its scene
    return node


def labels_at(heart: HeartScene, k: int) -> np.ndarray:
    return labels_of(segmentation_at(heart.nodes, k))


def names(files: list[Path]) -> list[str]:
    return [path.name for path in files]


def test_segmentations_come_back_with_names_colours_codes_and_voxels(
    heart: HeartScene, tmp_path: Path
) -> None:
    folder = tmp_path / "für Anna"
    files = save_files(heart, folder, [SceneFormat.SEG_NRRD], phases=[0, 3])
    assert names(files) == ["heart_000.seg.nrrd", "heart_003.seg.nrrd"]
    assert sorted(folder.iterdir()) == files
    node = read(slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode(), files[1])
    core = node.GetSegmentation()
    for index, label in enumerate(FOREGROUND):
        info, segment = LABEL_INFO[label], core.GetNthSegment(index)
        assert (segment.GetName(), segment.GetLabelValue()) == (info.name, int(label))
        assert segment.GetColor() == pytest.approx([c / 255 for c in info.rgb], abs=1e-5)
        tag = vtk.reference("")
        assert segment.GetTag("TerminologyEntry", tag)
        assert info.snomed_code in str(tag)
    values, header = nrrd.read(str(files[1]), index_order="C")
    whole = labels_at(heart, 3)
    assert values.sum() == whole.sum()
    text = header["Segmentation_ConversionParameters"]
    n_k, n_j, n_i = whole.shape
    assert f"0;{n_i - 1};0;{n_j - 1};0;{n_k - 1}" in text  # the whole grid, not the cropped one


def test_label_and_intensity_sequences(heart: HeartScene, folders: Folders, tmp_path: Path) -> None:
    files = save_files(heart, tmp_path, [SceneFormat.SEQ_NRRD])
    assert set(names(files)) == {"labels.seq.nrrd", "intensity.seq.nrrd"}
    sequence = read(
        slicer.vtkMRMLSequenceNode(),
        slicer.vtkMRMLVolumeSequenceStorageNode(),
        tmp_path / "labels.seq.nrrd",
    )
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("cycle", "%")
    assert sequence.GetNumberOfDataNodes() == heart.n_phases
    grid = folders.fitted.field.box.grid(SPACING_MM)
    for k in range(heart.n_phases):
        volume = sequence.GetNthDataNode(k)
        assert sequence.GetNthIndexValue(k) == f"{100 * k / 6:.6g}"
        found = slicer.util.arrayFromVolume(volume)
        assert np.array_equal(found, labels_at(heart, k))
        matrix = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        gap = slicer.util.arrayFromVTKMatrix(matrix) - grid.ras_from_ijk
        assert np.abs(gap).max() < 1e-6
    intensity, _ = nrrd.read(str(tmp_path / "intensity.seq.nrrd"), index_order="C")
    kept = heart.nodes.one(Role.INTENSITY).GetNthDataNode(2)
    frames = np.moveaxis(intensity, -1, 0) if intensity.shape[-1] == 6 else intensity
    assert np.array_equal(frames[2], slicer.util.arrayFromVolume(kept))


def test_the_whole_segmentation_in_one_file(heart: HeartScene, tmp_path: Path) -> None:
    (path,) = save_files(heart, tmp_path, [SceneFormat.SEQ_MRB], phases=[1, 4])
    assert path.name == "heart.seq.mrb"
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSequenceStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(sequence)
    assert [sequence.GetNthIndexValue(k) for k in range(2)] == ["16.6667", "66.6667"]
    for k, phase in enumerate((1, 4)):
        node = sequence.GetNthDataNode(k)
        assert [node.GetSegmentation().GetNthSegment(i).GetName() for i in range(3)] == [
            LABEL_INFO[label].name for label in FOREGROUND
        ]
        assert labels_of(node).sum() == labels_at(heart, phase).sum()


def test_nifti_volumes(heart: HeartScene, folders: Folders, tmp_path: Path) -> None:
    files = save_files(heart, tmp_path, [SceneFormat.NIFTI], phases=[2])
    assert set(names(files)) == {"labels_002.nii.gz", "intensity_002.nii.gz"}
    image = load_nifti(tmp_path / "labels_002.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj).T, labels_at(heart, 2))
    grid = folders.fitted.field.box.grid(SPACING_MM)
    assert np.abs(image.affine - grid.ras_from_ijk).max() < 1e-3


def test_models_are_the_surfaces_in_the_files_of_slicer(heart: HeartScene, tmp_path: Path) -> None:
    files = save_files(heart, tmp_path, [SceneFormat.MODELS], phases=[3])
    assert names(files) == [f"{LABEL_INFO[label].key}_003.vtp" for label in FOREGROUND]
    model = read(slicer.vtkMRMLModelNode(), slicer.vtkMRMLModelStorageNode(), files[0])
    key = LABEL_INFO[FOREGROUND[0]].key
    kept = segmentation_at(heart.nodes, 3).GetClosedSurfaceInternalRepresentation(key)
    assert np.abs(points_of(model) - points_of(kept)).max() < 1e-4


def test_what_was_painted_is_in_the_files(heart: HeartScene, tmp_path: Path) -> None:
    heart.phase = 2
    slicer.util.arrayFromSegmentInternalBinaryLabelmap(heart.segmentation, "rv_blood_pool")[
        0, 0, :7
    ] = 3
    heart.segmentation.Modified()
    save_files(heart, tmp_path, [SceneFormat.SEQ_NRRD])
    sequence = read(
        slicer.vtkMRMLSequenceNode(),
        slicer.vtkMRMLVolumeSequenceStorageNode(),
        tmp_path / "labels.seq.nrrd",
    )
    painted = [slicer.util.arrayFromVolume(sequence.GetNthDataNode(k))[0, 0, :7] for k in range(6)]
    assert [p.tolist() for p in painted] == [[3 if k == 2 else 0] * 7 for k in range(6)]


def test_a_segment_of_the_users_own_is_exported_too(heart: HeartScene, tmp_path: Path) -> None:
    heart.phase = 0
    core = heart.segmentation.GetSegmentation()
    core.AddEmptySegment("atrium", "Left atrium")
    keep_edits(heart.nodes)
    (path,) = save_files(heart, tmp_path, [SceneFormat.SEG_NRRD], phases=[0])
    _, header = nrrd.read(str(path))
    assert header["Segment3_Name"] == "Left atrium"


def test_files_of_the_same_name_are_replaced_and_others_kept(
    heart: HeartScene, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "heart_000.seg.nrrd").write_text("old")
    save_files(heart, tmp_path, [SceneFormat.SEG_NRRD], phases=[0])
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "heart_000.seg.nrrd").read_bytes().startswith(b"NRRD")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("phases", [[], [6], [-1, 0]])
def test_phases_that_are_not_there(heart: HeartScene, tmp_path: Path, phases: list[int]) -> None:
    with pytest.raises(SceneError, match="allowed: 0 to 5"):
        save_files(heart, tmp_path, [SceneFormat.SEG_NRRD], phases=phases)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_write_without_a_result(folders: Folders, tmp_path: Path) -> None:
    heart = HeartScene()
    heart.load_study(folders.study)
    with pytest.raises(SceneError, match="no segmentation of ours"):
        save_files(heart, tmp_path, [SceneFormat.SEG_NRRD])


def test_a_place_that_cannot_be_written(heart: HeartScene, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SceneError, match="cannot write"):
        save_files(heart, blocked, [SceneFormat.SEG_NRRD], phases=[0])


def test_progress_counts_the_files(heart: HeartScene, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    formats = [SceneFormat.SEG_NRRD, SceneFormat.MODELS]
    save_files(heart, tmp_path, formats, phases=[0, 1], progress=lambda *event: seen.append(event))
    assert seen == [("files", k, 8) for k in range(1, 9)]


def test_writing_changes_nothing_in_the_scene(
    heart: HeartScene, scene: Any, tmp_path: Path
) -> None:
    before = scene.GetNumberOfNodes()
    save_files(heart, tmp_path, SceneFormat, phases=[0])
    assert scene.GetNumberOfNodes() == before
