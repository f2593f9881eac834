"""The reconstructed heart in the scene: intensity, label maps, segmentation, models; all sequences.

Closed surfaces are part of every phase of the segmentation before it enters its sequence: made
later they would be lost at the next phase. They are the smooth surfaces of the export where it has
them, else 3D Slicer makes them of the labels.
"""

from collections.abc import Callable
from typing import Any

import slicer

from NISFCore.labels import FOREGROUND, LABEL_INFO, Label, LabelInfo
from NISFLib.scene import editor
from NISFLib.scene.cycle import add_sequence, drive, now_of
from NISFLib.scene.folders import ResultFolder
from NISFLib.scene.images import Phases, array_of_image, oriented_image, read_surface
from NISFLib.scene.nodes import SLICE, Nodes, Role, vtk_matrix

SEGMENTATION_NAME, INTENSITY_NAME, LABELS_NAME = "Heart", "Heart intensity", "Heart labels"
OPACITY_3D = {Label.LV_BLOOD_POOL: 1.0, Label.LV_MYOCARDIUM: 0.35, Label.RV_BLOOD_POOL: 0.6}
LINE_WIDTH = 3
INTENSITY_WINDOW = (0.0, 1000.0)
"""From black to the study's reference brightness (`intensity_unit` of the manifest)."""

Surfaces = dict[Label, Any]
"""Label → vtkPolyData in RAS."""


def rgb(info: LabelInfo) -> tuple[float, float, float]:
    """A label's colour in 0..1."""
    r, g, b = info.rgb
    return r / 255, g / 255, b / 255


def labelled_segmentation(image: Any, surfaces: Surfaces | None) -> Any:
    """A segmentation node, outside any scene, with all segments in one shared label map.

    Args:
        image: vtkOrientedImageData of label values.
        surfaces: closed surfaces, labels without one get none; None lets 3D Slicer make them all
            of the labels.
    """
    node = slicer.vtkMRMLSegmentationNode()
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(_labelmap_name())
    for label in FOREGROUND:
        segment = _segment(LABEL_INFO[label])
        segment.AddRepresentation(_labelmap_name(), image)
        if surfaces is not None and label in surfaces:
            segment.AddRepresentation(_surface_name(), surfaces[label])
        segmentation.AddSegment(segment, LABEL_INFO[label].key)
    _set_reference_geometry(segmentation, image)
    if surfaces is None:
        node.CreateClosedSurfaceRepresentation()
    return node


def _segment(info: LabelInfo) -> Any:
    segment = slicer.vtkSegment()
    segment.SetName(info.name)
    segment.SetColor(*rgb(info))
    segment.SetLabelValue(int(info.label))
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), info.terminology_entry)
    return segment


def _set_reference_geometry(segmentation: Any, image: Any) -> None:
    """The whole grid: without it a file is read back cropped to the segments."""
    converter = slicer.vtkSegmentationConverter
    text = converter.SerializeImageGeometry(image)
    segmentation.SetConversionParameter(converter.GetReferenceImageGeometryParameterName(), text)


def _labelmap_name() -> str:
    return str(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())


def _surface_name() -> str:
    return str(slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName())


def label_volume(segmentation: Any) -> Any:
    """The segments as one label-map volume on the heart's grid, outside any scene. Where segments
    overlap after editing, the later one wins."""
    merged = slicer.vtkOrientedImageData()
    names = slicer.vtkSegmentationConverter
    core = segmentation.GetSegmentation()
    geometry = core.GetConversionParameter(names.GetReferenceImageGeometryParameterName())
    reference = slicer.vtkOrientedImageData()
    names.DeserializeImageGeometry(geometry, reference, False)
    segmentation.GenerateMergedLabelmapForAllSegments(
        merged, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY, reference
    )
    volume = slicer.vtkMRMLLabelMapVolumeNode()
    slicer.modules.segmentations.logic().CreateLabelmapVolumeFromOrientedImageData(merged, volume)
    return volume


def read_surfaces(folder: ResultFolder, k: int) -> Surfaces | None:
    """The surfaces of the k-th exported phase, None if they were not exported."""
    if not folder.has_surfaces:
        return None
    return {label: read_surface(folder.surface_path(label, k)) for label in FOREGROUND}


