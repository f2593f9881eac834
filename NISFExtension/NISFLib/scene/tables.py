"""Tables of the scene: volumes, ventricular function, slice motions."""

from collections.abc import Mapping, Sequence
from typing import Any

import vtk

from NISFCore.function_names import FUNCTION_NAMES
from NISFCore.labels import FOREGROUND, LABEL_INFO, Label
from NISFLib.scene.folders import ResultFolder
from NISFLib.scene.nodes import Nodes, Role, get_json, modified_once, put_json
from NISFLib.scene.slices import SceneSlice

CYCLE_COLUMN, MARK_COLUMN, MARK_VOLUME = "cycle (%)", "mark", "volume (ml)"
FIGURES, FIGURE_ERRORS = "NISF.figures", "NISF.figure_errors"
ERROR_COLUMN = "± standard error"
Columns = Mapping[str, Sequence[float] | Sequence[str]]


def fill_table(table: Any, columns: Columns) -> None:
    """Give a table node these columns of numbers or texts, in this order."""
    with modified_once(table):
        table.RemoveAllColumns()
        for name, values in columns.items():
            table.AddColumn(_column(name, values))


def _column(name: str, values: Sequence[float] | Sequence[str]) -> Any:
    is_text = any(isinstance(value, str) for value in values)
    array = vtk.vtkStringArray() if is_text else vtk.vtkDoubleArray()
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    return array


def volume_column(label: Label) -> str:
    """The column of a label's volume."""
    return f"{LABEL_INFO[label].name} (ml)"


def add_volume_table(nodes: Nodes, result: ResultFolder) -> Any:
    """One row per phase of the whole cycle."""
    table = nodes.one_or_new("vtkMRMLTableNode", Role.VOLUME_TABLE, "NISF volumes")
    columns: dict[str, list[float]] = {
        CYCLE_COLUMN: [100 * row["cycle_fraction"] for row in result.volumes]
    }
    for label in FOREGROUND:
        key = f"{LABEL_INFO[label].key}_ml"
        columns[volume_column(label)] = [row[key] for row in result.volumes]
    fill_table(table, columns)
    return table


def add_mark_table(nodes: Nodes, result: ResultFolder) -> Any:
    """ED and ES on the curve of the LV blood pool, in the order of the cycle."""
    key = f"{LABEL_INFO[Label.LV_BLOOD_POOL].key}_ml"
    volumes = [row[key] for row in result.volumes]
    marks = sorted([(volumes.index(max(volumes)), "ED"), (volumes.index(min(volumes)), "ES")])
    table = nodes.one_or_new("vtkMRMLTableNode", Role.MARK_TABLE, "NISF ED and ES")
    columns: Columns = {
        CYCLE_COLUMN: [100 * result.volumes[k]["cycle_fraction"] for k, _ in marks],
        MARK_VOLUME: [volumes[k] for k, _ in marks],
        MARK_COLUMN: [name for _, name in marks],
    }
    fill_table(table, columns)
    return table


def add_function_table(nodes: Nodes, result: ResultFolder) -> Any:
    """EDV, ESV, SV, EF and mass, one row each."""
    table = nodes.one_or_new("vtkMRMLTableNode", Role.FUNCTION_TABLE, "NISF ventricular function")
    keys = [key for key in FUNCTION_NAMES if key in result.figures]
    errors = [result.figure_errors.get(key) for key in keys]
    columns: dict[str, Sequence[float] | Sequence[str]] = {
        "figure": [FUNCTION_NAMES[key][0] for key in keys],
        "value": [round(result.figures[key], 1) for key in keys],
    }
    if any(error is not None for error in errors):
        columns[ERROR_COLUMN] = _rounded(errors, 1)
    columns["unit"] = [FUNCTION_NAMES[key][1] for key in keys]
    fill_table(table, columns)
    put_json(table, FIGURES, dict(result.figures))
    put_json(table, FIGURE_ERRORS, dict(result.figure_errors))
    return table


def figures(nodes: Nodes) -> dict[str, float]:
    """The figures of the heart in the scene, empty before a result."""
    return dict(get_json(nodes.one(Role.FUNCTION_TABLE), FIGURES, {}))


def figure_errors(nodes: Nodes) -> dict[str, float]:
    """Standard errors of the figures, as far as the fit gave them."""
    return dict(get_json(nodes.one(Role.FUNCTION_TABLE), FIGURE_ERRORS, {}))


def add_motion_table(nodes: Nodes, slices: Sequence[SceneSlice]) -> Any:
    """One row per slice that has a motion; columns of uncertainty where the fit gave one."""
    moved = [s for s in slices if s.translation_mm is not None]
    table = nodes.one_or_new("vtkMRMLTableNode", Role.MOTION_TABLE, "NISF slice motion")
    fill_table(table, motion_columns(moved))
    return table


def motion_columns(moved: Sequence[SceneSlice]) -> Columns:
    """The columns of the motion table."""
    shifts = [s.translation_mm or (0.0, 0.0, 0.0) for s in moved]
    columns: dict[str, Sequence[float] | Sequence[str]] = {
        "slice": [s.name for s in moved],
        "view": [s.view.value for s in moved],
    }
    for axis, name in enumerate("RAS"):
        columns[f"shift {name} (mm)"] = [round(shift[axis], 2) for shift in shifts]
    columns["shift (mm)"] = _rounded([s.distance_mm for s in moved])
    columns["rotation (°)"] = _rounded([s.rotation_deg for s in moved])
    columns["intensity scale"] = _rounded([s.intensity_scale for s in moved], 3)
    for name, values in (
        ("± shift (mm)", [s.uncertainty_mm for s in moved]),
        ("± rotation (°)", [s.uncertainty_deg for s in moved]),
    ):
        if any(value is not None for value in values):
            columns[name] = _rounded(values)
    columns["outlier"] = [s.outlier for s in moved]
    return columns


def _rounded(values: Sequence[float | None], digits: int = 2) -> list[float]:
    return [float("nan") if value is None else round(value, digits) for value in values]
