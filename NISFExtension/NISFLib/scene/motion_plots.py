"""Tables and plots of strain: the whole wall's curves, each segment's, and peaks.

The cursor at the current phase is plotted from tables that the sequence browser replaces, as that
of the volume-time curve; the ends differ, since strain is negative too.
"""

import colorsys
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from NISFLib.scene.cycle import add_sequence, drive, now_of
from NISFLib.scene.motion_folder import N_SEGMENTS, MotionFolder, Strain
from NISFLib.scene.nodes import Nodes, Role, put_json
from NISFLib.scene.plots import DARK, Style, add_chart, add_series
from NISFLib.scene.tables import CYCLE_COLUMN, fill_table

ROLES = (
    Role.STRAIN_TABLE,
    Role.PEAK_TABLE,
    Role.SEGMENT_TABLE,
    Role.STRAIN_CURSOR,
    Role.STRAIN_CURSOR_NOW,
    Role.STRAIN_SERIES,
    Role.STRAIN_CHART,
    Role.SEGMENT_SERIES,
    Role.SEGMENT_CHART,
)
PEAKS = "NISF.peak_strain"
WHOLE_WALL = "whole wall"
TORSION_COLUMN = "torsion (°)"
CURSOR_COLUMNS = (CYCLE_COLUMN, "cursor (%)")
AXIS_TITLES = ("cardiac cycle (%)", "strain (%)")
COLORS = {
    Strain.CIRCUMFERENTIAL: (0.13, 0.4, 0.75),
    Strain.RADIAL: (0.75, 0.2, 0.2),
    Strain.LONGITUDINAL: (0.2, 0.55, 0.25),
}


def strain_column(direction: Strain) -> str:
    """The column of a direction's strain."""
    return f"{direction.value} (%)"


def add(nodes: Nodes, motion: MotionFolder, fractions: npt.NDArray[np.float64]) -> None:
    """Add tables and charts of a motion; the browser drives their cursor."""
    whole = _add_strain_table(nodes, motion)
    _add_peak_table(nodes, motion)
    for direction in motion.directions:
        _add_segment_table(nodes, motion, direction)
    cursor = _add_cursor(nodes, motion, fractions)
    _add_strain_chart(nodes, motion, whole, cursor)
    _add_segment_chart(nodes, motion, cursor)


def _percent_of_cycle(motion: MotionFolder) -> list[float]:
    return [100 * float(t) for t in motion.cycle_fractions]


def _add_strain_table(nodes: Nodes, motion: MotionFolder) -> Any:
    """One row per time of the motion."""
    table = nodes.add("vtkMRMLTableNode", Role.STRAIN_TABLE, "NISF strain curves")
    columns = {CYCLE_COLUMN: _percent_of_cycle(motion)}
    for direction in motion.directions:
        columns[strain_column(direction)] = [row[direction.whole] for row in motion.whole]
    columns[TORSION_COLUMN] = [row["torsion_deg"] for row in motion.whole]
    fill_table(table, columns)
    return table


def _add_peak_table(nodes: Nodes, motion: MotionFolder) -> None:
    """One row for the whole wall and for each AHA segment, numbered 1 to 17."""
    table = nodes.add("vtkMRMLTableNode", Role.PEAK_TABLE, "NISF peak strain")
    names = [WHOLE_WALL, *(f"{k} {name}" for k, name in enumerate(motion.names, start=1))]
    columns: dict[str, Any] = {"segment": names}
    for d in Strain:
        segments = [row[f"peak_{d.value}_percent"] for row in motion.peaks]
        columns[strain_column(d)] = [motion.peak(d), *segments]
    for d in motion.directions:
        times = [row[f"time_to_peak_{d.value}_ms"] for row in motion.peaks]
        columns[f"{d.value}: time to peak (ms)"] = [math.nan, *times]
    fill_table(table, columns)
    rows = {
        name: {d.value: _or_none(columns[strain_column(d)][k]) for d in Strain}
        for k, name in enumerate(names)
    }
    put_json(table, PEAKS, rows)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _add_segment_table(nodes: Nodes, motion: MotionFolder, direction: Strain) -> None:
    """One row per time, one column per AHA segment."""
    name = f"NISF {direction.value} strain of segments"
    table = nodes.add("vtkMRMLTableNode", Role.SEGMENT_TABLE, name, direction.value)
    columns = {CYCLE_COLUMN: _percent_of_cycle(motion)}
    for k, segment in enumerate(motion.names, start=1):
        columns[f"{k} {segment}"] = motion.segment_curve(k, direction)
    fill_table(table, columns)


def _add_cursor(nodes: Nodes, motion: MotionFolder, fractions: npt.NDArray[np.float64]) -> Any:
    """A sequence of tables, each a vertical line; returns its current phase."""
    values = [row[d.whole] for row in motion.whole for d in motion.directions]
    low, high = float(np.nanmin(values)), float(np.nanmax(values))

    def table(k: int) -> Any:
        node = slicer.vtkMRMLTableNode()
        percent = 100 * float(fractions[k])
        fill_table(node, dict(zip(CURSOR_COLUMNS, ([percent, percent], [low, high]), strict=True)))
        return node

    drive(nodes, add_sequence(nodes, Role.STRAIN_CURSOR, "NISF strain cursor", fractions, table))
    return now_of(nodes, Role.STRAIN_CURSOR)


def _cursor_series(nodes: Nodes, role: Role, cursor: Any) -> Any:
    style = Style(DARK, line="Dash", width=1.0)
    return add_series(nodes, role, "phase", cursor, CURSOR_COLUMNS, style)


def _add_strain_chart(nodes: Nodes, motion: MotionFolder, table: Any, cursor: Any) -> None:
    role = Role.STRAIN_SERIES
    series = [
        add_series(nodes, role, d.value, table, (CYCLE_COLUMN, strain_column(d)), Style(COLORS[d]))
        for d in motion.directions
    ]
    series.append(_cursor_series(nodes, role, cursor))
    add_chart(nodes, Role.STRAIN_CHART, "NISF strain", AXIS_TITLES, *series)


def _add_segment_chart(nodes: Nodes, motion: MotionFolder, cursor: Any) -> None:
    role = Role.SEGMENT_SERIES
    table = nodes.one(Role.SEGMENT_TABLE)
    series = []
    for k, segment in enumerate(motion.names, start=1):
        name = f"{k} {segment}"
        style = Style(colorsys.hsv_to_rgb((k - 1) / N_SEGMENTS, 0.75, 0.8), width=1.5)
        series.append(add_series(nodes, role, name, table, (CYCLE_COLUMN, name), style))
    series.append(_cursor_series(nodes, role, cursor))
    add_chart(nodes, Role.SEGMENT_CHART, "NISF strain of segments", AXIS_TITLES, *series)


def show_segments(nodes: Nodes, direction: Strain) -> None:
    """Let the chart of the segments show another direction."""
    table, chart = nodes.one(Role.SEGMENT_TABLE, direction.value), nodes.one(Role.SEGMENT_CHART)
    if table is None or chart is None:
        return
    for series in nodes.all(Role.SEGMENT_SERIES):
        if series.GetYColumnName() != CURSOR_COLUMNS[1]:
            series.SetAndObserveTableNodeID(table.GetID())
    chart.SetYAxisTitle(f"{direction.value} strain (%)")
