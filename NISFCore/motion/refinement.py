"""Gauss-Newton on what images and labels say of each frame: the coefficients of random features.

Frame after frame is a small non-linear least-squares problem in C_j, u_j = h C_j (`gauss_newton`).
It begins where the frames before lead to, P_j = C_{j-1} + share (C_{j-1} - C_{j-2}). A term gives
residuals r and their Jacobians J by C_j, both weighted; a step solves

    (sum J^T J + q h^T h + ridge) dC = -sum J^T r - q h^T h (C_j - P_j),

where q is what inertia counts against the images: little while tags are seen, much when they have
faded. Coarse terms (phase) come first, then fine ones (intensity): the phase has a wide range and
is blurred, intensities are sharp and have a range of a quarter of the tags' distance. A second pass
over the frames takes for P_j what the frames on both sides lead to, a cubic through four of them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from NISFCore.errors import StudyError
from NISFCore.motion.config import RefinementConfig
from NISFCore.motion.contours import Contour, wall_shown
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.gauss_newton import (
    FrameCoefficients,
    extrapolated,
    features_at,
    set_coefficients,
)
from NISFCore.motion.images import ImageStack
from NISFCore.motion.network import input_jet
from NISFCore.motion.regularisers import inverse, log_determinant
from NISFCore.motion.similarity import LocalWindows
from NISFCore.motion.tagged import CLEAR_MM, MIN_CLEARNESS, TagObservation, wrapped_sum
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter

MIN_CONTRAST = 0.05
"""Least share of the template's contrast that an image is taken to have in a window."""
MIN_VARIANCE = 1e-6
MIN_TRUST, MAX_TRUST = 0.1, 1.0
USUAL_NOISE = 0.2
"""Of residuals in units of the tags' contrast."""
SD_PER_MEDIAN = 1.4826
MIN_RIDGE = 1e-9
USUAL_INTERVAL = 0.04
"""Between frames, of the cycle."""
MAX_RADII = 2.0
"""Tissue that has moved farther than so many radii of the heart is a solver that diverged."""

Rows = tuple[Tensor, Tensor]
"""Weighted residuals `(m,)` and their Jacobian `(m, (n_features + 1) * n_dims)`."""


class FrameTerm(Protocol):
    """What something says of one frame."""

    def rows(self, moment: float, C: Tensor) -> Rows:
        """Residuals and Jacobian at coefficients `(n_features + 1, n_dims)`."""
        ...


class Lead(Protocol):
    """What knows better than the past where the tissue is in a frame (`affine_lead`,
    `second_try`)."""

    def corrected(self, expected: Tensor, moment: float) -> Tensor:
        """Coefficients `(n_features + 1, n_dims)` in place of the expected ones."""
        ...


@dataclass(frozen=True)
class TissuePoints:
    """Points of the tissue at ED and the features there.

    Attributes:
        points: `(n, n_dims)` local mm.
        features: `(n, n_features + 1)`.
    """

    points: Tensor
    features: Tensor

    def jacobian(self, by_u: Tensor) -> Tensor:
        """`(n, (n_features + 1) * n_dims)` from derivatives by u `(n, n_dims)`."""
        return (self.features[:, :, None] * by_u[:, None, :]).flatten(1)


@torch.no_grad()
def tissue_points(field: DisplacementField, points: Tensor) -> TissuePoints:
    """Evaluate the field's features once, for points `(n, n_dims)` local mm."""
    return TissuePoints(points, features_at(field, points))


