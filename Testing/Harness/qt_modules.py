"""The modules `qt` and `ctk` of 3D Slicer's Python, over PySide6. Only what is here exists."""

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from Testing.Harness.pythonqt import pythonqt_class

QWidget: Any = pythonqt_class(QtWidgets.QWidget)
UNWRAPPED = ("QApplication", "QCoreApplication")


class QtModule(ModuleType):
    """`import qt`: QtWidgets, QtGui and QtCore, their objects in PythonQt's manner."""

    def __getattr__(self, name: str) -> Any:
        for module in (QtWidgets, QtGui, QtCore):
            if hasattr(module, name):
                found = getattr(module, name)
                if _is_object_class(found) and name not in UNWRAPPED:
                    found = pythonqt_class(found)
                setattr(self, name, found)
                return found
        raise AttributeError(f"qt has no {name!r}")


def _is_object_class(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, QtCore.QObject)


class ctkCollapsibleButton(QWidget):
    """A header that folds what is laid out below it."""

    contentsCollapsed = QtCore.Signal(bool)
    HEADER = 26

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed, self._text = False, ""
        self._folded: list[Any] = []
        self._header = QtWidgets.QToolButton(self)
        self._header.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._header.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed
        )
        self._header.clicked.connect(lambda: self._set_collapsed(not self._collapsed))
        self.setContentsMargins(0, self.HEADER, 0, 0)
        self._show()

    def resizeEvent(self, event: Any) -> None:
        self._header.setGeometry(0, 0, event.size().width(), self.HEADER - 2)

    def showEvent(self, event: Any) -> None:
        self._set_collapsed(self._collapsed)
        super().showEvent(event)

    def sizeHint(self) -> Any:
        hint = super().sizeHint()
        return QtCore.QSize(hint.width(), self.HEADER) if self._collapsed else hint

    def _show(self) -> None:
        arrow = QtCore.Qt.ArrowType
        self._header.setText(self._text)
        self._header.setArrowType(arrow.RightArrow if self._collapsed else arrow.DownArrow)
        self.setMaximumHeight(self.HEADER if self._collapsed else 16777215)

    def _set_text(self, text: str) -> None:
        self._text = text
        self._show()

    def _set_collapsed(self, collapsed: bool) -> None:
        changed, self._collapsed = self._collapsed != collapsed, bool(collapsed)
        self._show()
        if collapsed:
            self._folded = [*self._folded, *(w for w in self._content() if not w.isHidden())]
            for widget in self._folded:
                widget.hide()
        else:
            for widget in self._folded:
                widget.show()
            self._folded = []
        if changed:
            self.contentsCollapsed.emit(collapsed)

    def _content(self) -> list[Any]:
        children = [w for w in self.children() if isinstance(w, QtWidgets.QWidget)]
        return [w for w in children if w is not self._header]

    text = QtCore.Property(str, lambda self: self._text, _set_text)
    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _set_collapsed)


