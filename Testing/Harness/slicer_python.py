"""Stand-ins for the Python files of 3D Slicer that slicer-core has not, hand-written and small.

`slicer.ScriptedLoadableModule`, `slicer.parameterNodeWrapper`, `slicer.i18n`, `slicer.packaging`
and `SampleData`: only what the NISF module uses exists. The parameter node is a real
vtkMRMLScriptedModuleNode, so that what is stored is stored in the scene.
"""

import sys
import typing
import unittest
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def resourcePath(self, name: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / name)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.layout = parent.layout()
        self.moduleName = type(self).__name__.removesuffix("Widget")

    def resourcePath(self, name: str) -> str:
        import slicer

        path = getattr(slicer.modules, self.moduleName.lower()).path
        return str(Path(path).parent / "Resources" / name)

    def setup(self) -> None:
        """The developer's section of a real Slicer is not here."""

    def cleanup(self) -> None:
        """Overridden by modules."""


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        import slicer

        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(self.moduleName)
            node.SetName(self.moduleName)
            node = scene.AddNode(node)
        node.SetAttribute("ModuleName", self.moduleName)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The self test itself runs only in a real Slicer."""


class WithinRange:
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: float) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"got {value}, allowed: {self.minimum} to {self.maximum}")


def parameterNodeWrapper(cls: type) -> Any:
    """Turn annotated class attributes into typed parameters of a parameter node."""
    hints = typing.get_type_hints(cls, include_extras=True)
    defaults = {name: getattr(cls, name) for name in hints}
    namespace: dict[str, Any] = {name: _parameter(name, hint) for name, hint in hints.items()}
    return type(cls.__name__, (_Wrapper,), {**namespace, "_hints": hints, "_defaults": defaults})


def _parameter(name: str, hint: Any) -> property:
    return property(
        lambda self: _read(self.parameterNode.GetParameter(name), hint),
        lambda self, value: self._write(name, value),
    )


def _plain(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _read(text: str, hint: Any) -> Any:
    kind = _plain(hint)
    if issubclass(kind, Enum):
        return kind[text]
    return text == "True" if kind is bool else kind(text)


def _text(value: Any, hint: Any) -> str:
    kind = _plain(hint)
    if type(value) is not kind:
        raise TypeError(f"got {value!r}, expected {kind.__name__}")
    for annotation in typing.get_args(hint)[1:]:
        annotation.validate(value)
    return value.name if isinstance(value, Enum) else str(value)


class _Wrapper:
    """What a class becomes; see `parameterNodeWrapper`."""

    _hints: dict[str, Any]
    _defaults: dict[str, Any]

    def __init__(self, node: Any) -> None:
        self.parameterNode = node
        self._guis: dict[int, dict[str, Any]] = {}
        self._is_updating = False
        self._observers: dict[int, int] = {}
        for name, default in self._defaults.items():
            if not node.GetParameter(name):
                self._write(name, default)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name != "parameterNode" and name not in self._hints:
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}")
        super().__setattr__(name, value)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, ui: Any) -> int:
        """Connect all widgets that carry a SlicerParameterName, both ways."""
        import vtk

        found = {w.property("SlicerParameterName"): w for w in vars(ui).values()}
        found.pop(None, None)
        unknown = sorted(set(found) - set(self._hints))
        if unknown:
            raise ValueError(f"no parameters {unknown}")
        connectors = {n: _Connector(w, self._hints[n]) for n, w in found.items()}
        tag = len(self._guis)
        self._guis[tag] = connectors
        for name, connector in connectors.items():
            connector.write(getattr(self, name))
            connector.listen(lambda name=name, c=connector: self._from_gui(name, c))
        self._observers[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._to_gui)
        return tag

    def disconnectGui(self, tag: int) -> None:
        for connector in self._guis.pop(tag).values():
            connector.stop()
        self.RemoveObserver(self._observers.pop(tag))

    def _write(self, name: str, value: Any) -> None:
        self.parameterNode.SetParameter(name, _text(value, self._hints[name]))

    def _from_gui(self, name: str, connector: "_Connector") -> None:
        if not self._is_updating:
            self._write(name, connector.read())

    def _to_gui(self, caller: Any = None, event: Any = None) -> None:
        if self._is_updating:
            return
        self._is_updating = True
        try:
            for connectors in self._guis.values():
                for name, connector in connectors.items():
                    connector.write(getattr(self, name))
        finally:
            self._is_updating = False


SUPPORTED = {
    ("QCheckBox", bool): ("checked", "stateChanged(int)"),
    ("QSpinBox", int): ("value", "valueChanged(int)"),
    ("QDoubleSpinBox", float): ("value", "valueChanged(double)"),
    ("ctkSliderWidget", float): ("value", "valueChanged(double)"),
    ("QLineEdit", str): ("text", "textChanged(QString)"),
}
"""(widget class, type) -> property and signal: pairs that Slicer's own connectors know."""


