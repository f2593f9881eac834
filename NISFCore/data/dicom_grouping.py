"""From loose image frames to one acquisition of every imaging plane.

Frames belong together by orientation and position, never by the name of their series: a series
may hold a whole stack, a stack may be spread over series, and one plane may have been scanned
again.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from NISFCore.data.dicom_frames import FrameRecord

SAME_RUN_MM = 0.1
"""Frames of one acquisition differ in position only by rounding in the header."""

SAME_PLANE_MM = 1.0
"""Two acquisitions nearer than this (along the normal) are the same plane, scanned again."""

SAME_PLANE_DEG = 1.0

MIN_CINE_PHASES = 4
"""Fewer images of one plane are no movie."""

NEAR_SHARE = 0.25
"""Images nearer in time than this share of the mean step are not successive phases of one cycle."""

MIN_OVERLAP = 1.2
"""Time that repeats of a cycle cover together, over the time that they cover once."""

MIN_PHASES_SHARE = 0.5
"""A repeated acquisition with a smaller share of the phases was aborted and is not preferred."""


@dataclass(frozen=True)
class Acquisition:
    """The frames of one plane from one breath-hold, in no particular order yet."""

    records: tuple[FrameRecord, ...]
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> FrameRecord:
        return self.records[0]

    @property
    def order(self) -> tuple[float, int, int]:
        """Sorts acquisitions by time, then by series and instance number."""
        times = [r.acquisition_s for r in self.records if r.acquisition_s is not None]
        instances = [r.instance_number or 0 for r in self.records]
        return (max(times, default=0.0), self.first.series_number or 0, min(instances))

    @property
    def knows_times(self) -> bool:
        """Whether every image has a trigger time of its own."""
        times = {r.trigger_time_ms for r in self.records}
        return None not in times and len(times) == len(self.records)

    def noted(self, note: str) -> "Acquisition":
        return replace(self, notes=(*self.notes, note))


def without_exact_duplicates(
    records: Sequence[FrameRecord],
) -> tuple[list[FrameRecord], int]:
    """Drop frames whose SOPInstanceUID occurred before; return the rest and how many were.

    Some programs give all images the same UID: of one time and place is only the same image.
    """
    kept: dict[tuple[object, ...], FrameRecord] = {}
    for k, record in enumerate(records):
        is_named = not record.sop_uid.startswith("/")
        kept.setdefault(_identity(record) if is_named else (k,), record)
    return list(kept.values()), len(records) - len(kept)


def _identity(record: FrameRecord) -> tuple[object, ...]:
    place = np.round(record.ras_from_pixel, 2).tobytes()
    numbers = record.series_number, record.instance_number, record.acquisition_number
    return record.sop_uid, place, record.trigger_time_ms, *numbers


def group_by_plane(records: Sequence[FrameRecord]) -> list[list[Acquisition]]:
    """All acquisitions of every plane, the last acquisition last."""
    planes: list[list[Acquisition]] = []
    for run in _runs(records):
        plane = next((p for p in planes if _same_plane(p[0].first, run[0])), None)
        if plane is None:
            planes.append([])
            plane = planes[-1]
        plane.extend(_split_repeats(run))
    return [sorted(_join_singles(plane), key=lambda a: a.order) for plane in planes]


def has_movie(records: Sequence[FrameRecord]) -> bool:
    """Whether any plane has enough images."""
    planes = group_by_plane(records)
    return any(len(a.records) >= MIN_CINE_PHASES for plane in planes for a in plane)


def _runs(records: Sequence[FrameRecord]) -> list[list[FrameRecord]]:
    """Frames of one series with the same geometry and matrix."""
    by_series: dict[tuple[str, tuple[int, int]], list[list[FrameRecord]]] = {}
    for record in records:
        runs = by_series.setdefault((record.series_uid, record.shape), [])
        run = next((r for r in runs if _same_geometry(r[0], record)), None)
        if run is None:
            runs.append([record])
        else:
            run.append(record)
    return [run for runs in by_series.values() for run in runs]


def _same_geometry(a: FrameRecord, b: FrameRecord) -> bool:
    linear = np.abs(a.ras_from_pixel[:3, :3] - b.ras_from_pixel[:3, :3]).max()
    shift = np.abs(a.ras_from_pixel[:3, 3] - b.ras_from_pixel[:3, 3]).max()
    return bool(linear < 1e-3 and shift < SAME_RUN_MM)


def _same_plane(a: FrameRecord, b: FrameRecord) -> bool:
    cosine = min(1.0, abs(float(a.normal_ras @ b.normal_ras)))
    distance = abs(float((a.centre_ras - b.centre_ras) @ a.normal_ras))
    return bool(np.rad2deg(np.arccos(cosine)) < SAME_PLANE_DEG and distance < SAME_PLANE_MM)


def _split_repeats(run: list[FrameRecord]) -> list[Acquisition]:
    """Split a run that shows the cycle more than once.

    By acquisition number where that explains it, else where times begin anew in order of the
    instance numbers, else by how often each time was there before.
    """
    if _has_near_times(run):
        for way in (_by_acquisition_number, _by_new_beginnings, _kth_of_each_time):
            groups = way(run)
            if _are_repeats(groups):
                return [Acquisition(tuple(group)) for group in groups]
    return [Acquisition(tuple(run))]


def _times_ms(records: Sequence[FrameRecord]) -> npt.NDArray[np.float64]:
    """Trigger times, NaN where there is none."""
    return np.array([r.trigger_time_ms for r in records], dtype=np.float64)


def _has_near_times(run: Sequence[FrameRecord]) -> bool:
    """Whether two images of a movie are so near in time that one cycle does not explain them."""
    times = np.sort(_times_ms(run))
    if np.isnan(times).any() or len(np.unique(times)) < MIN_CINE_PHASES:
        return False
    steps = np.diff(times)
    return bool(steps.min() < NEAR_SHARE * steps.mean())


def _are_repeats(groups: Sequence[Sequence[FrameRecord]]) -> bool:
    """Whether every group has each time once, and they show the same part of the cycle."""
    times = [_times_ms(group) for group in groups]
    is_once = all(len(np.unique(t)) == len(t) for t in times)
    if len(groups) < 2 or max(map(len, groups)) < MIN_CINE_PHASES or not is_once:
        return False
    every = np.concatenate(times)
    shares_times = len(np.unique(every)) < len(every)
    return shares_times or bool(sum(map(np.ptp, times)) > MIN_OVERLAP * np.ptp(every))


def _by_acquisition_number(run: Sequence[FrameRecord]) -> list[list[FrameRecord]]:
    groups: dict[int | None, list[FrameRecord]] = {}
    for record in run:
        groups.setdefault(record.acquisition_number, []).append(record)
    return list(groups.values())


def _by_new_beginnings(run: Sequence[FrameRecord]) -> list[list[FrameRecord]]:
    """Cut where the times go back; not at all if that leaves pieces that are no movies."""
    ordered = _by_instance(run)
    times = _times_ms(ordered)
    cuts = [0, *(np.flatnonzero(np.diff(times) <= 0) + 1).tolist(), len(ordered)]
    groups = [ordered[a:b] for a, b in pairwise(cuts)]
    return groups if min(map(len, groups)) >= MIN_CINE_PHASES else [ordered]


def _kth_of_each_time(run: Sequence[FrameRecord]) -> list[list[FrameRecord]]:
    """Group k has the k-th image of every time. Nothing is cut where a coarse clock gave the same
    time to successive images."""
    ordered, groups = _by_instance(run), list[list[FrameRecord]]()
    counts = Counter(r.trigger_time_ms for r in run)
    numbers = {r.instance_number for r in run}
    is_coarse = len(numbers) == len(run) and bool((np.diff(_times_ms(ordered)) >= 0).all())
    if is_coarse and len(set(counts.values())) > 1:
        return [ordered]
    seen: Counter[float | None] = Counter()
    for record in ordered:
        k = seen[record.trigger_time_ms]
        seen[record.trigger_time_ms] += 1
        groups += [[]] if k == len(groups) else []
        groups[k].append(record)
    return groups


def _by_instance(run: Sequence[FrameRecord]) -> list[FrameRecord]:
    return sorted(run, key=lambda r: r.instance_number or 0)


def _join_singles(plane: list[Acquisition]) -> list[Acquisition]:
    """Join acquisitions of one image each (a series for every phase) where geometry agrees."""
    joined: list[Acquisition] = []
    for acquisition in plane:
        k = _joinable(joined, acquisition)
        if k is None:
            joined.append(acquisition)
        else:
            joined[k] = Acquisition((*joined[k].records, *acquisition.records))
    return [
        a.noted("its phases are spread over several series, joined")
        if len({r.series_uid for r in a.records}) > 1
        else a
        for a in joined
    ]


def _joinable(joined: list[Acquisition], single: Acquisition) -> int | None:
    if len(single.records) >= MIN_CINE_PHASES:
        return None
    times = {_time_key(r) for r in single.records}
    for k, other in enumerate(joined):
        is_apart = not times & {_time_key(r) for r in other.records}
        is_single = len(other.records) < MIN_CINE_PHASES or len(_series(other)) > 1
        same = other.first.shape == single.first.shape
        if is_apart and is_single and same and _same_geometry(other.first, single.first):
            return k
    return None


def _series(acquisition: Acquisition) -> set[str]:
    return {r.series_uid for r in acquisition.records}


def _time_key(record: FrameRecord) -> tuple[float | None, int | None, int | None]:
    if record.trigger_time_ms is not None:
        return record.trigger_time_ms, None, None
    return None, record.temporal_position, record.instance_number


def last_complete(repeats: list[Acquisition]) -> Acquisition:
    """The acquisition to keep of one plane: the last that has most of the phases, of those that
    know their times if any does."""
    if len(repeats) == 1:
        return repeats[0]
    timed = [a for a in repeats if a.knows_times] or repeats
    most = max(len(a.records) for a in timed)
    complete = [a for a in timed if len(a.records) >= MIN_PHASES_SHARE * most]
    kept = complete[-1]
    others = sorted({a.first.series for a in repeats if a is not kept})
    return kept.noted(
        f"scanned {len(repeats)} times; the last complete acquisition was kept "
        f"(series {kept.first.series}; left out: series {', '.join(others)})"
    )
