"""Table 1 and what the paper cannot have: figures of one fit against its truth.

Per slice: PSNR and SSIM of the predicted image (the fitted heart through the slice's profile)
against the noisy frames inside the fitted region, and Dice on the pixels, each slice where it
really was (truth) and where the fit put it (estimate). Densely: Dice in 3D+t, distances between
surfaces, volumes.

The noise ceiling is the PSNR of the simulated scanner's noise-free images against noisy ones. The
prediction's PSNR beside it is against noisy images too, but against other ones than were fitted:
its squared error from the noise-free images and the noise's variance are added, so that following
the noise of the fitted images is an error. Both are given within the heart (true labels, and 5 mm
around them) and in the whole fitted region, which also holds lung and chest.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.dense import compare_dense
from NISFCore.analysis.evaluation import motion_errors
from NISFCore.analysis.fitted import corrected_ras_from_ijk, normalised_frames, true_labels
from NISFCore.analysis.function_errors import function_standard_errors
from NISFCore.analysis.plane_figures import PlaneFigures
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve
from NISFCore.benchmark.coverage import z_scores
from NISFCore.benchmark.frames import (
    near_heart,
    noise_free_frames,
    seen_through_profile,
    with_fewer_phases,
)
from NISFCore.benchmark.plan import BenchmarkPlan
from NISFCore.benchmark.slice_groups import slice_group
from NISFCore.benchmark.surface_distances import surface_distances
from NISFCore.data.study import kept_phases
from NISFCore.fitting.intensity_detail import STAGE, with_intensity_detail
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.progress import CancelToken

HEART_MARGIN_MM = 5.0


class SquaredErrors:
    """Squared errors from the noise-free image, of the prediction and of the noisy image, in two
    regions."""

    def __init__(self) -> None:
        self._sums = {(what, where): 0.0 for what in WHAT for where in WHERE}
        self._n = dict.fromkeys(WHERE, 0)

    def add(
        self,
        predicted: npt.NDArray[np.float32],
        noise_free: npt.NDArray[np.float32],
        noisy: npt.NDArray[np.float32],
        regions: dict[str, npt.NDArray[np.bool_]],
    ) -> None:
        """Count one slice: images and regions `(n_phases, rows, cols)`."""
        for where, region in regions.items():
            self._n[where] += int(region.sum())
            for what, image in zip(WHAT, (predicted, noisy), strict=True):
                error = (image.astype(np.float64) - noise_free)[region]
                self._sums[what, where] += float((error**2).sum())

    def to_dict(self) -> dict[str, float]:
        """PSNR of prediction and ceiling, and their gap, in both regions."""
        figures: dict[str, float] = {}
        for where in WHERE:
            n = self._n[where] or np.nan
            error, noise = (self._sums[what, where] / n for what in WHAT)
            ceiling, psnr = -10 * np.log10(noise), -10 * np.log10(error + noise)
            figures |= {f"psnr_{where}_db": float(psnr), f"ceiling_{where}_db": float(ceiling)}
            figures[f"gap_{where}_db"] = float(ceiling - psnr)
        return figures


WHAT, WHERE = ("prediction", "noise"), ("heart", "region")


def accuracy(
    result: FitResult,
    simulated: SimulatedStudy,
    plan: BenchmarkPlan,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """All figures of one fit, as plain numbers.

    Keys: `slices` (a row each), `noise`, `dense`, `volumes` and their `standard_errors`, `z` (see
    `coverage`), `surfaces`.
    """
    truth = simulated.truth
    T = motion_errors(result, truth)[1].truth_from_estimate
    result = with_intensity_detail(result, cancel=cancel)
    rows, errors = _slices(result, simulated, plan.n_plane_phases, cancel)
    t = uniform_cycle_fractions(plan.n_dense_phases)
    dense = compare_dense(result.field, truth, T, t, plan.dense_spacing_mm, cancel=cancel)
    distances = {
        phase: surface_distances(
            result.field, truth, T, float(t[index]), plan.surface_spacing_mm, cancel
        )
        for phase, index in (("ED", dense.truth.ed_index), ("ES", dense.truth.es_index))
    }
    found = volumes(dense.estimate, dense.truth)
    sd = function_standard_errors(dense.estimate, result.volume_covariance_ml2)
    return {
        "slices": rows,
        "noise": errors.to_dict() | {"detail_seconds": result.seconds[STAGE]},
        "dense": {"dice": dense.dice, "dice_anchored": dense.dice_anchored},
        "volumes": found,
        "standard_errors": sd,
        "z": z_scores(result, truth, found, sd),
        "surfaces": distances,
    }


def volumes(estimate: VolumeCurve, truth: VolumeCurve) -> dict[str, dict[str, float]]:
    """Figure → {estimate, truth}."""
    ours, theirs = (VentricularFunction.from_curve(c).to_dict() for c in (estimate, truth))
    return {name: {"estimate": ours[name], "truth": theirs[name]} for name in ours}


def _slices(
    result: FitResult, simulated: SimulatedStudy, n_phases: int, cancel: CancelToken | None
) -> tuple[list[dict[str, Any]], SquaredErrors]:
    thinned = replace(result, study=with_fewer_phases(result.study, n_phases))
    errors, rows = SquaredErrors(), []
    for index, cine in enumerate(thinned.study.slices):
        plane, predicted = seen_through_profile(thinned, index, cancel)
        noisy = normalised_frames(thinned, index)
        corrected = corrected_ras_from_ijk(thinned, index)
        region = thinned.field.contains(pixel_centres_ras(corrected, cine.shape))
        everywhere = np.broadcast_to(region, noisy.shape)
        errors.add(
            predicted,
            _noise_free(result, simulated, index, n_phases),
            noisy,
            {"heart": near_heart(cine, HEART_MARGIN_MM) & everywhere, "region": everywhere},
        )
        rows.append(_row(thinned, simulated, index, plane.labels, predicted, region, cancel))
    return rows, errors


def _row(
    result: FitResult,
    simulated: SimulatedStudy,
    index: int,
    labels: npt.NDArray[np.uint8],
    predicted: npt.NDArray[np.float32],
    region: npt.NDArray[np.bool_],
    cancel: CancelToken | None,
) -> dict[str, Any]:
    """One line of Table 1, before it is averaged over slices of a kind."""
    cine, truth, figures = result.study.slices[index], simulated.truth, PlaneFigures()
    figures.add_images(predicted, normalised_frames(result, index), region)
    motion = truth.true_from_scanned_ras(cine.name)
    points = apply_affine(motion, pixel_centres_ras(cine.ras_from_ijk, cine.shape)).reshape(-1, 3)
    for frame, t in zip(labels, cine.cycle_fractions, strict=True):
        seen = true_labels(truth, points, float(t), cancel).reshape(cine.shape)
        figures.dice.add(frame, seen)
    return {
        "slice": cine.name,
        "group": slice_group(cine, truth),
        "psnr_db": figures.psnr_db,
        "ssim": figures.ssim,
        **{f"dice_{key}": value for key, value in figures.dice.by_key().items()},
    }


def _noise_free(
    result: FitResult, simulated: SimulatedStudy, index: int, n_phases: int
) -> npt.NDArray[np.float32]:
    """The noise-free frames of a slice, thinned and normalised as the noisy ones are."""
    cine = result.study.slices[index]
    frames = noise_free_frames(simulated, cine)[kept_phases(cine.n_phases, n_phases)]
    return np.clip(frames / np.float32(result.intensity_reference[index]), 0, 1)
