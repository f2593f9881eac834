"""Slice motions that earn trust: a slice stays where it was scanned unless it fits better moved.

A fit moves slices so that images look like its model. Where the model is wrong, motion absorbs
that, and what the slice shows then agrees less with the slices that it crosses, which no model is
needed to see. So every slice is asked: do its crossings agree better where the fit put it, or where
it was scanned, the others being where they are now? One that agrees better as scanned goes back;
one after the other, the worst first, since each changes what its partners see.

A slice that crosses none cannot be asked and keeps its motion.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from NISFCore.analysis.evaluation import scanned_region
from NISFCore.analysis.intersections import Region, intersection_profiles
from NISFCore.data.study import CineStudy
from NISFCore.fitting.result import FitResult, SliceMotion
from NISFCore.geometry.spaces import Affine

TOLERANCE = 0.02
"""Mean NCC of a slice's crossings that going back must gain: less is noise."""


@dataclass(frozen=True)
class PutBack:
    """A slice that went back to where it was scanned.

    Attributes:
        name: of the slice.
        ncc_moved, ncc_scanned: mean NCC of its crossings where the fit had put it, and as scanned.
    """

    name: str
    ncc_moved: float
    ncc_scanned: float


def with_trusted_motions(
    result: FitResult, tolerance: float = TOLERANCE
) -> tuple[FitResult, tuple[PutBack, ...]]:
    """The fit with untrustworthy slice motions set to none, and which these are.

    Latent, pose and scales stay: a slice that did not belong where it was put says little of them.
    """
    study, motions = result.study, list(result.slice_motions)
    region = scanned_region(result)
    put_back: list[PutBack] = []
    while len(put_back) < len(motions):
        gains = _gains(study, motions, region)
        worst = max(gains, key=lambda j: gains[j].ncc_scanned - gains[j].ncc_moved, default=None)
        if worst is None or gains[worst].ncc_scanned - gains[worst].ncc_moved <= tolerance:
            break
        put_back.append(gains[worst])
        motions[worst] = np.eye(4)
    return _without_motion(result, {p.name for p in put_back}), tuple(put_back)


def _gains(study: CineStudy, motions: Sequence[Affine], region: Region) -> dict[int, PutBack]:
    """Slices that are moved and cross others, and how well they agree in both places."""
    found = {}
    for j, cine in enumerate(study.slices):
        if np.allclose(motions[j], np.eye(4)):
            continue
        scanned = [np.eye(4) if k == j else motion for k, motion in enumerate(motions)]
        moved, back = (_mean_ncc(study, m, region, j) for m in (motions, scanned))
        if np.isfinite(moved) and np.isfinite(back):
            found[j] = PutBack(cine.name, moved, back)
    return found


def _mean_ncc(study: CineStudy, motions: Sequence[Affine], region: Region, index: int) -> float:
    """Mean NCC over the crossings of one slice; NaN without."""
    profiles = intersection_profiles(study, motions, region, only=index)
    values = [p.ncc for p in profiles if np.isfinite(p.ncc)]
    return float(np.mean(values)) if values else np.nan


def _without_motion(result: FitResult, names: set[str]) -> FitResult:
    if not names:
        return result
    none = SliceMotion(np.zeros(3), np.zeros(3))
    pairs = zip(result.study.slices, result.parameters.slice_motion, strict=True)
    motion = tuple(none if s.name in names else m for s, m in pairs)
    return replace(result, parameters=replace(result.parameters, slice_motion=motion))
