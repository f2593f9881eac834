"""Small helpers between widgets and the parameter node."""

from collections.abc import Callable
from typing import Any


def set_quietly(widget: Any, set_value: Callable[[], None]) -> None:
    """Change a widget without telling its listeners."""
    before = widget.blockSignals(True)
    try:
        set_value()
    finally:
        widget.blockSignals(before)


class PathBinding:
    """A ctkPathLineEdit and a text parameter, both ways. The wrapper's own connector takes
    `Path`s, and an empty one would come back as "."."""

    def __init__(self, widget: Any, name: str, write: Callable[[str, str], None]) -> None:
        self._widget, self._name, self._write = widget, name, write
        widget.connect("currentPathChanged(QString)", self._changed)

    def show(self, parameters: Any) -> None:
        """Show the parameter's value."""
        path = getattr(parameters, self._name)
        if self._widget.currentPath != path:
            set_quietly(self._widget, lambda: self._widget.setCurrentPath(path))

    def _changed(self, path: str) -> None:
        self._write(self._name, path)