def add_segmentation(
    nodes: Nodes,
    labels: Phases,
    surfaces: Callable[[int], Surfaces | None],
    tick: Callable[[], None] = lambda: None,
) -> Any:
    """Add the segmentation sequence; returns its current-phase node.

    Args:
        surfaces: of phase k, see `labelled_segmentation`.
        tick: called before every phase.
    """

    def phase(k: int) -> Any:
        tick()
        return phase_segmentation(labels, k, surfaces(k))

    sequence = add_sequence(
        nodes, Role.SEGMENTATION, SEGMENTATION_NAME, labels.cycle_fractions, phase
    )
    drive(nodes, sequence)
    now = now_of(nodes, Role.SEGMENTATION)
    now.CreateDefaultDisplayNodes()
    _style_segmentation(now.GetDisplayNode())
    return now


def phase_segmentation(labels: Phases, k: int, surfaces: Surfaces | None) -> Any:
    """The segmentation of the k-th phase of label images, see `labelled_segmentation`."""
    image = oriented_image(array_of_image(labels.images[k]), labels.ras_from_ijk)
    return labelled_segmentation(image, surfaces)


def phase_volume(phases: Phases, k: int, node_class: Callable[[], Any]) -> Any:
    """The k-th phase of images as a volume node, outside any scene."""
    node = node_class()
    node.SetIJKToRASMatrix(vtk_matrix(phases.ras_from_ijk))
    node.SetAndObserveImageData(phases.images[k])
    return node


def _style_segmentation(display: Any) -> None:
    display.SetVisibility2DFill(False)
    # myocardium and blood pool share a wall: without its back faces one of the two is left there
    display.SetBackfaceCulling(True)
    display.SetSliceIntersectionThickness(LINE_WIDTH)
    display.SetPreferredDisplayRepresentationName3D(_surface_name())
    display.SetPreferredDisplayRepresentationName2D(_surface_name())
    for label, opacity in OPACITY_3D.items():
        display.SetSegmentOpacity3D(LABEL_INFO[label].key, opacity)


def add_intensity(nodes: Nodes, intensity: Phases) -> Any:
    """Add the super-resolved image sequence; returns its current-phase node."""
    now = _add_volumes(
        nodes, Role.INTENSITY, INTENSITY_NAME, intensity, slicer.vtkMRMLScalarVolumeNode
    )
    now.CreateDefaultDisplayNodes()
    now.GetDisplayNode().SetAutoWindowLevel(False)
    now.GetDisplayNode().SetWindowLevelMinMax(*INTENSITY_WINDOW)
    return now


def add_labels(nodes: Nodes, labels: Phases) -> Any:
    """Add the label-map sequence; returns its current-phase node."""
    now = _add_volumes(nodes, Role.LABELS, LABELS_NAME, labels, slicer.vtkMRMLLabelMapVolumeNode)
    now.CreateDefaultDisplayNodes()
    return now


def _add_volumes(
    nodes: Nodes, role: Role, name: str, phases: Phases, node_class: Callable[[], Any]
) -> Any:
    sequence = add_sequence(
        nodes,
        role,
        name,
        phases.cycle_fractions,
        lambda k: phase_volume(phases, k, node_class),
    )
    drive(nodes, sequence)
    return now_of(nodes, role)


def add_models(nodes: Nodes, folder: ResultFolder, tick: Callable[[], None] = lambda: None) -> None:
    """Add one model sequence per label, hidden: the segmentation shows the same surfaces."""
    for label in FOREGROUND:
        info = LABEL_INFO[label]

        def model(k: int, label: Label = label) -> Any:
            tick()
            node = slicer.vtkMRMLModelNode()
            node.SetAndObservePolyData(read_surface(folder.surface_path(label, k)))
            return node

        fractions = folder.cycle_fractions
        sequence = add_sequence(nodes, Role.MODEL, info.name, fractions, model, info.key)
        drive(nodes, sequence)
        now = now_of(nodes, Role.MODEL, sequence.GetAttribute(SLICE))
        now.CreateDefaultDisplayNodes()
        display = now.GetDisplayNode()
        display.SetColor(*rgb(info))
        display.SetOpacity(OPACITY_3D[label])
        display.SetVisibility(False)


def edit_segmentation(nodes: Nodes) -> bool:
    """Give the segmentation of the current phase to the Segment Editor, with the super-resolved
    image where there is one; False where there is no editor, or nothing to edit."""
    node, image = now_of(nodes, Role.SEGMENTATION), now_of(nodes, Role.INTENSITY)
    return node is not None and editor.edit(nodes.scene, node, image)
