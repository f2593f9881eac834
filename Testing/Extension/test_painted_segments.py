"""Segmentations as 3D Slicer itself stores what was painted on a slice, read as guidance."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NISFCore.data.guidance import read_guidance
from NISFCore.data.label_files import LabelFile
from NISFCore.views import View
from Testing.Core.generators.labelled_heart import heart_study, truth
from Testing.Harness.mrml import has_slicer, headless_slicer, no_vtk_errors

pytestmark = pytest.mark.skipif(not has_slicer(), reason="slicer-core is not installed")

STUDY = heart_study()
LA = STUDY.of_view(View.LA_4CH)[0]
VORHOF = "Vorhof ä"


def save_segments(path: Path, segments: dict[str, np.ndarray]) -> None:
    """Masks `(rows, cols)` on the LA slice as segments, each in an image of its own as the Segment
    Editor leaves them, stored by 3D Slicer's own writer."""
    slicer = headless_slicer()
    from NISFLib.scene.images import oriented_image

    scene: Any = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    for name, mask in segments.items():
        segment = slicer.vtkSegment()
        segment.SetName(name)
        image = oriented_image(mask[None].astype(np.uint8), LA.ras_from_ijk)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    storage.SetFileName(str(path))
    with no_vtk_errors():
        assert storage.WriteData(node)


def test_strokes_on_an_oblique_slice(tmp_path: Path) -> None:
    labels = truth(LA)
    rng = np.random.default_rng(3)
    stroke = rng.random(LA.shape) < 0.2
    outside = (labels == 0) & stroke
    outside[:5] = False  # 3D Slicer stores the painted part of the slice only
    atrium = np.zeros(LA.shape, dtype=bool)
    atrium[20:30, 10:50] = True  # overlaps the others: a second layer
    path = tmp_path / "Früh stück.seg.nrrd"
    segments = {
        "LV": (labels == 1) & stroke,
        "LV myocardium": (labels == 2) & stroke,
        VORHOF: atrium,
        "RV": (labels == 3) & stroke,
        "background": outside,
    }
    save_segments(path, segments)
    guidance = read_guidance(STUDY, [LabelFile(path, 2)])
    (entry,) = guidance.entries
    assert (entry.slice_name, entry.phase) == ("LA_4CH", 2)
    np.testing.assert_array_equal(entry.known, (labels > 0) & stroke | outside)
    np.testing.assert_array_equal(
        entry.probabilities.argmax(axis=-1)[entry.known], labels[entry.known]
    )
    assert guidance.warnings == (
        f"Früh stück.seg.nrrd: segment(s) {VORHOF!r} mean no label here and are left out",
    )
