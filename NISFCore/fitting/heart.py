"""`FittedHeart`: a latent and a pose, evaluated anywhere in scanner space (a `HeartField`)."""

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.geometry.field import FieldSamples, HeartBox
from NISFCore.geometry.spaces import Affine, Points, apply_affine, invert_affine
from NISFCore.labels import N_LABELS, Label
from NISFCore.model.decoder import Decoder
from NISFCore.model.voxels import inside_region

CHUNK = 65_536
"""Points per decoder call: bounds the memory at a few hundred MB for the widest network."""


class FittedHeart:
    """The decoder of one subject in RAS.

    Outside the decoder's heart region it has learned nothing: background and intensity 0 there.
    """

    def __init__(
        self, decoder: Decoder, latent: npt.NDArray[np.float32], canonical_from_ras: Affine
    ) -> None:
        self._decoder = decoder
        self._latent = torch.tensor(latent)[None]
        self._canonical_from_ras = canonical_from_ras

    @property
    def box(self) -> HeartBox:
        """The bounding box of the modelled region."""
        region = self._decoder.config.region
        centre, semi_axes = np.array(region.centre_mm), np.array(region.semi_axes_mm)
        ras_from_canonical = invert_affine(self._canonical_from_ras)
        return HeartBox(ras_from_canonical, centre - semi_axes, centre + semi_axes)

    def contains(self, points_ras: Points) -> npt.NDArray[np.bool_]:
        """True for the points `(..., 3)` inside the modelled region, `(...)`."""
        points = apply_affine(self._canonical_from_ras, points_ras)
        return inside_region(points, self._decoder.config.region)

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        """Intensity and labels at `points_ras` `(n, 3)`, all at one time of the cycle."""
        points = apply_affine(self._canonical_from_ras, points_ras)
        inside = inside_region(points, self._decoder.config.region)
        intensity = np.zeros(len(points), dtype=np.float32)
        probabilities = np.zeros((len(points), N_LABELS), dtype=np.float32)
        probabilities[:, Label.BACKGROUND] = 1.0
        where = np.flatnonzero(inside)
        for first in range(0, len(where), CHUNK):
            chunk = where[first : first + CHUNK]
            intensity[chunk], probabilities[chunk] = self._decode(points[chunk], cycle_fraction)
        return FieldSamples(intensity, probabilities)

    def _decode(
        self, points: Points, cycle_fraction: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        device = next(self._decoder.parameters()).device
        x = torch.tensor(points, dtype=torch.float32, device=device)
        t = torch.full((len(x),), float(cycle_fraction) % 1.0, device=device)
        with torch.inference_mode():
            intensity, logits, _ = self._decoder(x, t, self._latent.to(device))
            probabilities = torch.softmax(logits, dim=1)
        return intensity.cpu().numpy(), probabilities.cpu().numpy()
