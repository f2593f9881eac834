"""The table of slices: what `nisf inspect` found, and what the user corrects.

A view is corrected per series, as `--view SERIES=VIEW` does; a slice is left out by its name. The
corrections are kept as JSON in the scene, apart from the study that they are about.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from NISFCore.views import View


@dataclass(frozen=True)
class SliceRow:
    """One row of the table.

    Attributes:
        recognised: whether the reader uses the slice; False for views that are none of the heart.
        warning: why it is left out, or what was repaired; empty if there is nothing to say.
    """

    name: str
    series: str
    view: View
    recognised: bool
    n_phases: int
    rr_ms: float
    position_mm: float | None
    warning: str

    @classmethod
    def from_inspection(cls, values: Mapping[str, Any]) -> "SliceRow":
        """A row of `nisf inspect --json`."""
        said = [values["reason"], *values["notes"]]
        return cls(
            name=str(values["name"]),
            series=str(values["series"]),
            view=View(values["view"]),
            recognised=bool(values["included"]),
            n_phases=int(values["n_phases"]),
            rr_ms=float(values["rr_interval_ms"]),
            position_mm=values["position_mm"],
            warning="; ".join(text for text in said if text),
        )


@dataclass(frozen=True)
class Corrections:
    """What the user changed.

    Attributes:
        views: view by series.
        left_out: names of slices that are not to be used.
    """

    views: Mapping[str, View]
    left_out: frozenset[str] = frozenset()

    @classmethod
    def from_json(cls, text: str) -> "Corrections":
        """Read what `to_json` wrote; anything else is no correction."""
        try:
            values = json.loads(text)
            views = {str(k): View(v) for k, v in values["views"].items()}
            return cls(views, frozenset(str(name) for name in values["left_out"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return NONE

    def to_json(self) -> str:
        views = {series: view.value for series, view in self.views.items()}
        return json.dumps({"views": views, "left_out": sorted(self.left_out)})

    def with_view(self, series: str, view: View) -> "Corrections":
        """Also with this view. Slices are named anew then: those left out are forgotten."""
        return Corrections({**self.views, series: view})

    def with_included(self, name: str, included: bool) -> "Corrections":
        changed = self.left_out - {name} if included else self.left_out | {name}
        return replace(self, left_out=frozenset(changed))

    def view_words(self) -> list[str]:
        """Options for reading: `--view SERIES=VIEW ...`."""
        pairs = [f"{series}={view.value}" for series, view in self.views.items()]
        return [word for pair in pairs for word in ("--view", pair)]

    def words(self) -> list[str]:
        """Options for a fit: views, and the slices left out."""
        left_out = [word for name in sorted(self.left_out) for word in ("--leave-out", name)]
        return [*self.view_words(), *left_out]


NONE = Corrections({})


@dataclass(frozen=True)
class StudyTable:
    """All rows, and what was said about the study as a whole."""

    rows: tuple[SliceRow, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def from_inspection(cls, found: Mapping[str, Any]) -> "StudyTable":
        """The answer of `nisf inspect`."""
        notes = [
            *found["warnings"],
            *(f"assumed: {text}" for text in found["assumptions"]),
            *(f"missing: {text}" for text in found["missing"]),
        ]
        return cls(tuple(SliceRow.from_inspection(row) for row in found["slices"]), tuple(notes))

    def used(self, corrections: Corrections, views: frozenset[View]) -> tuple[SliceRow, ...]:
        """The rows that a fit would use."""
        return tuple(
            row
            for row in self.rows
            if row.recognised and row.view in views and row.name not in corrections.left_out
        )
