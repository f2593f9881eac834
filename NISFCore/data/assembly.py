"""From single recognised slices to a `CineStudy`: views, names, order, collected notes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from NISFCore.data.canonical import beating_centre_ras
from NISFCore.data.study import CineSlice, CineStudy, ExcludedSlice
from NISFCore.data.tags import series_name
from NISFCore.data.view_geometry import towards_base
from NISFCore.data.view_hints import view_hint
from NISFCore.data.view_recognition import (
    PlaneHint,
    Recognition,
    recognise_views,
    short_axis_family,
)
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Affine
from NISFCore.views import LONG_AXIS_VIEWS, View

MAX_NAMES_SHOWN = 4


@dataclass(frozen=True)
class FoundSlice:
    """A slice whose view is not known yet.

    Attributes:
        item: the slice; its name and view are placeholders.
        description: name of its series or file, a hint for the view.
        view: view that the input itself states (a manifest, a file name), or None.
    """

    item: CineSlice
    description: str = ""
    view: View | None = None


def assemble_study(
    found: Sequence[FoundSlice],
    *,
    subject: str,
    views: Mapping[str, View] | None = None,
    warnings: Sequence[str] = (),
    has_patient_orientation: bool = True,
) -> CineStudy:
    """Recognise the views, order and name the slices.

    Args:
        found: slices in order of acquisition.
        views: views that the user gives, by series number, file stem or folder name.
        warnings: what the reader has to say.

    Raises:
        StudyError: if nothing is usable or `views` names an unknown series.
    """
    fixed = views_given(found, views or {})
    hints = _plane_hints(found, fixed)
    recognised = _recognise(found, hints)
    pairs = list(zip((f.item for f in found), recognised, strict=True))
    used = _named(_ordered([(s, r.view) for s, r in pairs if r.view is not View.OTHER]))
    left_out = [(s, r) for s, r in pairs if r.view is View.OTHER]
    excluded = tuple(
        ExcludedSlice(s.renamed(f"OTHER_{k:02d}", View.OTHER), r.reason)
        for k, (s, r) in enumerate(left_out, start=1)
    )
    if not used:
        raise StudyError(_nothing_usable(excluded, warnings))
    return CineStudy(
        slices=used,
        subject=subject,
        excluded=excluded,
        warnings=(*warnings, *_collected_notes(used)),
        has_patient_orientation=has_patient_orientation,
    )


def assemble_planes(
    planes: Sequence[Sequence[FoundSlice]],
    *,
    subject: str,
    views: Mapping[str, View] | None = None,
    warnings: Sequence[str] = (),
) -> CineStudy:
    """As `assemble_study`, where a plane may have been imaged with several directions of tags.

    Args:
        planes: the slices of every plane, which get one view and names of one stem.

    Raises:
        StudyError: as `assemble_study`.
    """
    fixed = views_given([f for plane in planes for f in plane], views or {})
    first_of, n = [], 0
    for plane in planes:
        view = next((fixed[k] for k in range(n, n + len(plane)) if k in fixed), None)
        first_of.append(replace(plane[0], view=view))
        n += len(plane)
    study = assemble_study(first_of, subject=subject, warnings=warnings)
    # Assembly renames and reorders the slices; their frames stay the same arrays.
    series = {id(plane[0].item.frames): [f.item for f in plane] for plane in planes}
    return replace(
        study,
        slices=tuple(item for s in study.slices for item in _all_series(s, series)),
        excluded=tuple(
            ExcludedSlice(item, e.reason)
            for e in study.excluded
            for item in _all_series(e.slice, series)
        ),
    )


def _all_series(named: CineSlice, series: Mapping[int, Sequence[CineSlice]]) -> Iterator[CineSlice]:
    items = series[id(named.frames)]
    for k, item in enumerate(items):
        yield item.renamed(series_name(named.name, k, len(items)), named.view)


def views_given(found: Sequence[FoundSlice], views: Mapping[str, View]) -> dict[int, View]:
    """Views by index of the slice: the user's, else what the input states."""
    keys = [_series_keys(f.item) for f in found]
    unknown = sorted(set(views).difference(*keys))
    if unknown:
        known = ", ".join(sorted({f.item.provenance.series for f in found}))
        raise StudyError(f"views: no series {', '.join(unknown)} in this study; it has {known}")
    given = {
        k: next((views[key] for key in keys[k] if key in views), f.view)
        for k, f in enumerate(found)
    }
    return {k: view for k, view in given.items() if view is not None}


