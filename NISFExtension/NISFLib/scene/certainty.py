"""How sure the labels are, as a coloured overlay of the slice views."""

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from NISFLib.scene.nodes import Nodes, Role, SceneError
from NISFLib.scene.storage import storage
from NISFLib.scene.views import composites

SURE_PERCENT, UNSURE_PERCENT = 100, 50
COLOR, MAX_OPACITY, OVERLAY_OPACITY = (1.0, 0.75, 0.0), 0.85, 1.0
"""Amber where a label may be wrong, the more opaque the less sure; nothing where it is sure."""


def show(nodes: Nodes, path: Path) -> None:
    """See `HeartScene.show_certainty`."""
    volume = slicer.vtkMRMLScalarVolumeNode()
    with storage(slicer.vtkMRMLVolumeArchetypeStorageNode(), path) as store:
        if not path.is_file() or not store.ReadData(volume):
            raise SceneError(f"{path.name} is missing or damaged; ask for the map again")
    hide(nodes)
    node = nodes.add("vtkMRMLScalarVolumeNode", Role.CERTAINTY, "NISF certainty (%)")
    node.CopyOrientation(volume)
    node.SetAndObserveImageData(volume.GetImageData())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colors(nodes).GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(UNSURE_PERCENT, SURE_PERCENT)
    for composite in composites(nodes):
        composite.SetForegroundVolumeID(node.GetID())
        composite.SetForegroundOpacity(OVERLAY_OPACITY)


def hide(nodes: Nodes) -> None:
    """Take the map and its colours away."""
    for node in nodes.all(Role.CERTAINTY):
        for composite in composites(nodes):
            if composite.GetForegroundVolumeID() == node.GetID():
                composite.SetForegroundVolumeID(None)
    nodes.remove(Role.CERTAINTY, Role.CERTAINTY_COLORS)


def _colors(nodes: Nodes) -> Any:
    """A colour node from opaque (unsure) to nothing (sure)."""
    node = nodes.add("vtkMRMLProceduralColorNode", Role.CERTAINTY_COLORS, "NISF certainty colours")
    function = vtk.vtkDiscretizableColorTransferFunction()
    function.AddRGBPoint(UNSURE_PERCENT, *COLOR)
    function.AddRGBPoint(SURE_PERCENT, *COLOR)
    opacity = vtk.vtkPiecewiseFunction()
    for percent in np.linspace(UNSURE_PERCENT, SURE_PERCENT, 6):
        share = (SURE_PERCENT - percent) / (SURE_PERCENT - UNSURE_PERCENT)
        opacity.AddPoint(float(percent), MAX_OPACITY * float(share))
    function.EnableOpacityMappingOn()
    function.SetScalarOpacityFunction(opacity)
    node.SetAndObserveColorTransferFunction(function)
    return node
