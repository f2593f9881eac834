"""NISF in 3D Slicer: click "Fit subject", scrub the heart, annotate in 3D.

This file is what Slicer looks for; what the module does is in NISFLib.
"""

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if sys.version_info < (3, 10):  # noqa: UP036 - Slicer's until 5.8; what follows cannot be read by it
    raise ImportError("NISF needs 3D Slicer 5.12 or later")

sys.path[:0] = [p for p in (str(Path(__file__).resolve().parent),) if p not in sys.path]

from NISFLib.core_path import make_core_importable

make_core_importable()

from NISFLib.panel.panel import Panel
from NISFLib.parameters import NISFParameters
from NISFLib.sample_data import register_sample_data


class NISF(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent: object) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NISF")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["Sequences", "Segmentations", "Volumes", "Models", "Plots"]
        self.parent.contributors = ["NISF for 3D Slicer contributors"]
        self.parent.helpText = _(
            "Aligns the slices of a cardiac cine MR study and reconstructs the beating heart from "
            "them: slice motion correction, super-resolved 4D labels and images, volumes. "
            "Research use only, not a medical device."
        )
        self.parent.acknowledgementText = _(
            "An independent implementation of NISF++ (Stolt-Ansó et al., MIDL 2026)."
        )
        register_sample_data(self.resourcePath("Icons/NISF.png"))


class NISFLogic(ScriptedLoadableModuleLogic):
    """The parameter node; what the module does is in NISFLib.controller."""

    def getParameterNode(self) -> NISFParameters:
        return NISFParameters(super().getParameterNode())  # type: ignore[call-arg]


class NISFWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel and the scene's events."""

    logic: NISFLogic
    panel: Panel

    def __init__(self, parent: object = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/NISF.ui"))
        widget.setMRMLScene(slicer.mrmlScene)
        self.layout.addWidget(widget)
        self.uiWidget = widget
        self.logic = NISFLogic()
        self.panel = Panel(slicer.util.childWidgetVariables(widget))
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodesChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodesChanged)
        self._useParameterNode()
        self.panel.scene_restored()

    def cleanup(self) -> None:
        """The module goes."""
        self.removeObservers()
        if hasattr(self, "panel"):  # not if its setup failed
            self.panel.set_parameters(None)
            self.panel.close()

    def enter(self) -> None:
        """The user comes to the module."""
        self._useParameterNode()
        self.panel.scene_restored()

    def exit(self) -> None:
        """The user goes to another module; what runs goes on."""

    def onSceneStartClose(self, caller: object = None, event: object = None) -> None:
        self.panel.set_parameters(None)

    def onSceneEndClose(self, caller: object = None, event: object = None) -> None:
        self._useParameterNode()
        self.panel.scene_closed()

    def onSceneEndImport(self, caller: object = None, event: object = None) -> None:
        self._useParameterNode()
        self.panel.scene_restored()

    def onNodesChanged(self, caller: object = None, event: object = None) -> None:
        # of a panel that is not shown nobody sees anything, and `enter` shows it all
        is_shown = getattr(self.parent, "isEntered", True)  # a panel in no module always is
        if is_shown and not slicer.mrmlScene.IsBatchProcessing():
            self.panel.nodes_changed()

    def _useParameterNode(self) -> None:
        self.panel.set_parameters(self.logic.getParameterNode())


class NISFTest(ScriptedLoadableModuleTest):
    """What only a running Slicer can prove. Not run in this repository's tests."""

    def runTest(self) -> None:
        from NISFLib.self_test import run_self_test

        slicer.mrmlScene.Clear()
        run_self_test(self)
