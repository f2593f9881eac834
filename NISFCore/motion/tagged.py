"""Tagged images of one plane, prepared: phases for the start, intensities for what follows."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.data.tags import found_tags
from NISFCore.errors import StudyError
from NISFCore.motion.field import Placement
from NISFCore.motion.harp import Mask, TagWave, demodulated, measured_waves
from NISFCore.motion.images import REFINEMENT, ImageStack, around, image_stack, mask_points_ras
from NISFCore.motion.tag_template import TagTemplate, Waves, fitted_template

CLEAR_MM, MIN_CLEARNESS = 1.5, 0.05
"""What a pixel of the wall counts grows over this distance from its border: beside it, pixels are
half blood."""


@dataclass(frozen=True)
class TaggedSeries:
    """Images of one plane with one family of tag lines, or a grid of two.

    Attributes:
        cine: frames of the plane, the first one at ED.
        waves: the tags at ED, see `tagged_series`.
    """

    cine: CineSlice
    waves: tuple[TagWave, ...]


@dataclass(frozen=True)
class TagObservation:
    """One series as tensors, around the tissue.

    Attributes:
        times: `(n_frames,)` cycle fractions.
        phases: one per wave; channels are the real and imaginary part of `harp.demodulated`.
        images: channels are intensity (over its mean) and its derivatives by column and row.
        vectors: `(n_waves, n_dims)` rad/mm in local coordinates.
        template: the tags at ED.
    """

    times: Tensor
    phases: tuple[ImageStack, ...]
    images: ImageStack
    vectors: Tensor
    template: TagTemplate

    def frame_at(self, time: float) -> int:
        """Index of the frame nearest to a cycle fraction."""
        return int((self.times - time).abs().argmin())


def tagged_series(cine: CineSlice, mask: Mask) -> TaggedSeries:
    """A series with its waves measured in the first frame.

    Args:
        cine: with `tags`, or without: then families of lines are looked for.
        mask: `(rows, cols)` the tissue at ED.

    Raises:
        StudyError: if there are no tags.
    """
    families = cine.tags or found_tags(list(cine.frames), cine.ras_from_ijk)
    if not families:
        raise StudyError(
            f"slice {cine.name!r} says nothing of tags, and its first frames show none; estimate "
            "its motion as a cine's"
        )
    near, inside = around(cine, mask)
    waves = measured_waves(near, inside, families)
    return TaggedSeries(cine, waves)


def wrapped_sum(real: Tensor, imaginary: Tensor, phase: Tensor) -> Tensor:
    """Phase of (real + i imaginary) exp(i phase), in (-pi, pi]."""
    c, s = phase.cos(), phase.sin()
    return torch.atan2(imaginary * c + real * s, real * c - imaginary * s)


def observe(
    series: TaggedSeries, mask: Mask, placement: Placement, band_width: float
) -> TagObservation:
    """Prepare one series. `mask` `(rows, cols)`: the tissue at ED, on the series' own pixels."""
    cine, _ = around(series.cine, mask)
    images, waves = intensities(cine, placement), _waves(series, placement)
    return TagObservation(
        times=torch.tensor(cine.cycle_fractions, dtype=torch.float32),
        phases=tuple(_phases(cine, w, placement, band_width) for w in series.waves),
        images=images,
        vectors=waves.vectors,
        template=_template(series.cine, mask, images, waves, placement),
    )


def _waves(series: TaggedSeries, placement: Placement) -> Waves:
    vectors = np.stack([w.vector_ras for w in series.waves])
    phases_rad = [float(w.phase_at(placement.centre_ras)) for w in series.waves]
    arrays = (vectors @ placement.axes.T, phases_rad, vectors @ series.cine.ras_from_ijk[:3, :2])
    return Waves(*(torch.tensor(a, dtype=torch.float32) for a in arrays))


def _template(
    cine: CineSlice, mask: Mask, images: ImageStack, waves: Waves, placement: Placement
) -> TagTemplate:
    """From the first frame, where nothing has moved."""
    local = placement.local_from_ras(mask_points_ras(cine, mask))
    points = torch.tensor(local, dtype=torch.float32)
    first = ImageStack(images.values[:1, :1], images.pixel_from_local)
    # the nearest pixel outside is half a pixel beyond the border
    depth_mm = distance_transform_edt(mask, cine.spacing_mm[::-1])[mask] - min(cine.spacing_mm) / 2
    trust = np.clip(depth_mm / CLEAR_MM, MIN_CLEARNESS, 1.0)
    return fitted_template(
        waves, points, first.sample(points[None])[0, 0], torch.tensor(trust, dtype=torch.float32)
    )


def _phases(cine: CineSlice, wave: TagWave, placement: Placement, band_width: float) -> ImageStack:
    images = demodulated(cine.frames, cine, wave, band_width)
    scale = float(np.abs(images).mean()) or 1.0
    channels = np.stack([images.real, images.imag], axis=1) / scale
    return image_stack(channels, cine.ras_from_ijk, placement)


def intensities(cine: CineSlice, placement: Placement) -> ImageStack:
    """Intensities over their mean, refined, and their derivatives by refined column and row."""
    values = cine.frames[:, None] / max(float(cine.frames.mean()), 1e-12)
    return with_derivatives(image_stack(values, cine.ras_from_ijk, placement, REFINEMENT))


def with_derivatives(stack: ImageStack) -> ImageStack:
    """Each channel followed by its derivatives by column and by row."""
    down, across = torch.gradient(stack.values, dim=(2, 3))
    values = torch.stack([stack.values, across, down], dim=2).flatten(1, 2)
    return ImageStack(values.contiguous(), stack.pixel_from_local)
