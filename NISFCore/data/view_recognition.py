"""Recognising the view of every cine plane from where the planes lie in the patient.

The short axis is the family of parallel planes whose normal runs along a heart's typical axis and
which the long-axis planes cross at right angles. A long-axis plane contains the LV axis; its
azimuth about that axis tells 4-, 3- and 2-chamber apart. All long-axis planes of one heart are
assigned together: they meet in one line, each view occurs once, and they keep their typical
angles to each other while the heart as a whole may be turned.

Typical directions were measured on the planned planes of three real hearts of three scanners
(one of them the shared test study): the 4CH plane cuts the SA plane along the patient's right
(-4°, 5°, 11°), the 2CH plane along superior (-3°, -2°, -4°), and 3CH lies 58° to 60° from 4CH.

Deviations are summed as squares over their standard deviations, so that costs compare.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from NISFCore.data.view_geometry import (
    angle_deg,
    azimuth_deg,
    towards_base,
    typical_4ch_azimuth_deg,
    wrapped_deg,
)
from NISFCore.geometry.frame import TYPICAL_BASE_FROM_APEX_RAS
from NISFCore.geometry.spaces import Points
from NISFCore.views import LONG_AXIS_VIEWS, View

AZIMUTH_FROM_4CH_DEG = {View.LA_4CH: 0.0, View.LA_3CH: 59.0, View.LA_2CH: 113.0}

SIGMA_HEART_AZIMUTH_DEG = 15.0
"""How much a heart is turned about its own axis."""

SIGMA_PLANE_AZIMUTH_DEG = 10.0
"""How differently the planes of one heart are planned."""

SIGMA_TILT_DEG = 7.0
"""Angle between a long-axis plane and the LV axis (or the SA normal)."""

SIGMA_OFFSET_MM = 6.0
"""Distance of a long-axis plane from the LV axis at the middle of the ventricle."""

SIGMA_CENTRE_MM = 15.0
"""Distance of the beating region's centre (which includes the RV) from the LV axis."""

SIGMA_AXIS_DEG = 22.0
"""Angle between a heart's LV axis and the typical one."""

NAME_COST = 2.0
"""What it costs to contradict a name: as much as a deviation of two standard deviations."""

EARLIER_COST = 0.5
"""What it costs to prefer the first plane of an examination to the last: planning improves."""

UNASSIGNED_COST = 9.0
"""A plane that deviates by more than about four standard deviations is another view."""

PARALLEL_DEG = 10.0
SAME_POSITION_MM = 2.0
CARDINAL_DEG = 8.0
MAX_SA_COST = 5.0
MAX_CANDIDATES = 9


@dataclass(frozen=True)
class PlaneHint:
    """What recognition knows of a plane.

    Attributes:
        normal_ras, centre_ras: `(3,)`, the unit normal (either sign) and the frame's centre.
        hint: view suggested by its name.
        order: rank in time from 0 to 1; of two planes that fit alike the later is taken.
        fixed: view given by the user, which is not questioned.
    """

    normal_ras: Points
    centre_ras: Points
    hint: View | None = None
    order: float = 1.0
    fixed: View | None = None


@dataclass(frozen=True)
class Recognition:
    """The view of a plane and, for `View.OTHER`, why it is left out."""

    view: View
    reason: str = ""


def recognise_views(
    planes: Sequence[PlaneHint], heart_centre_ras: Points | None = None
) -> list[Recognition]:
    """Recognise all planes of one study together.

    Args:
        planes: every cine plane.
        heart_centre_ras: rough centre of the beating region, `(3,)`, where images gave one.
    """
    sa = short_axis_family(planes)
    rest = [k for k in range(len(planes)) if k not in sa]
    centre = heart_centre_ras
    if centre is None:
        centre = np.median([planes[k].centre_ras for k in sa or rest], axis=0)
    normal = _family_normal([planes[k] for k in sa]) if sa else None
    assigned = _assign_long_axis({k: planes[k] for k in rest}, normal, centre)
    found = {k: Recognition(View.SA) for k in sa}
    found.update({k: Recognition(view) for k, view in assigned.items()})
    axis = _lv_axis([planes[k] for k in assigned], normal)
    for k in rest:
        found.setdefault(k, Recognition(View.OTHER, _reason(planes[k], axis, centre)))
    return [_unless_fixed(found[k], plane.fixed) for k, plane in enumerate(planes)]


def _unless_fixed(found: Recognition, fixed: View | None) -> Recognition:
    if fixed is None:
        return found
    return Recognition(fixed, "left out by the user" if fixed is View.OTHER else "")


# ---------------------------------------------------------------- the short-axis family


