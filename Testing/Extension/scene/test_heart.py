"""What the segmentation, volumes and models are: names, colours, codes, display."""

from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from NISFCore.labels import FOREGROUND, LABEL_INFO
from NISFLib.scene import HeartScene, LoadSettings, Part
from NISFLib.scene.cycle import now_of
from NISFLib.scene.files import keep_edits
from NISFLib.scene.heart import labelled_segmentation
from NISFLib.scene.images import oriented_image
from NISFLib.scene.nodes import Role
from Testing.Extension.scene.folders import Folders
from Testing.Extension.scene.reading import labels_of, points_of


def test_segments_have_names_colours_values_and_codes(heart: HeartScene) -> None:
    core = heart.segmentation.GetSegmentation()
    assert core.GetNumberOfSegments() == 3
    for index, label in enumerate(FOREGROUND):
        info, segment = LABEL_INFO[label], core.GetNthSegment(index)
        assert core.GetNthSegmentID(index) == info.key
        assert (segment.GetName(), segment.GetLabelValue()) == (info.name, int(label))
        assert segment.GetColor() == pytest.approx([c / 255 for c in info.rgb])
        entry = slicer.vtkSlicerTerminologyEntry()
        logic = slicer.vtkSlicerTerminologiesModuleLogic()
        assert logic.DeserializeTerminologyEntry(terminology_of(segment), entry)
        assert entry.GetTypeObject().GetCodingSchemeDesignator() == "SCT"
        assert entry.GetTypeObject().GetCodeValue() == info.snomed_code
        assert entry.GetTypeObject().GetCodeMeaning() == info.snomed_meaning


def terminology_of(segment: Any) -> str:
    """The terminology tag of a segment."""
    value = vtk.reference("")
    assert segment.GetTag("TerminologyEntry", value)
    return str(value)


def test_segments_share_one_layer(heart: HeartScene) -> None:
    """Three separate label maps would need three times the memory."""
    assert heart.segmentation.GetSegmentation().GetNumberOfLayers() == 1
    assert set(np.unique(labels_of(heart.segmentation))) == {0, 1, 2, 3}


def test_the_grid_is_known_for_painting_outside_the_segments(heart: HeartScene) -> None:
    core = heart.segmentation.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    image = slicer.vtkOrientedImageData()
    text = core.GetConversionParameter(name)
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False)
    whole = heart.segmentation.GetBinaryLabelmapInternalRepresentation("lv_blood_pool")
    assert image.GetDimensions() == whole.GetDimensions()


def test_labels_without_surfaces_get_slicers_own() -> None:
    labels = np.zeros((8, 9, 10), dtype=np.uint8)
    labels[2:6, 2:7, 2:5], labels[2:6, 2:7, 5:7], labels[2:6, 2:7, 7:9] = 1, 2, 3
    node = labelled_segmentation(oriented_image(labels, np.diag([2.0, 2, 2, 1])), None)
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    points = points_of(node.GetClosedSurfaceInternalRepresentation("lv_blood_pool"))
    assert points.min(axis=0) == pytest.approx([3, 3, 3], abs=1.5)
    assert points.max(axis=0) == pytest.approx([9, 13, 11], abs=1.5)


def test_models_on_demand(folders: Folders) -> None:
    heart = HeartScene()
    heart.load_result(folders.result, settings=LoadSettings(models=True, segmentation=False))
    assert heart.segmentation is None
    sizes = []
    for phase in (0, 3):
        heart.phase = phase
        model = now_of(heart.nodes, Role.MODEL, "lv_blood_pool")
        assert model.GetName().startswith("LV blood pool")
        points = points_of(model)
        sizes.append(np.prod(points.max(axis=0) - points.min(axis=0)))
    assert sizes[1] < 0.8 * sizes[0]


def test_parts_are_shown_and_hidden(heart: HeartScene) -> None:
    for part in (Part.PLANES, Part.OUTLINES, Part.SURFACES):
        assert heart.visible(part)
        heart.set_visible(part, False)
        assert not heart.visible(part)
        others = {Part.PLANES, Part.OUTLINES, Part.SURFACES} - {part}
        assert all(heart.visible(other) for other in others)
        heart.set_visible(part, True)
        assert heart.visible(part)


def test_display_survives_a_change_of_phase(heart: HeartScene) -> None:
    heart.set_visible(Part.SURFACES, False)
    display = heart.segmentation.GetDisplayNode()
    display.SetSegmentOpacity3D("lv_myocardium", 0.123)
    heart.phase = 4
    assert heart.segmentation.GetDisplayNode() is display
    assert not heart.visible(Part.SURFACES)
    assert display.GetSegmentOpacity3D("lv_myocardium") == pytest.approx(0.123)


def test_windows_are_fixed_so_that_nothing_flickers(heart: HeartScene) -> None:
    display = now_of(heart.nodes, Role.SLICE_IMAGES, "SA_01").GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    before = display.GetWindow(), display.GetLevel()
    heart.phase = 3
    assert (display.GetWindow(), display.GetLevel()) == before
    assert before[0] > 50


def test_every_plane_shows_its_slice(heart: HeartScene) -> None:
    for plane in heart.nodes.all(Role.SLICE_PLANE):
        volume = now_of(heart.nodes, Role.SLICE_IMAGES, plane.GetAttribute("NISF.slice"))
        texture = plane.GetDisplayNode().GetTextureImageDataConnection()
        assert texture is not None
        texture.GetProducer().Update()
        image = texture.GetProducer().GetOutputDataObject(0)
        assert image.GetDimensions() == volume.GetImageData().GetDimensions()


def test_the_texture_follows_the_phase(heart: HeartScene) -> None:
    plane = heart.nodes.one(Role.SLICE_PLANE, "SA_01")
    producer = plane.GetDisplayNode().GetTextureImageDataConnection().GetProducer()
    pictures = []
    for phase in (0, 3):
        heart.phase = phase
        producer.Update()
        scalars = producer.GetOutputDataObject(0).GetPointData().GetScalars()
        pictures.append(vtk_to_numpy(scalars).copy())
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 20


def test_what_is_painted_stays_with_its_phase(heart: HeartScene) -> None:
    heart.phase = 1
    segmentation = heart.segmentation
    before = labels_of(segmentation).copy()
    painted = slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, "rv_blood_pool")
    painted[0, 0, :5] = 3
    segmentation.GetSegmentation().GetNthSegment(0).Modified()
    segmentation.Modified()
    keep_edits(heart.nodes)
    heart.phase = 4
    assert (labels_of(heart.segmentation)[0, 0, :5] == 0).all()
    heart.phase = 1
    found = labels_of(heart.segmentation)
    assert (found[0, 0, :5] == 3).all()
    found = found.copy()
    found[0, 0, :5] = 0
    assert np.array_equal(found, before)
