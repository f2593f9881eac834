"""Order of the phases of an acquisition, their times since the R wave, and the RR interval.

Times are in ms. What the header does not say is assumed and said in the notes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.data.dicom_frames import FrameRecord

MIN_RR_MS, MAX_RR_MS = 200.0, 3000.0
"""Heart rates from 20 to 300 per minute; what lies outside is a header without meaning."""

ASSUMED_RR_MS = 1000.0
"""Used only where no header value tells the heart rate; volumes do not depend on it."""

MAX_REAL_TIME_SPAN_S = 2.0
"""AcquisitionTimes that span more were not taken within one heart beat."""

PERFUSION_SPAN_S = 4.0
"""Images at one trigger time that span more time than this show many heart beats."""

MAX_PHASE_SHARE = 0.5
"""Of the RR interval: phases farther apart show one heart beat each."""

MIN_CYCLE_SHARE = 0.1
"""Of the RR interval: trigger times that span less are one time, with jitter or in other units."""


class NotCineError(ValueError):
    """These images of one plane are not phases of one cardiac cycle."""


@dataclass(frozen=True)
class PhaseTiming:
    """`records` in order of time, `times_ms` `(n_phases,)`, and what was assumed."""

    records: tuple[FrameRecord, ...]
    times_ms: npt.NDArray[np.float64]
    rr_interval_ms: float
    notes: tuple[str, ...]


def phase_timing(records: Sequence[FrameRecord]) -> PhaseTiming:
    """Find order, times and RR interval of one acquisition.

    Raises:
        NotCineError: for images of many heart beats at one trigger time or one beat apart
            (perfusion, mapping).
    """
    if len(records) == 1:
        return PhaseTiming(tuple(records), np.zeros(1), *_rr_without_times(records))
    for timing in (_by_trigger_time(records), _by_acquisition_time(records)):
        if timing is not None:
            return timing
    return _uniform(records)


def _by_trigger_time(records: Sequence[FrameRecord]) -> PhaseTiming | None:
    times = [r.trigger_time_ms for r in records]
    if any(t is None for t in times):
        return None
    values = np.array(times, dtype=np.float64)
    rr, _ = _rr_without_times(records)
    _refuse_beat_by_beat(values, rr)
    if _is_one_time(values, rr):
        _refuse_dynamic_series(records, float(values.max()))
        return None
    if len(np.unique(values)) < len(values):
        return None
    return _timed(records, values, ())


def _is_one_time(times_ms: npt.NDArray[np.float64], rr_interval_ms: float) -> bool:
    n = len(times_ms)
    return bool(np.ptp(times_ms) * n / (n - 1) < MIN_CYCLE_SHARE * rr_interval_ms)


def _refuse_beat_by_beat(times_ms: npt.NDArray[np.float64], rr_interval_ms: float) -> None:
    """Images that count their times on over many beats, one image in each, are not a cine."""
    step_ms = float(np.median(np.diff(np.sort(times_ms))))
    if step_ms > MAX_PHASE_SHARE * rr_interval_ms:
        raise NotCineError(
            f"its {len(times_ms)} images were taken {step_ms:.0f} ms apart, at an RR interval of "
            f"{rr_interval_ms:.0f} ms"
        )


def _refuse_dynamic_series(records: Sequence[FrameRecord], trigger_time_ms: float) -> None:
    """Images that all have one trigger time, from many beats, are not a cine."""
    span_s = _acquisition_span_s(records)
    if trigger_time_ms > 0 and (span_s is None or span_s > PERFUSION_SPAN_S):
        raise NotCineError(f"all {len(records)} images were taken at one trigger time")


def _acquisition_span_s(records: Sequence[FrameRecord]) -> float | None:
    times = [r.acquisition_s for r in records]
    known = [t for t in times if t is not None]
    return max(known) - min(known) if len(known) == len(times) else None


def _by_acquisition_time(records: Sequence[FrameRecord]) -> PhaseTiming | None:
    """Distinct acquisition times within one beat are phase times (to a common offset)."""
    span_s = _acquisition_span_s(records)
    if span_s is None or not 0 < span_s <= MAX_REAL_TIME_SPAN_S:
        return None
    seconds = np.array([r.acquisition_s for r in records], dtype=np.float64)
    if len(np.unique(seconds)) < len(seconds):
        return None
    note = "no TriggerTime: phase times are from AcquisitionTime, the first taken as the R wave"
    return _timed(records, (seconds - seconds.min()) * 1000.0, (note,))


def _timed(
    records: Sequence[FrameRecord], times_ms: npt.NDArray[np.float64], notes: tuple[str, ...]
) -> PhaseTiming:
    order = np.argsort(times_ms)
    ordered = tuple(records[k] for k in order)
    rr, rr_notes = _rr_interval_ms(records, times_ms[order])
    return PhaseTiming(ordered, times_ms[order], rr, (*notes, *rr_notes))


def _rr_interval_ms(
    records: Sequence[FrameRecord], times_ms: npt.NDArray[np.float64]
) -> tuple[float, tuple[str, ...]]:
    """RR from the header; else as if the phases filled the cycle evenly."""
    known = _rr_of_header(records)
    if known is not None:
        return known
    n = len(times_ms)
    rr = float(times_ms[-1] - times_ms[0]) * n / (n - 1)
    if MIN_RR_MS <= rr <= MAX_RR_MS:
        return rr, ("RR interval not given: assumed that the phases fill the cycle evenly",)
    return ASSUMED_RR_MS, (f"RR interval not given: {ASSUMED_RR_MS:g} ms assumed",)


def _rr_of_header(records: Sequence[FrameRecord]) -> tuple[float, tuple[str, ...]] | None:
    interval = _median([r.nominal_interval_ms for r in records])
    if interval is not None and MIN_RR_MS <= interval <= MAX_RR_MS:
        return interval, ()
    rate = _median([r.heart_rate_bpm for r in records])
    if rate is not None and MIN_RR_MS <= 60_000.0 / max(rate, 1e-9) <= MAX_RR_MS:
        return 60_000.0 / rate, ("RR interval from HeartRate, NominalInterval is missing",)
    return None


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def _rr_without_times(records: Sequence[FrameRecord]) -> tuple[float, tuple[str, ...]]:
    known = _rr_of_header(records)
    return known or (ASSUMED_RR_MS, (f"RR interval not given: {ASSUMED_RR_MS:g} ms assumed",))


def _uniform(records: Sequence[FrameRecord]) -> PhaseTiming:
    """Evenly spread phases, ordered by whatever number counts them."""
    ordered, by = _counted(records)
    rr, notes = _rr_without_times(records)
    note = f"no usable TriggerTime: phases ordered by {by}, times spread evenly over the cycle"
    times = np.arange(len(records)) * rr / len(records)
    return PhaseTiming(ordered, times, rr, (note, *notes))


def _counted(records: Sequence[FrameRecord]) -> tuple[tuple[FrameRecord, ...], str]:
    for name, keys in (
        ("TemporalPosition", [r.temporal_position for r in records]),
        ("InstanceNumber", [r.instance_number for r in records]),
    ):
        numbers = [k for k in keys if k is not None]
        if len(set(numbers)) == len(records):
            order = np.argsort(numbers)
            return tuple(records[k] for k in order), name
    return tuple(sorted(records, key=lambda r: r.file)), "file name"
