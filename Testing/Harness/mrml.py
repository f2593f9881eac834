"""3D Slicer's scene without Slicer: real MRML, logics and files through slicer-core, no Qt.

`headless_slicer()` gives what an application gives a module: `slicer.mrmlScene`, the logics as
`slicer.modules.<name>.logic()`, colour tables, slice orientations, and the input and output of
scenes. What slicer-core has not, this has not either: `slicer.app`, layouts, loading by dialogs.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

MODULES = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
}
VIEW_NODES = (
    "vtkMRMLSliceNode",
    "vtkMRMLSliceCompositeNode",
    "vtkMRMLViewNode",
    "vtkMRMLCameraNode",
)
NO_SLICER = "slicer-core has no wheel for this Python or platform: the scene cannot be tested here"

_alive: dict[str, Any] = {}
"""Logics must outlive the call that made them, as in the application."""


class _Module:
    """What `slicer.modules.volumes` is, as far as scripts use it without a window."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name, self._logic = name, logic

    def logic(self) -> Any:
        return self._logic


def has_slicer() -> bool:
    """Whether slicer-core is installed."""
    return importlib.util.find_spec("slicer_core") is not None


def headless_slicer() -> ModuleType:
    """The `slicer` module with a scene, made at the first call; skips the test without it."""
    if not has_slicer():
        pytest.skip(NO_SLICER, allow_module_level=True)
    import slicer

    if "application" not in _alive:
        _boot(slicer)
    return slicer


def extension_on_path() -> None:
    """Let `import NISFLib` work, as 3D Slicer does for a module's folder (pytest does it too)."""
    folder = str(Path(__file__).resolve().parents[2] / "NISFExtension")
    if folder not in sys.path:
        sys.path.insert(0, folder)


def clear_scene() -> None:
    """Empty the scene as File > Close Scene does, and take its views out as well: they are
    singletons, which stay in a closed scene, and the next test would find and use them."""
    scene = headless_slicer().mrmlScene
    scene.Clear(0)
    for class_name in VIEW_NODES:
        nodes = scene.GetNodesByClass(class_name)
        for index in range(nodes.GetNumberOfItems()):
            scene.RemoveNode(nodes.GetItemAsObject(index))


@contextmanager
def no_vtk_errors() -> Iterator[None]:
    """Fail if VTK or MRML reported an error within the block: they raise nothing."""
    import vtk

    before, messages = vtk.vtkOutputWindow.GetInstance(), vtk.vtkStringOutputWindow()
    vtk.vtkOutputWindow.SetInstance(messages)
    try:
        yield
    finally:
        vtk.vtkOutputWindow.SetInstance(before)
    errors = [text for text in messages.GetOutput().split("\n\n") if "ERROR" in text]
    if errors:
        raise AssertionError("\n".join(errors))


def application_logic() -> Any:
    """The application logic, to which views are added."""
    headless_slicer()
    return _alive["application"]


def _boot(slicer: Any) -> None:
    import vtk

    scene = slicer.mrmlScene = slicer.vtkMRMLScene()
    application = _alive["application"] = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    application.GetColorLogic().AddDefaultColorNodes()
    # as Slicer's own module of colours does, which wants to find an installed Slicer
    scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slicer.modules = SimpleNamespace()
    for name, logic_class in MODULES.items():
        _register(slicer, name, getattr(slicer, logic_class)())
    _start_input_and_output(slicer)


def _register(slicer: Any, name: str, logic: Any) -> None:
    application = _alive["application"]
    logic.SetMRMLScene(slicer.mrmlScene)
    if hasattr(logic, "SetMRMLApplicationLogic"):
        logic.SetMRMLApplicationLogic(application)
    application.SetModuleLogic(name, logic)
    setattr(slicer.modules, name.lower(), _Module(name, logic))


def _start_input_and_output(slicer: Any) -> None:
    """Without these, `.mrb` and `.seq.mrb` can neither be written nor read."""
    cache = _alive["cache"] = tempfile.TemporaryDirectory(prefix="nisf-slicer-cache-")
    remote = _alive["remote"] = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(slicer.mrmlScene)
    remote.SetMRMLApplicationLogic(_alive["application"])
    remote.GetCacheManager().SetRemoteCacheDirectory(cache.name)
    data = _alive["data"] = slicer.vtkDataIOManagerLogic()
    data.SetMRMLScene(slicer.mrmlScene)
    data.SetMRMLApplicationLogic(_alive["application"])
    data.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
