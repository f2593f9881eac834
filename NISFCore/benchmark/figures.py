"""The headline figures of a benchmark, each with its definition, from the finished parts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from NISFCore.benchmark.coverage import KINDS, coverage

Part = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """All finished parts, by subject in order; what a plan leaves out is empty.

    Attributes:
        accuracy: at the accuracy level.
        alignment: level in mm → one entry per subject (see `misalignment.before_after`).
        classical, held_out, psf, speed: of the first subjects.
        process, export: once.
    """

    accuracy: Sequence[Part]
    alignment: Mapping[float, Sequence[Part]]
    classical: Sequence[Part]
    held_out: Sequence[Part]
    psf: Sequence[Part]
    speed: Sequence[Part]
    process: Part
    export: Part


@dataclass(frozen=True)
class Figure:
    """One headline figure.

    Attributes:
        key: in `benchmark.json`.
        definition: one sentence.
        of: from the parts; NaN or None where it cannot be had.
        digits: shown after the decimal point.
    """

    key: str
    definition: str
    of: Callable[[Parts], float | None]
    digits: int = 3


def slice_error(level_mm: float, what: str, when: str = "after") -> Callable[[Parts], float]:
    """Mean over all slices of all subjects of an alignment figure at a level."""
    return lambda parts: mean(
        value for part in parts.alignment.get(level_mm, ()) for value in part[when][what]
    )


def dense_dice(label: str) -> Callable[[Parts], float]:
    """Mean over subjects of the gauge-free dense Dice of a label."""
    return lambda parts: mean(part["dense"]["dice"][label] for part in parts.accuracy)


def anchored_dice(parts: Parts) -> float:
    """Mean over subjects and labels of the anchored dense Dice."""
    return mean(v for part in parts.accuracy for v in part["dense"]["dice_anchored"].values())


def volume_errors(parts: Parts, *names: str) -> list[float]:
    """Absolute errors of these figures over all subjects."""
    entries = [part["volumes"][name] for part in parts.accuracy for name in names]
    return [abs(entry["estimate"] - entry["truth"]) for entry in entries]


def speed_ratio(solver: str) -> Callable[[Parts], float | None]:
    """Geometric mean over subjects of a solver's time to the target over ours."""

    def ratio(parts: Parts) -> float | None:
        times = [part["seconds_to_target"] for part in parts.speed]
        if not times or any(t[solver] is None or t["ours"] is None for t in times):
            return None
        return float(np.exp(np.mean([np.log(t[solver] / t["ours"]) for t in times])))

    return ratio


def coverage_95(parts: Parts) -> float | None:
    """Percent, mean over the kinds of interval."""
    shares = [s for s in (coverage_of(parts, kind) for kind in KINDS) if s is not None]
    return 100 * mean(share["95"] for share in shares) if shares else None


def coverage_of(parts: Parts, kind: str) -> dict[str, float] | None:
    """Share of the intervals of one kind that hold the truth, pooled over subjects."""
    scores = [part["z"] for part in parts.accuracy if part.get("z")]
    values = [z for score in scores for z in score[kind] if z is not None]
    return coverage(values) if values else None


def process_time(parts: Parts) -> float | None:
    """Median over the runs."""
    seconds = parts.process.get("seconds")
    return float(np.median(seconds)) if seconds else None


def mean(values: Iterable[float | None]) -> float:
    """Mean of the finite values; NaN without any."""
    finite = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(finite)) if finite else np.nan


