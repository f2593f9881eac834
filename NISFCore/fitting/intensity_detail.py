"""`with_intensity_detail`: what a study's images show beyond the fitted heart, in closed form.

Shape and motion are settled; what is left of every pixel is explained by a smooth grid that stands
in the heart's space (`model.intensity_detail`), seen through the slices' profiles. Slices keep
their place over the cycle, so that a pixel's series is first brought to a few harmonics, and each
harmonic's grid is a sparse linear least-squares problem:

    min_g  |P g - r|^2 + w_k ( sum_a s_a |D_a g|^2 + e |g|^2 )

with P the slices' profiles on the trilinear grid, r the residuals, D_a differences along an axis.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree

from NISFCore.data.cycle import interpolate_cycle
from NISFCore.data.study import kept_phases
from NISFCore.fitting.config import DetailConfig
from NISFCore.fitting.heart import FittedHeart
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.planes import normal_ras, pixel_centres_ras
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.labels import Label
from NISFCore.model.intensity_detail import IntensityDetail, harmonics
from NISFCore.model.psf import SIGMA_PER_FWHM, gauss_hermite
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress

STAGE = "intensities"
N_PROFILE_NODES = 3
N_PROFILE_PHASES = 10
"""Least number of phases, of those that are used, in which the profile's outer nodes are seen."""
HEART_TIMES = (0.0, 0.5)
SERIES_RIDGE = 1e-3
"""Keeps harmonics that few phases cannot tell apart at zero."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Seen:
    """Pixels of one slice.

    Attributes:
        nodes_mm: `(k, n, 3)` canonical points of the profile's nodes.
        residuals: `(n, n_coefficients)` harmonics of what the heart does not explain.
    """

    nodes_mm: Points
    residuals: Array


def with_intensity_detail(
    result: FitResult,
    config: DetailConfig | None = None,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> FitResult:
    """The same result, with intensities as the study's images show them; labels stay.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    solver = _Solver(replace(result, detail=None), config or DetailConfig(), cancel)
    began, n_slices = time.monotonic(), len(result.study.slices)
    seen = []
    for index in range(n_slices):
        seen.append(solver.seen(index))
        progress.report(ProgressEvent(STAGE, index + 1, n_slices + 1, time.monotonic() - began))
    found = solver.solved(seen)
    seconds = time.monotonic() - began
    progress.report(ProgressEvent(STAGE, n_slices + 1, n_slices + 1, seconds))
    return replace(result, detail=found, seconds=result.seconds | {STAGE: seconds})


