"""The figures of a real study, by their stable names, and why one is missing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from NISFCore.analysis.evaluation import intersection_ncc_before_after
from NISFCore.analysis.fitted import n_cycle_phases
from NISFCore.analysis.volumes import VentricularFunction
from NISFCore.benchmark.machine import machine, versions
from NISFCore.benchmark.real_bench import Measured, RealBench
from NISFCore.benchmark.real_measures import (
    Volumes,
    dice_of,
    disc_volumes,
    shown_labels,
    surface_volumes,
)
from NISFCore.benchmark.store import plain
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.storage import quality_summary
from NISFCore.labels import FOREGROUND, LABEL_INFO, Label

LABEL_KEYS = tuple(LABEL_INFO[label].key for label in FOREGROUND)
VOLUME_KEYS = ("edv_ml", "esv_ml", "ef_percent", "rv_edv_ml", "rv_ef_percent")
FIGURES = (
    *(
        f"{fit}_dice_{label}{when}"
        for fit in ("unguided", "guided")
        for when in ("", "_ed", "_es")
        for label in LABEL_KEYS
    ),
    *(f"{fit}_{key}" for fit in ("unguided", "guided") for key in VOLUME_KEYS),
    "intersection_ncc_before",
    "intersection_ncc_after",
    "left_out_view_dice_lv",
    "refit_seconds",
)


def summary(
    bench: RealBench,
    fits: Sequence[Measured],
    left_out: Mapping[str, Measured],
    seconds: float | None,
    refitted: FitResult | None,
) -> dict[str, Any]:
    """The content of `benchmark.json`."""
    found: dict[str, float | None] = {"refit_seconds": seconds}
    for fit in fits:
        found |= dice_figures(bench, fit) | volume_figures(bench, fit)
    before, after = intersection_ncc_before_after(fits[0].result)
    found |= {"intersection_ncc_before": before.mean, "intersection_ncc_after": after.mean}
    found["left_out_view_dice_lv"] = left_out_dice(left_out)
    figures = {key: found.get(key) for key in FIGURES}
    figures = plain(figures)
    study, reference = bench.study, bench.reference
    return plain(
        {
            "figures": figures,
            "missing": {k: why_missing(k, bench) for k, v in figures.items() if v is None},
            "reference": {
                "kind": reference.kind,
                "n_frames": len(reference.frames),
                "ed_moment": reference.ed(study),
                "es_moment": reference.es(study),
                "volumes": reference_volumes(bench),
                "warnings": list(reference.warnings),
            },
            "study": {
                "n_slices": len(study.slices),
                "views": [s.view.value for s in study.slices],
                "n_phases": n_cycle_phases(study),
                "orientation": vars(bench.orientation),
            },
            "given": [{"slice": f.slice_name, "phase": f.phase} for f in bench.given],
            "volumes": {
                fit.name: VentricularFunction.from_curve(fit.curve).to_dict() for fit in fits
            },
            "quality": {fit.name: quality_summary(fit.result.quality) for fit in fits},
            "same_frames": same_frames(bench, fits, refitted),
            "disc_volumes": disc_rows(bench, fits),
            "left_out_views": {
                view: dice_of(m.shown, m.frames, reference.labels) for view, m in left_out.items()
            },
            "prior": {"name": bench.prior.info.name, "n_subjects": bench.prior.info.n_subjects},
            "fit_seconds": {fit.name: fit.result.seconds for fit in fits},
            "machine": machine(),
            "versions": versions(),
        }
    )


def dice_figures(bench: RealBench, fit: Measured) -> dict[str, float | None]:
    """Dice over all frames that count, and over those at ED and at ES."""
    moments = {"": None, "_ed": bench.reference.ed(bench.study)}
    es = bench.reference.es(bench.study)
    figures: dict[str, float | None] = {}
    for when, moment in (moments | ({} if es is None else {"_es": es})).items():
        frames = [f for f in fit.frames if moment is None or f.moment == moment]
        found = dice_of(fit.shown, frames, bench.reference.labels)
        figures |= {f"{fit.name}_dice_{key}{when}": value for key, value in found.items()}
    return figures


def volume_figures(bench: RealBench, fit: Measured) -> dict[str, float | None]:
    """Of the fitted heart, by its own volume curve; with one phase only, EDV alone."""
    values = VentricularFunction.from_curve(fit.curve).to_dict()
    if n_cycle_phases(bench.study) == 1:
        values = {key: values[key] for key in ("edv_ml", "rv_edv_ml")}
    return {f"{fit.name}_{key}": values.get(key) for key in VOLUME_KEYS}


def left_out_dice(left_out: Mapping[str, Measured]) -> float | None:
    """LV Dice over all left-out views together."""
    if not left_out:
        return None
    shown = {key: labels for m in left_out.values() for key, labels in m.shown.items()}
    frames = [f for m in left_out.values() for f in m.frames]
    lv = LABEL_INFO[Label.LV_BLOOD_POOL].key
    return dice_of(shown, frames, {Label.LV_BLOOD_POOL})[lv]


def reference_volumes(bench: RealBench) -> dict[str, dict[str, float]]:
    """How -> figures of the reference: enclosed by its closed surfaces, by the open ones, or (in
    `disc_volumes`) by discs."""
    named = {
        "closed surfaces": surface_volumes(bench.reference),
        "open surfaces": surface_volumes(bench.reference, is_open=True),
    }
    return {name: function_of(v) for name, v in named.items() if v is not None}


def function_of(volumes: Volumes) -> dict[str, float]:
    """EDV, ESV, EF of both ventricles."""
    figures: dict[str, float] = {}
    for prefix, ml in (("", volumes.lv_ml), ("rv_", volumes.rv_ml)):
        if ml is not None and len(ml):
            edv, esv = float(ml.max()), float(ml.min())
            figures |= {f"{prefix}edv_ml": edv, f"{prefix}esv_ml": esv}
            figures[f"{prefix}ef_percent"] = 100 * (edv - esv) / edv if edv > 0 else math.nan
    return figures


def disc_rows(bench: RealBench, fits: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Volumes of reference and fits by the same quadrature: discs of the SA slices' labels."""
    study, reference = bench.study, bench.reference
    times = {"ed": reference.ed(study), "es": reference.es(study)}
    rows: dict[str, dict[str, float]] = {
        name: {} for name in ("reference", *(f.name for f in fits))
    }
    for when, moment in times.items():
        if moment is None:
            continue
        frames = reference.at(moment)
        maps: dict[str, list[Any]] = {"reference": [(f.key, f.labels * f.known) for f in frames]}
        maps |= {fit.name: [(f.key, fit.shown[f.key] * f.known) for f in frames] for fit in fits}
        for name, found in maps.items():
            volumes = disc_volumes(study, found)
            if volumes is not None and volumes.lv_ml is not None and volumes.rv_ml is not None:
                rows[name][f"lv_{when}_ml"] = float(volumes.lv_ml[0])
                rows[name][f"rv_{when}_ml"] = float(volumes.rv_ml[0])
    return rows


