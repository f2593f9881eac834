"""What is drawn on slices: where it lies, that nothing but the user changes it, and how it is
written and read as guidance."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NISFCore.data.guidance import read_guidance
from NISFCore.data.label_files import LabelFile
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFLib.scene import HeartScene, SceneError, edit_segmentation, save_bundle
from NISFLib.scene.annotations import labels_of_annotation
from NISFLib.scene.images import oriented_image
from NISFLib.scene.nodes import ROLE, SLICE, Role
from NISFLib.scene.slice_labels import interpolated_labels
from Testing.Extension.scene.folders import Folders

LA = "LA_4CH"


def paint(node: Any, mask: np.ndarray, segment: str = "lv_blood_pool") -> None:
    """Set a segment's pixels `(rows, cols)` in the slice's geometry, as an effect of the Segment
    Editor does."""
    import slicer

    shared = node.GetBinaryLabelmapInternalRepresentation(segment)
    import vtk

    matrix = vtk.vtkMatrix4x4()
    shared.GetImageToWorldMatrix(matrix)
    A = slicer.util.arrayFromVTKMatrix(matrix)
    image = oriented_image(mask[None].astype(np.uint8), A)
    kind = slicer.vtkSlicerSegmentationsModuleLogic
    mode = kind.MODE_REPLACE
    extent = image.GetExtent()
    assert kind.SetBinaryLabelmapToSegment(image, node, segment, mode, extent)


def one_slice(heart: HeartScene) -> str:
    """A slice with other phases than the heart."""
    return heart.slices[0].name


def disc(shape: tuple[int, int], radius: float) -> np.ndarray:
    r, c = np.indices(shape)
    return np.hypot(r - shape[0] / 2, c - shape[1] / 2) < radius


def n_drawn(heart: HeartScene) -> int:
    return len(heart.annotations)


def shape_of(folders: Folders, name: str) -> tuple[int, int]:
    return next(s for s in folders.full.slices if s.name == name).shape


def test_it_begins_with_the_labels_of_the_fit(heart: HeartScene, folders: Folders) -> None:
    """In the slice's own pixels, where the fit put the slice: compared with the heart itself."""
    for name in (one_slice(heart), heart.slices[-1].name):
        heart.phase = 1
        node = heart.annotate(name)
        labels = labels_of_annotation(node)[0]
        cine = next(s for s in folders.full.slices if s.name == name)
        index = [s.name for s in folders.fitted.study.slices].index(name)
        motion = folders.fitted.slice_motions[index]
        points = apply_affine(motion, pixel_centres_ras(cine.ras_from_ijk, cine.shape))
        t = heart.cycle_fractions[1]
        truth = folders.fitted.field.evaluate(points.reshape(-1, 3), t).labels.reshape(cine.shape)
        assert labels.shape == cine.shape
        # half a voxel of 6 mm at the borders
        overlap = 2 * ((labels > 0) & (truth > 0)).sum() / ((labels > 0).sum() + (truth > 0).sum())
        assert overlap > 0.9
        assert (labels == truth).mean() > 0.9


def test_interpolated_labels_lie_between_voxels() -> None:
    labels = np.zeros((3, 3, 4), dtype=np.uint8)
    labels[:, :, 2:] = 2
    ijk = np.array([[1.4, 1.0, 1.0], [1.6, 1.0, 1.0], [3.0, 2.0, 2.0], [9.0, 0.0, 0.0]])
    np.testing.assert_array_equal(interpolated_labels(labels, ijk), [0, 2, 2, 0])


