"""What both solvers share: the problem, the estimate, and the conversion to `FittedParameters`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from NISFCore.data.study import CineStudy
from NISFCore.errors import StudyError
from NISFCore.fitting.crossing_images import CrossingImages
from NISFCore.fitting.label_evidence import LabelEvidence
from NISFCore.fitting.result import FitStep, FittedParameters, SliceMotion
from NISFCore.fitting.subject_prior import SubjectPrior
from NISFCore.fitting.voxel_draws import VoxelDraws
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import (
    about_centre,
    best_rigid,
    invert_rigid,
    rigid,
    rigid_about,
    rotation_from_rotvec,
)
from NISFCore.geometry.spaces import Affine, Points, apply_affine
from NISFCore.model.motion_correction import Poses
from NISFCore.model.prior import Prior
from NISFCore.model.shape_warp import ShapeWarp, WarpModes
from NISFCore.model.voxels import VoxelBatch, VoxelTable
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter

NO_ANSWER = "the fit found no finite answer; look at the images with `nisf inspect`"

VOXELS_PER_PART = 2048
"""Voxels that go through the decoder at once: a cancel waits for one part, not for a whole step."""


@dataclass(frozen=True)
class FitProblem:
    """One study's voxels and the prior, on one device, and with `crossing` the images that slices
    are compared by where they cross. Labels of the study are not used, only
    somebody's (`guidance`) and the slice network's (`evidence`). Where Jacobians are taken, the
    decoder's hidden layers are computed in `hidden_dtype`, by default that of its weights. Without
    `draws`, voxels are drawn alike everywhere."""

    prior: Prior | SubjectPrior
    table: VoxelTable
    device: str
    crossing: CrossingImages | None = None
    guidance: LabelEvidence | None = None
    evidence: LabelEvidence | None = None
    hidden_dtype: torch.dtype | None = None
    draws: VoxelDraws | None = None

    def draw(
        self, n: int, generator: torch.Generator, informed: bool = True
    ) -> tuple[VoxelBatch, Tensor]:
        """`n` voxels, and how much each counts `(n,)`; `informed` uses `draws`."""
        if self.draws is None or not informed:
            batch = self.table.sample(n, generator)
            return batch, torch.ones_like(batch.intensity)
        return self.draws.draw(self.table, n, generator)

    @property
    def has_crossings(self) -> bool:
        """Whether slices can be compared with each other."""
        return self.crossing is not None and len(self.crossing.pairs) > 0


@dataclass
class Estimate:
    """The current unknowns: latent `(1, n_latent)`, or the code `(1, n_code)` of a `SubjectPrior`,
    and poses of one subject."""

    latent: Tensor
    poses: Poses


@dataclass(frozen=True)
class Posterior:
    """The Gaussian around an estimate, float64.

    Attributes:
        covariance: of all unknowns (see `jacobian`), `(n_unknowns, n_unknowns)`; the latent's part
            is that of the whitened u.
        latent_factor: `(n_latent, n_latent)` A of h = mean + A u, or that of codes.
    """

    covariance: Tensor
    latent_factor: Tensor


@dataclass
class Recorder:
    """Keeps the history of a solver and passes it on.

    The solver looks at `cancel` before every part of a step. `on_estimate` sees each step and the
    estimate after it; the time that it takes is not the solver's.
    """

    stage: str
    total: int
    progress: ProgressReporter
    cancel: CancelToken
    began: float = field(default_factory=time.monotonic)
    steps: list[FitStep] = field(default_factory=list)
    on_estimate: Callable[[FitStep, Estimate], None] | None = None

    def record(self, loss: float, mse: float, estimate: Estimate | None = None) -> None:
        """Add one finished step, and the estimate after it."""
        seconds = time.monotonic() - self.began
        psnr_db = -10.0 * float(np.log10(max(mse, 1e-12)))
        step = FitStep(self.stage, len(self.steps) + 1, loss, psnr_db, seconds)
        self.steps.append(step)
        self.progress.report(
            ProgressEvent(self.stage, step.step, self.total, seconds, loss=loss, psnr_db=psnr_db)
        )
        if self.on_estimate is not None and estimate is not None:
            self.on_estimate(step, estimate)
            self.began += time.monotonic() - self.began - seconds


def fitted_parameters(
    estimate: Estimate,
    study: CineStudy,
    frame: CanonicalFrame,
    table: VoxelTable,
    modes: WarpModes | None = None,
) -> FittedParameters:
    """Convert to RAS and fix the gauge: the mean slice motion is zero, the rest is global pose.

    Args:
        modes: of the warp, if the estimate holds one.

    Raises:
        StudyError: if the solver left the finite numbers.
    """
    poses = estimate.poses
    if not all(bool(v.isfinite().all()) for v in (estimate.latent, *vars(poses).values())):
        raise StudyError(NO_ANSWER)
    motions = _motions_ras(poses, study, frame)
    common = _common_motion(motions, study, table)
    centred = [common @ motion for motion in motions]
    global_pose = _global_pose(poses)
    F = frame.canonical_from_ras
    # G F M_j = (G F T^-1 F^-1) F (T M_j): what the heart looks like in a slice does not change
    global_pose = global_pose @ F @ invert_rigid(common) @ invert_rigid(F)
    latent, warp = _latent_and_warp(estimate.latent[0], modes)
    return FittedParameters(
        latent=latent,
        global_pose=global_pose,
        slice_motion=tuple(
            SliceMotion(*about_centre(motion, s.centre_ras))
            for motion, s in zip(centred, study.slices, strict=True)
        ),
        intensity_scale=np.exp(_float64(poses.log_scale)),
        log_gain=_float64(poses.log_gain[0]),
        tissue_offset=_float64(poses.tissue_offset[0]),
        intensity_reference=_float64(table.intensity_reference),
        warp=warp,
    )


def _latent_and_warp(
    code: Tensor, modes: WarpModes | None
) -> tuple[npt.NDArray[np.float32], ShapeWarp | None]:
    values = code.detach().cpu().numpy().astype(np.float32)
    if modes is None:
        return values, None
    latent, c = np.split(values, [len(values) - modes.n_coefficients])
    return latent, ShapeWarp(modes, c.reshape(-1, 3))


def _global_pose(poses: Poses) -> Affine:
    rotvec = _float64(poses.global_rotvec[0])
    return rigid(rotation_from_rotvec(rotvec), _float64(poses.global_translation_mm[0]))


def _motions_ras(poses: Poses, study: CineStudy, frame: CanonicalFrame) -> list[Affine]:
    """Slice motions as 4x4 in RAS: rotation vectors and shifts turn with the frame."""
    ras_from_canonical = invert_rigid(frame.canonical_from_ras)[:3, :3]
    rotvecs = _float64(poses.slice_rotvec) @ ras_from_canonical.T
    shifts = _float64(poses.slice_translation_mm) @ ras_from_canonical.T
    return [
        rigid_about(s.centre_ras, rotvec, shift)
        for s, rotvec, shift in zip(study.slices, rotvecs, shifts, strict=True)
    ]


def _common_motion(motions: list[Affine], study: CineStudy, table: VoxelTable) -> Affine:
    """The rigid T that brings the moved slices, as a whole, back to where they were scanned."""
    scanned, weights = slice_corners_ras(study, table)
    moved = [apply_affine(M, corners) for M, corners in zip(motions, scanned, strict=True)]
    return best_rigid(np.concatenate(moved), np.concatenate(scanned), np.concatenate(weights))


def slice_corners_ras(
    study: CineStudy, table: VoxelTable
) -> tuple[list[Points], list[npt.NDArray[np.float64]]]:
    """What the gauge is fixed by: each slice's corners `(4, 3)`, and their weights `(4,)`, which
    are the slice's share of the voxels."""
    counts = torch.bincount(table.slice_index.cpu(), minlength=len(study.slices)).numpy()
    corners = []
    for s in study.slices:
        points = pixel_centres_ras(s.ras_from_ijk, s.shape)
        corners.append(points[:: s.shape[0] - 1, :: s.shape[1] - 1].reshape(-1, 3))
    return corners, [np.full(4, n / (4 * counts.sum())) for n in counts]


def _float64(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float64)


@contextmanager
def frozen(prior: Prior | SubjectPrior) -> Iterator[None]:
    """The decoder's weights take no gradient: a backward pass stops at its inputs."""
    parameters = list(prior.decoder.parameters())
    before = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p, value in zip(parameters, before, strict=True):
            p.requires_grad_(value)