class PhaseTerm:
    """Wrapped phase of every series' tags (`gauss_newton`), weighted by the band-passed image's
    modulus."""

    def __init__(
        self,
        tissue: TissuePoints,
        observations: Sequence[TagObservation],
        weight: float,
        borders: Sequence[Contour] = (),
    ) -> None:
        self._tissue, self._seen, self._weight = tissue, observations, weight
        self._borders = borders

    def rows(self, moment: float, C: Tensor) -> Rows:
        u = self._tissue.features @ C
        moved = self._tissue.points + u
        shown = wall_shown(self._borders, torch.tensor([moment]), moved[None])[0]
        parts = [
            self._wave_rows(seen, k, moment, u, shown)
            for seen in self._seen
            for k in range(len(seen.phases))
        ]
        return torch.cat([r for r, _ in parts]), torch.cat([J for _, J in parts])

    def _wave_rows(
        self, seen: TagObservation, k: int, moment: float, u: Tensor, shown: Tensor
    ) -> Rows:
        stack, vector = seen.phases[k], seen.vectors[k]
        frame = seen.frame_at(moment)
        one = ImageStack(stack.values[frame : frame + 1], stack.pixel_from_local)
        real, imaginary = one.sample((self._tissue.points + u)[None])[0]
        r = wrapped_sum(real, imaginary, u @ vector)
        modulus = torch.hypot(real, imaginary)
        w = self._weight**0.5 * (modulus / modulus.median().clamp_min(1e-9)).clamp_max(1.0) * shown
        return w * r, self._tissue.jacobian(w[:, None] * vector)


class TagTerm:
    """Intensities of every series at the moved points against its tags at ED, normalised in local
    windows.

    With means m and covariances in windows that travel with the tissue, the image is taken as
    m_I + b (T - m_T), b = cov(I, T) / var(T): what is left over, in units of the template T, is
    due to wrong motion. This is the Gauss-Newton form of local NCC.
    """

    def __init__(
        self,
        tissue: TissuePoints,
        observations: Sequence[TagObservation],
        windows: LocalWindows,
        huber: float,
        borders: Sequence[Contour] = (),
    ) -> None:
        self._tissue, self._windows = tissue, windows
        self._huber, self._borders = huber, borders
        self._series = [(seen, self._normalised(seen)) for seen in observations]

    def _normalised(self, seen: TagObservation) -> "_Template":
        T = seen.template.at(self._tissue.points)
        mean = self._windows.mean(T)
        variance = (self._windows.mean(T.square()) - mean.square()).clamp_min(MIN_VARIANCE)
        return _Template(T, mean, variance)

    def rows(self, moment: float, C: Tensor) -> Rows:
        clear = self._clearness(moment, C)
        parts = [self._series_rows(seen, T, moment, C, clear) for seen, T in self._series]
        return torch.cat([r for r, _ in parts]), torch.cat([J for _, J in parts])

    def _series_rows(
        self, seen: TagObservation, T: "_Template", moment: float, C: Tensor, clear: Tensor
    ) -> Rows:
        value, gradient = sampled(seen.images, seen.frame_at(moment), self._tissue, C)
        mean = self._windows.mean(value)
        covariance = self._windows.mean(value * T.values) - mean * T.mean
        variance = (self._windows.mean(value.square()) - mean.square()).clamp_min(MIN_VARIANCE)
        contrast = covariance / T.variance
        least = MIN_CONTRAST * (variance / T.variance).sqrt() + MIN_VARIANCE
        contrast = torch.maximum(contrast, least)
        r = (value - mean) / contrast - (T.values - T.mean)
        ncc = covariance * (variance * T.variance).rsqrt()
        w = ncc.clamp(MIN_TRUST, MAX_TRUST) * huber_weight(r, self._huber) * noise_weight(r)
        w = w * clear
        return w * r, self._tissue.jacobian((w / contrast)[:, None] * gradient)

    def _clearness(self, moment: float, C: Tensor) -> Tensor:
        """0 on a border of the wall, 1 farther than a pixel from it: a pixel that is half blood is
        darker or brighter than the tags, and would push the tissue into the wall."""
        moved = self._tissue.points + self._tissue.features @ C
        clear = torch.ones(len(moved))
        for border in self._borders:
            frame = border.frame_at(moment)
            distance, _ = sampled(border.distances, frame, self._tissue, C)
            inside = distance if border.is_inner else -distance
            depth = (inside / CLEAR_MM).clamp(MIN_CLEARNESS, 1.0)
            clear = torch.minimum(clear, 1 - border.shown.at(frame, moved) * (1 - depth))
        return clear * wall_shown(self._borders, torch.tensor([moment]), moved[None])[0]


