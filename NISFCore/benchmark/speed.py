"""Figure 2a: how good the estimate is after how many seconds, for each solver, on one subject.

All solvers work on the same voxel table and the same network. A solver's clock stops while its
estimate is measured. Dice is that of 3D+t points drawn once at random around the true heart, mean
of the three labels, the common rigid motion removed; PSNR is that of voxels drawn once, through
the solver's own forward model.

The paper's recipe takes 2500 steps of 35,000 voxels, hours on few cores. Its path is followed with
smaller batches (the plan's `paper_voxels`), everything else as in the paper, and its clock is
steps x the seconds per step that are measured with all 35,000 voxels. Smaller batches are noisier:
where the plan has `n_paper_check_steps`, that many steps are also done in full, and the Dice of
both at the same steps is reported.

The default solver computes hidden layers in bfloat16 on processors that multiply it
(`device.hidden_dtype`). There the tuned Adam stands a second time, its path charged the seconds
that a step takes with its own hidden layers in bfloat16.

Plateau: the mean Dice of the paper's last fifth of steps. A solver has reached it when its Dice
first comes within `TOLERANCE` of it, and is there again at its end. The paper's own time is taken
the same way, not that of all 2500 steps (which is reported as well). So is the time to its plateau
in PSNR, less `PSNR_TOLERANCE_DB`, each solver's image through its own forward model.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from NISFCore.analysis.evaluation import box_centre_ras
from NISFCore.analysis.metrics import DiceCounts, heart_points_on_slice, slice_motion_errors
from NISFCore.benchmark.plan import BenchmarkPlan
from NISFCore.data.canonical import canonical_frame_of
from NISFCore.fitting.adam import solve_adam
from NISFCore.fitting.config import DEFAULT, PAPER, TUNED_ADAM, AdamConfig, FitConfig
from NISFCore.fitting.gauss_newton import solve_gauss_newton
from NISFCore.fitting.heart import FittedHeart
from NISFCore.fitting.preparation import seen_in
from NISFCore.fitting.problem import (
    VOXELS_PER_PART,
    Estimate,
    Recorder,
    fitted_parameters,
    frozen,
)
from NISFCore.fitting.result import FitStep
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.model.decoder import Decoder
from NISFCore.model.forward_model import predict
from NISFCore.model.prior import Prior
from NISFCore.model.psf import PsfConfig
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.phantom.truth import PhantomTruth
from NISFCore.progress import CancelToken, SilentProgress

TOLERANCE = 0.005
PSNR_TOLERANCE_DB = 0.3
PLATEAU_SHARE = 0.2
N_WATCHED_STEPS = 30
"""Of the long solvers, equally spaced on a logarithmic scale; the default one is seen at each."""
N_TIMES, N_POINTS_PER_TIME, N_PSNR_VOXELS = 6, 4000, 8192
MARGIN_MM = 5.0
N_TIMED_STEPS, N_TIMED_SHORT_STEPS = 3, 20
SHORT_ADAM = "tuned Adam, bfloat16"


What = Literal["dice", "psnr_db"]


@dataclass(frozen=True)
class WatchedStep:
    """One point of a curve."""

    step: int
    seconds: float
    dice: float
    psnr_db: float


class Watcher:
    """Measures estimates of one problem against the truth."""

    def __init__(self, simulated: SimulatedStudy, prior: Prior) -> None:
        self.truth = simulated.truth
        self.frame: CanonicalFrame = canonical_frame_of(simulated.study)
        self.study, self.problem = seen_in(simulated.study, self.frame, prior, DEFAULT, "cpu")
        self._points, self._labels = sampled_labels(self.truth)
        self._voxels = self.problem.table.sample(N_PSNR_VOXELS, torch.Generator().manual_seed(7))

    def dice(self, estimate: Estimate) -> float:
        """Mean Dice over the labels, on the sampled points."""
        parameters = fitted_parameters(estimate, self.study, self.frame, self.problem.table)
        slices = self.study.slices
        motions = [
            motion.corrected_from_scanned_ras(cine.centre_ras)
            for cine, motion in zip(slices, parameters.slice_motion, strict=True)
        ]
        true = [self.truth.true_from_scanned_ras(cine.name) for cine in slices]
        centre = box_centre_ras(self.truth.box)
        on_slices = [heart_points_on_slice(cine, centre) for cine in slices]
        T = slice_motion_errors(motions, true, on_slices).truth_from_estimate
        canonical_from_ras = parameters.global_pose @ self.frame.canonical_from_ras
        heart = FittedHeart(
            self.problem.prior.decoder,
            parameters.code,
            canonical_from_ras,
            parameters.tissue_offset,
        )
        counts = DiceCounts()
        for k, (points, labels) in enumerate(zip(self._points, self._labels, strict=True)):
            seen = apply_affine(invert_rigid(T), points)
            counts.add(heart.evaluate(seen, k / N_TIMES).labels, labels)
        return counts.mean()

    def psnr_db(self, estimate: Estimate, psf: PsfConfig) -> float:
        """PSNR of the drawn voxels."""
        squares, generator = 0.0, torch.Generator().manual_seed(8)
        decoder, slices = self.problem.prior.decoder, self.problem.table.slices
        for part in self._voxels.split(VOXELS_PER_PART):
            with torch.inference_mode():
                seen = predict(
                    decoder, part, slices, estimate.latent, estimate.poses, psf, generator
                )
                squares += float((seen.intensity - part.intensity).square().sum())
        return -10.0 * math.log10(max(squares / N_PSNR_VOXELS, 1e-12))


def sampled_labels(truth: PhantomTruth) -> tuple[list[Points], list[npt.NDArray[np.uint8]]]:
    """Random points `(n, 3)` around the true heart and their labels, at `N_TIMES` times."""
    rng, box = np.random.default_rng(11), truth.box
    low, high = box.low_mm - MARGIN_MM, box.high_mm + MARGIN_MM
    shape = (N_POINTS_PER_TIME, 3)
    points = [apply_affine(box.ras_from_box, rng.uniform(low, high, shape)) for _ in range(N_TIMES)]
    return points, [truth.labels(p, k / N_TIMES) for k, p in enumerate(points)]


def watched_steps(n_steps: int, n: int = N_WATCHED_STEPS) -> set[int]:
    """Steps, from 1, at which a long solver is measured: denser early, and its last fifth well."""
    early = np.geomspace(1, n_steps, n).round().astype(int)
    late = np.linspace((1 - PLATEAU_SHARE) * n_steps, n_steps, 6).round().astype(int)
    return {int(k) for k in (*early, *late) if k >= 1}


def curve(
    watcher: Watcher, config: FitConfig, cancel: CancelToken, steps: set[int] | None = None
) -> list[WatchedStep]:
    """Run a solver and measure it at `steps` (all of them by default)."""
    psf = config.gauss_newton.psf if config.gauss_newton else adam_of(config).psf
    found: list[WatchedStep] = []

    def watch(step: FitStep, estimate: Estimate) -> None:
        if steps is None or step.step in steps:
            dice, psnr_db = watcher.dice(estimate), watcher.psnr_db(estimate, psf)
            found.append(WatchedStep(step.step, step.seconds, dice, psnr_db))

    recorder = Recorder("solve", 1, SilentProgress(), cancel, on_estimate=watch)
    with frozen(watcher.problem.prior):
        if config.gauss_newton is not None:
            solve_gauss_newton(watcher.problem, config.gauss_newton, config.seed, recorder)
        else:
            solve_adam(watcher.problem, adam_of(config), config.seed, recorder)
    return found


def adam_of(config: FitConfig) -> AdamConfig:
    """The Adam settings of a fit that has them."""
    assert config.adam is not None  # FitConfig holds exactly one solver
    return config.adam


def plateau(points: Sequence[WatchedStep], n_steps: int, what: What = "dice") -> float:
    """Mean over the last fifth of the steps."""
    late = [p for p in points if p.step >= (1 - PLATEAU_SHARE) * n_steps]
    return float(np.mean([getattr(p, what) for p in late]))


def seconds_to_reach(
    points: Sequence[WatchedStep], target: float, what: What = "dice"
) -> float | None:
    """When a curve first has this value, linear between its points; None if it ends below."""
    values = [getattr(p, what) for p in points]
    if not values or values[-1] < target:
        return None
    k = next(i for i, value in enumerate(values) if value >= target)
    if k == 0:
        return points[0].seconds
    share = (target - values[k - 1]) / (values[k] - values[k - 1])
    return points[k - 1].seconds + share * (points[k].seconds - points[k - 1].seconds)


def speed(
    simulated: SimulatedStudy,
    prior: Prior,
    plan: BenchmarkPlan,
    cancel: CancelToken | None = None,
    config: FitConfig = DEFAULT,
) -> dict[str, Any]:
    """Curves of the three solvers and the times to the paper's plateau."""
    cancel, watcher = cancel or CancelToken(), Watcher(simulated, prior)
    small = replace(adam_of(PAPER), n_steps=plan.n_paper_steps, n_voxels=plan.paper_voxels)
    paper = curve(watcher, replace(PAPER, adam=small), cancel, watched_steps(plan.n_paper_steps))
    per_step = seconds_per_step(watcher, adam_of(PAPER), N_TIMED_STEPS, cancel)
    paper = charged(paper, per_step)
    tuned_steps = watched_steps(adam_of(TUNED_ADAM).n_steps)
    curves = {"paper": paper, "tuned Adam": curve(watcher, TUNED_ADAM, cancel, tuned_steps)}
    if watcher.problem.hidden_dtype is torch.bfloat16:
        with _rounded(prior.decoder):
            short = seconds_per_step(watcher, adam_of(TUNED_ADAM), N_TIMED_SHORT_STEPS, cancel)
        curves[SHORT_ADAM] = charged(curves["tuned Adam"], short)
    curves["ours"] = curve(watcher, config, cancel)
    target = plateau(paper, plan.n_paper_steps) - TOLERANCE
    psnr_db = plateau(paper, plan.n_paper_steps, "psnr_db") - PSNR_TOLERANCE_DB
    return {
        "plateau_dice": target + TOLERANCE,
        "target_dice": target,
        "seconds_to_target": {name: seconds_to_reach(c, target) for name, c in curves.items()},
        "target_psnr_db": psnr_db,
        "seconds_to_psnr": {
            name: seconds_to_reach(c, psnr_db, "psnr_db") for name, c in curves.items()
        },
        "seconds_total": {name: c[-1].seconds for name, c in curves.items()},
        "final_dice": {name: c[-1].dice for name, c in curves.items()},
        "final_psnr_db": {name: c[-1].psnr_db for name, c in curves.items()},
        "seconds_per_paper_step": per_step,
        "paper_voxels_followed": plan.paper_voxels,
        "curves": {name: [vars(p) for p in c] for name, c in curves.items()},
        "check": _check(watcher, plan, paper, cancel),
    }


