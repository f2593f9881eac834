"""`DisplacementTruth`: exact motion of the tissue of a simulated study, with or without tags.

Points are RAS mm. Strain is Green-Lagrange, E = (F^T F - 1) / 2 with F = dx/dX, differentiated
exactly through the closed-form map. Components are those of the cardiac frame at the material
point: radial (across the LV's wall, outwards), circumferential (around its centre line) and
longitudinal (along the wall, apex to base), right-handed in this order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from NISFCore.geometry.prolate import Foci, foci_of_wall, wall_directions
from NISFCore.geometry.spaces import Points, apply_affine, apply_direction
from NISFCore.labels import Label
from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.segments import N_SEGMENTS, aha_segments
from NISFCore.phantom.truth import PhantomTruth

RADIAL, CIRCUMFERENTIAL, LONGITUDINAL = range(3)
"""Places of the directions in frames and strains."""


@dataclass(frozen=True)
class SegmentStrain:
    """Mean Green-Lagrange strain of the LV wall over time.

    Attributes:
        cycle_fractions: `(n_times,)`.
        segments: `(n_times, 17, 3)`: radial, circumferential, longitudinal of AHA segment k + 1.
        whole: `(n_times, 3)`: the same of the whole wall, by volume.
    """

    cycle_fractions: npt.NDArray[np.float64]
    segments: npt.NDArray[np.float64]
    whole: npt.NDArray[np.float64]


@dataclass(frozen=True)
class DisplacementTruth:
    """The motion of one simulated heart in scanner space.

    Every `cycle_fraction` is one number or one per point `(n,)`; points are `(n, 3)`.

    Attributes:
        phantom: all else that is known of the study.
    """

    phantom: PhantomTruth

    @property
    def heart(self) -> BeatingHeart:
        return self.phantom.heart

    def spatial_from_material(self, points_ras_ed: Points, cycle_fraction: npt.ArrayLike) -> Points:
        """Where the tissue that is at `points_ras_ed` at ED is at this time."""
        return self._mapped(self.heart.spatial_from_material, points_ras_ed, cycle_fraction)

    def material_from_spatial(self, points_ras: Points, cycle_fraction: npt.ArrayLike) -> Points:
        """Where the tissue that is at `points_ras` at this time is at ED."""
        return self._mapped(self.heart.material_from_spatial, points_ras, cycle_fraction)

    def displacement_mm(self, points_ras_ed: Points, cycle_fraction: npt.ArrayLike) -> Points:
        """Movement since ED of the tissue that is at `points_ras_ed` at ED."""
        points = self._heart_points(points_ras_ed)
        moved = self.heart.displacement(points, torch.as_tensor(cycle_fraction))
        return apply_direction(self.phantom.ras_from_heart, moved.numpy())

    def labels_ed(self, points_ras_ed: Points) -> npt.NDArray[np.uint8]:
        """Labels `(n,)` at ED."""
        return self.phantom.labels(points_ras_ed, 0.0)

    def cardiac_frame(self, points_ras_ed: Points) -> npt.NDArray[np.float64]:
        """`(n, 3, 3)`: rows are the radial, circumferential and longitudinal unit vectors in RAS
        at material points."""
        frame = self._frame(self._heart_points(points_ras_ed)).numpy()
        return np.asarray(apply_direction(self.phantom.ras_from_heart, frame), dtype=np.float64)

    def deformation_gradient(
        self, points_ras_ed: Points, cycle_fraction: npt.ArrayLike
    ) -> npt.NDArray[np.float64]:
        """F = dx/dX `(n, 3, 3)` in RAS at material points."""
        R = self.phantom.ras_from_heart[:3, :3]
        F = self._gradient(self._heart_points(points_ras_ed), cycle_fraction)
        return np.asarray(R @ F.numpy() @ R.T, dtype=np.float64)

    def strain(
        self, points_ras_ed: Points, cycle_fraction: npt.ArrayLike
    ) -> npt.NDArray[np.float64]:
        """Green-Lagrange strain `(n, 3, 3)` in the cardiac frame at material points."""
        points = self._heart_points(points_ras_ed)
        return self._strain(points, cycle_fraction).numpy()

    def aha_segments(self, points_ras_ed: Points) -> npt.NDArray[np.uint8]:
        """AHA segments `(n,)`, 1 to 17; 0 outside the LV wall."""
        segments = aha_segments(
            self.heart.motion.to_cylinder(self._heart_points(points_ras_ed)), self.heart.shape
        )
        wall = self.labels_ed(points_ras_ed) == Label.LV_MYOCARDIUM
        return np.where(wall, segments, np.uint8(0))

    def wall_points(self, spacing_mm: float = 2.5) -> Points:
        """Points `(n, 3)` of a regular grid that lie in the LV wall at ED."""
        points = self.phantom.box.grid(spacing_mm).points_ras().reshape(-1, 3)
        return points[self.labels_ed(points) == Label.LV_MYOCARDIUM]

    def segment_strain(
        self, cycle_fractions: npt.ArrayLike, spacing_mm: float = 2.5
    ) -> SegmentStrain:
        """Strain of the wall, averaged over the points of a grid.

        Args:
            cycle_fractions: `(n_times,)`.
            spacing_mm: of the grid.
        """
        times = np.asarray(cycle_fractions, dtype=np.float64)
        points = self.wall_points(spacing_mm)
        weights = _segment_weights(self.aha_segments(points))
        heart_points = self._heart_points(points)
        diagonals = [
            self._strain(heart_points, time).diagonal(dim1=1, dim2=2).numpy() for time in times
        ]
        return SegmentStrain(
            cycle_fractions=times,
            segments=np.stack([weights @ d for d in diagonals]),
            whole=np.stack([d.mean(axis=0) for d in diagonals]),
        )

    def save(self, folder: Path) -> Path:
        """Write `truth.json` into `folder`, as `PhantomTruth.save`.

        Raises:
            OutputError: if it cannot be written.
        """
        return self.phantom.save(folder)

    @staticmethod
    def load(folder: Path) -> "DisplacementTruth":
        """Read the motion behind any simulated study, tagged or not.

        Raises:
            ResultError: as `PhantomTruth.load`.
        """
        return DisplacementTruth(PhantomTruth.load(folder))

    def _heart_points(self, points_ras: Points) -> Tensor:
        return torch.as_tensor(apply_affine(self.phantom.heart_from_ras, points_ras))

    def _mapped(
        self, move: Callable[[Tensor, Tensor], Tensor], points: Points, time: npt.ArrayLike
    ) -> Points:
        moved = move(self._heart_points(points), torch.as_tensor(time))
        return apply_affine(self.phantom.ras_from_heart, moved.numpy())

    def _strain(self, points: Tensor, time: npt.ArrayLike) -> Tensor:
        F = self._gradient(points, time)
        E = (F.transpose(1, 2) @ F - torch.eye(3, dtype=F.dtype)) / 2
        frame = self._frame(points)
        return frame @ E @ frame.transpose(1, 2)

    def _frame(self, points: Tensor) -> Tensor:
        """`(n, 3, 3)`, rows radial, circumferential, longitudinal, in heart coordinates."""
        outward, height = self._about_centre_line(points)
        directions = wall_directions(outward, height, np.array([0.0, 0.0, 1.0]), self._foci)
        return torch.as_tensor(directions)

    def _about_centre_line(
        self, points: Tensor
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """`(n, 3)` from the LV's bent centre line across, and heights `(n,)`."""
        height = self.heart.motion.to_cylinder(points).Z
        on_axis = torch.stack([torch.zeros_like(height), torch.zeros_like(height), height], dim=1)
        outward = points - self.heart.motion.form.forward(on_axis)
        across = torch.tensor([1.0, 1.0, 0.0], dtype=points.dtype)
        return (outward * across).numpy(), height.numpy()

    @cached_property
    def _foci(self) -> Foci | None:
        outward, height = self._about_centre_line(self._heart_points(self.wall_points()))
        return foci_of_wall(height, np.linalg.norm(outward, axis=1))

    def _gradient(self, points: Tensor, time: npt.ArrayLike) -> Tensor:
        """F `(n, 3, 3)` in heart coordinates: every point depends on itself alone."""
        X = points.detach().requires_grad_()
        x = self.heart.spatial_from_material(X, torch.as_tensor(time))
        rows = [torch.autograd.grad(x[:, k].sum(), X, retain_graph=k < 2)[0] for k in range(3)]
        return torch.stack(rows, dim=1)


def _segment_weights(segments: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """`(17, n)`, rows sum to one."""
    member = segments[None, :] == np.arange(1, N_SEGMENTS + 1)[:, None]
    return member / member.sum(axis=1, keepdims=True)