def short_axis_family(planes: Sequence[PlaneHint]) -> list[int]:
    """Indices of the short-axis planes (empty if there are none)."""
    given = [k for k, plane in enumerate(planes) if plane.fixed is View.SA]
    free = [k for k, plane in enumerate(planes) if plane.fixed is None]
    families = _parallel_families(planes, free)
    if not families:
        return given
    costs = [_family_cost(planes, family) for family in families]
    best = int(np.argmin(costs))
    return sorted({*given, *(families[best] if costs[best] < MAX_SA_COST else [])})


def _parallel_families(planes: Sequence[PlaneHint], indices: Sequence[int]) -> list[list[int]]:
    """Planes grouped by direction; each joins the family whose first member is nearest."""
    families: list[list[int]] = []
    for k in indices:
        angles = [angle_deg(planes[f[0]].normal_ras, planes[k].normal_ras) for f in families]
        if angles and min(angles) < PARALLEL_DEG:
            families[int(np.argmin(angles))].append(k)
        else:
            families.append([k])
    return families


def _family_cost(planes: Sequence[PlaneHint], family: list[int]) -> float:
    """Small for a short-axis stack: typical axis, many positions, crossed by other planes."""
    normal = _family_normal([planes[k] for k in family])
    cost = (angle_deg(normal, TYPICAL_BASE_FROM_APEX_RAS) / SIGMA_AXIS_DEG) ** 2
    cost -= min(_n_positions([planes[k] for k in family], normal) - 1, 6) * 0.5
    if min(angle_deg(normal, axis) for axis in np.eye(3)) < CARDINAL_DEG:
        cost += 4.0  # an axial, sagittal or coronal stack
    hints = [planes[k].hint for k in family if planes[k].hint is not None]
    if hints:
        cost += NAME_COST * (1 - 2 * float(np.mean([h is View.SA for h in hints])))
    return cost + _crossing_cost(planes, family, normal)


def _crossing_cost(planes: Sequence[PlaneHint], family: list[int], normal: Points) -> float:
    """Mean over other directions of how far they are from crossing at right angles."""
    others = [planes[k].normal_ras for k in range(len(planes)) if k not in family]
    if not others:
        return 0.0
    tilts = np.array([90.0 - angle_deg(normal, n) for n in others])
    return float(np.mean(np.minimum((tilts / (2 * SIGMA_TILT_DEG)) ** 2, 4.0)))


def _n_positions(planes: Sequence[PlaneHint], normal: Points) -> int:
    heights = np.sort([float(p.centre_ras @ normal) for p in planes])
    return 1 + int(np.sum(np.diff(heights) > SAME_POSITION_MM))


def _family_normal(planes: Sequence[PlaneHint]) -> Points:
    """Mean normal, pointing to the base."""
    normals = np.stack([p.normal_ras for p in planes])
    signs = np.where(normals @ normals[0] >= 0, 1.0, -1.0)
    return towards_base((signs[:, None] * normals).mean(axis=0))


# ---------------------------------------------------------------- the long-axis views


def _assign_long_axis(
    planes: dict[int, PlaneHint], sa_normal: Points | None, centre: Points
) -> dict[int, View]:
    """The cheapest assignment of planes to views; planes that fit no view stay out."""
    candidates = _candidates(planes, sa_normal)
    best: dict[int, View] = {}
    best_cost = UNASSIGNED_COST * len(candidates)
    fixed = {k: plane.fixed for k, plane in planes.items() if plane.fixed is not None}
    for assignment in _assignments(candidates):
        if not _respects(assignment, fixed):
            continue
        chosen = {k: planes[k] for k in assignment}
        left_out = UNASSIGNED_COST * (len(candidates) - len(chosen))
        cost = left_out + _assignment_cost(chosen, assignment, sa_normal, centre)
        if cost < best_cost:
            best, best_cost = assignment, cost
    return best


def _candidates(planes: dict[int, PlaneHint], sa_normal: Points | None) -> list[int]:
    """Planes steep enough against the SA stack, the steepest and latest first."""
    tilts = {
        k: 0.0 if sa_normal is None else 90.0 - angle_deg(p.normal_ras, sa_normal)
        for k, p in planes.items()
    }
    steep = [k for k, p in planes.items() if p.fixed is None and tilts[k] < 3 * SIGMA_TILT_DEG]
    given = [k for k, p in planes.items() if p.fixed is not None and p.fixed.is_long_axis]
    return (
        given
        + sorted(steep, key=lambda k: (round(tilts[k] / SIGMA_TILT_DEG), -planes[k].order))[
            :MAX_CANDIDATES
        ]
    )


def _assignments(candidates: list[int]) -> Iterator[dict[int, View]]:
    """Every way to give up to three views to different planes."""
    slots: list[int | None] = [*candidates, *([None] * len(LONG_AXIS_VIEWS))]
    for chosen in sorted(set(permutations(slots, 3)), key=str):
        pairs = zip(chosen, LONG_AXIS_VIEWS, strict=True)
        assignment = {k: view for k, view in pairs if k is not None}
        if assignment:
            yield assignment


