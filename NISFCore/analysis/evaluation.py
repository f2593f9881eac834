"""`evaluate`: every figure of a fit, alone or against a known truth, with stable JSON keys.

What each figure is:
- `dice_3d`: Dice on a dense 3D+time grid (2 mm, the study's number of phases), the truth seen
  through the rigid motion common to all slices, which slices cannot show; `dice_3d_anchored`: that
  motion is not removed.
- `dice_in_plane`: on the pixels of the slices, each where it really was (truth) and where the fit
  put it (estimate), all phases; with reference labels instead of a truth, annotated phases.
- `slice_motion_mm`, `slice_motion_deg`: see `metrics.slice_motion_errors`; mean over slices.
- `intersection_ncc`, `intersection_dice`: see `intersections`; mean over pairs of slices.
- `psnr_db`, `ssim`: scale × fitted heart, on the corrected mid-planes, against the normalised
  frames, inside the fitted region; PSNR of the pooled error, SSIM as mean over frames.
- `volumes`: figure → {estimate, truth, sd}, sd the fit's own standard error; `curve`: the fitted
  volumes over the cycle.
Figures that need what is not there (a truth, reference labels) are null.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.dense import compare_dense
from NISFCore.analysis.fitted import (
    FittedStudy,
    HeartTruth,
    corrected_ras_from_ijk,
    n_cycle_phases,
    normalised_frames,
    true_labels,
)
from NISFCore.analysis.function_errors import function_standard_errors
from NISFCore.analysis.intersections import (
    LabelSampler,
    PairStatistics,
    Region,
    crossings,
    intersection_dice,
    intersection_ncc,
    intersection_profiles,
    study_labels,
)
from NISFCore.analysis.metrics import (
    MotionErrors,
    common_rigid,
    heart_points_on_slice,
    slice_motion_errors,
)
from NISFCore.analysis.plane_figures import PlaneFigures
from NISFCore.analysis.rendering import (
    RenderedPlane,
    inside_box,
    render_plane,
    uniform_cycle_fractions,
)
from NISFCore.analysis.steps import Steps
from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve, volume_curve
from NISFCore.data.study import CineSlice
from NISFCore.geometry.field import HeartBox
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import Affine, Points, apply_affine
from NISFCore.progress import CancelToken, ProgressReporter

DENSE_SPACING_MM = 2.0


@dataclass(frozen=True)
class BeforeAfter:
    """A figure without and with the fitted slice motions."""

    before: float | None
    after: float | None


@dataclass(frozen=True)
class EstimateTruth:
    """A figure of the fit, its true value and its standard error, where they are known."""

    estimate: float
    truth: float | None
    sd: float | None = None


@dataclass(frozen=True)
class SliceFigures:
    """Figures of one slice."""

    name: str
    psnr_db: float | None
    motion_mm: BeforeAfter | None
    motion_deg: BeforeAfter | None
    sd_mm: float | None = None
    sd_deg: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """All figures (see the module)."""

    dice_3d: dict[str, float] | None
    dice_3d_anchored: dict[str, float] | None
    dice_in_plane: dict[str, float] | None
    slice_motion_mm: BeforeAfter | None
    slice_motion_deg: BeforeAfter | None
    intersection_ncc: BeforeAfter
    intersection_ncc_sd: BeforeAfter
    intersection_dice: BeforeAfter | None
    intersection_dice_sd: BeforeAfter | None
    psnr_db: float | None
    ssim: float | None
    volumes: dict[str, EstimateTruth]
    curve: VolumeCurve
    slices: tuple[SliceFigures, ...]
    seconds: dict[str, float]

    def to_json_object(self) -> dict[str, Any]:
        """Plain JSON types; figures that are not finite become null."""
        return _json(self)


def evaluate(
    fitted: FittedStudy,
    truth: HeartTruth | None = None,
    spacing_mm: float = DENSE_SPACING_MM,
    n_phases: int | None = None,
    curve: VolumeCurve | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> Evaluation:
    """Compute every figure of a fit.

    Args:
        fitted: the fit.
        truth: the simulated heart it is compared with, if there is one.
        spacing_mm: of the dense grid for Dice and volumes.
        n_phases: of the dense grid; None is that of the study.
        curve: the fitted heart's volumes, if they are known; used only without a truth.
        progress, cancel: as everywhere.

    Raises:
        Cancelled: if the job was asked to stop.
        StudyError: if a slice does not show the heart at all.
    """
    start = time.perf_counter()
    t = uniform_cycle_fractions(n_phases or n_cycle_phases(fitted.study))
    planes = _planes(fitted, truth, progress, cancel)
    motion = None if truth is None else motion_errors(fitted, truth)
    dice, anchored, volumes = None, None, {}
    if truth is None or motion is None:
        if curve is None:
            grid = fitted.field.box.grid(spacing_mm)
            curve = volume_curve(fitted.field, grid, t, progress=progress, cancel=cancel)
        volumes = _volumes(fitted, curve, None)
    else:
        T = motion[1].truth_from_estimate
        dense = compare_dense(fitted.field, truth, T, t, spacing_mm, progress, cancel)
        dice, anchored, curve = dense.dice, dense.dice_anchored, dense.estimate
        volumes = _volumes(fitted, dense.estimate, dense.truth)
    before, after = intersection_ncc_before_after(fitted)
    dice_pairs = intersection_dice_before_after(fitted, label_sampler(fitted, truth), t)
    return Evaluation(
        dice_3d=dice,
        dice_3d_anchored=anchored,
        dice_in_plane=planes.dice.by_key() if planes.has_labels else None,
        slice_motion_mm=motion and BeforeAfter(motion[0].mean_mm, motion[1].mean_mm),
        slice_motion_deg=motion and BeforeAfter(motion[0].mean_deg, motion[1].mean_deg),
        intersection_ncc=BeforeAfter(before.mean, after.mean),
        intersection_ncc_sd=BeforeAfter(before.sd, after.sd),
        intersection_dice=dice_pairs and BeforeAfter(dice_pairs[0].mean, dice_pairs[1].mean),
        intersection_dice_sd=dice_pairs and BeforeAfter(dice_pairs[0].sd, dice_pairs[1].sd),
        psnr_db=planes.psnr_db,
        ssim=planes.ssim,
        volumes=volumes,
        curve=curve,
        slices=_slice_figures(fitted, planes, motion),
        seconds={**fitted.seconds, "evaluate": time.perf_counter() - start},
    )


def _planes(
    fitted: FittedStudy,
    truth: HeartTruth | None,
    progress: ProgressReporter | None,
    cancel: CancelToken | None,
) -> PlaneFigures:
    """Render every slice once, where the fit put it, and compare images and labels."""
    figures = PlaneFigures()
    steps = Steps("slices", len(fitted.study.slices), progress, cancel)
    for index, cine in enumerate(fitted.study.slices):
        steps.tick()
        corrected = corrected_ras_from_ijk(fitted, index)
        plane = render_plane(fitted.field, corrected, cine.shape, cine.cycle_fractions, cancel)
        predicted = fitted.image_gain(index) * plane.intensity
        region = fitted.field.contains(pixel_centres_ras(corrected, cine.shape))
        figures.add_images(predicted, normalised_frames(fitted, index), region)
        _count_labels(figures, plane, cine, truth, cancel)
    return figures


def _count_labels(
    figures: PlaneFigures,
    plane: RenderedPlane,
    cine: CineSlice,
    truth: HeartTruth | None,
    cancel: CancelToken | None,
) -> None:
    if truth is not None:
        figures.has_labels = True
        motion = truth.true_from_scanned_ras(cine.name)
        points = apply_affine(motion, pixel_centres_ras(cine.ras_from_ijk, cine.shape))
        either = plane.inside | inside_box(truth.box, points)  # elsewhere both are background
        for labels, t in zip(plane.labels, cine.cycle_fractions, strict=True):
            figures.dice.add(labels[either], true_labels(truth, points[either], float(t), cancel))
    elif cine.labels is not None and cine.labels.annotated.any():
        figures.has_labels = True
        annotated = cine.labels.annotated
        figures.dice.add(plane.labels[annotated], cine.labels.values[annotated])


def motion_errors(fitted: FittedStudy, truth: HeartTruth) -> tuple[MotionErrors, MotionErrors]:
    """Slice-motion errors (before, after) the fit."""
    centre = box_centre_ras(truth.box)
    slices = fitted.study.slices
    points = [heart_points_on_slice(cine, centre) for cine in slices]
    true = [truth.true_from_scanned_ras(cine.name) for cine in slices]
    before = slice_motion_errors([np.eye(4)] * len(slices), true, points)
    return before, slice_motion_errors(fitted.slice_motions, true, points)


def box_centre_ras(box: HeartBox) -> Points:
    """Centre `(3,)` of a heart's box."""
    return apply_affine(box.ras_from_box, (box.low_mm + box.high_mm) / 2)


