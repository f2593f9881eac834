"""Strain as CSV: percent, degrees, milliseconds; empty where something is not known."""

import numpy as np
import numpy.typing as npt

from NISFCore.export.tables import csv_text
from NISFCore.motion.cardiac_frame import (
    CIRCUMFERENTIAL,
    LONGITUDINAL,
    N_SEGMENTS,
    RADIAL,
    SEGMENT_NAMES,
)
from NISFCore.motion.strain import StrainCurves

DIRECTIONS = {
    "circumferential": CIRCUMFERENTIAL,
    "radial": RADIAL,
    "longitudinal": LONGITUDINAL,
}


def strain_csv(curves: StrainCurves, rr_interval_ms: float) -> str:
    """One row per time: the whole wall's strains and torsion."""
    rows = [
        {
            **_time(t, rr_interval_ms),
            "gcs_percent": _percent(curves.whole[j, CIRCUMFERENTIAL]),
            "grs_percent": _percent(curves.whole[j, RADIAL]),
            "gls_percent": _percent(curves.whole[j, LONGITUDINAL]),
            "torsion_deg": _known(curves.torsion_deg[j]),
        }
        for j, t in enumerate(curves.cycle_fractions)
    ]
    return csv_text(rows)


def segments_csv(curves: StrainCurves, rr_interval_ms: float) -> str:
    """One row per AHA segment: the strain farthest from 0 in each direction, and when."""
    peaks = {name: curves.segment_peaks(k) for name, k in DIRECTIONS.items()}
    rows = []
    for segment in range(N_SEGMENTS):
        row: dict[str, object] = {"segment": segment + 1, "name": SEGMENT_NAMES[segment]}
        row |= {f"peak_{n}_percent": _percent(p[segment]) for n, p in peaks.items()}
        row |= {
            f"time_to_peak_{name}_ms": _known(_peak_time(curves, segment, k) * rr_interval_ms)
            for name, k in DIRECTIONS.items()
        }
        rows.append(row)
    return csv_text(rows)


def segment_curves_csv(curves: StrainCurves, rr_interval_ms: float) -> str:
    """One row per time and AHA segment."""
    rows = [
        {
            **_time(t, rr_interval_ms),
            "segment": segment + 1,
            **{f"{n}_percent": _percent(curves.segments[j, segment, k]) for n, k in _items()},
        }
        for j, t in enumerate(curves.cycle_fractions)
        for segment in range(N_SEGMENTS)
    ]
    return csv_text(rows)


def _items() -> list[tuple[str, int]]:
    return list(DIRECTIONS.items())


def _time(cycle_fraction: float, rr_interval_ms: float) -> dict[str, float]:
    t = float(cycle_fraction)
    return {"cycle_fraction": t, "time_ms": t * rr_interval_ms}


def _peak_time(curves: StrainCurves, segment: int, direction: int) -> float:
    curve: npt.NDArray[np.float64] = curves.segments[:, segment, direction]
    if not np.isfinite(curve).any():
        return float("nan")
    return float(curves.cycle_fractions[np.nanargmax(np.abs(curve))])


def _percent(fraction: float) -> float | str:
    return _known(100 * fraction)


def _known(value: float) -> float | str:
    return float(value) if np.isfinite(value) else ""
