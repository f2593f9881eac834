"""Which phases of a cine are labelled: spread over the cycle, end-diastole (the R wave) and the
phase of the smallest cavity among them."""

import numpy as np
import numpy.typing as npt

from NISFCore.data.study import CineSlice


def circular_distance(
    a: npt.NDArray[np.float64] | float, b: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float64]:
    """Distance of two cycle fractions, at most one half."""
    d = np.mod(np.asarray(a) - np.asarray(b), 1.0)
    return np.asarray(np.minimum(d, 1 - d), dtype=np.float64)


def nearest_phase(cine: CineSlice, cycle_fraction: float) -> int:
    """The phase of a slice that lies nearest to a time of the cycle."""
    return int(np.argmin(circular_distance(cine.cycle_fractions, cycle_fraction)))


def spread_phases(cine: CineSlice, n: int, es_fraction: float | None) -> tuple[int, ...]:
    """At most `n` phases of a slice, in order: equally spread from ED on; the one nearest to ES is
    replaced by ES itself, where it is known."""
    n = min(n, cine.n_phases)
    wanted = np.arange(n) / n
    if es_fraction is not None and n > 1:
        wanted[1 + int(np.argmin(circular_distance(wanted[1:], es_fraction)))] = es_fraction
    return tuple(sorted({nearest_phase(cine, float(t)) for t in wanted}))