def scanned_region(fitted: FittedStudy) -> Region:
    """The heart's region among the slices as scanned: taken back by what is common to their
    motions, so that the same part of every slice counts before and after, whatever the gauge."""
    corrected_from_scanned = invert_rigid(_scanned_from_corrected(fitted))
    return lambda points: fitted.field.contains(apply_affine(corrected_from_scanned, points))


def _scanned_from_corrected(fitted: FittedStudy) -> Affine:
    centre = box_centre_ras(fitted.field.box)
    motions, points = [], []
    for cine, motion in zip(fitted.study.slices, fitted.slice_motions, strict=True):
        seen = heart_points_on_slice(cine, apply_affine(invert_rigid(motion), centre))
        if len(seen) >= 3:
            motions.append(motion)
            points.append(seen)
    return common_rigid(motions, [np.eye(4)] * len(motions), points) if motions else np.eye(4)


def before_and_after(fitted: FittedStudy) -> tuple[tuple[Sequence[Affine], Region], ...]:
    """Slice motions and region, (without, with) the fitted motions."""
    identities = [np.eye(4) for _ in fitted.study.slices]
    return (
        (identities, scanned_region(fitted)),
        (fitted.slice_motions, fitted.field.contains),
    )


def intersection_ncc_before_after(fitted: FittedStudy) -> tuple[PairStatistics, PairStatistics]:
    """NCC along slice intersections, (without, with) the fitted motions."""
    before, after = (
        intersection_ncc(intersection_profiles(fitted.study, motions, region))
        for motions, region in before_and_after(fitted)
    )
    return before, after


