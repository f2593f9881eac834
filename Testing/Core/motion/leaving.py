"""A ring whose plane loses the wall on one side and has it back: a plane near the base."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from NISFCore.data.study import CineSlice
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.labels import Label
from Testing.Core.motion.movies import CENTRE_RAS, Ring

BLOOD = 0.9


def lost(ring: Ring, t: float, reach_mm: float) -> npt.NDArray[np.bool_]:
    """`(rows, cols)`: beyond a line that comes in from the right, by `reach_mm` at the most."""
    points = pixel_centres_ras(ring.ras_from_ijk, (ring.n_pixels, ring.n_pixels))
    columns_mm = (points - CENTRE_RAS) @ ring.axes[0]
    return np.asarray(columns_mm > 32.0 - reach_mm * np.sin(np.pi * t) ** 2)


def leaving(ring: Ring, series: CineSlice, reach_mm: float) -> CineSlice:
    """The same series; what is lost shows blood, and labels say nothing there."""
    gone = np.stack([lost(ring, float(t), reach_mm) for t in ring.times])
    labels = series.labels
    assert labels is not None
    values = np.where(gone, Label.BACKGROUND, labels.values).astype(np.uint8)
    rng = np.random.default_rng(1)
    blood = BLOOD + ring.noise * rng.standard_normal(series.frames.shape)
    frames = np.where(gone, blood, series.frames).astype(np.float32)
    return replace(series, frames=frames, labels=replace(labels, values=values))
