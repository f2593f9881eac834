"""What a fit of a real study is measured by: labels shown in slices, volumes, given slices.

A slice shows the fitted heart where the fit found the slice to be; the reference shows its labels
in the slice as scanned (references have shifts of their own, and labels are drawn on images).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.metrics import DiceCounts
from NISFCore.analysis.rendering import render_plane
from NISFCore.benchmark.reference import Labels, Reference, ReferenceFrame
from NISFCore.data.guidance import Guidance
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.data.surface_files import Structure
from NISFCore.fitting.result import FitResult
from NISFCore.labels import LABEL_INFO, Label
from NISFCore.progress import CancelToken
from NISFCore.views import View

ED_PLACES, ES_PLACES = (0.1, 0.5, 0.9), (0.1, 0.5)
"""Which slices are given: places between the most basal (0) and the most apical (1) slice that
shows the LV pool: base, middle and apex at ED, base and middle at ES."""

MIN_POOL_PIXELS = 20

FrameKey = tuple[str, int]
Shown = Mapping[FrameKey, Labels]


def shown_labels(
    result: FitResult,
    study: CineStudy,
    keys: Collection[FrameKey],
    cancel: CancelToken | None = None,
) -> dict[FrameKey, Labels]:
    """The fitted labels `(rows, cols)` in whole slices of the study at some of their phases; a
    slice that was not fitted is taken where it was scanned."""
    names = [s.name for s in result.study.slices]
    shown: dict[FrameKey, Labels] = {}
    for cine in study.slices:
        phases = sorted({phase for name, phase in keys if name == cine.name})
        if not phases:
            continue
        is_fitted = cine.name in names
        motion = result.slice_motions[names.index(cine.name)] if is_fitted else np.eye(4)
        t = cine.cycle_fractions[phases]
        plane = render_plane(result.field, motion @ cine.ras_from_ijk, cine.shape, t, cancel)
        shown |= {(cine.name, p): labels for p, labels in zip(phases, plane.labels, strict=True)}
    return shown


def dice_of(
    shown: Shown, frames: Sequence[ReferenceFrame], labels: Collection[Label]
) -> dict[str, float]:
    """Label key -> Dice over all frames together; NaN for a label that the reference lacks, and for
    all without frames."""
    counts = DiceCounts()
    for frame in frames:
        counts.add(shown[frame.key] * frame.known, frame.labels * frame.known)
    keys = {LABEL_INFO[label].key for label in labels}
    return {key: v if key in keys else np.nan for key, v in counts.by_key().items()}


# ---------------------------------------------------------------- given slices


def given_frames(study: CineStudy, reference: Reference) -> list[ReferenceFrame]:
    """Three ED slices (base, middle, apex) and two ES slices (base, middle) of the reference; the
    ED slices alone where it has one time only."""
    ed, es = reference.ed(study), reference.es(study)
    given = chosen_frames(study, reference, ed, ED_PLACES)
    return given if es is None else given + chosen_frames(study, reference, es, ES_PLACES)


def chosen_frames(
    study: CineStudy, reference: Reference, moment: int, places: Sequence[float]
) -> list[ReferenceFrame]:
    """The SA frames of one time at some places between base and apex, as `ED_PLACES`."""
    order = {s.name: k for k, s in enumerate(study.of_view(View.SA))}
    frames = [f for f in reference.at(moment) if f.slice_name in order and _shows_lv(f)]
    frames.sort(key=lambda f: order[f.slice_name])
    index = sorted({round(place * (len(frames) - 1)) for place in places}) if frames else []
    return [frames[k] for k in index]


def _shows_lv(frame: ReferenceFrame) -> bool:
    return int((frame.labels == Label.LV_BLOOD_POOL).sum()) >= MIN_POOL_PIXELS


def guidance_of(frames: Sequence[ReferenceFrame]) -> Guidance:
    """Frames of the reference as labels that somebody drew."""
    return Guidance(tuple(f.as_guidance() for f in frames), ("reference",))


# ---------------------------------------------------------------- volumes


@dataclass(frozen=True)
class Volumes:
    """LV and RV volumes (ml) at the reference's moments, `(n_moments,)` each; None if not known."""

    lv_ml: npt.NDArray[np.float64] | None
    rv_ml: npt.NDArray[np.float64] | None


def surface_volumes(reference: Reference, is_open: bool = False) -> Volumes | None:
    """Volumes within the closed surfaces, or what the surfaces without their caps have."""
    if not reference.surfaces:
        return None
    name = "open_volume_ml" if is_open else "volume_ml"

    def of(structure: Structure) -> npt.NDArray[np.float64] | None:
        if structure not in reference.surfaces[0]:
            return None
        return np.array([getattr(phase[structure], name) for phase in reference.surfaces])

    return Volumes(of(Structure.LV), of(Structure.RV))


def disc_volumes(study: CineStudy, frames: Sequence[tuple[FrameKey, Labels]]) -> Volumes | None:
    """Sum over the SA slices of area times slice distance, at one moment: what both the reference
    and a fit can be measured by. None without a stack."""
    stack = study.of_view(View.SA)
    if len(stack) < 2:
        return None
    areas = {s.name: float(np.prod(s.spacing_mm)) for s in stack}
    distance_mm = slice_distance_mm(stack)

    def of(label: Label) -> npt.NDArray[np.float64]:
        mm3 = sum(
            (labels == label).sum() * areas[name] * distance_mm
            for (name, _), labels in frames
            if name in areas
        )
        return np.array([float(mm3) / 1000])

    return Volumes(of(Label.LV_BLOOD_POOL), of(Label.RV_BLOOD_POOL))


def slice_distance_mm(stack: Sequence[CineSlice]) -> float:
    """Median distance of neighbouring slices of a stack."""
    heights = np.sort([s.centre_ras @ stack[0].normal_ras for s in stack])
    return float(np.median(np.diff(heights)))
