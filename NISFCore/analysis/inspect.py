"""What was found in a study, what was assumed and what is missing: for people and as JSON.

Nothing here identifies a patient: series numbers, geometry and timing only.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Points
from NISFCore.views import LONG_AXIS_VIEWS, View

FEW_SA_SLICES = 6
"""Fewer short-axis slices leave most of the ventricle to the prior."""

MAX_SA_GAP_RATIO = 1.5
"""A gap in the stack this much larger than the usual spacing is a missing slice."""


def inspect_study(study: CineStudy) -> dict[str, Any]:
    """Everything found, as plain JSON types.

    Keys: `subject`, `slices` (used and excluded ones, see `_slice_row`), `sa_spacing_mm`,
    `has_patient_orientation`, `warnings`, `assumptions`, `missing`.
    """
    axis, assumptions = _lv_axis(study)
    rows = [_slice_row(s, axis, "") for s in study.slices]
    rows += [_slice_row(e.slice, axis, e.reason) for e in study.excluded]
    spacing = sa_spacing_mm(study)
    return {
        "subject": study.subject,
        "slices": rows,
        "sa_spacing_mm": None if spacing is None else round(spacing, 2),
        "has_patient_orientation": study.has_patient_orientation,
        "warnings": list(study.warnings),
        "assumptions": list(assumptions),
        "missing": missing_parts(study),
    }


@dataclass(frozen=True)
class _Axis:
    """The LV axis: the canonical origin, and the unit vector from apex to base."""

    origin_ras: Points
    direction_ras: Points


def _lv_axis(study: CineStudy) -> tuple[_Axis | None, tuple[str, ...]]:
    """The axis on which positions are given; None where the planes do not determine it.

    The direction is the stack's normal where there is a stack, so that positions differ by the
    slice spacing; else the canonical z axis.
    """
    try:
        frame = canonical_frame_of(study)
    except StudyError as error:
        return None, (str(error),)
    R = frame.canonical_from_ras[:3, :3]
    direction = R[2]
    sa = study.of_view(View.SA)
    if sa:
        normal = sa[0].normal_ras
        direction = normal if normal @ R[2] >= 0 else -normal
    return _Axis(-R.T @ frame.canonical_from_ras[:3, 3], direction), frame.assumptions


def _slice_row(item: CineSlice, axis: _Axis | None, reason: str) -> dict[str, Any]:
    """One slice. `position_mm` is its centre along the LV axis from the canonical origin, base
    positive, or None without a canonical frame; `reason` tells why it is not included."""
    position = None
    if axis is not None:
        offset = item.centre_ras - axis.origin_ras
        position = round(float(offset @ axis.direction_ras), 2)
    return {
        "name": item.name,
        "view": item.view.value,
        "included": not reason,
        "reason": reason,
        "series": item.provenance.series,
        "source": item.provenance.source,
        "n_phases": item.n_phases,
        "rr_interval_ms": round(item.rr_interval_ms, 2),
        "position_mm": position,
        "spacing_mm": [round(v, 4) for v in item.spacing_mm],
        "thickness_mm": round(item.thickness_mm, 3),
        "shape": list(item.shape),
        "n_annotated_phases": 0 if item.labels is None else int(item.labels.annotated.sum()),
        "notes": list(item.provenance.notes),
    }


def sa_spacing_mm(study: CineStudy) -> float | None:
    """Median distance of neighbouring short-axis slices; None for fewer than two."""
    gaps = _sa_gaps_mm(study)
    return float(np.median(gaps)) if len(gaps) else None


def _sa_gaps_mm(study: CineStudy) -> np.ndarray:
    sa = study.of_view(View.SA)
    if len(sa) < 2:
        return np.zeros(0)
    heights = np.sort([float(s.centre_ras @ sa[0].normal_ras) for s in sa])
    return np.diff(heights)


def missing_parts(study: CineStudy) -> list[str]:
    """What a good study would have and this one has not."""
    missing = [f"no {v.value} view" for v in LONG_AXIS_VIEWS if not study.of_view(v)]
    n_sa = len(study.of_view(View.SA))
    if n_sa == 0:
        missing.append("no short-axis stack")
    elif n_sa < FEW_SA_SLICES:
        missing.append(f"only {n_sa} short-axis slice(s)")
    gaps = _sa_gaps_mm(study)
    if len(gaps) and gaps.max() > MAX_SA_GAP_RATIO * np.median(gaps):
        missing.append(f"a gap of {gaps.max():.1f} mm in the short-axis stack")
    few = [s.name for s in study.slices if s.n_phases == 1]
    if few:
        missing.append(f"one phase only in {', '.join(few)}: nothing moves there")
    return missing


def inspect_table(study: CineStudy) -> Table:
    """The slices as a table for the console; why some are left out is told below it."""
    table = Table(title=f"{study.subject}: {len(study.slices)} slices used", title_justify="left")
    for heading in ("slice", "view", "series"):
        table.add_column(heading, overflow="fold")
    for heading in ("phases", "RR ms", "position mm", "pixel mm", "thick mm"):
        table.add_column(heading, justify="right")
    for row in inspect_study(study)["slices"]:
        table.add_row(*_cells(row), style=None if row["included"] else "dim")
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    position = row["position_mm"]
    i, j = row["spacing_mm"]
    return [
        row["name"],
        row["view"],
        row["series"],
        str(row["n_phases"]),
        f"{row['rr_interval_ms']:.0f}",
        "?" if position is None else f"{position:+.1f}",
        f"{i:.2f} x {j:.2f}" if abs(i - j) > 0.005 else f"{i:.2f}",
        f"{row['thickness_mm']:.1f}",
    ]
