"""`FittedHeart`: a latent and a pose, evaluated anywhere in scanner space (a `HeartField`)."""

import copy
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.geometry.field import FieldSamples, HeartBox
from NISFCore.geometry.grids import Grid
from NISFCore.geometry.spaces import Affine, Points, apply_affine, invert_affine
from NISFCore.labels import N_LABELS, Label
from NISFCore.model.folded import FoldedDecoder
from NISFCore.model.intensity_detail import IntensityDetail
from NISFCore.model.shape_warp import AnyDecoder
from NISFCore.model.voxels import inside_region

N_TIMES_KEPT = 4
"""Folded decoders that are kept: a rendering asks for a few times again and again."""


class FittedHeart:
    """The decoder of one subject in RAS: a `HeartField`, and a `ContinuedField`.

    Outside the decoder's heart region it has learned nothing: background and intensity 0 there.
    """

    def __init__(
        self,
        decoder: AnyDecoder,
        latent: npt.NDArray[np.float32],
        canonical_from_ras: Affine,
        tissue_offset: npt.NDArray[np.floating],
        detail: IntensityDetail | None = None,
    ) -> None:
        self._region = decoder.config.region
        self._at = lru_cache(maxsize=N_TIMES_KEPT)(
            lambda cycle_fraction: FoldedDecoder(decoder, torch.tensor(latent), cycle_fraction)
        )
        self._canonical_from_ras = canonical_from_ras
        self._tissue_offset = np.asarray(tissue_offset, dtype=np.float32)
        self._detail = detail

    @property
    def box(self) -> HeartBox:
        """The bounding box of the modelled region."""
        centre, semi_axes = np.array(self._region.centre_mm), np.array(self._region.semi_axes_mm)
        ras_from_canonical = invert_affine(self._canonical_from_ras)
        return HeartBox(ras_from_canonical, centre - semi_axes, centre + semi_axes)

    @property
    def without_detail(self) -> "FittedHeart":
        """The same heart with the decoder's own intensities; it shares what is kept."""
        if self._detail is None:
            return self
        smooth = copy.copy(self)
        smooth._detail = None
        return smooth

    def detail_on_grid(self, grid: Grid, cycle_fraction: float) -> npt.NDArray[np.float32] | None:
        """What the intensities on a grid are more than the decoder's, `(n_k, n_j, n_i)`; None if
        they are the decoder's."""
        if self._detail is None:
            return None
        canonical_from_ijk = self._canonical_from_ras @ grid.ras_from_ijk
        return self._detail.on_grid(canonical_from_ijk, grid.shape, cycle_fraction)

    def contains(self, points_ras: Points) -> npt.NDArray[np.bool_]:
        """True for the points `(..., 3)` inside the modelled region, `(...)`."""
        points = apply_affine(self._canonical_from_ras, points_ras)
        return inside_region(points, self._region)

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        """Intensity and labels at `points_ras` `(n, 3)`, all at one time of the cycle."""
        points = apply_affine(self._canonical_from_ras, points_ras)
        inside = inside_region(points, self._region)
        intensity = np.zeros(len(points), dtype=np.float32)
        probabilities = np.zeros((len(points), N_LABELS), dtype=np.float32)
        probabilities[:, Label.BACKGROUND] = 1.0
        intensity[inside], probabilities[inside] = self._decode(points[inside], cycle_fraction)
        return FieldSamples(intensity, probabilities)

    def evaluate_continued(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        """As `evaluate`, but the decoder's own values also outside the region."""
        points = apply_affine(self._canonical_from_ras, points_ras)
        return FieldSamples(*self._decode(points, cycle_fraction))

    def _decode(
        self, points: Points, cycle_fraction: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        function = self._at(float(cycle_fraction) % 1.0)
        x = torch.tensor(points, dtype=torch.float32, device=function.device)
        intensity, logits = function(x)
        with torch.inference_mode():
            probabilities = torch.softmax(logits, dim=1)
        labels = probabilities.cpu().numpy()
        values = intensity.cpu().numpy() + labels @ self._tissue_offset
        if self._detail is not None:
            values += self._detail.at(points, cycle_fraction)
        return values, labels
