"""The canonical heart frame, from imaging planes alone (paper section 3.2, "standardized world
coordinates"): nobody has segmented the heart when a study arrives.

Canonical space is rigid to RAS, in mm (see `spaces.Space.CANONICAL`). The paper aligns the LV-RV
line with "the Z-axis"; z is the short-axis normal, so an in-plane axis is meant: here +x.
What the planes do not determine is assumed, said in `CanonicalFrame.assumptions`, and left to the
global pose of the fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.errors import StudyError
from NISFCore.geometry.planes import centre_ras, normal_ras
from NISFCore.geometry.rigid import rigid
from NISFCore.geometry.spaces import Affine, Points
from NISFCore.views import View

# Typical directions in a supine adult (RAS). They decide signs only, except where a view that
# would fix an axis is missing (then `assumptions` says so). The RV's is the mean direction in which
# the planned 4CH plane cuts the SA plane in three real hearts, each within 11 degrees of it.
TYPICAL_BASE_FROM_APEX_RAS = np.array([0.70, -0.50, 0.50])
TYPICAL_RV_FROM_LV_RAS = np.array([0.86, 0.38, -0.31])

SA_NORMAL_WEIGHT = 0.5
"""Weight of the SA normal against one LA plane in the least-squares LV axis."""

CENTRE_HINT_WEIGHT = 0.05
"""Weight of the image centre hint against one LA plane in the position of the LV axis."""


@dataclass(frozen=True)
class ViewPlane:
    """An imaging plane and its kind: all that the frame needs to know of a slice."""

    view: View
    ras_from_ijk: Affine
    shape: tuple[int, int]


@dataclass(frozen=True)
class CanonicalFrame:
    """`canonical_from_ras` (rigid) and what had to be assumed to find it."""

    canonical_from_ras: Affine
    assumptions: tuple[str, ...] = ()


def canonical_frame(
    planes: Sequence[ViewPlane],
    centre_hint_ras: npt.ArrayLike | None = None,
    has_patient_orientation: bool = True,
) -> CanonicalFrame:
    """Find the canonical frame of a study.

    Args:
        planes: every usable plane.
        centre_hint_ras: rough centre of the beating region, `(3,)`, where images gave one.
        has_patient_orientation: False if RAS directions of these planes mean nothing.

    Raises:
        StudyError: if the planes do not determine an LV axis (no SA plane and fewer than two
            LA planes at an angle).
    """
    assumptions: list[str] = []
    if not has_patient_orientation:
        assumptions.append(
            "the file does not say how the patient lay; signs of the axes follow the array order "
            "and LV and RV may be swapped: give the orientation"
        )
    sa = [p for p in planes if p.view is View.SA]
    la = [p for p in planes if p.view.is_long_axis]
    z = _lv_axis(sa, la, assumptions)
    x = _rv_direction(la, z, assumptions)
    origin = _origin(sa, la, z, centre_hint_ras, assumptions)
    rotation = np.stack([x, np.cross(z, x), z])
    return CanonicalFrame(rigid(rotation, -rotation @ origin), tuple(assumptions))


def _lv_axis(sa: list[ViewPlane], la: list[ViewPlane], assumptions: list[str]) -> Points:
    """Unit vector from apex to base, as parallel as can be to all LA planes and the SA normal."""
    M = np.zeros((3, 3))
    for plane in la:
        n = normal_ras(plane.ras_from_ijk)
        M += np.outer(n, n)
    if sa:
        n = _mean_normal(sa)
        M += SA_NORMAL_WEIGHT * (np.eye(3) - np.outer(n, n))
    else:
        assumptions.append("no short-axis slice: the LV axis comes from the long-axis planes alone")
    eigenvalues, vectors = np.linalg.eigh(M)
    if eigenvalues[1] < 0.05:
        raise StudyError(
            f"{len(la)} long-axis and {len(sa)} short-axis planes do not determine the LV axis; "
            "at least one SA slice, or two LA planes at an angle, are needed"
        )
    z = vectors[:, 0]
    return z if z @ TYPICAL_BASE_FROM_APEX_RAS >= 0 else -z


def _mean_normal(planes: list[ViewPlane]) -> Points:
    normals = np.stack([normal_ras(p.ras_from_ijk) for p in planes])
    signs = np.where(normals @ normals[0] >= 0, 1.0, -1.0)
    mean = (signs[:, None] * normals).mean(axis=0)
    return mean / np.linalg.norm(mean)


def _rv_direction(la: list[ViewPlane], z: Points, assumptions: list[str]) -> Points:
    """Unit vector from LV to RV, perpendicular to z: the trace of the 4CH plane on the SA plane."""
    typical = TYPICAL_RV_FROM_LV_RAS - (TYPICAL_RV_FROM_LV_RAS @ z) * z
    four_chamber = [p for p in la if p.view is View.LA_4CH]
    if four_chamber:
        x = np.cross(z, _mean_normal(four_chamber))
        x = x / np.linalg.norm(x)
        return x if x @ typical >= 0 else -x
    assumptions.append("no 4-chamber view: the direction of the RV is that of a typical patient")
    return typical / np.linalg.norm(typical)


def _origin(
    sa: list[ViewPlane],
    la: list[ViewPlane],
    z: Points,
    centre_hint_ras: npt.ArrayLike | None,
    assumptions: list[str],
) -> Points:
    """On the common line of the LA planes, half-way between the first and the last SA plane."""
    hint = _centre_hint(sa or la, centre_hint_ras)
    across = np.eye(3) - np.outer(z, z)
    M = CENTRE_HINT_WEIGHT * across
    b = M @ hint
    for plane in la:
        n = across @ normal_ras(plane.ras_from_ijk)
        M = M + np.outer(n, n)
        b = b + n * (n @ centre_ras(plane.ras_from_ijk, plane.shape))
    if len(la) < 2:
        assumptions.append(
            "fewer than two long-axis views: the LV axis passes where the images beat most"
            if centre_hint_ras is not None
            else "fewer than two long-axis views: the LV axis passes through the images' centre"
        )
    height = _middle_of_stack(sa, z) if sa else float(hint @ z)
    M = M + np.outer(z, z)
    b = b + z * height
    return np.asarray(np.linalg.solve(M, b), dtype=np.float64)


def _middle_of_stack(sa: list[ViewPlane], z: Points) -> float:
    heights = [float(centre_ras(p.ras_from_ijk, p.shape) @ z) for p in sa]
    return (min(heights) + max(heights)) / 2


def _centre_hint(planes: list[ViewPlane], centre_hint_ras: npt.ArrayLike | None) -> Points:
    if centre_hint_ras is not None:
        return np.asarray(centre_hint_ras, dtype=np.float64)
    return np.mean([centre_ras(p.ras_from_ijk, p.shape) for p in planes], axis=0)
