"""Interpolation over the cardiac cycle, which closes: after the last phase comes the first."""

import numpy as np
import numpy.typing as npt


def interpolate_cycle(
    values: npt.NDArray[np.float64],
    cycle_fractions: npt.NDArray[np.float64],
    wanted: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Values `(n_phases, n)` known at `cycle_fractions`, linearly interpolated at `wanted`; the
    cycle closes."""
    order = np.argsort(cycle_fractions)
    t, v = cycle_fractions[order], values[order].astype(np.float64)
    t = np.concatenate([[t[-1] - 1], t, [t[0] + 1]])
    v = np.concatenate([v[-1:], v, v[:1]])
    right = np.clip(np.searchsorted(t, wanted, side="right"), 1, len(t) - 1)
    gap = np.maximum(t[right] - t[right - 1], 1e-12)
    w = ((wanted - t[right - 1]) / gap)[:, None]
    return (1 - w) * v[right - 1] + w * v[right]
