"""Which slice to annotate next, and at which phase: where labels would make volumes most certain.

A pixel whose most probable label has the probability p tells of the latent h, before anybody has
drawn it, the Fisher information of whether that label is right,

    F_pixel = p (1 - p) g g^T,  g = d logit(p) / dh

and a labelled frame what its pixels tell on average, drawn as the solver draws them, times the
worth of a frame (`LabelTermConfig`). With C the latent's covariance after the fit (Laplace, see
`fitting.uncertainty`) and G the derivatives of the volumes of all labels at ED and ES,

    C' = (C^-1 + F)^-1,   gain = 1 - tr(G C' G^T) / tr(G C G^T)

the share of the volumes' variance that the labels would take away. The next proposals take those
before them for drawn: a greedy choice, which for such information is nearly the best one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.fitted import corrected_ras_from_ijk, n_cycle_phases
from NISFCore.analysis.quick_curve import quick_volume_curve
from NISFCore.analysis.steps import Steps
from NISFCore.analysis.volumes import VolumeCurve
from NISFCore.errors import ConfigError
from NISFCore.fitting.confidence import label_sensitivity
from NISFCore.fitting.config import LabelTermConfig
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.volume_gradients import volume_gradients_ml
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import FOREGROUND
from NISFCore.model.voxels import inside_region
from NISFCore.progress import CancelToken, ProgressReporter

STEP_MM = 4.0
"""Distance of the pixels of a frame that are looked at."""

BORDER_LOGIT = 3.0
"""Pixels less sure than this (95 %) count as near a border, where the solver draws more often."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProposedAnnotation:
    """A frame whose labels would tell much.

    Attributes:
        slice_name: of the study.
        phase: of that slice, from 0.
        moment: "ED" or "ES".
        cycle_fraction: of that frame.
        expected_gain: share of the variance of volumes that its labels would take away, 0 to 1.
    """

    slice_name: str
    phase: int
    moment: str
    cycle_fraction: float
    expected_gain: float


def ed_and_es(curve: VolumeCurve) -> dict[str, float]:
    """The cycle fractions of end-diastole and end-systole."""
    t = curve.cycle_fractions
    return {"ED": float(t[curve.ed_index]), "ES": float(t[curve.es_index])}