def test_what_is_written_is_read_at_its_slice_and_frame(
    heart: HeartScene, folders: Folders, tmp_path: Path
) -> None:
    """Also while slices are shown aligned: files hold what was scanned."""
    name = heart.slices[-1].name
    heart.phase, heart.alignment = 2, 1.0
    node = heart.annotate(name, from_fit=False)
    mask = disc(shape_of(folders, name), 6.0)
    paint(node, mask)
    (written,) = heart.write_annotations(tmp_path / "ä ö")
    assert (written.slice_name, written.complete) == (name, True)
    cine = next(s for s in folders.full.slices if s.name == name)
    gap = np.abs(cine.cycle_fractions - heart.cycle_fractions[2]) % 1
    assert written.frame == int(np.argmin(np.minimum(gap, 1 - gap)))
    file = LabelFile(written.path, written.frame, True, name)
    (entry,) = read_guidance(folders.full, [file]).entries
    assert (entry.slice_name, entry.phase) == (name, written.frame)
    np.testing.assert_array_equal(entry.probabilities[..., 1] > 0.5, mask)
    assert entry.known.all()


def test_partial_annotations_say_only_what_is_painted(
    heart: HeartScene, folders: Folders, tmp_path: Path
) -> None:
    name = one_slice(heart)
    node = heart.annotate(name, from_fit=False, complete=False)
    shape = shape_of(folders, name)
    inner, outer = disc(shape, 5.0), ~disc(shape, 12.0)
    paint(node, inner)
    paint(node, outer, "background")
    (written,) = heart.write_annotations(tmp_path)
    assert not written.complete
    file = LabelFile(written.path, written.frame, written.complete, name)
    (entry,) = read_guidance(folders.full, [file]).entries
    np.testing.assert_array_equal(entry.known, inner | outer)
    np.testing.assert_array_equal(entry.probabilities[..., 0] > 0.5, outer)


def test_one_annotation_per_frame(heart: HeartScene) -> None:
    name = one_slice(heart)
    heart.phase = 0
    first = heart.annotate(name)
    assert heart.annotate(name) is first
    heart.phase = 2
    assert heart.annotate(name) is not first
    assert len(heart.annotations) == 2
    assert first.GetDisplayNode().GetVisibility() == 0  # of another frame than is shown
    heart.phase = heart.phase_of_frame(name, heart.annotations[0].frame)
    heart.follow_annotations()
    assert first.GetDisplayNode().GetVisibility() == 1


def test_the_table_tells_what_is_used(heart: HeartScene, tmp_path: Path) -> None:
    name = one_slice(heart)
    heart.annotate(name, from_fit=False)
    (item,) = heart.annotations
    assert item.problem == "nothing is painted" and not item.is_used
    assert heart.write_annotations(tmp_path) == []
    heart.remove_annotation(item.node_id)
    assert n_drawn(heart) == 0
    node = heart.annotate(name)
    (item,) = heart.annotations
    assert item.is_used and item.included and item.complete and item.origin == "fit"
    assert item.n_frames == heart.slices[0].n_phases
    heart.include_annotation(item.node_id, False)
    heart.complete_annotation(item.node_id, False)
    (item,) = heart.annotations
    assert not item.is_used and not item.complete
    assert heart.write_annotations(tmp_path) == []
    with pytest.raises(SceneError, match="not in the scene"):
        heart.remove_annotation("vtkMRMLSegmentationNode999")
    assert node.GetID() == item.node_id