@dataclass(frozen=True)
class _Template:
    """A series' tags at the tissue's points, with mean and variance in the windows, `(n,)` each."""

    values: Tensor
    mean: Tensor
    variance: Tensor


class ContourTerm:
    """Points of a border of the wall at ED lie on that border in every frame."""

    def __init__(
        self, border: TissuePoints, contour: Contour, weight: float, huber_mm: float
    ) -> None:
        self._border, self._contour = border, contour
        self._weight, self._huber_mm = weight, huber_mm

    def rows(self, moment: float, C: Tensor) -> Rows:
        frame = self._contour.frame_at(moment)
        r, gradient = sampled(self._contour.distances, frame, self._border, C)
        shown = self._contour.shown.at(frame, self._border.points + self._border.features @ C)
        w = self._weight**0.5 * huber_weight(r, self._huber_mm) * shown
        return w * r, self._border.jacobian(w[:, None] * gradient)


class VolumeTerm:
    """log det F is the same at all points of a plane, and 0 in space."""

    def __init__(self, field: DisplacementField, points: Tensor, weight: float) -> None:
        radius = field.placement.radius_mm
        with torch.no_grad():
            _, by = field.features(input_jet(points / radius, True))
        assert by is not None  # asked for
        self._by = by / radius
        self._root_weight = weight**0.5

    def rows(self, moment: float, C: Tensor) -> Rows:
        del moment  # the same at all times
        F = torch.eye(C.shape[1]) + torch.stack([d @ C for d in self._by], dim=-1)
        r = log_determinant(F)
        # d log det F = tr(F^-1 dF), dF_ab = dC_a dh / dX_b
        J = torch.einsum("nba,bnh->nha", inverse(F), self._by).flatten(1)
        if C.shape[1] == 2:
            r, J = r - r.mean(), J - J.mean(dim=0)
        return self._root_weight * r, self._root_weight * J


def sampled(
    images: ImageStack, frame: int, tissue: TissuePoints, C: Tensor
) -> tuple[Tensor, Tensor]:
    """Value `(n,)` and gradient `(n, n_dims)` by u of one frame's first channel, at points moved by
    coefficients C."""
    one = ImageStack(images.values[frame : frame + 1], images.pixel_from_local)
    values = one.sample((tissue.points + tissue.features @ C)[None])[0]
    return values[0], values[1:].T @ images.pixel_from_local[:, :-1]


def huber_weight(r: Tensor, limit: float) -> Tensor:
    """Square root of Huber's weight: residuals beyond the limit count linearly."""
    return (limit / r.abs().clamp_min(limit)).sqrt()


def noise_weight(r: Tensor) -> float:
    """What residuals count that scatter by more than usual: faded tags are noise."""
    sd = SD_PER_MEDIAN * float(r.abs().median())
    return USUAL_NOISE / max(sd, USUAL_NOISE)


