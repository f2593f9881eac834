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

RV_CENTROID_DEG = 16.0
"""By how much, about z towards the anterior wall, the direction from the LV's centroid to the RV's
is turned from +x: mean of eight simulated hearts (5 to 25), three real ones about 15."""

SA_NORMAL_WEIGHT = 0.5
"""Weight of the SA normal against one LA plane in the least-squares LV axis."""

CENTRE_HINT_WEIGHT = 0.05
"""Weight of the image centre hint against one LA plane in the position of the LV axis."""

LABELLED_CENTRE_WEIGHT = 1.0
"""The same of a centre that comes from labels of the LV cavity."""


@dataclass(frozen=True)
class ViewPlane:
    """An imaging plane and its kind: all that the frame needs to know of a slice."""

    view: View
    ras_from_ijk: Affine
    shape: tuple[int, int]


@dataclass(frozen=True)
class AnatomyHint:
    """What somebody knows of where a heart lies that its planes do not say.

    Attributes:
        source: who says so, for `CanonicalFrame.assumptions`.
        rv_centroid_ras: direction `(3,)` from the LV's centroid to the RV's, of any length.
        base_ras: rough direction `(3,)` from apex to base, of any length; decides the sign only.
        centre_ras: a point `(3,)` on the LV axis.
    """

    source: str
    rv_centroid_ras: Points | None = None
    base_ras: Points | None = None
    centre_ras: Points | None = None

    @property
    def says_orientation(self) -> bool:
        """Whether it replaces a patient orientation that a file has lost."""
        return self.rv_centroid_ras is not None and self.base_ras is not None


NO_HINT = AnatomyHint("nobody")


@dataclass(frozen=True)
class CanonicalFrame:
    """`canonical_from_ras` (rigid) and what had to be assumed to find it."""

    canonical_from_ras: Affine
    assumptions: tuple[str, ...] = ()


def canonical_frame(
    planes: Sequence[ViewPlane],
    centre_hint_ras: npt.ArrayLike | None = None,
    has_patient_orientation: bool = True,
    hint: AnatomyHint = NO_HINT,
) -> CanonicalFrame:
    """Find the canonical frame of a study.

    Args:
        planes: every usable plane.
        centre_hint_ras: rough centre of the beating region, `(3,)`, where images gave one.
        has_patient_orientation: False if RAS directions of these planes mean nothing.
        hint: what labels or the user say of the heart's place.

    Raises:
        StudyError: if the planes do not determine an LV axis (no SA plane and fewer than two
            LA planes at an angle).
    """
    assumptions: list[str] = []
    if not has_patient_orientation and not hint.says_orientation:
        assumptions.append(
            "the file does not say how the patient lay; signs of the axes follow the array order "
            "and LV and RV may be swapped: give the orientation"
        )
    sa = [p for p in planes if p.view is View.SA]
    la = [p for p in planes if p.view.is_long_axis]
    z = _lv_axis(sa, la, assumptions)
    z = z if hint.base_ras is None else _pointing(z, hint.base_ras)
    x = _rv_direction(la, z, hint, assumptions)
    origin = _origin(sa, la, z, centre_hint_ras, hint, assumptions)
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
    return _pointing(vectors[:, 0], TYPICAL_BASE_FROM_APEX_RAS)


def _pointing(v: Points, way: Points) -> Points:
    """The vector or its opposite, whichever points the given way."""
    return v if v @ way >= 0 else -v


def _mean_normal(planes: list[ViewPlane]) -> Points:
    normals = np.stack([normal_ras(p.ras_from_ijk) for p in planes])
    signs = np.where(normals @ normals[0] >= 0, 1.0, -1.0)
    mean = (signs[:, None] * normals).mean(axis=0)
    return mean / np.linalg.norm(mean)


def _rv_direction(
    la: list[ViewPlane], z: Points, hint: AnatomyHint, assumptions: list[str]
) -> Points:
    """Unit vector from LV to RV, perpendicular to z: the trace of the 4CH plane on the SA plane."""
    typical = _across(TYPICAL_RV_FROM_LV_RAS, z)
    if hint.rv_centroid_ras is not None:
        typical = _x_from_centroids(hint.rv_centroid_ras, z)
    four_chamber = [p for p in la if p.view is View.LA_4CH]
    if four_chamber:
        x = np.cross(z, _mean_normal(four_chamber))
        return _pointing(x / np.linalg.norm(x), typical)
    if hint.rv_centroid_ras is None:
        assumptions.append(
            "no 4-chamber view: the direction of the RV is that of a typical patient"
        )
    else:
        assumptions.append(f"no 4-chamber view: the direction of the RV comes from {hint.source}")
    return typical


def _across(v: Points, z: Points) -> Points:
    """Unit vector of what is perpendicular to z in v."""
    across = v - (v @ z) * z
    return np.asarray(across / np.linalg.norm(across), dtype=np.float64)


def _x_from_centroids(rv_centroid_ras: Points, z: Points) -> Points:
    """+x from the direction of the RV's centroid (see `RV_CENTROID_DEG`)."""
    c, angle = _across(rv_centroid_ras, z), np.deg2rad(RV_CENTROID_DEG)
    return np.asarray(np.cos(angle) * c - np.sin(angle) * np.cross(z, c), dtype=np.float64)


def _origin(
    sa: list[ViewPlane],
    la: list[ViewPlane],
    z: Points,
    centre_hint_ras: npt.ArrayLike | None,
    hint: AnatomyHint,
    assumptions: list[str],
) -> Points:
    """On the common line of the LA planes, half-way between the first and the last SA plane."""
    known = hint.centre_ras is not None
    centre = _centre_hint(sa or la, hint.centre_ras if known else centre_hint_ras)
    across = np.eye(3) - np.outer(z, z)
    M = (LABELLED_CENTRE_WEIGHT if known else CENTRE_HINT_WEIGHT) * across
    b = M @ centre
    for plane in la:
        n = across @ normal_ras(plane.ras_from_ijk)
        M = M + np.outer(n, n)
        b = b + n * (n @ centre_ras(plane.ras_from_ijk, plane.shape))
    if len(la) < 2:
        where = (
            "where the images beat most"
            if centre_hint_ras is not None
            else "through the images' centre"
        )
        passes = f"comes from {hint.source}" if known else f"passes {where}"
        assumptions.append(f"fewer than two long-axis views: the LV axis {passes}")
    height = _middle_of_stack(sa, z) if sa else float(centre @ z)
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
