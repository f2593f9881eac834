"""Phases that are labelled."""

import numpy as np
import pytest

from NISFCore.data.study import CineSlice
from NISFCore.evidence.phases import circular_distance, nearest_phase, spread_phases
from NISFCore.views import View


def cine_of(n_phases: int, first_ms: float = 0.0) -> CineSlice:
    A = np.diag([1.5, 1.5, 8.0, 1.0])
    times = np.asarray(first_ms + np.arange(n_phases) * (900.0 / n_phases), dtype=np.float64)
    frames = np.zeros((n_phases, 12, 12), dtype=np.float32)
    return CineSlice("SA_01", View.SA, frames, A, 8.0, times, 900.0)


def test_the_cycle_closes() -> None:
    assert circular_distance(0.95, 0.05) == pytest.approx(0.1)
    assert nearest_phase(cine_of(20, 40.0), 0.99) in (0, 19)


@pytest.mark.parametrize("n_phases", [1, 2, 5, 25, 50])
@pytest.mark.parametrize("n", [1, 2, 8])
def test_at_most_as_many_as_asked_and_ed_and_es_among_them(n_phases: int, n: int) -> None:
    cine = cine_of(n_phases)
    phases = spread_phases(cine, n, 0.37)
    assert len(phases) <= min(n, n_phases)
    assert phases == tuple(sorted(set(phases)))
    assert 0 in phases
    if n > 1:
        assert nearest_phase(cine, 0.37) in phases


def test_they_are_spread() -> None:
    times = cine_of(24).cycle_fractions[list(spread_phases(cine_of(24), 8, None))]
    gaps = np.diff([*times, times[0] + 1])
    assert len(times) == 8
    assert gaps.max() < 1.5 / 8
