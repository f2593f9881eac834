"""The default solver: Levenberg-Marquardt with the whole Jacobian from one backward pass, and what
crossing slices say about each other.

It ends when its steps have become small against the estimate's own uncertainty. Beside the estimate
it returns the Laplace approximation of the posterior: the inverse of the last normal matrix.
"""

from dataclasses import replace

import torch
from torch import Tensor

from NISFCore.errors import StudyError
from NISFCore.fitting.config import GaussNewtonConfig
from NISFCore.fitting.crossing_slices import crossing_equations
from NISFCore.fitting.jacobian import joined, linearise
from NISFCore.fitting.label_term import label_equations
from NISFCore.fitting.motion_prior import (
    learned_precision,
    prior_precision,
    uncrossed_precision,
)
from NISFCore.fitting.normal_equations import FadingMemory, NormalEquations, normal_equations
from NISFCore.fitting.problem import (
    NO_ANSWER,
    VOXELS_PER_PART,
    Estimate,
    FitProblem,
    Posterior,
    Recorder,
)
from NISFCore.fitting.unknowns import GAIN, GLOBAL, PER_SLICE, POSE
from NISFCore.geometry.rigid import composed_rotvec
from NISFCore.model.motion_correction import Poses
from NISFCore.model.shape_warp import WarpedDecoder

N_SMALL_STEPS = 3
"""So many small steps in a row end the fit: a single one may be chance."""

SLOW_STEPS = 2
"""Steps for which two things are used that would cost a good part of a step: what crossing slices
say, which relinearised at zero does not depend on where the step started, and what is learned of
how far this study's slices moved."""

MIN_STRETCH, WARP_SHRINKAGE = 0.2, 0.9
"""A warp is made smaller until no part of the heart shrinks to less than this share."""

ROUNDING = 1e-6
"""Of a normal matrix's diagonal: what summing it in float32 may have taken, so that rounding never
makes a flat direction a negative one."""


def solve_gauss_newton(
    problem: FitProblem,
    config: GaussNewtonConfig,
    seed: int,
    recorder: Recorder,
    start: Estimate | None = None,
) -> tuple[Estimate, Posterior]:
    """Solve for latent, global pose, receive gain, tissue offsets, slice motion and scales.

    Args:
        start: where to begin; by default the cohort's mean, without motion.

    Raises:
        Cancelled: between two parts of a step.
        StudyError: if it left the finite numbers.
    """
    solver = _Solver(problem, config, seed, recorder)
    if start is not None:
        solver.begin_at(start)
    solver.run()
    return solver.estimate, solver.posterior


