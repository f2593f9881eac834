"""A wall that tapers and moves through its plane, in closed form: what the plane shows, and what
the tissue does that lay in it at ED.

Every section is a ring that keeps its area times its length: r^2 = (R^2 - A^2) / lambda_z + (a A)^2
for an endocardium of radius A at ED, a A now. At height z all radii are (1 + slope z) times those
at z = 0, at ED and now, and the tissue that the plane shows lay `rise_mm` nearer the base.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from NISFCore.data.study import CineSlice, SliceLabels
from NISFCore.labels import Label
from Testing.Core.motion.movies import Ring

Array = npt.NDArray[np.float64]
INNER_MM, OUTER_MM = 20.0, 28.0


@dataclass(frozen=True)
class Tapered:
    """At its largest at half of the cycle.

    Attributes:
        shrinking: part of its radius that the endocardium loses.
        shortening: part of its length that the wall loses.
        widening: by how much tissue that is shown is wider at ED: slope times rise.
    """

    shrinking: float = 0.3
    shortening: float = 0.15
    widening: float = 0.06
    ring: Ring = Ring(n_phases=8)

    def share(self, t: float) -> float:
        return math.sin(math.pi * t) ** 2

    def radius(self, R: Array, t: float) -> Array:
        """Now, of the tissue in the plane at ED."""
        inner_now = (1 - self.share(t) * self.shrinking) * INNER_MM
        along = 1 - self.share(t) * self.shortening
        return np.sqrt((R**2 - INNER_MM**2) / along + inner_now**2)

    def shown_radius(self, R: Array, t: float) -> Array:
        """Now, of tissue at the same place of the wall at ED, but nearer the base."""
        wider = 1 + self.share(t) * self.widening
        return wider * self.radius(R / wider, t)

    def labels(self, t: float) -> npt.NDArray[np.uint8]:
        """`(rows, cols)`: of the wall that is in the plane."""
        wider = 1 + self.share(t) * self.widening
        inner, outer = (wider * self.radius(np.array(R), t) for R in (INNER_MM, OUTER_MM))
        r = np.linalg.norm(self.ring.material(0.0), axis=-1)
        out = np.where(r < outer, Label.LV_MYOCARDIUM, Label.BACKGROUND)
        return np.where(r < inner, Label.LV_BLOOD_POOL, out).astype(np.uint8)

    def cine(self) -> CineSlice:
        """With labels and no picture."""
        values = np.stack([self.labels(float(t)) for t in self.ring.times])
        frames = [v.astype(float) for v in values]
        labels = SliceLabels(values, np.ones(len(values), dtype=np.bool_))
        return replace(self.ring.slice(frames, labelled=False), labels=labels)
