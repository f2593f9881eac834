"""`fit_study`: one study and a prior in, a `FitResult` out."""

import copy
import math
import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.config import to_json_object
from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.study import MIN_FRAME_PIXELS, CineSlice, CineStudy
from NISFCore.errors import StudyError
from NISFCore.fitting.adam import solve_adam
from NISFCore.fitting.config import DEFAULT, AdamConfig, FitConfig
from NISFCore.fitting.gauss_newton import n_steps_at_most, solve_gauss_newton
from NISFCore.fitting.problem import (
    VOXELS_PER_PART,
    Estimate,
    FitProblem,
    Posterior,
    Recorder,
    fitted_parameters,
    frozen,
)
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.starts import best_start, candidate_starts
from NISFCore.fitting.uncertainty import fit_uncertainty
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.model.config import HeartRegion
from NISFCore.model.device import resolve_device
from NISFCore.model.forward_model import predict
from NISFCore.model.prior import Prior
from NISFCore.model.psf import PsfConfig
from NISFCore.model.voxels import MIN_REGION_PIXELS, inside_region, voxel_table
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress

CROP_MARGIN_PIXELS = 4
N_PSNR_VOXELS = 100_000


def fit_study(
    study: CineStudy,
    prior: Prior,
    config: FitConfig = DEFAULT,
    *,
    device: str = "auto",
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> FitResult:
    """Solve for latent, global pose, slice motion and intensity scales of one study.

    Args:
        study: labels in it, if any, are not used.
        device: "auto", "cpu" or "cuda".

    Raises:
        StudyError: if the planes give no frame or no slice shows the heart region.
        Cancelled: at the latest when the voxels now in the decoder are through.
    """
    began = time.monotonic()
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    device = resolve_device(device)
    on_device = _on_device(prior, device)
    with frozen(on_device):
        frame = _frame(study, on_device, device, config, cancel)
        study, problem = _seen_in(study, frame, on_device, device)
        table, recorder = problem.table, _recorder(config, progress, cancel)
        cancel.check()
        prepared = time.monotonic()
        estimate, posterior = _solve(problem, config, recorder)
    psf = config.gauss_newton.psf if config.gauss_newton else _adam(config).psf
    figures = {"psnr_db": reconstruction_psnr_db(problem, estimate, psf, cancel)}
    parameters = fitted_parameters(estimate, study, frame, table)
    uncertainty = None
    if posterior is not None:
        uncertainty = fit_uncertainty(posterior, study, frame, table, prior.info.calibration)
    finished = time.monotonic()
    return FitResult(
        study=replace(study, warnings=study.warnings + frame.assumptions),
        prior=prior,
        frame=frame,
        parameters=parameters,
        history=tuple(recorder.steps),
        settings={"fit": to_json_object(config), "device": device},
        figures=figures,
        seconds={"prepare": prepared - began, "fit": finished - prepared},
        uncertainty=uncertainty,
    )


def _frame(
    study: CineStudy, prior: Prior, device: str, config: FitConfig, cancel: CancelToken
) -> CanonicalFrame:
    """The frame from the planes; where they leave it uncertain, the best of several."""
    frame = canonical_frame_of(study)
    if config.gauss_newton is None:
        return frame
    starts = candidate_starts(study, frame)

    def problem_of(frame: CanonicalFrame) -> FitProblem:
        return _seen_in(study, frame, prior, device)[1]

    return best_start(starts, problem_of, config.gauss_newton, config.seed, cancel).frame


def _seen_in(
    study: CineStudy, frame: CanonicalFrame, prior: Prior, device: str
) -> tuple[CineStudy, FitProblem]:
    """The study cropped to the heart region as it lies in a frame, and its voxels."""
    region = prior.info.decoder.region
    cropped = cropped_to_region(study, frame, region)
    return cropped, FitProblem(prior, voxel_table(cropped, frame, region).to(device), device)


def cropped_to_region(study: CineStudy, frame: CanonicalFrame, region: HeartRegion) -> CineStudy:
    """The study with each slice cropped to the heart region; slices that miss it are left out.

    The crop's centre, near the heart, is what a slice motion rotates about.

    Raises:
        StudyError: if no slice shows the region.
    """
    cropped = [_cropped(s, frame, region) for s in study.slices]
    missed = [s.name for s, c in zip(study.slices, cropped, strict=True) if c is None]
    kept = tuple(c for c in cropped if c is not None)
    if not kept:
        raise StudyError("no slice passes through the heart region found from the planes")
    warnings = study.warnings
    if missed:
        warnings += (f"not fitted, outside the heart region: {', '.join(missed)}",)
    return replace(study, slices=kept, warnings=warnings)


def reconstruction_psnr_db(
    problem: FitProblem, estimate: Estimate, psf: PsfConfig, cancel: CancelToken | None = None
) -> float:
    """PSNR (peak 1) of the predicted voxels in the heart region, all slices and phases."""
    generator = torch.Generator(problem.device).manual_seed(1)
    table, decoder = problem.table, problem.prior.decoder
    squares = 0.0
    for part in table.sample(N_PSNR_VOXELS, generator).split(VOXELS_PER_PART):
        if cancel is not None:
            cancel.check()
        with torch.inference_mode():
            predicted = predict(
                decoder, part, table.slices, estimate.latent, estimate.poses, psf, generator
            )
            squares += float((predicted.intensity - part.intensity).square().sum())
    return -10.0 * math.log10(max(squares / N_PSNR_VOXELS, 1e-12))


def _on_device(prior: Prior, device: str) -> Prior:
    """The prior with a decoder on `device`; the caller's own stays where it is."""
    if device == "cpu":
        return prior
    return replace(prior, decoder=copy.deepcopy(prior.decoder).to(device))


def _solve(
    problem: FitProblem, config: FitConfig, recorder: Recorder
) -> tuple[Estimate, Posterior | None]:
    if config.gauss_newton is not None:
        return solve_gauss_newton(problem, config.gauss_newton, config.seed, recorder)
    return solve_adam(problem, _adam(config), config.seed, recorder), None


def _adam(config: FitConfig) -> AdamConfig:
    assert config.adam is not None  # FitConfig holds exactly one solver
    return config.adam


def _recorder(config: FitConfig, progress: ProgressReporter, cancel: CancelToken) -> Recorder:
    if config.gauss_newton is not None:
        return Recorder("fit", n_steps_at_most(config.gauss_newton), progress, cancel)
    return Recorder("fit", _adam(config).n_steps, progress, cancel)


def _cropped(s: CineSlice, frame: CanonicalFrame, region: HeartRegion) -> CineSlice | None:
    points = apply_affine(frame.canonical_from_ras, pixel_centres_ras(s.ras_from_ijk, s.shape))
    inside = inside_region(points, region)
    if inside.sum() < MIN_REGION_PIXELS:
        return None
    row, rows = _window(np.flatnonzero(inside.any(axis=1)), s.shape[0])
    column, cols = _window(np.flatnonzero(inside.any(axis=0)), s.shape[1])
    return s.cropped((row, column), (rows, cols))


def _window(hits: npt.NDArray[np.intp], n: int) -> tuple[int, int]:
    """First index and length of the part of an axis of `n` pixels that holds all hits, with a
    margin."""
    first, last = int(hits[0]) - CROP_MARGIN_PIXELS, int(hits[-1]) + 1 + CROP_MARGIN_PIXELS
    # a slice that shows the region only at its edge still needs its smallest size
    first = max(0, min(first, n - MIN_FRAME_PIXELS))
    last = min(n, max(last, first + MIN_FRAME_PIXELS))
    return first, last - first
