"""Plots of the scene: the volume-time curve with its cursor, and profiles along intersections.

A series plots columns of a table node. The cursor and the profile are plotted from tables that the
sequence browser replaces at every phase, so they follow it wherever the scene is opened.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from NISFCore.labels import FOREGROUND, LABEL_INFO, Label
from NISFLib.scene.cycle import (
    CURSOR_COLUMNS,
    FRACTIONS,
    add_sequence,
    description,
    drive,
    nearest_phases,
    now_of,
)
from NISFLib.scene.heart import rgb
from NISFLib.scene.nodes import Nodes, Role, SceneError, get_json, put_json
from NISFLib.scene.tables import (
    CYCLE_COLUMN,
    MARK_COLUMN,
    MARK_VOLUME,
    fill_table,
    volume_column,
)

PAIRS = "NISF.profile_pairs"
DISTANCE_COLUMN = "distance (mm)"
DARK = (0.25, 0.25, 0.25)
SLICE_COLORS = ((0.13, 0.4, 0.75), (0.9, 0.45, 0.1))
"""Of the two slices of a profile."""


@dataclass(frozen=True)
class ProfilePair:
    """Two slices that meet, and how well they agree there (normalised cross-correlation)."""

    a: str
    b: str
    ncc_before: float
    ncc_after: float | None


@dataclass(frozen=True)
class Style:
    """How a series looks. `marker` and `line` are names of vtkMRMLPlotSeriesNode's styles."""

    color: tuple[float, float, float]
    line: str = "Solid"
    width: float = 2.0
    marker: str = "None"


def add_series(
    nodes: Nodes, role: Role, name: str, table: Any, columns: tuple[str, str], style: Style
) -> Any:
    """A line through (x column, y column) of a table node."""
    kind = slicer.vtkMRMLPlotSeriesNode
    series = nodes.add("vtkMRMLPlotSeriesNode", role, name)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(kind.PlotTypeScatter)
    series.SetXColumnName(columns[0])
    series.SetYColumnName(columns[1])
    series.SetColor(*style.color)
    series.SetLineStyle(getattr(kind, f"LineStyle{style.line}"))
    series.SetLineWidth(style.width)
    series.SetMarkerStyle(getattr(kind, f"MarkerStyle{style.marker}"))
    return series


def add_chart(nodes: Nodes, role: Role, name: str, titles: tuple[str, str], *series: Any) -> Any:
    """A chart of these series; `titles` are those of its axes."""
    chart = nodes.add("vtkMRMLPlotChartNode", role, name)
    chart.SetTitle(name)
    chart.SetXAxisTitle(titles[0])
    chart.SetYAxisTitle(titles[1])
    chart.SetEnablePointMoveAlongX(False)
    chart.SetEnablePointMoveAlongY(False)
    for node in series:
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
    return chart


def add_curve_chart(nodes: Nodes, volumes: Any, marks: Any) -> Any:
    """The volume-time curve of every label, ED and ES, and the cursor at the current phase."""
    role = Role.CURVE_SERIES
    series = [
        add_series(
            nodes,
            role,
            LABEL_INFO[label].name,
            volumes,
            (CYCLE_COLUMN, volume_column(label)),
            Style(rgb(LABEL_INFO[label])),
        )
        for label in FOREGROUND
    ]
    points = Style(rgb(LABEL_INFO[Label.LV_BLOOD_POOL]), line="None", marker="Circle")
    ends = add_series(nodes, role, "ED, ES", marks, (CYCLE_COLUMN, MARK_VOLUME), points)
    ends.SetLabelColumnName(MARK_COLUMN)
    ends.SetMarkerSize(9)
    cursor_table = now_of(nodes, Role.CYCLE)
    cursor = add_series(
        nodes, role, "phase", cursor_table, CURSOR_COLUMNS, Style(DARK, line="Dash", width=1.0)
    )
    titles = ("cardiac cycle (%)", "volume (ml)")
    return add_chart(
        nodes, Role.CURVE_CHART, "NISF volume-time curve", titles, *series, ends, cursor
    )


