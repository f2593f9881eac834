"""Untagged cine: photometric residuals around the wall, for `refinement.track`.

Tissue keeps its signal: I_j(X + u) = I_0(X). Within the wall that says next to nothing; at its
borders it says how the wall moves across itself. Along itself the wall slides unseen: what is found
there comes from the volume term, from papillary muscles and insertions, and from smoothness.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter, gaussian_filter1d
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.labels import Label
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LVFrame
from NISFCore.motion.field import Placement
from NISFCore.motion.harp import Mask
from NISFCore.motion.images import ImageStack, around
from NISFCore.motion.refinement import Rows, TissuePoints, huber_weight, sampled
from NISFCore.motion.tagged import intensities

TURN_SMOOTHING = 0.07
"""Part of the cycle."""
SEPTUM_MM = 4.0
"""How far from the LV's wall the RV's cavity still tells where the septum is."""


class IntensityTerm:
    """Intensities at the moved points against those of the first frame."""

    def __init__(
        self, tissue: TissuePoints, images: ImageStack, times: Tensor, weight: float, huber: float
    ) -> None:
        self._tissue, self._images, self._times = tissue, images, times
        self._root_weight, self._huber = weight**0.5, huber
        still = torch.zeros(tissue.features.shape[1], tissue.points.shape[1])
        self._template, _ = sampled(images, 0, tissue, still)

    def rows(self, moment: float, C: Tensor) -> Rows:
        frame = int((self._times - moment).abs().argmin())
        value, gradient = sampled(self._images, frame, self._tissue, C)
        r = value - self._template
        w = self._root_weight * huber_weight(r, self._huber)
        return w * r, self._tissue.jacobian(w[:, None] * gradient)


class SlidingTerm:
    """The wall slides around the LV's axis as the septum does, or not at all where that is not
    known: images hardly show it, and it would drift from frame to frame.

    `arms_mm` `(n,)`: distances from the axis, for `turns`.
    """

    def __init__(
        self,
        tissue: TissuePoints,
        around_axis: Tensor,
        weight: float,
        turns: "Turns | None" = None,
        arms_mm: Tensor | None = None,
    ) -> None:
        self._J = weight**0.5 * tissue.jacobian(around_axis)
        self._turns = turns
        self._arms_mm = None if arms_mm is None else weight**0.5 * arms_mm

    def rows(self, moment: float, C: Tensor) -> Rows:
        r = self._J @ C.flatten()
        if self._turns is not None and self._arms_mm is not None:
            r = r - self._turns.at(moment) * self._arms_mm
        return r, self._J


@dataclass(frozen=True)
class Turns:
    """Rotation of the septum's middle about the LV's centre since ED, in rad, `(n_frames,)`,
    anticlockwise seen from the base."""

    times: npt.NDArray[np.float64]
    rad: npt.NDArray[np.float64]

    def at(self, moment: float) -> float:
        return float(self.rad[np.abs(self.times - moment).argmin()])


def septal_turns(cine: CineSlice, frame: LVFrame) -> Turns | None:
    """How the direction from the LV's centroid to the RV beside the septum turns; None unless both
    are labelled in every frame. The RV's insertions turn with the LV's wall, its free wall does
    not."""
    labels = cine.labels
    if labels is None or not labels.annotated.all():
        return None
    rv = labels.values == Label.RV_BLOOD_POOL
    lv = (labels.values == Label.LV_BLOOD_POOL) | (labels.values == Label.LV_MYOCARDIUM)
    if not (rv.any(axis=(1, 2)).all() and lv.any(axis=(1, 2)).all()):
        return None
    angles = np.unwrap([_septal_angle(cine, frame, *both) for both in zip(lv, rv, strict=True)])
    smooth = gaussian_filter1d(angles, TURN_SMOOTHING * len(angles), mode="wrap")
    return Turns(np.asarray(cine.cycle_fractions), smooth - smooth[0])


def _septal_angle(cine: CineSlice, frame: LVFrame, lv: Mask, rv: Mask) -> float:
    """In rad, from masks `(rows, cols)` of one frame: RV pixels count the less the farther they are
    from the LV."""
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
    beside_mm = distance_transform_edt(~lv, cine.spacing_mm[::-1])[rv]
    d = points[rv] - points[lv].mean(axis=0)
    anterior = np.cross(frame.base_from_apex_ras, frame.rv_from_lv_ras)
    angles = np.arctan2(d @ anterior, d @ frame.rv_from_lv_ras)
    weights = np.exp(-(beside_mm - beside_mm.min()) / SEPTUM_MM)
    return float(np.angle(weights @ np.exp(1j * angles)))


def around_axis(frame: LVFrame, placement: Placement, points: Tensor) -> Tensor:
    """Circumferential unit vectors `(n, n_dims)` at local points, along the placement's axes."""
    ras = placement.ras_from_local(points.double().numpy())
    circumferential = frame.directions(ras)[:, CIRCUMFERENTIAL]
    return torch.tensor(circumferential @ placement.axes.T, dtype=torch.float32)


def blurred_intensities(
    cine: CineSlice, mask: Mask, placement: Placement, blur_pixels: float
) -> ImageStack:
    """Images around the wall, as `tagged.intensities`, after a Gaussian blur within the plane."""
    near, _ = around(cine, mask)
    if blur_pixels > 0:
        frames = gaussian_filter(near.frames, (0.0, blur_pixels, blur_pixels))
        near = replace(near, frames=frames.astype(np.float32))
    return intensities(near, placement)


def widened(mask: Mask, spacing_mm: tuple[float, float], reach_mm: float) -> Mask:
    """The pixels within a distance of a mask `(rows, cols)`."""
    distance = distance_transform_edt(~mask, (spacing_mm[1], spacing_mm[0]))
    return np.asarray(distance <= reach_mm)
