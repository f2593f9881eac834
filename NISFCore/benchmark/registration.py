"""Classical slice alignment: rigid motions that make crossing slices agree along their lines.

After Lötjönen et al. (Medical Image Analysis 2004): every pair of crossing slices is compared along
its line of intersection over the whole cycle, and one slice after the other is moved, the rest held
still, to raise the mean normalised cross-correlation of its pairs; several rounds, from blurred to
sharp images. A quadratic penalty on each motion keeps slices still where the lines do not say (with
the standard deviations of the fit's own motion prior). No shape prior, no labels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

from NISFCore.analysis.intersections import Region, bilinear, ncc
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.data.cycle import interpolate_cycle
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.geometry.planes import intersection_segment
from NISFCore.geometry.rigid import rigid_about
from NISFCore.geometry.spaces import Affine, apply_affine, invert_affine
from NISFCore.progress import CancelToken

N_PHASES = 8
MIN_POINTS = 10
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RegistrationConfig:
    """Settings of the alignment.

    Attributes:
        blur_mm: of the images, one round over all slices after the other.
        slice_deg, slice_mm: standard deviations of the penalty.
        penalty: weight of the penalty, for one standard deviation in each of six directions,
            against a mean NCC between 0 and 1.
        spacing_mm: of the points along a line.
    """

    blur_mm: tuple[float, ...] = (4.0, 4.0, 2.0, 2.0, 1.0)
    slice_deg: float = 1.0
    slice_mm: float = 3.0
    penalty: float = 0.004
    spacing_mm: float = 1.5


def register_slices(
    study: CineStudy,
    region: Region,
    config: RegistrationConfig = RegistrationConfig(),
    cancel: CancelToken | None = None,
) -> tuple[Affine, ...]:
    """corrected_from_scanned of every slice, RAS.

    Args:
        region: the part of space that counts, as in `intersections.crossings`.

    Raises:
        Cancelled: between two slices.
    """
    values = np.zeros((len(study.slices), 6))
    for blur_mm in config.blur_mm:
        problem = _Problem(study, region, config, blur_mm)
        for index in range(len(study.slices)):
            if cancel is not None:
                cancel.check()
            values[index] = problem.best_motion(index, values)
    return tuple(_motion(cine, v, config) for cine, v in zip(study.slices, values, strict=True))


class _Problem:
    """The slices at one blur, on common phases, and the cost of moving one of them."""

    def __init__(
        self, study: CineStudy, region: Region, config: RegistrationConfig, blur_mm: float
    ) -> None:
        self._slices, self._region, self._config = study.slices, region, config
        self._frames = [_blurred(cine, blur_mm) for cine in study.slices]

    def best_motion(self, index: int, values: Vector) -> Vector:
        """The motion of one slice, in standard deviations, with the others held still."""
        others = [
            (k, _motion(cine, values[k], self._config))
            for k, cine in enumerate(self._slices)
            if k != index
        ]
        crossing = [o for o in others if self._pair_ncc(index, np.eye(4), *o) is not None]
        if not crossing:
            return values[index]

        def cost(v: Vector) -> float:
            motion = _motion(self._slices[index], v, self._config)
            found = [self._pair_ncc(index, motion, *other) for other in crossing]
            agreement = [0.0 if value is None else value for value in found]
            return float(-np.mean(agreement) + self._config.penalty * (v @ v))

        options = {"maxiter": 12, "eps": 0.02, "maxfun": 150}
        found = minimize(cost, values[index], method="L-BFGS-B", options=options)
        return np.asarray(found.x) if found.fun < cost(values[index]) else values[index]

    def _pair_ncc(self, a: int, a_motion: Affine, b: int, b_motion: Affine) -> float | None:
        """NCC along the line in which two moved slices meet inside the region; None without one."""
        a_cine, b_cine = self._slices[a], self._slices[b]
        a_plane, b_plane = a_motion @ a_cine.ras_from_ijk, b_motion @ b_cine.ras_from_ijk
        segment = intersection_segment(a_plane, a_cine.shape, b_plane, b_cine.shape)
        if segment is None:
            return None
        points = segment.points(max(2, round(segment.length_mm / self._config.spacing_mm) + 1))
        points = points[self._region(points)]
        if len(points) < MIN_POINTS:
            return None
        profiles = [
            bilinear(self._frames[k], apply_affine(invert_affine(plane), points))
            for k, plane in ((a, a_plane), (b, b_plane))
        ]
        value = ncc(*profiles)
        return value if np.isfinite(value) else None


def _motion(cine: CineSlice, v: Vector, config: RegistrationConfig) -> Affine:
    rotvec = v[:3] * np.deg2rad(config.slice_deg)
    return rigid_about(cine.centre_ras, rotvec, v[3:] * config.slice_mm)


def _blurred(cine: CineSlice, blur_mm: float) -> npt.NDArray[np.float64]:
    """Frames `(N_PHASES, rows, cols)` at common times of the cycle, blurred in plane."""
    flat = cine.frames.reshape(cine.n_phases, -1).astype(np.float64)
    common = interpolate_cycle(flat, cine.cycle_fractions, uniform_cycle_fractions(N_PHASES))
    i_mm, j_mm = cine.spacing_mm
    frames = common.reshape(N_PHASES, *cine.shape)
    return gaussian_filter(frames, sigma=(0.0, blur_mm / j_mm, blur_mm / i_mm))
