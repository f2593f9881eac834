"""How much faster, and how faithful, coarse-to-fine rendering is than evaluating every voxel.

Both are measured in one run, on the same heart and grid, with the same evaluation of the heart: the
ratio is that of the points evaluated, less the cost of interpolating.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.lattice import Tolerance, inside_heart
from NISFCore.analysis.rendering import (
    RenderedPhase,
    render_dense,
    render_phases,
    uniform_cycle_fractions,
)
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.grids import Grid
from NISFCore.labels import Label
from NISFCore.progress import CancelToken, ProgressReporter

N_DENSE_PHASES = 3
ES_SEARCH_MM = 4.0


@dataclass(frozen=True)
class ExportSpeed:
    """What `measure_export_speedup` found.

    Attributes:
        shape_kji, spacing_mm, n_phases: what was rendered.
        dense_seconds: for all phases, from those that were rendered densely.
        coarse_to_fine_seconds: for all phases, sampling included.
        speedup: their ratio.
        label_agreement: share of all voxels with the same label.
        label_agreement_heart: the same, among voxels that are no background in one of both.
        intensity_rms, intensity_p99, intensity_max: errors inside the heart's region; 1 is the
            reference brightness.
        tolerance: of intensities, as `lattice.Tolerance` has it.
    """

    shape_kji: tuple[int, int, int]
    spacing_mm: float
    n_phases: int
    dense_seconds: float
    coarse_to_fine_seconds: float
    speedup: float
    label_agreement: float
    label_agreement_heart: float
    intensity_rms: float
    intensity_p99: float
    intensity_max: float
    tolerance: float


def measure_export_speedup(
    field: HeartField,
    spacing_mm: float = 1.0,
    n_phases: int = 30,
    n_dense_phases: int = N_DENSE_PHASES,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> ExportSpeed:
    """Render all phases coarse to fine, some of them densely too, and compare.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    grid, t = field.box.grid(spacing_mm), uniform_cycle_fractions(n_phases)
    compared = _compared_phases(field, t, n_dense_phases)
    kept: dict[int, RenderedPhase] = {}
    began = time.perf_counter()
    for index, phase in enumerate(render_phases(field, grid, t, progress, cancel)):
        if index in compared:
            kept[index] = phase
    coarse_seconds = time.perf_counter() - began
    began = time.perf_counter()
    dense = [render_dense(field, grid, float(t[index]), cancel) for index in kept]
    dense_seconds = (time.perf_counter() - began) * n_phases / len(dense)
    return _compared(
        field, grid, list(kept.values()), dense, n_phases, dense_seconds, coarse_seconds
    )


def _compared_phases(
    field: HeartField, cycle_fractions: npt.NDArray[np.float64], n: int
) -> list[int]:
    """End-systole, where interpolation in time is hardest, and others spread over the cycle."""
    grid, n_phases = field.box.grid(ES_SEARCH_MM), len(cycle_fractions)
    volumes = [
        int((render_dense(field, grid, float(t)).labels == Label.LV_BLOOD_POOL).sum())
        for t in cycle_fractions
    ]
    es = int(np.argmin(volumes))
    return sorted((es + round(k * n_phases / n)) % n_phases for k in range(n))


def _compared(
    field: HeartField,
    grid: Grid,
    rendered: Sequence[RenderedPhase],
    dense: Sequence[RenderedPhase],
    n_phases: int,
    dense_seconds: float,
    coarse_seconds: float,
) -> ExportSpeed:
    inside = np.stack([inside_heart(field, grid.slab_points_ras(k)) for k in range(grid.shape[0])])
    pairs = list(zip(rendered, dense, strict=True))
    errors = np.concatenate([np.abs(a.intensity - b.intensity)[inside] for a, b in pairs])
    return ExportSpeed(
        shape_kji=grid.shape,
        spacing_mm=grid.spacing_mm[0],
        n_phases=n_phases,
        dense_seconds=dense_seconds,
        coarse_to_fine_seconds=coarse_seconds,
        speedup=dense_seconds / coarse_seconds,
        label_agreement=_share([a.labels == b.labels for a, b in pairs]),
        label_agreement_heart=_share(
            [(a.labels == b.labels)[(a.labels > 0) | (b.labels > 0)] for a, b in pairs]
        ),
        intensity_rms=float(np.sqrt((errors.astype(np.float64) ** 2).mean())),
        intensity_p99=float(np.percentile(errors, 99)),
        intensity_max=float(errors.max()),
        tolerance=Tolerance().intensity or 0.0,
    )


def _share(masks: Sequence[npt.NDArray[np.bool_]]) -> float:
    return float(np.concatenate([mask.ravel() for mask in masks]).mean())