def label_sampler(fitted: FittedStudy, truth: HeartTruth | None) -> LabelSampler | None:
    """Labels seen in a slice: of the truth, else of the study's reference labels, else none."""
    if truth is None:
        has_labels = any(cine.labels is not None for cine in fitted.study.slices)
        return study_labels(fitted.study) if has_labels else None
    motions = [truth.true_from_scanned_ras(cine.name) for cine in fitted.study.slices]

    def labels_of(index: int, points_ras: Points, cycle_fraction: float) -> npt.NDArray[np.uint8]:
        return true_labels(truth, apply_affine(motions[index], points_ras), cycle_fraction)

    return labels_of


def intersection_dice_before_after(
    fitted: FittedStudy, labels_of: LabelSampler | None, t: npt.NDArray[np.float64]
) -> tuple[PairStatistics, PairStatistics] | None:
    """Dice along slice intersections at times `t`, (without, with) the fitted motions; None
    without labels."""
    if labels_of is None:
        return None
    before, after = (
        intersection_dice(crossings(fitted.study, motions, region), labels_of, t)
        for motions, region in before_and_after(fitted)
    )
    return before, after


def _volumes(
    fitted: FittedStudy, estimate: VolumeCurve, truth: VolumeCurve | None
) -> dict[str, EstimateTruth]:
    errors = function_standard_errors(estimate, fitted.volume_covariance_ml2)
    figures = VentricularFunction.from_curve(estimate).to_dict()
    true: Mapping[str, float | None] = (
        dict.fromkeys(figures) if truth is None else VentricularFunction.from_curve(truth).to_dict()
    )
    return {
        name: EstimateTruth(value, true[name], errors.get(name)) for name, value in figures.items()
    }


def _slice_figures(
    fitted: FittedStudy, planes: PlaneFigures, motion: tuple[MotionErrors, MotionErrors] | None
) -> tuple[SliceFigures, ...]:
    return tuple(
        SliceFigures(
            cine.name,
            planes.slice_psnr_db[i],
            motion and BeforeAfter(*(float(m.distance_mm[i]) for m in motion)),
            motion and BeforeAfter(*(float(m.angle_deg[i]) for m in motion)),
            *_slice_errors(fitted, i),
        )
        for i, cine in enumerate(fitted.study.slices)
    )


def _slice_errors(fitted: FittedStudy, index: int) -> tuple[float | None, float | None]:
    """Standard errors of a slice's shift and rotation, root sum of squares over their axes."""
    uncertainty = fitted.uncertainty
    if uncertainty is None:
        return None, None
    pair = uncertainty.translation_sd_mm[index], uncertainty.rotation_sd_deg[index]
    return float(np.linalg.norm(pair[0])), float(np.linalg.norm(pair[1]))


def _json(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [_json(v) for v in value]
    if isinstance(value, VolumeCurve):
        return value.rows()
    if hasattr(value, "__dataclass_fields__"):
        return {name: _json(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