class ctkSliderWidget(QWidget):
    """A slider with a spin box."""

    valueChanged = QtCore.Signal(float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._box = QtWidgets.QDoubleSpinBox()
        row.addWidget(self._slider)
        row.addWidget(self._box)
        self._box.valueChanged.connect(self._from_box)
        self._slider.valueChanged.connect(self._from_slider)
        self._fit_slider()

    def _fit_slider(self) -> None:
        n = round((self._box.maximum() - self._box.minimum()) / self._box.singleStep())
        self._slider.setRange(0, max(n, 0))

    def _from_box(self, value: float) -> None:
        self._slider.blockSignals(True)
        self._slider.setValue(round((value - self._box.minimum()) / self._box.singleStep()))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _from_slider(self, index: int) -> None:
        self._box.setValue(self._box.minimum() + index * self._box.singleStep())

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def _set_minimum(self, value: float) -> None:
        self._box.setMinimum(value)
        self._fit_slider()

    def _set_maximum(self, value: float) -> None:
        self._box.setMaximum(value)
        self._fit_slider()

    def _set_step(self, value: float) -> None:
        self._box.setSingleStep(value)
        self._fit_slider()

    value = QtCore.Property(float, lambda self: self._box.value(), setValue)
    minimum = QtCore.Property(float, lambda self: self._box.minimum(), _set_minimum)
    maximum = QtCore.Property(float, lambda self: self._box.maximum(), _set_maximum)
    singleStep = QtCore.Property(float, lambda self: self._box.singleStep(), _set_step)
    decimals = QtCore.Property(
        int, lambda self: self._box.decimals(), lambda self, n: self._box.setDecimals(n)
    )
    suffix = QtCore.Property(
        str, lambda self: self._box.suffix(), lambda self, text: self._box.setSuffix(text)
    )


class ctkPathLineEdit(QWidget):
    """A path with a button; the dialog behind the button is not here. As ctk's, it tells only of
    texts that it takes for valid: not of an empty one, nor of one with another ending."""

    currentPathChanged = QtCore.Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._combo = pythonqt_class(QtWidgets.QComboBox)()
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(QtWidgets.QComboBox.InsertPolicy.NoInsert)
        self._line = self._combo.lineEdit()
        self._line.setCompleter(None)
        self._button = QtWidgets.QToolButton()
        self._button.setText("...")
        row.addWidget(self._combo, 1)
        row.addWidget(self._button)
        self._line.textChanged.connect(self._tell)
        self._setting_key, self._name_filters = "", list[str]()
        self._set_name_filters([])

    def comboBox(self) -> Any:
        return self._combo

    def setCurrentPath(self, path: str) -> None:
        self._line.setText(path)

    def _tell(self, text: str) -> None:
        if self._line.hasAcceptableInput():
            self.currentPathChanged.emit(text)

    def _set_name_filters(self, filters: list[str]) -> None:
        self._name_filters = filters
        endings = re.findall(r"\*\.(\w+)", " ".join(filters))
        pattern = "|".join(rf".*\.{ending}" for ending in endings) or ".+"
        expression = QtCore.QRegularExpression(f"({pattern})")
        self._line.setValidator(QtGui.QRegularExpressionValidator(expression, self))

    def addCurrentPathToHistory(self) -> None:
        """Remembered by the settings of a real Slicer."""

    def _set(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    currentPath = QtCore.Property(str, lambda self: self._line.text(), setCurrentPath)
    settingKey = QtCore.Property(
        str,
        lambda self: self._setting_key,
        lambda self, key: self._set("_setting_key", key),
    )
    nameFilters = QtCore.Property(
        list, lambda self: self._name_filters, lambda self, names: self._set_name_filters(names)
    )


CTK_CLASSES = (ctkCollapsibleButton, ctkSliderWidget, ctkPathLineEdit)


class QUiLoader(QtUiTools.QUiLoader):
    """Makes every widget of a .ui file in PythonQt's manner; an unknown class is an error."""

    def load(self, device: Any, *_: Any) -> Any:
        """PySide cannot give a Python class the flags `ctkPathLineEdit::filters`: left out."""
        text = bytes(device.readAll().data())
        text = re.sub(rb'<property name="filters">.*?</property>', b"", text, flags=re.DOTALL)
        buffer = QtCore.QBuffer()
        buffer.setData(text)
        return super().load(buffer)

    def createWidget(self, kind: str, /, parent: Any = None, name: str = "") -> Any:
        import slicer

        place: Any = sys.modules["qt"]
        if kind.startswith("ctk"):
            place = sys.modules["ctk"]
        elif kind.startswith("qMRML"):
            place = slicer
        if not hasattr(place, kind):
            raise RuntimeError(f"the harness has no widget class {kind}")
        widget = getattr(place, kind)(parent)
        widget.setObjectName(name)
        return widget


def install_qt() -> Any:
    """Put `qt` and `ctk` where `import` finds them; the application."""
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([Path(__file__).stem])
    if "qt" not in sys.modules:
        qt: Any = QtModule("qt")
        qt.QUiLoader = QUiLoader
        qt.QWidget = QWidget
        ctk = ModuleType("ctk")
        for found in CTK_CLASSES:
            setattr(ctk, found.__name__, found)
        sys.modules["qt"], sys.modules["ctk"] = qt, ctk
    return application