def test_a_change_of_what_is_painted_is_noted(
    heart: HeartScene, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from NISFLib.scene import annotations

    name = one_slice(heart)
    node = heart.annotate(name)
    before = heart.annotations[0].changed
    assert len(before) == len("2026-01-31 12:34")
    real = annotations._stamp
    monkeypatch.setattr(annotations, "_stamp", lambda n: real(n) | {"changed": "later"})
    heart.write_annotations(tmp_path)
    assert heart.annotations[0].changed == before
    paint(node, disc(shape_of(folders, name), 4.0))
    heart.write_annotations(tmp_path)
    assert heart.annotations[0].changed == "later"


def test_it_moves_with_its_slice(heart: HeartScene) -> None:
    node = heart.annotate(heart.slices[-1].name)
    transform = node.GetParentTransformNode()
    assert transform is not None and transform.GetAttribute(SLICE) == heart.slices[-1].name


def test_no_load_changes_what_was_drawn(heart: HeartScene, folders: Folders) -> None:
    name = heart.slices[-1].name
    node = heart.annotate(name, from_fit=False)
    paint(node, disc(shape_of(folders, name), 5.0))
    before = labels_of_annotation(node).copy()
    heart.load_study(folders.study)
    heart.load_result(folders.result, study=folders.study)
    heart.update_result(folders.result)
    (item,) = heart.annotations
    assert item.is_used
    assert heart.annotation_node(item.node_id) is node
    np.testing.assert_array_equal(labels_of_annotation(node), before)
    assert node.GetParentTransformNode() is not None
    heart.remove()
    (item,) = heart.annotations
    assert item.problem == "its slice is not in the scene" and not item.is_used
    assert node.GetParentTransformNode() is None


def test_it_is_saved_with_the_scene(
    heart: HeartScene, folders: Folders, tmp_path: Path, scene: Any
) -> None:
    name = heart.slices[-1].name
    heart.phase = 1
    node = heart.annotate(name, from_fit=False, complete=False)
    paint(node, disc(shape_of(folders, name), 5.0))
    before = labels_of_annotation(node).copy()
    heart.include_annotation(heart.annotations[0].node_id, False)
    (item,) = heart.annotations
    bundle = save_bundle(heart, tmp_path / "drawn ä.mrb")
    scene.Clear(0)
    assert n_drawn(heart) == 0
    assert scene.ReadFromMRB(str(bundle), False)
    heart.restore()
    (again,) = heart.annotations
    same = ("slice_name", "frame", "n_frames", "origin", "changed", "included", "complete")
    assert [getattr(again, key) for key in same] == [getattr(item, key) for key in same]
    restored = heart.annotation_node(again.node_id)
    np.testing.assert_array_equal(labels_of_annotation(restored), before)
    assert restored.GetParentTransformNode() is not None


def test_the_segment_editor_gets_the_node_and_its_image(heart: HeartScene) -> None:
    node = heart.annotate(one_slice(heart))
    if not heart.edit_annotation(node):
        pytest.skip("this slicer-core has no vtkMRMLSegmentEditorNode")
    editor = heart.nodes.scene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert editor.GetSegmentationNode() is node
    assert editor.GetSourceVolumeNode().GetAttribute(SLICE) == one_slice(heart)
    assert edit_segmentation(heart.nodes)
    assert editor.GetSegmentationNode() is heart.segmentation
    assert editor.GetSourceVolumeNode().GetAttribute(ROLE) == Role.INTENSITY_NOW.value


def test_the_segment_editor_finds_the_image_of_an_annotation(
    heart: HeartScene, folders: Folders
) -> None:
    """The editor takes this image whenever it turns to the segmentation, and none if there is
    none: then nothing can be painted."""
    name = one_slice(heart)
    node = heart.annotate(name)
    role = node.GetReferenceImageGeometryReferenceRole()
    geometry = node.GetSegmentation().GetConversionParameter("Reference image geometry")
    assert geometry
    for _ in range(2):
        image = node.GetNodeReference(role)
        assert image.GetAttribute(SLICE) == name and image.GetImageData() is not None
        heart.load_result(folders.result, folders.study)  # all images are others now
    assert node.GetSegmentation().GetConversionParameter("Reference image geometry") == geometry
    heart.remove()
    assert node.GetNodeReference(role) is None


def test_wrong_wishes(folders: Folders) -> None:
    heart = HeartScene()
    with pytest.raises(SceneError, match="read the study first"):
        heart.annotate("SA_01")
    heart.load_study(folders.study)
    with pytest.raises(SceneError, match="no fit to begin with"):
        heart.annotate(heart.slices[0].name)
    assert heart.annotations == ()
    heart.annotate(heart.slices[0].name, from_fit=False)
    assert len(heart.annotations) == 1
