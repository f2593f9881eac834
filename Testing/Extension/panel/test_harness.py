"""The harness itself: as strict as it claims to be."""

import sys
from enum import Enum
from typing import Annotated, Any

import pytest

from Testing.Harness import slicer_app
from Testing.Harness.pythonqt import SignatureError


class Size(Enum):
    SMALL = 1
    LARGE = 2

    def label(self) -> str:
        return f"{self.value} m"


@pytest.fixture(autouse=True)
def slicer() -> Any:
    return slicer_app.start()


@pytest.fixture
def qt() -> Any:
    return sys.modules["qt"]


def test_properties_are_attributes_and_setters_are_methods(qt: Any) -> None:
    button = qt.QPushButton("go")
    assert button.text == "go"
    button.text = "stop"
    assert button.text == "stop"
    button.setText("wait")
    assert button.text == "wait" and button.enabled
    button.name = "b"
    assert button.name == button.objectName == "b"


def test_a_misspelt_property_fails(qt: Any) -> None:
    button = qt.QPushButton()
    with pytest.raises(AttributeError, match="no attribute 'enabeld'"):
        button.enabeld = False
    with pytest.raises(AttributeError):
        button.settext("x")
    with pytest.raises(TypeError, match="cannot be"):
        button.enabled = object()


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("clickd()", "no signal"),
        ("clicked(int)", "no signal"),
        ("clicked( bool )", "is not written as Qt"),
    ],
)
def test_a_wrong_signal_fails(qt: Any, signature: str, message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        qt.QPushButton().connect(signature, lambda: None)


def test_slots_get_what_they_take(qt: Any) -> None:
    button, heard = qt.QPushButton(), list[Any]()
    button.checkable = True
    button.connect("clicked(bool)", lambda: heard.append("none"))
    button.connect("clicked(bool)", heard.append)
    button.connect("clicked()", lambda *a: heard.append(a))
    button.click()
    assert heard == ["none", True, ()]


def test_what_is_disconnected_is_silent(qt: Any) -> None:
    button, heard = qt.QPushButton(), list[int]()

    def slot() -> None:
        heard.append(1)

    button.connect("clicked()", slot)
    button.click()
    assert button.disconnect("clicked()", slot)
    assert not button.disconnect("clicked()", slot)
    button.click()
    assert heard == [1]


def test_a_path_tells_of_valid_texts_only() -> None:
    line, heard = sys.modules["ctk"].ctkPathLineEdit(), list[str]()
    line.connect("currentPathChanged(QString)", heard.append)
    for path in ("/a", "", "/b"):
        line.setCurrentPath(path)
    assert heard == ["/a", "/b"]
    line.nameFilters = ["Settings (*.json)"]
    for path in ("/a.txt", "/a.json"):
        line.setCurrentPath(path)
    assert heard == ["/a", "/b", "/a.json"]


def test_unknown_widgets_and_modules_fail(qt: Any, slicer: Any) -> None:
    with pytest.raises(AttributeError, match="qt has no 'QNothing'"):
        _ = qt.QNothing
    with pytest.raises(AttributeError):
        slicer.app.ioManager()


def wrapper(**defaults: Any) -> Any:
    """A parameter node wrapper as modules declare them."""
    from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

    class Parameters:
        name: str = "x"
        size: Size = Size.SMALL
        on: bool = False
        width: Annotated[float, WithinRange(1, 5)] = 2.0

    Parameters.__annotations__["width"] = Annotated[float, WithinRange(1, 5)]
    return parameterNodeWrapper(Parameters)


def test_parameters_are_typed_and_stored_in_the_scene(slicer: Any) -> None:
    node = slicer.vtkMRMLScriptedModuleNode()
    p = wrapper()(node)
    assert (p.name, p.size, p.on, p.width) == ("x", Size.SMALL, False, 2.0)
    p.size, p.on, p.width = Size.LARGE, True, 3.5
    again = wrapper()(node)
    assert (again.size, again.on, again.width) == (Size.LARGE, True, 3.5)
    with pytest.raises(TypeError):
        p.width = 3
    with pytest.raises(ValueError, match="allowed: 1 to 5"):
        p.width = 9.0
    with pytest.raises(AttributeError, match="no parameter 'sizes'"):
        p.sizes = 1


def test_widgets_and_parameters_follow_each_other(slicer: Any, qt: Any) -> None:
    class Ui:
        pass

    ui: Any = Ui()
    ui.box, ui.combo, ui.spin = qt.QCheckBox(), qt.QComboBox(), qt.QDoubleSpinBox()
    for widget, name in ((ui.box, "on"), (ui.combo, "size"), (ui.spin, "width")):
        widget.setProperty("SlicerParameterName", name)
    p = wrapper()(slicer.vtkMRMLScriptedModuleNode())
    tag = p.connectGui(ui)
    assert [ui.combo.itemText(k) for k in range(2)] == ["1 m", "2 m"]
    assert (ui.spin.minimum, ui.spin.maximum) == (1.0, 5.0)
    ui.box.click()
    ui.combo.currentIndex = 1
    assert (p.on, p.size) == (True, Size.LARGE)
    p.width = 4.0
    assert ui.spin.value == 4.0
    p.disconnectGui(tag)
    ui.box.click()
    assert p.on
    ui.box.setProperty("SlicerParameterName", "nothing")
    with pytest.raises(ValueError, match="nothing"):
        p.connectGui(ui)


def test_only_slicers_own_pairs_of_widget_and_type(slicer: Any, qt: Any) -> None:
    class Ui:
        pass

    ui: Any = Ui()
    ui.spin = qt.QSpinBox()
    ui.spin.setProperty("SlicerParameterName", "width")
    with pytest.raises(RuntimeError, match="no connector"):
        wrapper()(slicer.vtkMRMLScriptedModuleNode()).connectGui(ui)