@torch.no_grad()
def track(
    field: DisplacementField,
    tissue: TissuePoints,
    times: Tensor,
    stages: Sequence[Sequence[FrameTerm]],
    config: RefinementConfig,
    progress: ProgressReporter,
    cancel: CancelToken,
    stiffness: Tensor | None = None,
    lead: Lead | None = None,
) -> FrameCoefficients:
    """Follow the tissue from frame to frame; sets the field's coefficients.

    Args:
        stiffness: `(n_dims, n_features + 1, n_features + 1)`, beside inertia: holds each
            component's coefficients to what is expected.
        times: `(n_times,)` of the frames, from ED.
        stages: the terms of each stage, coarse to fine.
        lead: corrects what is expected of each frame.

    Raises:
        StudyError: if the solver diverged.
        Cancelled: between two frames.
    """
    began = time.monotonic()
    h = tissue.features
    alike = (h.T @ h).repeat(field.config.n_dims, 1, 1)
    inertia = config.inertia * alike if stiffness is None else config.inertia * alike + stiffness
    C = h.new_zeros(len(times), h.shape[1], field.config.n_dims)
    for j, moment in enumerate(times.tolist()):
        cancel.check()
        # nothing has moved at ED
        if moment > 0:
            expected = extrapolated(C, j, config.extrapolation)
            if lead is not None:
                expected = lead.corrected(expected, moment)
            C[j] = expected
            for terms in stages:
                for _ in range(config.n_iterations):
                    C[j] -= step(C[j], expected, moment, terms, inertia, config.ridge)
            check_followed(h @ C[j], field.placement.radius_mm, moment)
        seconds = time.monotonic() - began
        progress.report(ProgressEvent("motion", j + 1, len(C), seconds))
    if config.smoothing > 0:
        for j in range(1, len(times) - 1):
            cancel.check()
            expected = torch.tensordot(between(times, j), C, dims=1)
            terms, weight = stages[-1], config.smoothing * trust_between(times, j) * alike
            C[j] -= step(C[j], expected, float(times[j]), terms, weight, config.ridge)
    found = FrameCoefficients(times, C)
    set_coefficients(field, found)
    return found


def check_followed(u: Tensor, radius_mm: float, moment: float) -> None:
    """Refuse displacements `(n, n_dims)` in mm that no heart makes.

    Raises:
        StudyError: if there are any.
    """
    farthest = float(u.norm(dim=1).max())
    if not farthest < MAX_RADII * radius_mm:
        raise StudyError(
            f"the motion could not be estimated: at {moment:.0%} of the cycle tissue would have "
            f"moved by {farthest:.0f} mm, at most {MAX_RADII * radius_mm:.0f} mm are possible; "
            "images and labels contradict each other (correct the labels, leave out planes that "
            "the wall leaves), or a descent had too high a rate"
        )


def between(times: Tensor, j: int) -> Tensor:
    """Weights `(n_times,)` of the polynomial through up to two frames on either side, at frame
    j."""
    nodes = [k for k in range(max(0, j - 2), min(len(times), j + 3)) if k != j]
    weights = torch.zeros(len(times))
    for k in nodes:
        others = times[[m for m in nodes if m != k]]
        weights[k] = ((times[j] - others) / (times[k] - others)).prod()
    return weights


def trust_between(times: Tensor, j: int) -> float:
    """What `between` counts at frame j, 1 at the usual frame rate: a cubic's error grows with the
    fourth power of the time between frames, its variance with the eighth. At the peak of a
    contraction that few frames show, what lies between its neighbours is too little of it."""
    interval = float(times[j + 1] - times[j - 1]) / 2
    return min(1.0, (USUAL_INTERVAL / interval) ** 8)


def step(
    C: Tensor,
    expected: Tensor,
    moment: float,
    terms: Sequence[FrameTerm],
    inertia: Tensor,
    ridge: float,
) -> Tensor:
    """What Gauss-Newton takes off the coefficients `(n_features + 1, n_dims)` of one frame.

    `inertia` `(n_dims, n_features + 1, n_features + 1)` holds them to what is expected.
    """
    n_features, n_dims = C.shape
    A = C.new_zeros(n_features, n_dims, n_features, n_dims)
    for k in range(n_dims):
        A[:, k, :, k] = inertia[k]
    A = A.reshape(n_features * n_dims, n_features * n_dims)
    b = torch.einsum("kij,jk->ik", inertia, C - expected).flatten()
    for term in terms:
        r, J = term.rows(moment, C)
        A.addmm_(J.T, J)
        b.addmv_(J.T, r)
    A.diagonal().add_(ridge * float(A.diagonal().mean()) + MIN_RIDGE)
    return torch.linalg.solve(A, b).reshape(n_features, n_dims)