class _Solver:
    """One study's detail; `result` has none."""

    def __init__(self, result: FitResult, config: DetailConfig, cancel: CancelToken) -> None:
        self._result, self._config, self._cancel = result, config, cancel
        self._heart: FittedHeart = result.field
        most = min(config.n_phases, max(s.n_phases for s in result.study.slices))
        self._n_harmonics = min(config.n_harmonics, (most - 1) // 2)
        region = result.prior.info.decoder.region
        centre, semi_axes = np.array(region.centre_mm), np.array(region.semi_axes_mm)
        self._low_mm, self._spacing_mm = centre - semi_axes, np.array(config.spacing_mm)
        self._shape = np.ceil(2 * semi_axes / self._spacing_mm).astype(int) + 1

    # -- what a slice shows -----------------------------------------------------------------

    def seen(self, index: int) -> _Seen:
        """The pixels that are used of a slice: all near the heart, a share of the others."""
        cine, result = self._result.study.slices[index], self._result
        corrected = result.slice_motions[index] @ cine.ras_from_ijk
        points = pixel_centres_ras(corrected, cine.shape)
        pixels = np.argwhere(self._heart.contains(points))
        pixels = pixels[self._wanted(pixels, points[tuple(pixels.T)])]
        at = tuple(pixels.T)
        nodes, weights = (v.numpy().astype(np.float64) for v in gauss_hermite(N_PROFILE_NODES))
        along = nodes[:, None] * cine.thickness_mm * SIGMA_PER_FWHM * normal_ras(corrected)
        nodes_ras = points[at] + along[:, None]
        phases = kept_phases(cine.n_phases, self._config.n_phases)
        t = cine.cycle_fractions[phases]
        frames = np.clip(cine.frames[phases] / result.intensity_reference[index], 0, 1)
        unscaled = (frames / result.image_gain(index))[:, at[0], at[1]]
        residuals = self._series(t, unscaled - self._explained(nodes_ras, weights, t))
        return _Seen(apply_affine(result.canonical_from_ras, nodes_ras), residuals)

    def _wanted(self, pixels: npt.NDArray[np.int64], points_ras: Points) -> npt.NDArray[np.bool_]:
        wanted = np.asarray((pixels % self._config.stride_elsewhere == 0).all(axis=1))
        is_heart = np.zeros(len(pixels), dtype=np.bool_)
        for t in HEART_TIMES:
            self._cancel.check()
            is_heart |= self._heart.evaluate(points_ras, t).labels != Label.BACKGROUND
        if is_heart.any():
            reach = self._config.heart_margin_mm
            tree = cKDTree(points_ras[is_heart])
            wanted |= tree.query(points_ras, distance_upper_bound=reach)[0] <= reach
        return wanted

    def _series(self, cycle_fractions: Array, residuals: Array) -> Array:
        """Harmonics `(n, n_coefficients)` of residuals `(n_phases, n)`. What is projected is the
        difference: apart, images and heart have harmonics that so few phases take for lower
        ones."""
        B = harmonics(cycle_fractions, self._n_harmonics)
        ridge = SERIES_RIDGE * np.diag(self._orders.astype(np.float64) ** 2)
        return np.asarray(np.linalg.solve(B.T @ B / len(B) + ridge, B.T @ residuals / len(B)).T)

    def _explained(self, nodes_ras: Points, weights: Array, cycle_fractions: Array) -> Array:
        """The heart through the profile `(n_phases, n)`. What the outer nodes show beside the
        middle one changes slowly: they are looked at in fewer phases, linear in between."""
        index = len(weights) // 2
        middle = self._intensities(nodes_ras[index], cycle_fractions)
        few = np.arange(0, len(middle), max(1, len(middle) // N_PROFILE_PHASES))
        beside = (weights[index] - 1) * middle[few]
        for k in (k for k in range(len(weights)) if k != index):
            beside += weights[k] * self._intensities(nodes_ras[k], cycle_fractions[few])
        return middle + interpolate_cycle(beside, cycle_fractions[few], cycle_fractions)

    def _intensities(self, points_ras: Points, cycle_fractions: Array) -> Array:
        """The heart at points `(n, 3)`: `(n_phases, n)`."""
        found = np.zeros((len(cycle_fractions), len(points_ras)))
        for image, t in zip(found, cycle_fractions.tolist(), strict=True):
            self._cancel.check()
            image += self._heart.evaluate_continued(points_ras, t).intensity
        return found

    @property
    def _orders(self) -> npt.NDArray[np.int64]:
        """How often each coefficient goes up and down within the cycle."""
        k = np.arange(1, self._n_harmonics + 1)
        return np.concatenate([[0], k, k])

    # -- the grid ---------------------------------------------------------------------------

    def solved(self, seen: list[_Seen]) -> IntensityDetail:
        """The grid that explains the pixels of all slices best."""
        P = sparse.vstack([self._profile(s.nodes_mm) for s in seen]).tocsr().astype(np.float32)
        r = np.concatenate([s.residuals for s in seen]).astype(np.float32)
        values = self._least_squares(P, r).T.reshape(-1, *self._shape[::-1])
        return IntensityDetail(self._low_mm, self._spacing_mm, np.ascontiguousarray(values))

    def _profile(self, nodes_mm: Points) -> sparse.csr_matrix:
        _, weights = gauss_hermite(N_PROFILE_NODES)
        pairs = zip(weights.tolist(), nodes_mm, strict=True)
        return sum(weight * self._trilinear(points) for weight, points in pairs)

    def _trilinear(self, points_mm: Points) -> sparse.csr_matrix:
        """Interpolation at points `(n, 3)` from the grid's nodes, x the fastest; 0 outside."""
        position = (points_mm - self._low_mm) / self._spacing_mm
        inside = ((position >= 0) & (position <= self._shape - 1)).all(axis=1)
        cell = np.clip(np.floor(position).astype(np.int64), 0, self._shape - 2)
        part = position - cell
        row = np.arange(len(points_mm))
        size = (len(points_mm), int(np.prod(self._shape)))
        corners = np.array(np.meshgrid(*[(0, 1)] * 3)).reshape(3, -1).T
        weights = [np.where(c, part, 1 - part).prod(axis=1) * inside for c in corners]
        columns = [np.ravel_multi_index((cell + c).T[::-1], self._shape[::-1]) for c in corners]
        entries = (np.concatenate(weights), (np.tile(row, 8), np.concatenate(columns)))
        return sparse.csr_matrix(entries, shape=size)

    def _roughness(self) -> sparse.csr_matrix:
        """sum_a s_a D_a' D_a + e."""
        n_x, n_y, n_z = self._shape
        one = [sparse.identity(n) for n in self._shape]
        D_x, D_y, D_z = (sparse.diags([-1.0, 1.0], [0, 1], shape=(n - 1, n)) for n in self._shape)
        differences = (
            sparse.kron(sparse.kron(one[2], one[1]), D_x),
            sparse.kron(sparse.kron(one[2], D_y), one[0]),
            sparse.kron(sparse.kron(D_z, one[1]), one[0]),
        )
        weighted = zip(self._config.smoothness, differences, strict=True)
        total = sum(s * (D.T @ D) for s, D in weighted)
        e = self._config.shrinkage * sparse.identity(n_x * n_y * n_z)
        return (total + e).tocsr().astype(np.float32)

    def _least_squares(
        self, P: sparse.csr_matrix, r: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Conjugate gradients for all coefficients at once, `(n_nodes, n_coefficients)`."""
        L = self._roughness()
        w = (1 + self._config.order_penalty * self._orders**2).astype(np.float32)
        diagonal = np.asarray(P.multiply(P).sum(axis=0)).T + L.diagonal()[:, None] * w
        g, rest = np.zeros((P.shape[1], r.shape[1]), dtype=np.float32), P.T @ r
        step, before = np.zeros_like(g), np.ones(r.shape[1], dtype=np.float32)
        for _ in self._iterations():
            scaled = rest / diagonal
            now = (rest * scaled).sum(axis=0)
            step = scaled + now / np.maximum(before, np.float32(1e-20)) * step
            moved = P.T @ (P @ step) + (L @ step) * w
            length = now / np.maximum((step * moved).sum(axis=0), np.float32(1e-20))
            g, rest, before = g + length * step, rest - length * moved, now
        return g

    def _iterations(self) -> Iterator[int]:
        for index in range(self._config.n_iterations):
            self._cancel.check()
            yield index
