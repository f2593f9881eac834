"""The LV wall's motion in the scene: its surface coloured by strain, and arrows of displacement.

Both are sequences that the heart's browser drives. A phase of the scene shows the nearest time of
the motion. Everything that `HeartScene.motion` tells is kept with these nodes.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from NISFLib.scene import motion_plots
from NISFLib.scene.cycle import FRACTIONS, add_sequence, description, drive, nearest_phases, now_of
from NISFLib.scene.loading import LoadProgress
from NISFLib.scene.motion_folder import DISPLACEMENT_ARRAY, MotionFolder, Strain
from NISFLib.scene.nodes import Nodes, Role, SceneError, get_json, put_json

WALL_NAME, ARROWS_NAME = "LV wall strain", "LV wall displacement"
WARNINGS, DIRECTIONS = "NISF.motion_warnings", "NISF.strain_directions"
ROLES = (
    Role.WALL,
    Role.WALL_NOW,
    Role.ARROWS,
    Role.ARROWS_NOW,
    Role.STRAIN_LEGEND,
    Role.STRAIN_COLORS,
    Role.BULLSEYE,
    *motion_plots.ROLES,
)
"""All that is of the motion."""

END_PERCENT = {Strain.CIRCUMFERENTIAL: 30.0, Strain.LONGITUDINAL: 30.0, Strain.RADIAL: 80.0}
"""Ends of the symmetric scales, as in the pictures of `nisf motion fit`: hearts can be compared."""
SHORTER, STILL, LONGER = (0.02, 0.19, 0.38), (0.97, 0.97, 0.97), (0.40, 0.0, 0.12)
BETWEEN = ((0.26, 0.58, 0.77), (0.84, 0.38, 0.30))
"""Blue where tissue is shorter than at ED, red where it is longer."""
N_COLORS = 256
ARROW_SPACING_MM, ARROW_COLOR, ARROW_SIDES = 10.0, (1.0, 0.78, 0.1), 6

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SceneMotion:
    """The motion that the scene shows.

    Attributes:
        warnings: what to know before trusting it.
        directions: those whose strain is known.
        direction: the one that colours the wall.
        peaks: "whole wall" and the AHA segments -> peak strain in percent by direction, NaN where
            it is not known.
        bullseye: picture of the segments' peaks, PNG.
    """

    warnings: tuple[str, ...]
    directions: tuple[Strain, ...]
    direction: Strain
    peaks: Mapping[str, Mapping[Strain, float]]
    bullseye: bytes


def load(nodes: Nodes, folder: Path, progress: LoadProgress | None = None) -> None:
    """See `HeartScene.load_motion`."""
    if nodes.one(Role.BROWSER) is None or nodes.one(Role.FUNCTION_TABLE) is None:
        raise SceneError("there is no heart in the scene to show the motion of; fit a study first")
    motion = MotionFolder.read(folder)
    fractions = np.array(description(nodes, FRACTIONS))
    times = nearest_phases(fractions, motion.cycle_fractions)
    steps = iter(range(1, 2 * len(fractions) + 1))

    def tick() -> None:
        if progress is not None:
            progress("motion", next(steps), 2 * len(fractions))

    remove(nodes)
    try:
        _add(nodes, motion, fractions, times, tick)
    except BaseException:
        remove(nodes)
        raise


def remove(nodes: Nodes) -> None:
    """Take the motion out of the scene; the heart stays."""
    nodes.remove(*ROLES)


def _add(
    nodes: Nodes,
    motion: MotionFolder,
    fractions: Points,
    times: npt.NDArray[np.intp],
    tick: Callable[[], None],
) -> None:
    arrows = [arrows_of(motion.walls[j], chosen_points(motion.walls[0])) for j in times]
    walls = [motion.walls[j] for j in times]
    for role, name, shapes in (
        (Role.WALL, WALL_NAME, walls),
        (Role.ARROWS, ARROWS_NAME, arrows),
    ):

        def model(k: int, shapes: list[Any] = shapes) -> Any:
            tick()
            node = slicer.vtkMRMLModelNode()
            node.SetAndObservePolyData(shapes[k])
            return node

        drive(nodes, add_sequence(nodes, role, name, fractions, model))
        now_of(nodes, role).CreateDefaultDisplayNodes()
    put_json(nodes.one(Role.WALL), WARNINGS, list(motion.warnings))
    put_json(nodes.one(Role.WALL), DIRECTIONS, [d.value for d in motion.directions])
    _style_arrows(now_of(nodes, Role.ARROWS).GetDisplayNode())
    _add_legend(nodes)
    _keep_bullseye(nodes, motion.bullseye)
    motion_plots.add(nodes, motion, fractions)
    color_by(nodes, motion.directions[0])


def chosen_points(wall: Any) -> npt.NDArray[np.intp]:
    """Vertices about `ARROW_SPACING_MM` apart at ED, the same ones at every time."""
    cells = np.floor(_points_at_ed(wall) / ARROW_SPACING_MM).astype(np.int64)
    return np.sort(np.unique(cells, axis=0, return_index=True)[1])


def _points_at_ed(wall: Any) -> Points:
    return _array(wall.GetPoints().GetData()) - _displacement_mm(wall)


def _displacement_mm(wall: Any) -> Points:
    return _array(wall.GetPointData().GetArray(DISPLACEMENT_ARRAY))


def _array(values: Any) -> Points:
    return np.asarray(vtk_to_numpy(values), dtype=np.float64)


def arrows_of(wall: Any, chosen: npt.NDArray[np.intp]) -> Any:
    """Arrows as vtkPolyData from where the chosen vertices were at ED to where they are now."""
    tails = vtk.vtkPolyData()
    tails.SetPoints(vtk.vtkPoints())
    tails.GetPoints().SetData(numpy_to_vtk(_points_at_ed(wall)[chosen], deep=True))
    tails.GetPointData().SetVectors(numpy_to_vtk(_displacement_mm(wall)[chosen], deep=True))
    arrow = vtk.vtkArrowSource()
    arrow.SetShaftResolution(ARROW_SIDES)
    arrow.SetTipResolution(ARROW_SIDES)
    glyphs = vtk.vtkGlyph3D()
    glyphs.SetInputData(tails)
    glyphs.SetSourceConnection(arrow.GetOutputPort())
    glyphs.SetVectorModeToUseVector()
    glyphs.SetScaleModeToScaleByVector()
    glyphs.Update()
    made = vtk.vtkPolyData()
    made.ShallowCopy(glyphs.GetOutput())
    return made


def _style_arrows(display: Any) -> None:
    display.SetColor(*ARROW_COLOR)
    display.SetScalarVisibility(False)
    display.SetVisibility(False)


def _add_legend(nodes: Nodes) -> None:
    """The colours, on which the wall's display and the legend depend, and the legend."""
    wall = now_of(nodes, Role.WALL)
    wall.GetDisplayNode().SetAndObserveColorNodeID(_colors(nodes).GetID())
    legend = nodes.add("vtkMRMLColorLegendDisplayNode", Role.STRAIN_LEGEND, "NISF strain legend")
    legend.SetAndObservePrimaryDisplayNode(wall.GetDisplayNode())
    legend.SetLabelFormat("%.0f")  # "%%" is drawn as it stands, or not, by the version of VTK
    legend.SetNumberOfLabels(5)
    wall.AddAndObserveDisplayNodeID(legend.GetID())