def same_frames(
    bench: RealBench, fits: Sequence[Measured], refitted: FitResult | None
) -> dict[str, dict[str, float]]:
    """Dice of every fit on the ED and ES frames that were not given, so that they can be compared;
    with them the warm refit."""
    study, reference = bench.study, bench.reference
    moments = {reference.ed(study), reference.es(study)}
    frames = [f for f in reference.frames if f.moment in moments and f.key not in bench.given_keys]
    labels = reference.labels
    rows = {fit.name: dice_of(fit.shown, frames, labels) for fit in fits}
    if refitted is not None:
        shown = shown_labels(refitted, bench.study, [f.key for f in frames], bench.cancel)
        rows["refit"] = dice_of(shown, frames, labels)
    return rows


def why_missing(key: str, bench: RealBench) -> str:
    """Why a figure is null."""
    known = {LABEL_INFO[label].key for label in bench.reference.labels}
    if key.endswith("_es") and bench.reference.es(bench.study) is None:
        return "the reference has one time of the cycle only"
    if any(label in key for label in set(LABEL_KEYS) - known):
        return "the reference does not have this label"
    if (key.startswith("guided") or key == "refit_seconds") and not bench.given:
        return "the reference shows the LV in no short-axis slice"
    if "ef_" in key or "esv_" in key:
        return "the study has one phase only"
    if key.startswith("intersection"):
        return "no two slices cross inside the heart"
    if key == "left_out_view_dice_lv":
        return "no long-axis view beside other views"
    return "no frame of the reference counts here"
