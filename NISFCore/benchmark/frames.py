"""Frames of the slices of a fit: as fitted, without noise, and as the reconstruction shows them."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from NISFCore.analysis.fitted import corrected_ras_from_ijk
from NISFCore.analysis.rendering import RenderedPlane, render_plane
from NISFCore.data.study import CineSlice, CineStudy, SliceLabels, kept_phases
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.planes import normal_ras
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.model.psf import SIGMA_PER_FWHM, gauss_hermite
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.progress import CancelToken

N_PROFILE_NODES = 3

Frames = npt.NDArray[np.float32]


def with_fewer_phases(study: CineStudy, n_phases: int) -> CineStudy:
    """The study with at most `n_phases` frames of each slice, spread over the cycle."""
    return replace(study, slices=tuple(_thinned(cine, n_phases) for cine in study.slices))


def _thinned(cine: CineSlice, n_phases: int) -> CineSlice:
    kept = kept_phases(cine.n_phases, n_phases)
    labels = cine.labels
    if labels is not None:
        labels = SliceLabels(labels.values[kept], labels.annotated[kept])
    times = cine.trigger_times_ms[kept]
    return replace(cine, frames=cine.frames[kept], trigger_times_ms=times, labels=labels)


def noise_free_frames(simulated: SimulatedStudy, cine: CineSlice) -> Frames:
    """The noise-free frames of a slice that the fit cropped, all phases, in pixel values."""
    names = [s.name for s in simulated.study.slices]
    index = names.index(cine.name)
    whole = simulated.study.slices[index]
    corner = apply_affine(cine.ras_from_ijk, [0, 0, 0])
    i, j, _ = np.rint(apply_affine(invert_affine(whole.ras_from_ijk), corner)).astype(int)
    rows, cols = cine.shape
    return simulated.noise_free[index][:, j : j + rows, i : i + cols]


def seen_through_profile(
    result: FitResult, index: int, cancel: CancelToken | None = None
) -> tuple[RenderedPlane, Frames]:
    """A slice's mid-plane where the fit put it, and its predicted image, with the slice's scale.

    The image is the heart seen through the slice's Gaussian profile, as a quadrature over planes
    (see `NISFCore.model.psf`); normalised as the fit saw the frames.
    """
    cine = result.study.slices[index]
    corrected = corrected_ras_from_ijk(result, index)
    sigma_mm = cine.thickness_mm * SIGMA_PER_FWHM
    nodes, weights = (values.numpy() for values in gauss_hermite(N_PROFILE_NODES))
    image, middle = np.zeros(cine.frames.shape, dtype=np.float32), None
    for node, weight in zip(nodes, weights, strict=True):
        moved = corrected.copy()
        moved[:3, 3] += node * sigma_mm * normal_ras(corrected)
        plane = render_plane(result.field, moved, cine.shape, cine.cycle_fractions, cancel)
        image += np.float32(weight) * result.image_gain(index) * plane.intensity
        middle = plane if abs(node) < 1e-6 else middle
    assert middle is not None  # an odd number of nodes has one in the middle
    return middle, image


def near_heart(cine: CineSlice, margin_mm: float) -> npt.NDArray[np.bool_]:
    """Pixels within `margin_mm` of any label of the same frame, `(n_phases, rows, cols)`."""
    assert cine.labels is not None  # simulated slices always have them
    i_mm, j_mm = cine.spacing_mm
    near = np.zeros(cine.frames.shape, dtype=np.bool_)
    for phase, labels in enumerate(cine.labels.values):
        if labels.any():
            near[phase] = distance_transform_edt(labels == 0, sampling=(j_mm, i_mm)) <= margin_mm
    return near
