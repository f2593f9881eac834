"""A volume-time curve in about a second: fewer times, fewer points, everything else as it is.

Volumes are periodic and smooth in time, so that `N_TIMES` of them, resampled by their Fourier
series, give those of every phase; every voxel of a coarse grid is sampled at one random point, the
same at all times, so that volumes are unbiased and their noise does not show in the curve.
"""

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.rendering import evaluate_points, grid_chunks_ras, uniform_cycle_fractions
from NISFCore.analysis.steps import Steps
from NISFCore.analysis.volumes import VolumeCurve
from NISFCore.geometry.field import HeartField
from NISFCore.labels import N_LABELS, Label
from NISFCore.progress import CancelToken, ProgressReporter

N_TIMES = 16
SPACING_MM = 5.0


def quick_volume_curve(
    field: HeartField,
    n_phases: int,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> VolumeCurve:
    """Volumes of all labels in `n_phases` equally spaced phases.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    grid = field.box.grid(SPACING_MM)
    points = np.concatenate(list(grid_chunks_ras(grid, jitter=True)))
    n_times = min(N_TIMES, n_phases)
    steps = Steps("volume curve", n_times, progress, cancel)
    counts = np.zeros((n_times, N_LABELS))
    for k, t in enumerate(uniform_cycle_fractions(n_times)):
        steps.tick()
        labels = evaluate_points(field, points, float(t), cancel).labels
        counts[k] = np.bincount(labels, minlength=N_LABELS)
    counts[:, Label.BACKGROUND] = 0
    wanted = uniform_cycle_fractions(n_phases)
    volumes = resampled_cycle(counts * grid.voxel_volume_ml, wanted)
    return VolumeCurve(wanted, np.maximum(volumes, 0.0))


def resampled_cycle(
    values: npt.NDArray[np.float64], cycle_fractions: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Values at equally spaced times `(n, ...)`, at others `(n_wanted, ...)`, by the Fourier series
    through them: exact for what has no more than n / 2 waves in a cycle."""
    n = len(values)
    spectrum = np.fft.rfft(values, axis=0) / n
    waves = np.arange(len(spectrum))
    weights = np.where((waves == 0) | (2 * waves == n), 1.0, 2.0)  # each stands for itself and -k
    phases = np.exp(2j * np.pi * np.outer(cycle_fractions, waves)) * weights
    return np.asarray(np.tensordot(phases, spectrum, axes=1).real)