FIGURES = (
    Figure(
        "speedup_paper",
        "Seconds of the paper's Adam recipe (2500 steps of 35,000 voxels: steps followed with "
        "fewer voxels times the measured seconds of a full step) until its dense Dice is within "
        "0.005 of its own plateau, over those of the default solver to the same Dice; same "
        "network, same voxels, same run; geometric mean over subjects.",
        speed_ratio("paper"),
        1,
    ),
    Figure(
        "speedup_adam",
        "The same for Adam with 512-voxel batches, tuned rates, whitened latent from the cohort's "
        "mean, global pose, noise and Huber weights.",
        speed_ratio("tuned Adam"),
        1,
    ),
    Figure(
        "process_seconds",
        "Wall time of a whole `nisf fit` process on a 12-slice, 30-phase DICOM study, start of "
        "Python, reading and writing included.",
        process_time,
        1,
    ),
    Figure(
        "slice_error_mm_4mm",
        "Mean over all slices of the distance of each slice from where it was, after the fit, "
        "over its part of the heart, common rigid motion removed, at a misalignment of 4 mm, "
        "2 degrees.",
        slice_error(4.0, "distance_mm"),
        2,
    ),
    Figure(
        "slice_error_deg_4mm",
        "The same as a rotation angle in degrees.",
        slice_error(4.0, "angle_deg"),
        2,
    ),
    Figure(
        "slice_error_mm_8mm",
        "As slice_error_mm_4mm, at a misalignment of 8 mm, 4 degrees.",
        slice_error(8.0, "distance_mm"),
        2,
    ),
    Figure(
        "invented_motion_mm",
        "As slice_error_mm_4mm, without any misalignment: all of it is the fit's.",
        slice_error(0.0, "distance_mm"),
        2,
    ),
    Figure(
        "dice_lv_blood_pool",
        "Dice of the LV blood pool on a dense 3D+time grid, common rigid motion removed, mean over "
        "subjects at 4 mm.",
        dense_dice("lv_blood_pool"),
    ),
    Figure("dice_lv_myocardium", "The same of the LV myocardium.", dense_dice("lv_myocardium")),
    Figure("dice_rv_blood_pool", "The same of the RV blood pool.", dense_dice("rv_blood_pool")),
    Figure(
        "dice_anchored",
        "Mean of the three in scanner space, the common rigid motion not removed.",
        anchored_dice,
    ),
    Figure(
        "psnr_gap_db",
        "Noise ceiling (PSNR of the scanner's noise-free images) minus PSNR of the reconstruction "
        "with its intensity detail, through the slice profile, against noisy images that were not "
        "fitted, within the heart (true labels and 5 mm around them); mean over subjects.",
        lambda parts: mean(part["noise"]["gap_heart_db"] for part in parts.accuracy),
        2,
    ),
    Figure(
        "volume_error_ml",
        "Mean absolute error of EDV and ESV of the LV.",
        lambda parts: mean(volume_errors(parts, "edv_ml", "esv_ml")),
        2,
    ),
    Figure(
        "ef_error_points",
        "Mean absolute error of the LV ejection fraction in percentage points.",
        lambda parts: mean(volume_errors(parts, "ef_percent")),
        2,
    ),
    Figure(
        "coverage_95",
        "Percent of nominal 95 % intervals that hold the truth: mean of the shares over slice "
        "rotations, slice translations (each component) and volumes (EDV, ESV, EF, mass).",
        coverage_95,
        1,
    ),
    Figure(
        "export_speedup",
        "Time of dense evaluation over that of coarse-to-fine evaluation of the same exported "
        "grids.",
        lambda parts: parts.export.get("speedup"),
        1,
    ),
)


def headline(parts: Parts) -> dict[str, float | None]:
    """Every figure by key; None where it cannot be had."""
    values = {figure.key: figure.of(parts) for figure in FIGURES}
    return {k: v if v is not None and np.isfinite(v) else None for k, v in values.items()}


def reasons(parts: Parts, values: dict[str, float | None]) -> dict[str, str]:
    """Why figures are missing."""
    known = {
        "export_speedup": parts.export.get("reason"),
        "coverage_95": "this solver gives no standard errors",
        "speedup_paper": "the default solver, or the paper's, did not reach the paper's plateau",
        "speedup_adam": "a solver did not reach the paper's plateau",
    }
    missing = [key for key, value in values.items() if value is None]
    return {key: known.get(key) or "not measured in this plan" for key in missing}
