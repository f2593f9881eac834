"""The LV's own directions and segments at any point: what strain is told in.

Directions at a point: radial (across the wall, outwards), circumferential (around the LV axis) and
longitudinal (along the wall, apex to base), right-handed in this order, as in the phantom's truth.
Within a single plane they are those of the axis. Segments by the
AHA's 17-segment model (Cerqueira et al. 2002, Circulation 105:539), angles from the middle of the
septum towards the anterior wall.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from NISFCore.data.study import CineSlice
from NISFCore.errors import StudyError
from NISFCore.geometry.frame import TYPICAL_BASE_FROM_APEX_RAS, TYPICAL_RV_FROM_LV_RAS
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.prolate import Foci, foci_of_wall, wall_directions
from NISFCore.geometry.spaces import Points
from NISFCore.labels import Label

RADIAL, CIRCUMFERENTIAL, LONGITUDINAL = range(3)
N_SEGMENTS = 17
SEGMENT_NAMES = (
    "basal anterior",
    "basal anteroseptal",
    "basal inferoseptal",
    "basal inferior",
    "basal inferolateral",
    "basal anterolateral",
    "mid anterior",
    "mid anteroseptal",
    "mid inferoseptal",
    "mid inferior",
    "mid inferolateral",
    "mid anterolateral",
    "apical anterior",
    "apical septal",
    "apical inferior",
    "apical lateral",
    "apex",
)
"""Of AHA segments 1 to 17."""
_SIXTHS = np.array([2, 1, 6, 5, 4, 3], dtype=np.uint8)
_QUARTERS = np.array([14, 13, 16, 15], dtype=np.uint8)


@dataclass(frozen=True)
class LVFrame:
    """Where the LV lies at ED.

    Attributes:
        centre_ras: `(3,)` mm, a point on the axis.
        base_from_apex_ras: unit vector along it.
        rv_from_lv_ras: unit vector across it, to the middle of the septum.
        apex_mm, base_mm: heights of the cavity's ends over the centre along the axis; equal if
            they are not known (a single plane), which then counts as mid-ventricular.
        foci: of the wall's shape, heights over the centre; None if it is not known: then radial is
            away from the axis, and longitudinal along it.
    """

    centre_ras: npt.NDArray[np.float64]
    base_from_apex_ras: npt.NDArray[np.float64]
    rv_from_lv_ras: npt.NDArray[np.float64]
    apex_mm: float = 0.0
    base_mm: float = 0.0
    foci: Foci | None = None

    def directions(self, points_ras: Points) -> npt.NDArray[np.float64]:
        """`(n, 3, 3)`: rows are the radial, circumferential and longitudinal unit vectors."""
        along, heights = self.base_from_apex_ras, self.heights_mm(points_ras)
        outward = points_ras - self.centre_ras - heights[:, None] * along
        on_axis = np.linalg.norm(outward, axis=1, keepdims=True) < 1e-9
        outward = np.where(on_axis, self.rv_from_lv_ras, outward)
        return wall_directions(outward, heights, along, self.foci)

    def with_wall(self, points_ras: Points) -> "LVFrame":
        """The same with the foci of a wall, from its points `(n, 3)` at ED."""
        heights = self.heights_mm(points_ras)
        outward = points_ras - self.centre_ras - heights[:, None] * self.base_from_apex_ras
        return replace(self, foci=foci_of_wall(heights, np.linalg.norm(outward, axis=1)))

    def heights_mm(self, points_ras: Points) -> npt.NDArray[np.float64]:
        """`(n,)` along the axis from the centre."""
        return np.asarray((points_ras - self.centre_ras) @ self.base_from_apex_ras)

    def angles_rad(self, points_ras: Points) -> npt.NDArray[np.float64]:
        """`(n,)` in [0, 2 pi) from the septum's middle, anticlockwise seen from the base: towards
        the anterior wall."""
        anterior = np.cross(self.base_from_apex_ras, self.rv_from_lv_ras)
        d = points_ras - self.centre_ras
        return np.mod(np.arctan2(d @ anterior, d @ self.rv_from_lv_ras), 2 * np.pi)

    def segments(self, points_ras: Points) -> npt.NDArray[np.uint8]:
        """AHA segments `(n,)`, 1 to 17."""
        angle_deg = np.rad2deg(self.angles_rad(points_ras))
        sixth = _SIXTHS[(angle_deg // 60).astype(int) % 6]
        quarter = _QUARTERS[((angle_deg + 45) // 90).astype(int) % 4]
        if self.base_mm <= self.apex_mm:
            return sixth + np.uint8(6)
        height = (self.heights_mm(points_ras) - self.apex_mm) / (self.base_mm - self.apex_mm)
        levels = [height < 0, height < 1 / 3, height < 2 / 3]
        return np.select(levels, [np.uint8(N_SEGMENTS), quarter, sixth + np.uint8(6)], sixth)


def frame_of_plane(cine: CineSlice, base_from_apex_ras: Points | None = None) -> LVFrame:
    """The LV frame of one short-axis slice, from its labels in the first frame.

    Args:
        base_from_apex_ras: the LV axis; the slice's normal if it is not known, turned so that the
            septum's side of the wall is followed by its anterior part in a supine patient.

    Raises:
        StudyError: if the slice has no labels or none of the LV.
    """
    values = labels_at_ed(cine)
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
    lv = (values == Label.LV_MYOCARDIUM) | (values == Label.LV_BLOOD_POOL)
    centre = points[lv].mean(axis=0)
    along = cine.normal_ras if base_from_apex_ras is None else base_from_apex_ras
    if base_from_apex_ras is None and along @ TYPICAL_BASE_FROM_APEX_RAS < 0:
        along = -along
    along = along / np.linalg.norm(along)
    rv = values == Label.RV_BLOOD_POOL
    toward = points[rv].mean(axis=0) - centre if rv.any() else TYPICAL_RV_FROM_LV_RAS
    toward = toward - (toward @ along) * along
    return LVFrame(centre, along, toward / np.linalg.norm(toward))


def labels_at_ed(cine: CineSlice) -> npt.NDArray[np.uint8]:
    """Labels `(rows, cols)` of the first frame.

    Raises:
        StudyError: if there are none, or none of the LV's wall.
    """
    if cine.labels is None or not cine.labels.annotated[0]:
        raise StudyError(
            f"slice {cine.name!r} has no labels at ED; motion needs to know where the tissue is: "
            "fit the study first, or give a label map"
        )
    values = cine.labels.values[0]
    if not (values == Label.LV_MYOCARDIUM).any():
        raise StudyError(
            f"slice {cine.name!r}: no pixel of its first frame is labelled as LV myocardium; leave "
            "it out, or correct its labels"
        )
    return values
