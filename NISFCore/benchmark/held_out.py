"""Appendix B: fits to a part of the views, and what they predict on the views they never saw.

A held-out slice is compared where it really was (the truth), seen from the fit through the rigid
motion common to the fitted slices: its labels by Dice, its image by NCC, which needs no intensity
scale, within the true heart and 5 mm around it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from NISFCore.analysis.evaluation import motion_errors
from NISFCore.analysis.intersections import ncc
from NISFCore.analysis.metrics import DiceCounts
from NISFCore.analysis.rendering import render_plane
from NISFCore.benchmark.accuracy import HEART_MARGIN_MM
from NISFCore.benchmark.frames import near_heart, with_fewer_phases
from NISFCore.benchmark.store import Arrays
from NISFCore.data.study import CineSlice
from NISFCore.evidence.network import SliceNetwork
from NISFCore.fitting.config import DEFAULT, FitConfig
from NISFCore.fitting.fit import fit_study
from NISFCore.fitting.intensity_detail import with_intensity_detail
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.model.prior import Prior
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.phantom.truth import PhantomTruth
from NISFCore.progress import CancelToken
from NISFCore.views import CARDIAC_VIEWS, LONG_AXIS_VIEWS, View

FITTED_VIEWS: Mapping[str, tuple[View, ...]] = {
    "SA only": (View.SA,),
    "LA only": tuple(LONG_AXIS_VIEWS),
    **{
        f"without {view.value}": tuple(v for v in CARDIAC_VIEWS if v is not view)
        for view in LONG_AXIS_VIEWS
    },
}
N_PHASES = 4
PICTURED = ("SA only", "LA only")


def held_out(
    simulated: SimulatedStudy,
    prior: Prior,
    network: SliceNetwork,
    cancel: CancelToken | None = None,
    config: FitConfig = DEFAULT,
) -> tuple[dict[str, Any], Arrays]:
    """Case → figures on the held-out slices; and the pictures of `PICTURED`."""
    figures: dict[str, Any] = {}
    arrays: Arrays = {}
    study = simulated.study
    for name, views in FITTED_VIEWS.items():
        result = fit_study(
            study.restricted_to(views),
            prior,
            config,
            network=network,
            device="cpu",
            cancel=cancel,
        )
        result = with_intensity_detail(result, cancel=cancel)
        unseen = [s for s in with_fewer_phases(study, N_PHASES).slices if s.view not in views]
        rows = [_predicted(result, cine, simulated.truth, cancel) for cine in unseen]
        figures[name] = {"slices": [row for row, _ in rows]}
        if name in PICTURED:
            k = len(rows) // 2
            arrays |= {f"{name}/{key}": a for key, a in rows[k][1].items()}
    return figures, arrays


def _predicted(
    result: FitResult, cine: CineSlice, truth: PhantomTruth, cancel: CancelToken | None
) -> tuple[dict[str, Any], Arrays]:
    """Figures and pictures of one held-out slice."""
    T = motion_errors(result, truth)[1].truth_from_estimate
    where = invert_rigid(T) @ truth.true_from_scanned_ras(cine.name) @ cine.ras_from_ijk
    plane = render_plane(result.field, where, cine.shape, cine.cycle_fractions, cancel)
    assert cine.labels is not None  # simulated slices always have them
    dice, near = DiceCounts(), near_heart(cine, HEART_MARGIN_MM)
    dice.add(plane.labels, cine.labels.values)
    agreement = ncc(plane.intensity[near], cine.frames[near]) if near.any() else np.nan
    row = {"slice": cine.name, "view": cine.view.value, "ncc": agreement, **dice.by_key()}
    rows, cols = _crop(np.asarray(near.any(axis=0)))
    pictures: Arrays = {
        "image": cine.frames[0, rows, cols],
        "predicted": plane.intensity[0, rows, cols],
        "labels": cine.labels.values[0, rows, cols],
        "predicted_labels": plane.labels[0, rows, cols],
    }
    return row, pictures


def _crop(mask: np.ndarray) -> tuple[slice, slice]:
    """The rectangle of a mask `(rows, cols)` with a margin; everything for an empty one."""
    if not mask.any():
        return slice(None), slice(None)
    (r, c), margin = np.nonzero(mask), 6
    low_r, low_c = max(0, int(r.min()) - margin), max(0, int(c.min()) - margin)
    return slice(low_r, int(r.max()) + margin), slice(low_c, int(c.max()) + margin)
