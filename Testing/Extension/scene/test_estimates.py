"""Memory and time are known beforehand: bounds that hold, and that mean something."""

import os
import sys
from pathlib import Path

import pytest

from NISFLib.scene import (
    HeartScene,
    LoadSettings,
    SceneError,
    estimate_grid,
    estimate_load,
    free_memory_bytes,
)
from NISFLib.scene.nodes import Role
from Testing.Extension.scene.folders import Folders


def held_bytes(heart: HeartScene) -> int:
    """What the nodes of our sequences hold in images, each image counted once."""
    images = {}
    for role in (Role.SLICE_IMAGES, Role.INTENSITY, Role.LABELS):
        for sequence in heart.nodes.all(role):
            for k in range(sequence.GetNumberOfDataNodes()):
                image = sequence.GetNthDataNode(k).GetImageData()
                images[image.GetAddressAsString("")] = 1024 * image.GetActualMemorySize()
    sequence = heart.nodes.one(Role.SEGMENTATION)
    for k in range(sequence.GetNumberOfDataNodes()):
        node = sequence.GetNthDataNode(k)
        image = node.GetBinaryLabelmapInternalRepresentation("lv_blood_pool")
        images[image.GetAddressAsString("")] = 1024 * image.GetActualMemorySize()
        for index in range(3):
            name = node.GetSegmentation().GetNthSegmentID(index)
            surface = node.GetClosedSurfaceInternalRepresentation(name)
            images[surface.GetAddressAsString("")] = 1024 * surface.GetActualMemorySize()
    return sum(images.values())


def test_the_scene_holds_less_than_was_estimated(folders: Folders) -> None:
    settings = LoadSettings(labels=True)
    estimate = estimate_load(folders.result, settings)
    heart = HeartScene()
    heart.load_result(folders.result, study=folders.study, settings=settings)
    rounding = 1024 * 3 * 6 * 20  # VTK counts in whole KiB
    assert held_bytes(heart) < estimate.memory_bytes + rounding


def test_a_usual_heart_is_estimated_within_a_factor() -> None:
    """30 phases of 128^3: labels and segmentation 2 bytes, intensity 2, and surfaces."""
    estimate = estimate_grid((128, 128, 128), 30)
    voxels = 30 * 128**3
    assert 4 * voxels <= estimate.memory_bytes < 4 * voxels + 150e6
    assert 1 < estimate.seconds < 30
    assert estimate.disk_bytes > 0


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (LoadSettings(intensity=False), LoadSettings()),
        (LoadSettings(), LoadSettings(labels=True)),
        (LoadSettings(), LoadSettings(models=True)),
        (LoadSettings(segmentation=False), LoadSettings()),
    ],
)
def test_more_content_needs_more(less: LoadSettings, more: LoadSettings) -> None:
    shape = (64, 64, 64)
    low, high = estimate_grid(shape, 20, less), estimate_grid(shape, 20, more)
    assert low.memory_bytes < high.memory_bytes
    assert low.seconds < high.seconds


def test_surfaces_that_slicer_makes_take_longer() -> None:
    shape = (256, 256, 256)
    read = estimate_grid(shape, 20)
    made = estimate_grid(shape, 20, has_surfaces=False)
    assert made.seconds > read.seconds


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="no folder for the scene"):
        estimate_load(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="how large the memory is, is asked of POSIX")
def test_free_memory_is_some_of_the_machines() -> None:
    page, n_pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    assert 10e6 < free_memory_bytes() <= page * n_pages
