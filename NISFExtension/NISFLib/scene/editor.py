"""Slicer's Segment Editor: which segmentation it edits, and on which image."""

from typing import Any

import slicer

TAG = "SegmentEditor"
"""Of the node by which the module keeps what it edits."""


def refer(segmentation: Any, image: Any) -> None:
    """Say on which image a segmentation is painted: whenever the Segment Editor turns to another
    segmentation, it chooses that image, and without one nothing can be painted."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    segmentation.SetNodeReferenceID(role, None if image is None else image.GetID())


def edit(scene: Any, segmentation: Any, image: Any) -> bool:
    """Choose a segmentation and the image that it is painted on. False where this Slicer has no
    Segment Editor (slicer-core)."""
    editor = _editor(scene)
    if editor is None:
        return False
    refer(segmentation, image)
    editor.SetAndObserveSegmentationNode(segmentation)
    editor.SetAndObserveSourceVolumeNode(image)
    return True


def _editor(scene: Any) -> Any:
    """The node of the Segment Editor, made if there is none yet; None where there cannot be one."""
    kind = "vtkMRMLSegmentEditorNode"
    editor = scene.GetSingletonNode(TAG, kind)
    if editor is not None:
        return editor
    made = scene.CreateNodeByClass(kind)
    if made is None:
        return None
    made.UnRegister(None)
    made.SetSingletonTag(TAG)
    return scene.AddNode(made)
