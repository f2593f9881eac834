"""The view that analysis and export have of a heart, fitted or simulated.

`HeartField` is structural: the fitted result and the phantom's truth both satisfy it, so the same
code renders, measures and compares both.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from NISFCore.geometry.grids import Grid, box_grid
from NISFCore.geometry.spaces import Affine, Points


@dataclass(frozen=True)
class FieldSamples:
    """Values of a heart at n points.

    Attributes:
        intensity: `(n,)` float32; 1 is about the brightest blood.
        label_probabilities: `(n, 4)` float32, sums to one (0 or 1 for a simulated heart).
    """

    intensity: npt.NDArray[np.float32]
    label_probabilities: npt.NDArray[np.float32]

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """`(n,)` most probable label."""
        return np.argmax(self.label_probabilities, axis=1).astype(np.uint8)


@dataclass(frozen=True)
class HeartBox:
    """A box that holds both ventricles in every phase, in a space rigid to RAS."""

    ras_from_box: Affine
    low_mm: Points
    high_mm: Points

    def grid(self, spacing_mm: float) -> Grid:
        """Isotropic grid over the box."""
        return box_grid(self.ras_from_box, self.low_mm, self.high_mm, spacing_mm)


class HeartField(Protocol):
    """A heart that can be evaluated at any point of scanner space and any time of the cycle."""

    @property
    def box(self) -> HeartBox: ...

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        """Intensity and labels at `points_ras` `(n, 3)`, all at one time of the cycle."""
        ...


@runtime_checkable
class ContinuedField(HeartField, Protocol):
    """A heart that is known in a region only, at whose border `evaluate` drops to background.

    Interpolating across that border needs the values that the heart would have beyond it.
    """

    def contains(self, points_ras: Points) -> npt.NDArray[np.bool_]:
        """True for the points `(..., 3)` inside the region, `(...)`."""
        ...

    def evaluate_continued(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        """As `evaluate`, smooth across the border of the region."""
        ...


@runtime_checkable
class DetailedField(HeartField, Protocol):
    """A heart whose intensities hold a detail that is cheap to evaluate and fine: renderings
    interpolate the heart without it, and add it to every voxel."""

    @property
    def without_detail(self) -> HeartField: ...

    def detail_on_grid(self, grid: Grid, cycle_fraction: float) -> npt.NDArray[np.float32] | None:
        """Detail `(n_k, n_j, n_i)` on a grid; None if there is none."""
        ...