class _Solver:
    """The unknowns, what is known of them, and one step."""

    def __init__(
        self, problem: FitProblem, config: GaussNewtonConfig, seed: int, recorder: Recorder
    ) -> None:
        prior, n_slices = problem.prior, len(problem.table.slices)
        self.problem, self.config, self.recorder = problem, config, recorder
        self.generator = torch.Generator(problem.device).manual_seed(seed)
        self.A = latent_factor(prior.latent_covariance).to(problem.device)
        self.mean = prior.latent_mean.to(problem.device)
        self.u = torch.zeros_like(self.mean)
        self.poses = Poses.identity(1, n_slices, problem.device)
        n_latent, sd = len(self.mean), config.motion_prior
        normal = problem.table.slices.axes[:, :, 2]
        self.known = prior_precision(n_latent, n_slices, sd).to(problem.device)
        self.restraint = uncrossed_precision(normal, n_latent, sd).to(problem.device)
        self.memory, self.damping = FadingMemory(), config.first_damping
        self.information = torch.zeros_like(self.known)
        self.n_steps = self.n_small = 0
        self.crossing: tuple[Tensor, Tensor] | None = None
        self.warped = prior.decoder if isinstance(prior.decoder, WarpedDecoder) else None

    def begin_at(self, start: Estimate) -> None:
        self.u = torch.linalg.solve(self.A, start.latent[0] - self.mean)
        self.poses = start.poses

    @property
    def estimate(self) -> Estimate:
        return Estimate((self.mean + self.A @ self.u)[None], self.poses)

    @property
    def precision(self) -> Tensor:
        """What holds the unknowns back at a step."""
        return self.known + self.restraint

    @property
    def posterior(self) -> Posterior:
        M = self.information + self.known
        M.diagonal().mul_(1.0 + ROUNDING)
        covariance = torch.cholesky_inverse(_factor_of(M))
        return Posterior(covariance, self.A.double())

    def run(self) -> None:
        """Take steps until all are done or several in a row were small."""
        for n_voxels in self.config.voxels:
            if self.n_small == N_SMALL_STEPS:
                return
            size = self._step(n_voxels)
            self.n_small = self.n_small + 1 if size < self.config.tolerance else 0

    def _step(self, n_voxels: int) -> float:
        """Take one step; its size against the uncertainty, infinite before the fit has settled."""
        config, theta = self.config, unknowns(self.u, self.poses)
        settled = self.n_steps >= config.settled_after
        new, mse = self._linearised(theta, n_voxels)
        new = self._with_labels(new, theta)
        average = self.memory.add(new, 1.0 - 1.0 / max(1.0, config.memory * self.n_steps))
        average = self._with_crossing(average, theta)
        self.information = average.H
        if settled and self.n_steps % SLOW_STEPS == 0:
            self.known = learned_precision(
                self.known, theta, self.posterior.covariance, len(self.u), config.motion_prior
            )
        precision = self.precision
        step = damped_step(average, theta, precision, self.damping)
        if not step.isfinite().all():
            raise StudyError(NO_ANSWER)
        self.u, self.poses = apply_step(self.u, self.poses, step)
        self._unfold()
        self.damping = max(config.last_damping, self.damping * config.damping_factor)
        self.n_steps += 1
        cost = new.cost + float(theta @ precision @ theta)
        self.recorder.record(cost, mse, self.estimate)
        size = float((step @ (average.H + precision) @ step / len(step)).sqrt())
        return size if settled else float("inf")

    @property
    def _factor(self) -> Tensor:
        """A for this step: the heart is not warped before it stands where it should."""
        if self.warped is None or self.n_steps >= self.config.tempered_steps:
            return self.A
        return self.A * (torch.arange(len(self.A), device=self.A.device) < self.warped.n_latent)

    def _unfold(self) -> None:
        """Shrink a warp that folds space, or nearly so."""
        if self.warped is None:
            return
        code = self.estimate.latent[0]
        while self.warped.least_stretch(code) < MIN_STRETCH:
            code[self.warped.n_latent :] *= WARP_SHRINKAGE
            self.u[self.warped.n_latent :] *= WARP_SHRINKAGE

    def _with_labels(self, equations: NormalEquations, theta: Tensor) -> NormalEquations:
        """The equations and what labels say: somebody's, and the slice network's."""
        problem, config = self.problem, self.config
        for labels, term in (
            (problem.guidance, config.guidance),
            (problem.evidence, config.evidence),
        ):
            if labels is None or term.frame_worth == 0:
                continue
            H, b = label_equations(
                problem,
                labels,
                self.estimate,
                self._factor,
                theta,
                term,
                config.psf,
                self.generator,
            )
            equations = replace(equations, H=equations.H + H, b=equations.b + b)
        return equations

    def _with_crossing(self, equations: NormalEquations, theta: Tensor) -> NormalEquations:
        """The equations and what crossing slices say about each other."""
        images, config = self.problem.crossing, self.config.crossing
        if images is None or config.points_worth == 0:
            return equations
        if self.crossing is None or self.n_steps % SLOW_STEPS == 0:
            n = len(images.blurred)
            blur = min(n - 1, n * (self.n_steps + 1) // max(1, self.config.tempered_steps))
            first = len(self.u) + GLOBAL
            self.crossing = crossing_equations(images, self.poses, theta, first, blur, config)
        H, b = self.crossing
        return replace(equations, H=equations.H + H, b=equations.b + b)

    @property
    def _share(self) -> float:
        """Of what the images say, how much counts at this step."""
        config = self.config
        grown = (self.n_steps + 1) / max(1, config.tempered_steps)
        return max(config.first_share, min(1.0, grown))

    def _linearised(self, theta: Tensor, n_voxels: int) -> tuple[NormalEquations, float]:
        """The normal equations of fresh voxels, and their mean squared residual."""
        # a heart that is nearly found is compared with its images, not with the prior's mean one
        informed = self._share <= 0.5
        batch, counts = self.problem.draw(n_voxels, self.generator, informed)
        estimate, A, parts = self.estimate, self._factor, []
        for part in batch.split(VOXELS_PER_PART):
            self.recorder.cancel.check()
            parts.append(
                linearise(self.problem, estimate, A, part, self.config.psf, self.generator)
            )
        linear = joined(parts)
        equations = normal_equations(
            linear, counts, theta, self.config.huber, self._share * self.config.effective_voxels
        )
        return equations, float((counts * linear.residual.square()).mean())


def latent_factor(covariance: Tensor) -> Tensor:
    """A with A A^T = covariance."""
    return torch.linalg.cholesky(covariance.double()).float()


def unknowns(u: Tensor, poses: Poses) -> Tensor:
    """All unknowns as one float64 vector; its prior mean is zero."""
    per_slice = [poses.slice_rotvec, poses.slice_translation_mm, poses.log_scale[:, None]]
    parts = [
        u,
        poses.global_rotvec[0],
        poses.global_translation_mm[0],
        poses.log_gain[0],
        poses.tissue_offset[0],
        torch.cat(per_slice, dim=1).flatten(),
    ]
    return torch.cat(parts).double()


def damped_step(
    equations: NormalEquations, theta: Tensor, precision: Tensor, damping: float
) -> Tensor:
    """The Levenberg-Marquardt step `(n_unknowns,)` towards (H + P) theta = b."""
    M = equations.H + precision
    gradient = equations.b - M @ theta
    M.diagonal().mul_(1.0 + damping)
    return torch.cholesky_solve(gradient[:, None], _factor_of(M))[:, 0]


def _factor_of(M: Tensor) -> Tensor:
    """Lower triangular L with L L^T = M; not finite where there is none."""
    factor, failed = torch.linalg.cholesky_ex(M)
    return torch.where(failed == 0, factor, torch.nan)


def apply_step(u: Tensor, poses: Poses, step: Tensor) -> tuple[Tensor, Poses]:
    """Add a step to the unknowns, rotations by composition from the left."""
    n = len(u)
    values = step.to(u)
    per_slice = values[n + GLOBAL :].view(-1, PER_SLICE)
    turned = torch.cat([values[n : n + 3][None], per_slice[:, :3]])
    rotvec = torch.cat([poses.global_rotvec, poses.slice_rotvec])
    composed = torch.from_numpy(composed_rotvec(turned.cpu(), rotvec.cpu())).to(rotvec)
    return u + values[:n], Poses(
        composed[:1],
        poses.global_translation_mm + values[n + 3 : n + POSE],
        composed[1:],
        poses.slice_translation_mm + per_slice[:, 3:6],
        poses.log_scale + per_slice[:, 6],
        poses.log_gain + values[n + POSE : n + GAIN],
        poses.tissue_offset + values[n + GAIN : n + GLOBAL],
    )
