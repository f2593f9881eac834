"""Cine sequences of the scene come out of NISFCore's reader as they were."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from NISFCore.data.read import read_study
from NISFCore.data.study import CineSlice
from NISFLib.scene import HeartScene, SceneError, write_cine_input
from NISFLib.scene.nodes import Role
from Testing.Extension.scene.folders import Folders


def cine_node(scene: Any, cine: CineSlice, unit: str = "ms") -> Any:
    """A sequence as Slicer's cine loaders make it: one slice, trigger times as its index."""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Meier^Anna cine")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit(unit)
    scale = {"ms": 1.0, "s": 0.001}.get(unit, 1.0)
    for frame, time_ms in zip(cine.frames, cine.trigger_times_ms, strict=True):
        volume = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(volume, frame[None].astype(np.int16))
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(cine.ras_from_ijk))
        sequence.SetDataNodeAtValue(volume, repr(float(time_ms) * scale))
    return sequence


@pytest.mark.parametrize("unit", ["ms", "s"])
def test_what_is_read_is_what_was_in_the_scene(
    scene: Any, folders: Folders, tmp_path: Path, unit: str
) -> None:
    sequences = [cine_node(scene, cine, unit) for cine in folders.full.slices]
    folder = write_cine_input(sequences, tmp_path / "eingabe ö")
    views = {f"{n:03d}": cine.view for n, cine in enumerate(folders.full.slices, start=1)}
    study = read_study(folder, views=views)
    found = {s.provenance.series: s for s in study.slices}
    assert len(found) == len(sequences)
    for number, cine in enumerate(folders.full.slices, start=1):
        read = found[f"{number:03d}"]
        assert read.view is cine.view
        assert np.array_equal(read.frames, cine.frames)
        assert np.abs(read.ras_from_ijk - cine.ras_from_ijk).max() < 1e-6
        assert read.thickness_mm == pytest.approx(cine.thickness_mm)
        assert read.trigger_times_ms == pytest.approx(cine.trigger_times_ms)
        assert read.rr_interval_ms == pytest.approx(cine.rr_interval_ms)


def test_no_name_of_a_node_is_written(scene: Any, folders: Folders, tmp_path: Path) -> None:
    write_cine_input([cine_node(scene, folders.full.slices[0])], tmp_path)
    for path in tmp_path.iterdir():
        assert b"Meier" not in path.read_bytes()
        assert "Meier" not in path.name


def test_our_own_slices_can_be_fitted_again(folders: Folders, tmp_path: Path) -> None:
    heart = HeartScene()
    heart.load_study(folders.study)
    study = read_study(write_cine_input(heart.nodes.all(Role.SLICE_IMAGES), tmp_path))
    assert sorted(s.view for s in study.slices) == sorted(c.view for c in folders.full.slices)
    assert any("RR interval unknown" in note for s in study.slices for note in s.provenance.notes)


def test_a_stack_in_one_sequence(scene: Any, tmp_path: Path) -> None:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    frames = np.random.default_rng(0).integers(0, 900, (4, 3, 12, 14)).astype(np.int16)
    for k, values in enumerate(frames):
        volume = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(volume, values)
        volume.SetSpacing(2, 2, 10)
        sequence.SetDataNodeAtValue(volume, str(k))
    folder = write_cine_input([sequence], tmp_path)
    assert sequence.GetIndexUnit() == "s"  # MRML's default: phases counted as seconds are no times
    (entry,) = json.loads((folder / "manifest.json").read_text())["files"]
    assert "trigger_times_ms" not in entry
    study = read_study(folder)
    assert len(study.slices) == 3
    found = {s.frames.tobytes() for s in study.slices}
    assert found == {frames[:, k].astype(np.float32).tobytes() for k in range(3)}


def test_what_is_no_cine_is_refused(scene: Any, folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="at least one"):
        write_cine_input([], tmp_path)
    empty = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "one")
    with pytest.raises(SceneError, match="at least 2 phases, it has 0"):
        write_cine_input([empty], tmp_path)
    models = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "models")
    for k in range(2):
        models.SetDataNodeAtValue(slicer.vtkMRMLModelNode(), str(k))
    with pytest.raises(SceneError, match="holds scalar volumes"):
        write_cine_input([models], tmp_path)
    moving = cine_node(scene, folders.full.slices[0])
    moving.GetNthDataNode(1).SetOrigin(50, 0, 0)
    with pytest.raises(SceneError, match="lie in one place"):
        write_cine_input([moving], tmp_path)
    assert list(tmp_path.iterdir()) == []
