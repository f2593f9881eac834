"""Small helpers between widgets and the parameter node."""

from collections.abc import Callable
from typing import Any

import qt


def set_quietly(widget: Any, set_value: Callable[[], None]) -> None:
    """Change a widget without telling its listeners."""
    before = widget.blockSignals(True)
    try:
        set_value()
    finally:
        widget.blockSignals(before)


def choose_zip(widget: Any) -> None:
    """Let the user choose a zip for a ctkPathLineEdit, whose own button chooses folders."""
    path = qt.QFileDialog.getOpenFileName(widget, "Choose a zip", widget.currentPath, "Zip (*.zip)")
    if path:
        widget.setCurrentPath(path)


class PathBinding:
    """A ctkPathLineEdit and a text parameter, both ways. The wrapper's own connector takes
    `Path`s, and an empty one would come back as ".".

    It listens to the text itself: `currentPathChanged` says nothing of an empty text, which ctk
    takes for invalid, so that a path could never be cleared.
    """

    def __init__(self, widget: Any, name: str, write: Callable[[str, str], None]) -> None:
        self._widget, self._name, self._write = widget, name, write
        self._text = widget.comboBox()
        self._text.connect("editTextChanged(QString)", self._changed)

    def show(self, parameters: Any) -> None:
        """Show the parameter's value."""
        path = getattr(parameters, self._name)
        if self._widget.currentPath != path:
            set_quietly(self._text, lambda: self._widget.setCurrentPath(path))

    def _changed(self, path: str) -> None:
        self._write(self._name, path)
