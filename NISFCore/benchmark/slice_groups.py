"""Kinds of slices as in the paper's Table 1: three long-axis views, and thirds of the SA stack."""

import numpy as np

from NISFCore.data.study import CineSlice
from NISFCore.geometry.spaces import apply_affine
from NISFCore.phantom.truth import PhantomTruth
from NISFCore.views import View

LONG_AXIS = {View.LA_2CH: "LA 2-ch", View.LA_3CH: "LA 3-ch", View.LA_4CH: "LA 4-ch"}
SA_THIRDS = ("SA apical", "SA mid-ventr.", "SA basal")
GROUPS = (*LONG_AXIS.values(), "SA basal", "SA mid-ventr.", "SA apical")


def slice_group(cine: CineSlice, truth: PhantomTruth) -> str:
    """The kind of a slice; an SA slice belongs to the third of the true LV (apex to base plane, at
    ED) nearest to where it really was."""
    if cine.view in LONG_AXIS:
        return LONG_AXIS[cine.view]
    where = apply_affine(truth.true_from_scanned_ras(cine.name), cine.centre_ras)
    height_mm = float(apply_affine(truth.heart_from_ras, where)[2])
    shape = truth.heart.shape
    share = (height_mm - shape.z_apex_mm) / (shape.z_base_mm - shape.z_apex_mm)
    return SA_THIRDS[int(np.clip(np.floor(3 * share), 0, 2))]
