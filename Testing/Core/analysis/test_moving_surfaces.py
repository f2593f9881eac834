"""Surfaces over the cycle: closed, on the boundary, with the same vertices where that works."""

import numpy as np
import pytest

from NISFCore.analysis.lattice import LABELS_ONLY, sample_cycle
from NISFCore.analysis.moving_surfaces import MovingSurface, moving_surfaces
from NISFCore.analysis.steps import Steps
from NISFCore.errors import Cancelled
from NISFCore.labels import Label
from NISFCore.progress import CancelToken
from Testing.Core.analysis.hearts import EllipsoidHeart

LV = Label.LV_BLOOD_POOL
TIMES = np.arange(6) / 6


def moving(heart: EllipsoidHeart, cancel: CancelToken | None = None) -> MovingSurface:
    grid = heart.box.grid(3.0)
    cycle = sample_cycle(heart, grid, TIMES, LABELS_ONLY, Steps("sample", len(TIMES)))
    return moving_surfaces(cycle, grid, 0, Steps("mesh", 6, cancel=cancel), [LV])[LV]


def test_vertices_are_the_same_and_the_volumes_those_of_each_phase() -> None:
    heart = EllipsoidHeart(base_mm=None)
    surface = moving(heart)
    assert surface.same_vertices
    first = surface.phases[0]
    for phase, t in zip(surface.phases, TIMES, strict=True):
        assert np.array_equal(phase.triangles, first.triangles)
        assert phase.n_boundary_edges == 0
        assert phase.volume_ml == pytest.approx(heart.volumes_ml(float(t))[LV], rel=0.01)
    assert np.abs(surface.phases[3].points_ras - first.points_ras).max() > 3


def test_what_moves_too_far_between_phases_is_meshed_phase_by_phase() -> None:
    heart = EllipsoidHeart(base_mm=None, sharpness_per_mm=None, stroke=0.45)
    surface = moving(heart)
    assert not surface.same_vertices
    for phase, t in zip(surface.phases, TIMES, strict=True):
        assert phase.n_boundary_edges == 0
        assert phase.volume_ml == pytest.approx(heart.volumes_ml(float(t))[LV], rel=0.02)
    assert len({len(phase.triangles) for phase in surface.phases}) > 1


def test_cancel() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        moving(EllipsoidHeart(), cancel)
