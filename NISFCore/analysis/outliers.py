"""Slices that do not behave like the others of their study."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

THRESHOLD = 3.5
"""Modified z-score beyond which a value is an outlier (Iglewicz and Hoaglin 1993)."""

CONSISTENCY = 0.6745
"""Median absolute deviation over standard deviation, for normally distributed values."""


def modified_z_scores(values: npt.ArrayLike, least_mad: float) -> npt.NDArray[np.float64]:
    """`(n,)` distances from the median in robust standard deviations.

    Args:
        values: `(n,)`.
        least_mad: the median absolute deviation is taken to be at least this: where all others
            agree to a hair, a small difference is none.
    """
    x = np.asarray(values, dtype=np.float64)
    deviation = x - np.median(x)
    return CONSISTENCY * deviation / max(float(np.median(np.abs(deviation))), least_mad)


def motion_outliers(
    distance_mm: Sequence[float], rotation_deg: Sequence[float], least_mad: float = 0.5
) -> list[str]:
    """Per slice why its motion stands out (it moved far more than the others), or an empty text.

    Args:
        distance_mm, rotation_deg: size of every slice's motion.
        least_mad: see `modified_z_scores`, mm and degrees.
    """
    sizes = (("moved", " mm", distance_mm), ("turned", "°", rotation_deg))
    reasons: list[list[str]] = [[] for _ in distance_mm]
    for verb, unit, values in sizes:
        typical = float(np.median(values))
        for reason, value, z in zip(
            reasons, values, modified_z_scores(values, least_mad), strict=True
        ):
            if z > THRESHOLD:
                reason.append(f"{verb} {value:.1f}{unit}, the median is {typical:.1f}{unit}")
    return ["; ".join(reason) for reason in reasons]