class _Connector:
    def __init__(self, widget: Any, hint: Any) -> None:
        self.widget, self._kind = widget, _plain(hint)
        self._slot: Any = None
        if issubclass(self._kind, Enum):
            self._use_combo_box()
            return
        key = (type(widget).__name__, self._kind)
        if key not in SUPPORTED:
            raise RuntimeError(f"Slicer has no connector for {key}")
        self._property, self._signal = SUPPORTED[key]
        for annotation in typing.get_args(hint)[1:]:
            widget.minimum, widget.maximum = annotation.minimum, annotation.maximum

    def _use_combo_box(self) -> None:
        if type(self.widget).__name__ != "QComboBox":
            raise RuntimeError(f"Slicer connects {self._kind.__name__} to a QComboBox only")
        self._property, self._signal = "currentIndex", "currentIndexChanged(int)"
        self.widget.clear()
        for member in self._kind:
            self.widget.addItem(member.label())

    def read(self) -> Any:
        value = getattr(self.widget, self._property)
        return list(self._kind)[value] if issubclass(self._kind, Enum) else self._kind(value)

    def write(self, value: Any) -> None:
        if issubclass(self._kind, Enum):
            value = list(self._kind).index(value)
        setattr(self.widget, self._property, value)

    def listen(self, slot: Any) -> None:
        self._slot = lambda *_: slot()
        self.widget.connect(self._signal, self._slot)

    def stop(self) -> None:
        self.widget.disconnect(self._signal, self._slot)


class Packaging:
    """`slicer.packaging`, which here installs nothing and tells what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.error: Exception | None = None

    def pip_ensure(
        self, requirements: Any, constraints: Any, prompt_install: bool, requester: str
    ) -> None:
        text = Path(constraints).read_text(encoding="utf-8")
        names = [str(r) for r in requirements]
        self.asked.append({"requirements": names, "constraints": text, "prompt": prompt_install})
        if self.error is not None:
            raise self.error


class SampleDataLogic:
    """Of the module Sample Data: its sources by category, which it shows as buttons."""

    sources: typing.ClassVar[dict[str, list[dict[str, Any]]]] = {}

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
    ) -> None:
        """A source has as many files and nodes as addresses; no addresses are an error."""
        sources = SampleDataLogic.sources.setdefault(category, [])
        if isinstance(uris, str):
            uris, fileNames, nodeNames = [uris], [fileNames], [nodeNames]
        if not len(uris) == len(fileNames) == len(nodeNames):
            raise ValueError("all fields of a sample data source must have the same length")
        sources.append(
            {
                "sampleName": sampleName,
                "customDownloader": customDownloader,
                "thumbnailFileName": thumbnailFileName,
            }
        )


def install_slicer_python(slicer: Any) -> Packaging:
    """Put the stand-ins where `import` finds them."""
    packaging = Packaging()
    sample_data: Any = ModuleType("SampleData")
    sample_data.SampleDataLogic = SampleDataLogic
    sys.modules["SampleData"] = sample_data
    modules: dict[str, dict[str, Any]] = {
        "ScriptedLoadableModule": {
            "ScriptedLoadableModule": ScriptedLoadableModule,
            "ScriptedLoadableModuleWidget": ScriptedLoadableModuleWidget,
            "ScriptedLoadableModuleLogic": ScriptedLoadableModuleLogic,
            "ScriptedLoadableModuleTest": ScriptedLoadableModuleTest,
        },
        "parameterNodeWrapper": {
            "parameterNodeWrapper": parameterNodeWrapper,
            "WithinRange": WithinRange,
        },
        "i18n": {"tr": lambda text: text, "translate": lambda context, text: text},
        "packaging": {"pip_ensure": packaging.pip_ensure},
    }
    for name, content in modules.items():
        module = ModuleType(f"slicer.{name}")
        vars(module).update(content)
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    return packaging
