"""A 3D Slicer application without Slicer: the real scene, PySide6, and stand-ins around them.

`start()` gives `slicer.app`, `slicer.qMRMLWidget` and the module machinery; `open_module()` does
what the application does when the user selects a module. What is not here does not exist: layouts,
slice widgets, DICOM, the module manager's discovery, the Extensions Manager.
"""

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore

from Testing.Harness.mrml import application_logic, headless_slicer
from Testing.Harness.pythonqt import pythonqt_class
from Testing.Harness.qt_modules import QWidget, install_qt
from Testing.Harness.slicer_python import Packaging, install_slicer_python

_started: dict[str, Any] = {}


class qMRMLWidget(QWidget):
    """A widget that passes a scene to those connected to it in the .ui file."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


class ModuleWidget(qMRMLWidget):
    """What holds the widgets of a module, and knows whether the user is in the module."""

    is_entered = False
    isEntered = QtCore.Property(bool, lambda self: self.is_entered)


class Application(pythonqt_class(QtCore.QObject)):  # type: ignore[misc]
    """`slicer.app`."""

    startupCompleted = QtCore.Signal()

    applicationName = "Slicer"
    temporaryPath = cachePath = ""
    testing = True

    def __init__(self, qt_application: Any, temporary: Path) -> None:
        super().__init__()
        self._qt = qt_application
        self.temporaryPath = str(temporary)
        self.cachePath = str(temporary / "cache")

    def processEvents(self) -> None:
        self._qt.processEvents()

    def testingEnabled(self) -> bool:
        return self.testing

    def applicationLogic(self) -> Any:
        return application_logic()

    def layoutManager(self) -> None:
        """None, as in a Slicer without a main window."""


def start() -> Any:
    """The `slicer` module of a running application; the same at every call."""
    slicer: Any = headless_slicer()
    if "app" not in _started:
        temporary = tempfile.TemporaryDirectory(prefix="nisf-slicer-app-")
        _started["temporary"] = temporary
        _started["packaging"] = install_slicer_python(slicer)
        _started["app"] = slicer.app = Application(install_qt(), Path(temporary.name))
        slicer.qMRMLWidget = qMRMLWidget
    return slicer


def packaging() -> Packaging:
    """What the module asked Slicer's installer for."""
    found: Packaging = _started["packaging"]
    return found


def open_module(path: Path) -> Any:
    """Import a scripted module and set up its widget, as when the user selects it."""
    slicer = start()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = importlib.import_module(name)
    parent = SimpleNamespace(path=str(path), name=name)
    getattr(module, name)(parent)
    setattr(slicer.modules, name.lower(), SimpleNamespace(path=str(path), name=name))
    qt = sys.modules["qt"]
    container = ModuleWidget()
    container.setLayout(qt.QVBoxLayout())
    container.setMRMLScene(slicer.mrmlScene)
    widget = getattr(module, f"{name}Widget")(container)
    widget.setup()
    container.is_entered = True
    widget.enter()
    return widget