def _colors(nodes: Nodes) -> Any:
    node = nodes.add("vtkMRMLColorTableNode", Role.STRAIN_COLORS, "NISF strain colours")
    node.SetTypeToUser()
    node.SetNumberOfColors(N_COLORS)
    function = vtk.vtkColorTransferFunction()
    for place, color in zip(
        (0.0, 0.25, 0.5, 0.75, 1.0),
        (SHORTER, BETWEEN[0], STILL, BETWEEN[1], LONGER),
        strict=True,
    ):
        function.AddRGBPoint(place, *color)
    for k in range(N_COLORS):
        r, g, b = function.GetColor(k / (N_COLORS - 1))
        node.SetColor(k, f"{k}", r, g, b, 1.0)
    return node


def color_by(nodes: Nodes, direction: Strain) -> None:
    """See `HeartScene.color_wall`."""
    wall = now_of(nodes, Role.WALL)
    known = get_json(nodes.one(Role.WALL), DIRECTIONS, [])
    if wall is None or direction.value not in known:
        raise SceneError(f"the scene has no {direction.value} strain; it has {known or 'none'}")
    display, end = wall.GetDisplayNode(), END_PERCENT[direction]
    display.SetActiveScalar(direction.array, vtk.vtkAssignAttribute.POINT_DATA)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetScalarRange(-end, end)
    display.SetScalarVisibility(True)
    nodes.one(Role.STRAIN_LEGEND).SetTitleText(f"{direction.value} strain (%)")
    motion_plots.show_segments(nodes, direction)


def _keep_bullseye(nodes: Nodes, picture: bytes) -> None:
    """In the scene's file: the folder may be a temporary one."""
    node = nodes.add("vtkMRMLTextNode", Role.BULLSEYE, "NISF bullseye")
    node.SetHideFromEditors(True)
    node.SetText(json.dumps({"png": base64.b64encode(picture).decode("ascii")}))


def _bullseye(nodes: Nodes) -> bytes:
    node = nodes.one(Role.BULLSEYE)
    return b"" if node is None else base64.b64decode(json.loads(node.GetText())["png"])


def scene_motion(nodes: Nodes) -> SceneMotion | None:
    """See `HeartScene.motion`."""
    sequence, wall = nodes.one(Role.WALL), now_of(nodes, Role.WALL)
    directions = tuple(Strain(value) for value in get_json(sequence, DIRECTIONS, []))
    display = None if wall is None else wall.GetDisplayNode()
    if display is None or not directions:
        return None
    shown = [d for d in directions if d.array == display.GetActiveScalarName()]
    return SceneMotion(
        warnings=tuple(get_json(sequence, WARNINGS, [])),
        directions=directions,
        direction=(shown or directions)[0],
        peaks=_peaks(nodes),
        bullseye=_bullseye(nodes),
    )


def _peaks(nodes: Nodes) -> dict[str, dict[Strain, float]]:
    kept = get_json(nodes.one(Role.PEAK_TABLE), motion_plots.PEAKS, {})
    return {
        name: {d: math.nan if row[d.value] is None else row[d.value] for d in Strain}
        for name, row in kept.items()
    }


def shown(nodes: Nodes, role: Role) -> bool:
    """Whether the wall or the arrows are shown; False if there are none."""
    node = now_of(nodes, role)
    display = None if node is None else node.GetDisplayNode()
    return display is not None and bool(display.GetVisibility())


def show(nodes: Nodes, role: Role, on: bool) -> None:
    """Show or hide the wall with its legend, or the arrows; nothing happens if there are none."""
    node = now_of(nodes, role)
    if node is None:
        return
    for k in range(node.GetNumberOfDisplayNodes()):
        node.GetNthDisplayNode(k).SetVisibility(on)