def _series_keys(item: CineSlice) -> tuple[str, ...]:
    """What a user may call the series of a slice: its number (or file), or its folder's name."""
    return item.provenance.series, PurePosixPath(item.provenance.source).name


def _plane_hints(found: Sequence[FoundSlice], fixed: Mapping[int, View]) -> list[PlaneHint]:
    last = max(len(found) - 1, 1)
    return [
        PlaneHint(
            normal_ras=f.item.normal_ras,
            centre_ras=f.item.centre_ras,
            hint=view_hint(f.description),
            order=k / last,
            fixed=fixed.get(k),
        )
        for k, f in enumerate(found)
    ]


def _recognise(found: Sequence[FoundSlice], hints: Sequence[PlaneHint]) -> list[Recognition]:
    sa = short_axis_family(hints)
    beating = [found[k].item for k in sa] or [f.item for f in found]
    return recognise_views(hints, beating_centre_ras(beating))


def _ordered(slices: Sequence[tuple[CineSlice, View]]) -> list[tuple[CineSlice, View]]:
    """The SA stack from base to apex, then the long-axis views."""
    sa = [pair for pair in slices if pair[1] is View.SA]
    if sa:
        to_base = towards_base(sa[0][0].normal_ras)
        sa.sort(key=lambda pair: -float(pair[0].centre_ras @ to_base))
    return [*sa, *(pair for view in LONG_AXIS_VIEWS for pair in slices if pair[1] is view)]


def _named(slices: Sequence[tuple[CineSlice, View]]) -> tuple[CineSlice, ...]:
    """SA_01, SA_02 ... from base to apex; LA_4CH, and LA_4CH_2 for a second one."""
    counts: dict[View, int] = {}
    named = []
    for item, view in slices:
        n = counts[view] = counts.get(view, 0) + 1
        named.append(item.renamed(_name(view, n), view))
    return tuple(named)


def _name(view: View, n: int) -> str:
    if view is View.SA:
        return f"SA_{n:02d}"
    return view.value if n == 1 else f"{view.value}_{n}"


def _collected_notes(slices: Sequence[CineSlice]) -> tuple[str, ...]:
    """Every distinct note once, with the slices that it is about."""
    names: dict[str, list[str]] = {}
    for item in slices:
        for note in item.provenance.notes:
            names.setdefault(note, []).append(item.name)
    return tuple(f"{_listed(who, len(slices))}: {note}" for note, who in names.items())


def _listed(names: Sequence[str], n_all: int) -> str:
    if len(names) == n_all and n_all > 1:
        return "all slices"
    shown = ", ".join(names[:MAX_NAMES_SHOWN])
    more = len(names) - MAX_NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _nothing_usable(excluded: Sequence[ExcludedSlice], warnings: Sequence[str]) -> str:
    reasons = [f"series {e.slice.provenance.series}: {e.reason}" for e in excluded[:5]]
    details = "; ".join([*reasons, *list(warnings)[:5]])
    return (
        "no cine slice of the heart's short or long axis was found; give the views of the series "
        f"yourself if they are there. Found: {details or 'nothing'}"
    )


def unit_normal_affine(ras_from_ijk: Affine, thickness_mm: float) -> Affine:
    """`ras_from_ijk` with its third column made the unit normal times the thickness."""
    A = np.array(ras_from_ijk, dtype=np.float64)
    normal = np.cross(A[:3, 0], A[:3, 1])
    A[:3, 2] = normal / np.linalg.norm(normal) * thickness_mm
    return A
