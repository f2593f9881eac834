"""Segments of the LV wall by the 17-segment model (Cerqueira et al. 2002, Circulation 105:539).

The cavity's length is cut into thirds; the wall beyond the cavity's apex is segment 17. Angles
count from the septum's middle (the direction of the RV) towards the anterior wall; basal and mid
segments are 60 degrees wide, apical ones 90.
"""

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.phantom.cylinder import Cylinder
from NISFCore.phantom.shape import HeartShape

N_SEGMENTS = 17
_BASAL = np.array([2, 1, 6, 5, 4, 3], dtype=np.uint8)
"""Anteroseptal, anterior, anterolateral, inferolateral, inferior, inferoseptal: counted from the
septum's middle towards anterior."""
_APICAL = np.array([14, 13, 16, 15], dtype=np.uint8)
"""Septal (centred on its middle), anterior, lateral, inferior."""


def aha_segments(m: Cylinder, shape: HeartShape) -> npt.NDArray[np.uint8]:
    """Segments `(n,)`, 1 to 17, of material points of the LV wall."""
    apex = shape.endo.z_apex_mm
    height = ((m.Z - apex) / (shape.z_base_mm - apex)).numpy()
    angle = _angle_from_septum_deg(m, shape)
    sixth = _BASAL[(angle // 60).astype(int) % 6]
    quarter = _APICAL[((angle + 45) // 90).astype(int) % 4]
    levels = [height < 0, height < 1 / 3, height < 2 / 3]
    return np.select(levels, [np.uint8(N_SEGMENTS), quarter, sixth + np.uint8(6)], sixth)


def _angle_from_septum_deg(m: Cylinder, shape: HeartShape) -> npt.NDArray[np.float64]:
    """In [0, 360)."""
    rv = shape.rv
    theta = torch.atan2(
        m.s * rv.cos_angle - m.c * rv.sin_angle, m.c * rv.cos_angle + m.s * rv.sin_angle
    )
    return np.mod(np.rad2deg(theta.numpy()), 360.0)
