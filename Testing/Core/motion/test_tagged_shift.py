"""Where the heart lay in a tagged plane's breath-hold: shifts that are known."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.data.study import CineSlice
from NISFCore.geometry.rigid import rigid
from NISFCore.motion.heart_tags import wall_in_plane
from NISFCore.motion.tagged import tagged_series
from NISFCore.motion.tagged_shift import PRIOR_SD_RAS_MM, heart_shift
from Testing.Core.motion.beating_tube import BeatingTube

TUBE = BeatingTube(n_phases=10)
SLICES = {s.name: s for s in TUBE.tagged().slices}


def found(cine: CineSlice) -> np.ndarray | None:
    mask = wall_in_plane(cine, TUBE)
    return heart_shift(cine, mask, tagged_series(cine, mask).waves, TUBE)


def moved(cine: CineSlice, columns_mm: float, rows_mm: float) -> tuple[CineSlice, np.ndarray]:
    """A slice whose header lies elsewhere, and the shift in RAS mm that takes it back."""
    axes = cine.ras_from_ijk[:3, :2] / cine.spacing_mm
    shift = axes @ [columns_mm, rows_mm]
    return replace(cine, ras_from_ijk=rigid(np.eye(3), -shift) @ cine.ras_from_ijk), shift


@pytest.mark.parametrize("name", ["SA_01_45", "SA_03_135", "LA_4CH_45"])
@pytest.mark.parametrize("shift", [(5.0, -3.0), (-2.5, 6.0)])
def test_shifts_within_the_plane_are_found(name: str, shift: tuple[float, float]) -> None:
    cine, expected = moved(SLICES[name], *shift)
    got = found(cine)
    assert got is not None
    within = cine.ras_from_ijk[:3, :2] / cine.spacing_mm
    np.testing.assert_allclose(got @ within, expected @ within, atol=1.5)


def test_what_lies_off_the_plane_is_what_breathing_makes_likely() -> None:
    cine, _ = moved(SLICES["SA_03_45"], 4.0, -4.0)
    got = found(cine)
    assert got is not None
    # the most probable of all shifts that look the same: its gradient lies within the plane
    slope = got / np.square(PRIOR_SD_RAS_MM)
    assert slope @ cine.normal_ras == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", ["SA_02_45", "LA_2CH_45"])
def test_a_plane_that_lies_right_stays(name: str) -> None:
    assert found(SLICES[name]) is None


def test_noise_moves_nothing() -> None:
    cine, _ = moved(SLICES["SA_03_45"], 5.0, 0.0)
    waves = tagged_series(cine, wall_in_plane(cine, TUBE)).waves
    noise = np.random.default_rng(0).standard_normal(cine.frames.shape).astype(np.float32)
    noisy = replace(cine, frames=5 + noise)
    assert heart_shift(noisy, wall_in_plane(cine, TUBE), waves, TUBE) is None