def connect_cursor(nodes: Nodes) -> None:
    """Let the cursor follow the browser, which may be a new one."""
    table = now_of(nodes, Role.CYCLE)
    for series in nodes.all(Role.CURVE_SERIES):
        if table is not None and series.GetYColumnName() == CURSOR_COLUMNS[1]:
            series.SetAndObserveTableNodeID(table.GetID())


def keep_profiles(nodes: Nodes, profiles: Mapping[str, Any]) -> None:
    """Put the content of `profiles.json` into the scene, from where `show_profile` takes it."""
    node = nodes.one_or_new("vtkMRMLTextNode", Role.PROFILES, "NISF profiles")
    node.SetHideFromEditors(True)
    node.SetText(json.dumps(profiles))
    keys = ("a", "b", "ncc_before", "ncc_after")
    put_json(node, PAIRS, [{key: pair[key] for key in keys} for pair in profiles["pairs"]])


def profile_pairs(nodes: Nodes) -> tuple[ProfilePair, ...]:
    """The pairs of slices that meet, those first that agreed least before alignment."""
    pairs = get_json(nodes.one(Role.PROFILES), PAIRS, [])
    return tuple(ProfilePair(**pair) for pair in pairs)


def shown_profile(nodes: Nodes) -> int:
    """The pair whose profile is plotted; the first if there is none."""
    chart = nodes.one(Role.PROFILE_CHART)
    titles = [_title(pair) for pair in profile_pairs(nodes)]
    title = None if chart is None else chart.GetTitle()
    return titles.index(title) if title in titles else 0


def _title(pair: ProfilePair) -> str:
    return f"{pair.a} and {pair.b}"


def show_profile(nodes: Nodes, index: int) -> Any:
    """Plot what the two slices of pair `index` show along their common line, before (dashed) and
    after alignment, at the current phase; returns the chart.

    Raises:
        SceneError: if there is no such pair.
    """
    pairs = profile_pairs(nodes)
    if not 0 <= index < len(pairs):
        raise SceneError(f"there is no pair {index + 1} of crossing slices, only {len(pairs)}")
    nodes.remove(Role.PROFILE_CHART, Role.PROFILE_SERIES, Role.PROFILE_NOW, Role.PROFILE_TABLE)
    values = json.loads(nodes.one(Role.PROFILES).GetText())
    series = []
    for when, line in (("before", "Dash"), ("after", "Solid")):
        table = _drive_profile_tables(nodes, values, index, when)
        for side, color in zip(("a", "b"), SLICE_COLORS, strict=True):
            name = f"{getattr(pairs[index], side)} {when}"
            columns = (DISTANCE_COLUMN, f"{side} {when}")
            style = Style(color, line, 1.0 if when == "before" else 2.5)
            series.append(add_series(nodes, Role.PROFILE_SERIES, name, table, columns, style))
    titles = ("distance along the common line (mm)", "relative intensity")
    return add_chart(nodes, Role.PROFILE_CHART, _title(pairs[index]), titles, *series)


def _drive_profile_tables(nodes: Nodes, values: Mapping[str, Any], index: int, when: str) -> Any:
    """A sequence of tables of one pair, driven by the browser; returns its current phase."""
    profile = values["pairs"][index][when]
    fractions = np.array(description(nodes, FRACTIONS))
    chosen = nearest_phases(fractions, np.array(values["cycle_fractions"]))

    def table(k: int) -> Any:
        node = slicer.vtkMRMLTableNode()
        columns = {DISTANCE_COLUMN: profile["distance_mm"]}
        columns |= {f"{side} {when}": profile[side][chosen[k]] for side in ("a", "b")}
        fill_table(node, columns)
        return node

    name = f"NISF profile {when}"
    drive(nodes, add_sequence(nodes, Role.PROFILE_TABLE, name, fractions, table, when))
    return now_of(nodes, Role.PROFILE_TABLE, when)
