"""PySide6 widgets that behave as PythonQt's do in 3D Slicer, strictly.

- Qt properties are Python attributes (`button.enabled`, `label.text`), setters stay methods.
- `widget.connect("clicked(bool)", slot)`: the signature must exist exactly; the slot gets as many
  of the signal's arguments as it takes.
- `widget.name` is the object name.
- An attribute that neither the class nor the properties have cannot be set: a misspelt property
  fails a test instead of passing it.

What this cannot prove: that PythonQt wraps a method at all, its overload choice, its ownership
rules, and anything of Slicer's own widgets.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

METHODS_IN_PYTHONQT = frozenset(
    {
        "sizeHint",
        "minimumSizeHint",
        "parent",
        "pos",
        "size",
        "rect",
        "geometry",
        "layout",
        "font",
        "palette",
        "children",
    }
)
"""Properties that scripts use as methods, or as both; they stay methods here."""

VIRTUAL = {("QProgressBar", "text")}
"""Qt calls these itself and would find the Python property in their place."""


class SignatureError(AttributeError):
    """A signal's signature is not one of the object's."""


class PythonQtObject:
    """What PythonQt adds to every QObject. Mixed in before the Qt class."""

    def __getattribute__(self, name: str) -> Any:
        # PySide gives its own connect and disconnect to instances, whatever the class says
        if name in ("connect", "disconnect"):
            return getattr(self, f"_{name}")
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r} to set")
        super().__setattr__(name, value)

    @property
    def name(self) -> str:
        return QtCore.QObject.objectName(self)  # type: ignore[arg-type]

    @name.setter
    def name(self, value: str) -> None:
        self.setObjectName(value)

    def className(self) -> str:
        return type(self).__name__

    def delete(self) -> None:
        self.deleteLater()

    def _connect(self, signature: str, slot: Callable[..., Any]) -> bool:
        signal = _signal(self, signature)
        n_arguments = _n_arguments(signature)
        wrapper = _wrapper(slot, n_arguments)
        _connections.setdefault((id(self), signature, slot), []).append(wrapper)
        signal.connect(wrapper)
        return True

    def _disconnect(self, signature: str, slot: Callable[..., Any]) -> bool:
        wrappers = _connections.pop((id(self), signature, slot), [])
        for wrapper in wrappers:
            _signal(self, signature).disconnect(wrapper)
        return bool(wrappers)


_connections: dict[tuple[int, str, Callable[..., Any]], list[Callable[..., Any]]] = {}


def pythonqt_class(base: Any) -> Any:
    """A subclass of a Qt class with PythonQt's manners."""
    namespace: dict[str, Any] = {}
    meta = base.staticMetaObject
    for index in range(meta.propertyCount()):
        name = meta.property(index).name()
        if name not in METHODS_IN_PYTHONQT and (base.__name__, name) not in VIRTUAL:
            namespace[name] = _property(name)
    return type(base.__name__, (PythonQtObject, base), namespace)


def _property(name: str) -> property:
    def get(self: Any) -> Any:
        return QtCore.QObject.property(self, name)

    def set_(self: Any, value: Any) -> None:
        if not QtCore.QObject.setProperty(self, name, value):
            raise TypeError(f"{type(self).__name__}.{name} cannot be {value!r}")

    return property(get, set_)


def _signal(obj: Any, signature: str) -> Any:
    """The bound signal of an exact signature."""
    if re.search(r"\s|const|&", signature):  # Qt drops these from a signature
        raise SignatureError(f"{signature!r} is not written as Qt normalises it")
    if obj.metaObject().indexOfSignal(signature) < 0:
        raise SignatureError(f"{type(obj).__name__} has no signal {signature!r}")
    return getattr(obj, signature.split("(")[0])


def _n_arguments(signature: str) -> int:
    inside = signature[signature.index("(") + 1 : -1]
    return inside.count(",") + 1 if inside else 0


def _wrapper(slot: Callable[..., Any], n_arguments: int) -> Callable[..., Any]:
    """The slot with as many arguments as it takes, and with an arity that PySide can see."""
    n = min(n_arguments, _n_taken(slot))
    forms: dict[int, Callable[..., Any]] = {
        0: lambda: slot(*()),
        1: lambda a: slot(*(a,)[:n]),
        2: lambda a, b: slot(*(a, b)[:n]),
        4: lambda a, b, c, d: slot(*(a, b, c, d)[:n]),
    }
    return forms[n_arguments]


def _n_taken(slot: Callable[..., Any]) -> int:
    kinds = [p.kind for p in inspect.signature(slot).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 99
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(kind in positional for kind in kinds)