def proposed_annotations(
    result: FitResult,
    n: int,
    times: Mapping[str, float] | None = None,
    *,
    taken: Collection[tuple[str, int]] = (),
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> list[ProposedAnnotation]:
    """The `n` frames to annotate next, best first; fewer if no more are left.

    Args:
        result: a fit that tells its uncertainty.
        times: name -> cycle fraction of the moments to annotate; None is ED and ES of the heart.
        taken: (slice, phase) that have labels already: not proposed again.

    Raises:
        ConfigError: if the fit does not tell how sure it is.
        Cancelled: if the job was asked to stop.
    """
    if result.uncertainty is None:
        raise ConfigError(
            "proposals: this fit's solver does not tell how sure it is; fit with the default "
            "configuration"
        )
    times = ed_and_es(_curve(result)) if times is None else times
    candidates = [c for c in _candidates(result, times) if (c.slice_name, c.phase) not in taken]
    steps = Steps("next slice", len(candidates), progress, cancel)
    information = [_frame_information(result, c, steps) for c in candidates]
    gradients = _volume_gradients(result, times)
    covariance = result.uncertainty.code_covariance
    return _greedy(candidates, information, covariance, gradients, n)


def _curve(result: FitResult) -> VolumeCurve:
    return quick_volume_curve(result.field, n_cycle_phases(result.study))


def _candidates(result: FitResult, times: Mapping[str, float]) -> list[ProposedAnnotation]:
    """Each slice's frame nearest to each moment."""
    found = []
    for cine in result.study.slices:
        for moment, time in times.items():
            gap = np.abs(cine.cycle_fractions - time) % 1
            phase = int(np.argmin(np.minimum(gap, 1 - gap)))
            t = float(cine.cycle_fractions[phase])
            found.append(ProposedAnnotation(cine.name, phase, moment, t, 0.0))
    return found


def _volume_gradients(result: FitResult, times: Mapping[str, float]) -> Matrix:
    """`(n_times n_labels, n_code)` in ml."""
    decoder, code = result.decoder, result.parameters.code
    rows = [volume_gradients_ml(decoder, code, t)[list(FOREGROUND)] for t in times.values()]
    return np.concatenate(rows)


def _frame_information(result: FitResult, frame: ProposedAnnotation, steps: Steps) -> Matrix:
    """F `(n_code, n_code)` of a complete annotation of the frame."""
    steps.tick()
    points = _frame_points_mm(result, frame.slice_name)
    code = result.parameters.code
    m, g = label_sensitivity(result.decoder, points, frame.cycle_fraction, code)
    p = 1 / (1 + np.exp(-m))
    return _drawn_as_by_the_solver(m, p * (1 - p), g, LabelTermConfig())


def _drawn_as_by_the_solver(
    m: Matrix, weights: Matrix, g: Matrix, config: LabelTermConfig
) -> Matrix:
    """The worth of a frame times the mean information of its pixels, `border_share` of them drawn
    near a border."""
    if not len(m):
        return np.zeros((g.shape[1], g.shape[1]))
    share = np.full(len(m), 1 / len(m))
    near = m < BORDER_LOGIT
    if near.any():
        share = (1 - config.border_share) * share + config.border_share * near / near.sum()
    return config.frame_worth * (g * (share * weights)[:, None]).T @ g


def _frame_points_mm(result: FitResult, slice_name: str) -> Matrix:
    """Canonical points `(n, 3)` of a slice where the fit put it, inside the region."""
    names = [cine.name for cine in result.study.slices]
    index = names.index(slice_name)
    cine = result.study.slices[index]
    every = [max(1, round(STEP_MM / mm)) for mm in cine.spacing_mm]
    pixels = pixel_centres_ras(corrected_ras_from_ijk(result, index), cine.shape)
    scanned = pixels[:: every[1], :: every[0]].reshape(-1, 3)
    points = apply_affine(result.canonical_from_ras, scanned)
    return points[inside_region(points, result.prior.info.decoder.region)]


def _greedy(
    candidates: Sequence[ProposedAnnotation],
    information: Sequence[Matrix],
    covariance: Matrix,
    gradients: Matrix,
    n: int,
) -> list[ProposedAnnotation]:
    chosen: list[ProposedAnnotation] = []
    left = dict(enumerate(information))
    while left and len(chosen) < n:
        gains = {k: _gain(covariance, F, gradients) for k, F in left.items()}
        best = max(gains, key=lambda k: gains[k])
        covariance = updated_covariance(covariance, left.pop(best))
        chosen.append(_with_gain(candidates[best], gains[best]))
    return chosen


def _with_gain(frame: ProposedAnnotation, gain: float) -> ProposedAnnotation:
    return ProposedAnnotation(**{**vars(frame), "expected_gain": gain})


def _gain(covariance: Matrix, F: Matrix, gradients: Matrix) -> float:
    """Share of the volumes' variance that F takes away."""
    before = _variance(covariance, gradients)
    after = _variance(updated_covariance(covariance, F), gradients)
    return 1 - after / before if before > 0 else 0.0


def _variance(covariance: Matrix, gradients: Matrix) -> float:
    return float(np.einsum("vi,ij,vj->", gradients, covariance, gradients))


def updated_covariance(covariance: Matrix, F: Matrix) -> Matrix:
    """(C^-1 + F)^-1 without the inverse of C, which may be singular: with C = L L^T it is
    L (1 + L^T F L)^-1 L^T."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    L = vectors * np.sqrt(np.maximum(values, 0.0))
    inner = np.eye(len(L)) + L.T @ F @ L
    return np.asarray(L @ np.linalg.solve(inner, L.T))
