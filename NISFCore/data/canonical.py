"""Where the heart beats in the images, and the canonical frame of a study.

The heart is what changes once per cycle: the amplitude of the first temporal harmonic is large in
and around it, small in still tissue and for noise, which spreads over all harmonics.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.geometry.frame import (
    NO_HINT,
    AnatomyHint,
    CanonicalFrame,
    ViewPlane,
    canonical_frame,
)
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Points
from NISFCore.views import View

MIN_PHASES = 4
"""Fewer phases show no beating."""

SMOOTHING_MM = 3.0
BRIGHTEST_SHARE = 0.05
"""The share of a frame's pixels that beat most; a heart covers 5 to 15 % of a cine frame."""

HEART_RADIUS_MM = 45.0
"""What lies farther from the centre (chest wall, great vessels) does not count."""

N_ITERATIONS = 10

Image = npt.NDArray[np.float64]


def canonical_frame_of(study: CineStudy, hint: AnatomyHint = NO_HINT) -> CanonicalFrame:
    """The canonical frame from the study's planes and the beating of its images.

    Args:
        hint: what labels or the user say (see `anatomy`).

    Raises:
        StudyError: if the planes do not determine an LV axis.
    """
    planes = [ViewPlane(s.view, s.ras_from_ijk, s.shape) for s in study.slices]
    sources = study.of_view(View.SA) or study.slices
    beating = beating_centre_ras(sources)
    return canonical_frame(planes, beating, study.has_patient_orientation, hint)


def beating_centre_ras(slices: Sequence[CineSlice]) -> Points | None:
    """Rough centre `(3,)` of the beating region in RAS mm; None if no slice has enough phases.

    The median over slices of each slice's own centre, along the axes of the first slice (the
    centres of a stack differ mostly along its normal): a slice with an artefact moves it little.
    """
    centres = [beating_centre_of_slice(s) for s in slices]
    known = [c for c in centres if c is not None]
    if not known:
        return None
    axes = slices[0].ras_from_ijk[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    return np.asarray(axes @ np.median(known @ axes, axis=0), dtype=np.float64)


def beating_centre_of_slice(item: CineSlice) -> Points | None:
    """Robust centroid `(3,)` of the beating of one slice, in RAS mm; None if nothing beats."""
    amplitude = beating_amplitude(item)
    threshold = np.quantile(amplitude, 1 - BRIGHTEST_SHARE)
    mask = amplitude >= threshold
    if threshold <= 0 or not mask.any():
        return None
    points = pixel_centres_ras(item.ras_from_ijk, item.shape)[mask]
    return _robust_centroid(points, amplitude[mask])


def beating_amplitude(item: CineSlice) -> Image:
    """Amplitude of the first temporal harmonic, `(rows, cols)`, smoothed over a few mm."""
    if item.n_phases < MIN_PHASES:
        return np.zeros(item.shape)
    turns = np.exp(-2j * np.pi * item.cycle_fractions)
    frames = item.frames - item.frames.mean(axis=0)
    harmonic = np.tensordot(turns, frames, axes=1) * (2.0 / item.n_phases)
    spacing_i, spacing_j = item.spacing_mm
    sigma = (SMOOTHING_MM / spacing_j, SMOOTHING_MM / spacing_i)
    return gaussian_filter(np.abs(harmonic), sigma)


def _robust_centroid(points: Points, weights: Image) -> Points:
    """Weighted centroid of what lies within a heart's radius of itself."""
    centre = np.median(points, axis=0)
    for _ in range(N_ITERATIONS):
        near = np.linalg.norm(points - centre, axis=1) < HEART_RADIUS_MM
        if not near.any():
            break
        centre = np.average(points[near], axis=0, weights=weights[near])
    return centre
