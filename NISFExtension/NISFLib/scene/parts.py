"""What of a heart is shown and hidden."""

from enum import Enum
from typing import Any

from NISFLib.scene import motion, slices, views
from NISFLib.scene.cycle import now_of
from NISFLib.scene.nodes import Nodes, Role


class Part(Enum):
    """What can be shown and hidden."""

    PLANES = "slices as planes in 3D"
    OUTLINES = "outlines in slice views"
    SURFACES = "surfaces in 3D"
    INTENSITY = "super-resolved image as background of the slice views"
    WALL = "LV wall coloured by strain"
    ARROWS = "displacement of the LV wall since end-diastole"


MOTION_ROLES = {Part.WALL: Role.WALL, Part.ARROWS: Role.ARROWS}


def visible(nodes: Nodes, part: Part) -> bool:
    """Whether a part is shown; False if there is none."""
    if part is Part.INTENSITY:
        return views.shows_intensity(nodes)
    if part in MOTION_ROLES:
        return motion.shown(nodes, MOTION_ROLES[part])
    if part is Part.PLANES:
        planes = [plane.GetDisplayNode() for plane in nodes.all(Role.SLICE_PLANE)]
        return any(display is not None and display.GetVisibility() for display in planes)
    display = _segmentation_display(nodes)
    if display is None or not display.GetVisibility():
        return False
    is_2d = part is Part.OUTLINES
    return bool(display.GetVisibility2DOutline() if is_2d else display.GetVisibility3D())


def set_visible(nodes: Nodes, part: Part, on: bool) -> None:
    """Show or hide a part; nothing happens if there is none."""
    display = _segmentation_display(nodes)
    if part is Part.INTENSITY:
        views.show_intensity(nodes, on)
    elif part in MOTION_ROLES:
        motion.show(nodes, MOTION_ROLES[part], on)
    elif part is Part.PLANES:
        slices.show_planes(nodes, on)
    elif display is not None:
        display.SetVisibility(True)
        is_2d = part is Part.OUTLINES
        set_part = display.SetVisibility2DOutline if is_2d else display.SetVisibility3D
        set_part(on)


def _segmentation_display(nodes: Nodes) -> Any:
    node = now_of(nodes, Role.SEGMENTATION)
    return None if node is None else node.GetDisplayNode()
