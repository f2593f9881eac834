"""Several starts where the planes leave the canonical frame uncertain.

The solver finds its way over a centimetre or two and some tens of degrees; what may be more wrong
is tried: each start is fitted for a few cheap steps, and that with the likeliest images goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from NISFCore.data.study import CineStudy
from NISFCore.fitting.config import GaussNewtonConfig
from NISFCore.fitting.gauss_newton import solve_gauss_newton
from NISFCore.fitting.misfit import misfit
from NISFCore.fitting.problem import FitProblem, Recorder
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine
from NISFCore.progress import CancelToken, SilentProgress
from NISFCore.views import View

START_VOXELS = (1024,) * 8

TURN_DEG = 35.0
"""About the LV axis, where no 4-chamber view shows where the RV is."""
SHIFT_MM = 18.0
"""Along the LV axis, where no short-axis stack shows where the heart begins and ends."""


@dataclass(frozen=True)
class Start:
    """A frame to begin with, and how it differs from the most likely one."""

    name: str
    frame: CanonicalFrame


def candidate_starts(
    study: CineStudy, frame: CanonicalFrame, rv_is_labelled: bool = False
) -> list[Start]:
    """The frame itself, first, and what else it could be in view of what it had to assume.

    A heart that is mirrored or upside down is no start: images are often likelier then.
    """
    starts = [Start("as found from the planes", frame)]
    if not study.of_view(View.LA_4CH) and not rv_is_labelled:
        for deg in (-TURN_DEG, TURN_DEG):
            starts.append(
                _moved(frame, f"turned by {deg:+.0f} degrees about the LV axis", z_deg=deg)
            )
    if not study.of_view(View.SA):
        for mm in (-SHIFT_MM, SHIFT_MM):
            starts.append(_moved(frame, f"shifted by {mm:+.0f} mm along the LV axis", shift_mm=mm))
    return starts


def best_start(
    starts: Sequence[Start],
    problem_of: Callable[[CanonicalFrame], FitProblem],
    config: GaussNewtonConfig,
    seed: int,
    cancel: CancelToken,
) -> Start:
    """The start whose images are likeliest after a few steps; a single one is not tried.

    Args:
        problem_of: the study's voxels seen in a frame.

    Returns:
        The start, with the choice added to its frame's assumptions.

    Raises:
        Cancelled: between two parts of a step.
    """
    if len(starts) == 1:
        return starts[0]
    scores = [_score(problem_of(s.frame), config, seed, cancel) for s in starts]
    best = starts[int(np.argmin(scores))]
    said = f"of {len(starts)} starts this one fitted best: {best.name}"
    return replace(best, frame=replace(best.frame, assumptions=(*best.frame.assumptions, said)))


def _moved(frame: CanonicalFrame, name: str, z_deg: float = 0.0, shift_mm: float = 0.0) -> Start:
    about_z = rotation_from_rotvec(np.deg2rad([0.0, 0.0, z_deg]))
    moved: Affine = rigid(about_z, [0.0, 0.0, shift_mm]) @ frame.canonical_from_ras
    return Start(name, replace(frame, canonical_from_ras=moved))


def _score(problem: FitProblem, config: GaussNewtonConfig, seed: int, cancel: CancelToken) -> float:
    """Negative logarithm of the likelihood per voxel after a few steps, in decibels."""
    short = replace(config, voxels=START_VOXELS, settled_after=len(START_VOXELS))
    recorder = Recorder("starts", len(START_VOXELS), SilentProgress(), cancel)
    estimate, _ = solve_gauss_newton(problem, short, seed, recorder)
    return misfit(problem, estimate, config.psf)
