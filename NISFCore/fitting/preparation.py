"""What a solver sees of a study: its slices cropped to the heart, voxels, crossings and labels."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from NISFCore.data.guidance import Guidance
from NISFCore.data.study import MIN_FRAME_PIXELS, CineSlice, CineStudy
from NISFCore.errors import ConfigError, StudyError
from NISFCore.fitting.config import FitConfig, GaussNewtonConfig
from NISFCore.fitting.crossing_images import crossing_images
from NISFCore.fitting.label_evidence import label_evidence
from NISFCore.fitting.problem import FitProblem
from NISFCore.fitting.voxel_draws import voxel_draws
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.model.config import HeartRegion
from NISFCore.model.device import hidden_dtype
from NISFCore.model.prior import Prior
from NISFCore.model.voxels import MIN_REGION_PIXELS, inside_region, voxel_table

CROP_MARGIN_PIXELS = 4


def seen_in(
    study: CineStudy,
    frame: CanonicalFrame,
    prior: Prior,
    config: FitConfig,
    device: str,
    guidance: Guidance | None = None,
) -> tuple[CineStudy, FitProblem]:
    """The study cropped to the heart region as it lies in a frame, and what a solver sees of it.

    Raises:
        StudyError: if no slice shows the region.
        StudyError: if labels are given and none of them lies in the region.
        ConfigError: if labels are given to a solver that cannot use them.
    """
    region = prior.info.decoder.region
    cropped = cropped_to_region(study, frame, region)
    table = voxel_table(cropped, frame, region).to(device)
    settings = config.gauss_newton
    if settings is None:
        if guidance is not None:
            raise ConfigError("labels are given: the Adam solvers cannot use them; use the default")
        return cropped, FitProblem(prior, table, device)
    crossing = crossing_images(
        cropped, frame, region, table.intensity_reference.cpu(), settings.crossing.blur_mm
    )
    labels = None
    if guidance is not None:
        border_mm = settings.guidance.border_mm
        labels = label_evidence(guidance, study, cropped, frame, region, border_mm).to(device)
    problem = FitProblem(
        prior,
        table,
        device,
        crossing=crossing.to(device),
        guidance=labels,
        hidden_dtype=hidden_dtype(device),
    )
    # a refit begins where the heart is, and planes that do not cross say too little of where
    if settings.tempered_steps > 0 and problem.has_crossings:
        problem = replace(problem, draws=voxel_draws(prior, table, problem.hidden_dtype))
    return cropped, problem


def with_evidence(
    problem: FitProblem,
    evidence: Guidance,
    cropped: CineStudy,
    frame: CanonicalFrame,
    config: GaussNewtonConfig,
) -> FitProblem:
    """The problem with what the slice network says of the cropped study, where that is anything."""
    if not any(entry.known.any() for entry in evidence.entries):
        return problem
    region, border_mm = problem.prior.info.decoder.region, config.evidence.border_mm
    labels = label_evidence(evidence, cropped, cropped, frame, region, border_mm)
    return replace(problem, evidence=labels.to(problem.device))


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
