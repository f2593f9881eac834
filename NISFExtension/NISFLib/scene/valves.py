"""The line between a valve's hinges, as a node of the Markups module."""

from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

KIND = "vtkMRMLMarkupsLineNode"
ORIGIN = "valve"
COLOR = (1.0, 0.78, 0.1)
GLYPH_SCALE, TEXT_SCALE = 2.0, 0.0

Points = npt.NDArray[np.float64]


def is_valve(node: Any) -> bool:
    """Whether an annotation is a valve's line, not labels."""
    return bool(node.IsA(KIND))


def new_line(name: str, points: Points) -> Any:
    """A line of two points `(2, 3)`, not yet in a scene."""
    node = getattr(slicer, KIND)()
    node.SetName(name)
    for point in points:
        node.AddControlPoint(*point.tolist())
    return node


def style(node: Any) -> None:
    """Plain, and in slice views only: in 3D it would lie within the heart."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(*COLOR)
    display.SetGlyphScale(GLYPH_SCALE)
    display.SetTextScale(TEXT_SCALE)
    display.SetPropertiesLabelVisibility(False)
    display.SetVisibility3D(False)


def points_of(node: Any) -> Points:
    """Its points `(n, 3)` as they stand in the slice as scanned."""
    n_points = node.GetNumberOfControlPoints()
    found = [node.GetNthControlPointPosition(k) for k in range(n_points)]
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def problem(node: Any) -> str:
    """Why it cannot guide a refit; empty if it can."""
    return "" if len(points_of(node)) == 2 else "a valve's line has two points"