def _respects(assignment: dict[int, View], fixed: dict[int, View]) -> bool:
    """True unless a view that the user gave to one plane goes to another."""
    taken = set(fixed.values())
    return all(fixed.get(k) is v or v not in taken for k, v in assignment.items()) and all(
        fixed.get(k, v) is v for k, v in assignment.items()
    )


def _assignment_cost(
    chosen: dict[int, PlaneHint],
    views: dict[int, View],
    sa_normal: Points | None,
    centre: Points,
) -> float:
    planes = list(chosen.values())
    axis = _lv_axis(planes, sa_normal)
    if axis is None:
        axis = _typical_axis_in_plane(planes[0])
    tilt = sum(((90.0 - angle_deg(p.normal_ras, axis)) / SIGMA_TILT_DEG) ** 2 for p in planes)
    names = sum(NAME_COST for k, p in chosen.items() if p.hint not in (None, views[k]))
    earlier = sum(EARLIER_COST * (1.0 - p.order) for p in planes)
    swing = (angle_deg(axis, TYPICAL_BASE_FROM_APEX_RAS) / SIGMA_AXIS_DEG) ** 2
    return (
        tilt
        + names
        + earlier
        + (swing if sa_normal is None else 0.0)
        + _offset_cost(planes, axis, centre)
        + _azimuth_cost(planes, list(views.values()), axis)
    )


def _lv_axis(planes: Sequence[PlaneHint], sa_normal: Points | None) -> Points | None:
    """Direction to the base common to all planes; None if they do not determine it."""
    M = np.zeros((3, 3))
    for plane in planes:
        M += np.outer(plane.normal_ras, plane.normal_ras)
    if sa_normal is not None:
        M += np.eye(3) - np.outer(sa_normal, sa_normal)
    values, vectors = np.linalg.eigh(M)
    return towards_base(vectors[:, 0]) if values[1] > 0.1 else None


def _typical_axis_in_plane(plane: PlaneHint) -> Points:
    typical = TYPICAL_BASE_FROM_APEX_RAS
    inside = typical - (typical @ plane.normal_ras) * plane.normal_ras
    return np.asarray(inside / np.linalg.norm(inside), dtype=np.float64)


def _offset_cost(planes: Sequence[PlaneHint], axis: Points, centre: Points) -> float:
    """How well the planes meet in one line near the beating heart (least squares)."""
    across = np.eye(3) - np.outer(axis, axis)
    rows = [across @ p.normal_ras / SIGMA_OFFSET_MM for p in planes]
    values = [float(p.normal_ras @ (p.centre_ras - centre)) / SIGMA_OFFSET_MM for p in planes]
    A = np.vstack([rows, np.eye(3) / SIGMA_CENTRE_MM])
    b = np.concatenate([values, np.zeros(3)])
    shift = np.linalg.lstsq(A, b, rcond=None)[0]
    return float(np.sum((A @ shift - b) ** 2))


def _azimuth_cost(planes: Sequence[PlaneHint], views: Sequence[View], axis: Points) -> float:
    """Deviation of the planes' azimuths from the template, the heart's own turn profiled out."""
    typical = typical_4ch_azimuth_deg(axis)
    deviations = np.array(
        [
            wrapped_deg(azimuth_deg(p.normal_ras, axis) - typical - AZIMUTH_FROM_4CH_DEG[v])
            for p, v in zip(planes, views, strict=True)
        ]
    )
    n, s2_heart, s2_plane = len(planes), SIGMA_HEART_AZIMUTH_DEG**2, SIGMA_PLANE_AZIMUTH_DEG**2
    turn = deviations.sum() * s2_heart / (n * s2_heart + s2_plane)
    return float(np.sum((deviations - turn) ** 2) / s2_plane + turn**2 / s2_heart)


def _reason(plane: PlaneHint, axis: Points | None, centre: Points) -> str:
    """Why a plane is no usable view, in words and figures."""
    if axis is None:
        return "not recognised: no LV axis was found to compare it with"
    tilt = 90.0 - angle_deg(plane.normal_ras, axis)
    across = plane.normal_ras - (plane.normal_ras @ axis) * axis
    length = float(np.linalg.norm(across))
    offset = abs(float(plane.normal_ras @ (plane.centre_ras - centre))) / max(length, 1e-6)
    if tilt > 2 * SIGMA_TILT_DEG and tilt > 60:
        return f"{90 - tilt:.0f}° from a short-axis plane, and not part of the short-axis stack"
    if tilt > 2 * SIGMA_TILT_DEG:
        return f"tilted {tilt:.0f}° against the LV axis: neither short nor long axis"
    if offset > 2 * SIGMA_CENTRE_MM:
        return f"passes {offset:.0f} mm from the middle of the heart, not through the LV axis"
    return "fits no long-axis view better than the plane that was chosen"