@contextmanager
def _rounded(decoder: Decoder) -> Iterator[None]:
    """Hidden layers in bfloat16 meanwhile, as the default solver computes them."""
    decoder.hidden_dtype = torch.bfloat16
    try:
        yield
    finally:
        decoder.hidden_dtype = None


def charged(points: Sequence[WatchedStep], seconds_per_step: float) -> list[WatchedStep]:
    """The same path, its steps at this price."""
    return [replace(p, seconds=p.step * seconds_per_step) for p in points]


def seconds_per_step(
    watcher: Watcher, config: AdamConfig, n_steps: int, cancel: CancelToken
) -> float:
    """Measured over so many steps with all of their voxels."""
    recorder = Recorder("time", 1, SilentProgress(), cancel)
    with frozen(watcher.problem.prior):
        solve_adam(watcher.problem, replace(config, n_steps=n_steps + 1), DEFAULT.seed, recorder)
    # the first step warms up
    first, last = recorder.steps[0], recorder.steps[-1]
    return (last.seconds - first.seconds) / n_steps


def _check(
    watcher: Watcher, plan: BenchmarkPlan, followed: list[WatchedStep], cancel: CancelToken
) -> list[dict[str, float]]:
    """Dice of the full recipe and of the followed one at the same steps."""
    if not plan.n_paper_check_steps:
        return []
    config = replace(PAPER, adam=replace(adam_of(PAPER), n_steps=plan.n_paper_check_steps))
    by_step = {p.step: p for p in followed if p.step <= plan.n_paper_check_steps}
    full = curve(watcher, config, cancel, set(by_step))
    return [
        {"step": p.step, "dice_full": p.dice, "dice_followed": by_step[p.step].dice} for p in full
    ]
