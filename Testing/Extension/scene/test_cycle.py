"""One browser drives everything in step, by cycle fraction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slicer

from NISFCore.data.study import CineStudy
from NISFCore.export.scanned_slices import write_scanned_slices
from NISFLib.scene import HeartScene, LoadSettings
from NISFLib.scene.cycle import index_text, nearest_phases, now_of
from NISFLib.scene.nodes import Role
from Testing.Extension.scene.folders import Folders, write_result
from Testing.Extension.scene.reading import column, labels_of


def shown(heart: HeartScene, name: str) -> np.ndarray:
    """The frame of a slice that the scene shows."""
    return slicer.util.arrayFromVolume(now_of(heart.nodes, Role.SLICE_IMAGES, name))[0]


@pytest.mark.parametrize(
    ("wanted", "available", "nearest"),
    [
        ([0.0, 0.3, 0.6], [0.05, 0.35, 0.62], [0, 1, 2]),
        ([0.99, 0.01], [0.0, 0.5], [0, 0]),  # the cycle closes
        ([0.0], [0.04, 0.5, 0.98], [2]),
        ([0.2, 0.4], [0.7], [0, 0]),
    ],
)
def test_nearest_phases(wanted: list[float], available: list[float], nearest: list[int]) -> None:
    assert nearest_phases(np.array(wanted), np.array(available)).tolist() == nearest


def test_every_phase_shows_the_frame_nearest_in_the_cycle(folders: Folders) -> None:
    heart = HeartScene()
    heart.load_study(folders.study)
    counts = {cine.n_phases for cine in folders.full.slices}
    assert len(counts) > 1  # the point of it
    assert heart.n_phases == int(np.median([cine.n_phases for cine in folders.full.slices]))
    for phase, t in enumerate(heart.cycle_fractions):
        heart.phase = phase
        for cine in folders.full.slices:
            gap = np.abs(cine.cycle_fractions - t)
            frame = int(np.argmin(np.minimum(gap, 1 - gap)))
            assert np.array_equal(shown(heart, cine.name), cine.frames[frame])


def test_slices_heart_and_cursor_move_in_step(heart: HeartScene, folders: Folders) -> None:
    intensities, volumes = [], []
    for phase in (3, 0, 5, 1):
        heart.phase = phase
        assert heart.phase == phase
        intensity = now_of(heart.nodes, Role.INTENSITY)
        sequence = heart.nodes.one(Role.INTENSITY).GetNthDataNode(phase)
        assert np.array_equal(
            slicer.util.arrayFromVolume(intensity), slicer.util.arrayFromVolume(sequence)
        )
        intensities.append(slicer.util.arrayFromVolume(intensity).copy())
        volumes.append(int((labels_of(heart.segmentation) == 1).sum()))
        cursor = now_of(heart.nodes, Role.CYCLE)
        assert column(cursor, "cycle (%)") == pytest.approx([100 * phase / 6] * 2)
    assert not np.array_equal(intensities[0], intensities[1])
    assert volumes[0] < volumes[2] < volumes[1]  # ES, just before ED, ED


def test_closed_surfaces_are_there_at_every_phase(heart: HeartScene) -> None:
    for phase in range(heart.n_phases):
        heart.phase = phase
        core = heart.segmentation.GetSegmentation()
        assert core.ContainsRepresentation("Closed surface")
        surface = heart.segmentation.GetClosedSurfaceInternalRepresentation("lv_blood_pool")
        assert surface.GetNumberOfPoints() > 20


def test_a_result_of_ed_and_es_has_two_phases(folders: Folders, tmp_path: Path) -> None:
    folder = write_result(folders.fitted, tmp_path / "two", phases="ED,ES")
    heart = HeartScene()
    heart.load_result(folder, study=folders.study)
    assert heart.cycle_fractions == (0.0, 0.5)
    assert (heart.ed_phase, heart.es_phase) == (0, 1)
    heart.phase = 1
    cine = folders.full.slices[0]
    frame = int(nearest_phases(np.array([0.5]), cine.cycle_fractions)[0])
    assert np.array_equal(shown(heart, cine.name), cine.frames[frame])


def test_ed_is_unknown_where_it_was_not_exported(folders: Folders, tmp_path: Path) -> None:
    folder = write_result(folders.fitted, tmp_path / "some", phases="1,2,ES")
    heart = HeartScene()
    heart.load_result(folder)
    assert (heart.ed_phase, heart.es_phase) == (None, 2)
    assert heart.phase == 0


def test_phases_beyond_the_ends_are_the_ends(heart: HeartScene) -> None:
    heart.phase = 99
    assert heart.phase == 5
    heart.phase = -3
    assert heart.phase == 0


def test_playing(heart: HeartScene) -> None:
    assert not heart.playing
    heart.playing = True
    assert heart.browser.GetPlaybackActive()
    assert heart.browser.GetPlaybackLooped()
    heart.playing = False
    assert not heart.browser.GetPlaybackActive()


def test_frames_shown_twice_are_in_memory_once(folders: Folders, tmp_path: Path) -> None:
    few = replace(
        folders.full.slices[0],
        frames=folders.full.slices[0].frames[:2],
        trigger_times_ms=np.array([0.0, 400.0]),
        rr_interval_ms=800.0,
    )
    study = tmp_path / "study"
    study.mkdir()
    write_scanned_slices(CineStudy((few, *folders.full.slices[1:])), study)
    heart = HeartScene()
    heart.load_study(study)
    sequence = heart.nodes.one(Role.SLICE_IMAGES, few.name)
    images = {id(sequence.GetNthDataNode(k).GetImageData()) for k in range(heart.n_phases)}
    assert len(images) == 2 < heart.n_phases


def test_index_values_are_percent_of_the_cycle(heart: HeartScene) -> None:
    for role in (Role.CYCLE, Role.SLICE_IMAGES, Role.INTENSITY, Role.SEGMENTATION):
        sequence = heart.nodes.one(role)
        assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("cycle", "%")
        values = [sequence.GetNthIndexValue(k) for k in range(sequence.GetNumberOfDataNodes())]
        assert values == [index_text(k / 6) for k in range(6)]


def test_a_label_map_sequence_on_demand(folders: Folders) -> None:
    heart = HeartScene()
    heart.load_result(folders.result, settings=LoadSettings(intensity=False, labels=True))
    assert heart.nodes.one(Role.INTENSITY) is None
    heart.phase = 4
    labels = now_of(heart.nodes, Role.LABELS)
    assert labels.IsA("vtkMRMLLabelMapVolumeNode")
    found = slicer.util.arrayFromVolume(labels)
    assert np.array_equal(found, labels_of(heart.segmentation))
