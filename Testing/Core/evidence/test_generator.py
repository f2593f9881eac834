"""Training slices: the same seed, the same slices; labels that belong to the images."""

import numpy as np
import torch

from NISFCore.evidence.channels import (
    COORDINATES,
    MM_PER_COORDINATE,
    N_CHANNELS,
    TEMPORAL,
    network_input,
    normalised,
)
from NISFCore.evidence.generator import SliceGenerator
from NISFCore.evidence.library import PlaneMix, build_library, random_planes
from NISFCore.evidence.noise import Dice, blurred
from NISFCore.evidence.painting import paint, tissue_levels
from NISFCore.evidence.tissue import Tissue
from NISFCore.evidence.window import is_across_axis
from NISFCore.labels import N_LABELS
from Testing.Core.evidence.hearts import MIX, SMALL, small_library


def test_equal_seeds_equal_libraries() -> None:
    few = PlaneMix(n_short_axis=1, n_long_axis=1, n_oblique=0)
    first, again, other = (build_library(1, seed, few) for seed in (5, 5, 6))
    assert np.array_equal(again.tissues, first.tissues)
    assert np.array_equal(again.surroundings, first.surroundings)
    assert np.array_equal(again.canonical_from_grid, first.canonical_from_grid)
    assert not np.array_equal(other.tissues, again.tissues)


def test_the_library_beats_and_holds_all_views() -> None:
    library = small_library()
    assert library.tissues.shape[0] == 2 * MIX.n_planes == len(library)
    beats = (library.tissues != library.tissues[:, :1]).any(axis=(1, 2, 3))
    assert beats.mean() > 0.7
    across = [is_across_axis(A) for A in random_planes(np.random.default_rng(0), MIX)]
    assert across[: MIX.n_short_axis] == [True] * MIX.n_short_axis
    assert not any(across[MIX.n_short_axis : MIX.n_short_axis + MIX.n_long_axis])


def test_equal_seeds_equal_batches() -> None:
    first, second = (SliceGenerator(small_library(), SMALL.grid, 3).batch(4, 2) for _ in range(2))
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.targets, second.targets)


def test_batches_are_valid() -> None:
    batches = SliceGenerator(small_library(), SMALL.grid, 4)
    foreground = 0.0
    for _ in range(3):
        batch = batches.batch(8, 2)
        n = SMALL.grid.n_pixels
        assert batch.inputs.shape == (16, N_CHANNELS, n, n)
        assert batch.targets.shape == (16, N_LABELS, n, n)
        assert torch.isfinite(batch.inputs).all()
        assert torch.allclose(batch.targets.sum(dim=1), torch.ones(16, n, n), atol=1e-4)
        outside = batch.weights[:, 0] == 0
        assert (batch.inputs[:, 0][outside] == 0).all()
        foreground += float(batch.targets[:, 1:].mean())
    assert 0.02 < foreground / 3 < 0.5


def test_some_slices_lack_the_cycle_or_the_place() -> None:
    batch = SliceGenerator(small_library(), SMALL.grid, 5).batch(24, 2)
    no_cycle = (batch.inputs[:, TEMPORAL] == 0).flatten(1).all(dim=1)
    no_place = (batch.inputs[:, COORDINATES] == 0).flatten(1).all(dim=1)
    for share in (no_cycle.float().mean(), no_place.float().mean()):
        assert 0.03 < float(share) < 0.6
    assert batch.inputs[:, COORDINATES].abs().max() * MM_PER_COORDINATE < 250


def test_one_heart_has_many_looks() -> None:
    """Contrast between blood and muscle differs widely over looks, its sign mostly does not."""
    levels = tissue_levels(2000, Dice(0))
    contrast = levels[:, Tissue.LV_BLOOD] - levels[:, Tissue.MYOCARDIUM]
    assert 0.85 < float((contrast > 0).float().mean()) < 1
    assert float(contrast.std()) > 0.15
    fat = levels[:, Tissue.FAT] - levels[:, Tissue.MYOCARDIUM]
    assert 0.1 < float((fat < 0).float().mean()) < 0.6


def test_looks_change_and_anatomy_does_not() -> None:
    library = small_library()
    tissues = torch.from_numpy(library.tissues[:3])
    chest = torch.from_numpy(library.surroundings[:3])
    times = torch.from_numpy(library.cycle_fractions[:3].astype(np.float32))
    first, second = (paint(tissues, chest, times, Dice(seed)) for seed in (1, 2))
    assert first.shape == tissues.shape
    assert (first >= 0).all()
    assert float((first - second).abs().mean()) > 0.05


def test_input_does_not_know_the_unit_of_the_signal() -> None:
    cine = torch.rand(2, 5, 32, 32)
    inside = torch.ones(2, 1, 32, 32)
    inside[:, :, :8] = 0
    scaled = normalised(1000 * cine + 70, inside)
    assert torch.allclose(scaled, normalised(cine, inside), atol=1e-3)
    assert (scaled[:, :, :8] == 0).all()


def test_one_phase_shows_no_beating() -> None:
    frames, coordinates = torch.zeros(1, 1, dtype=torch.int64), torch.rand(1, 3, 16, 16)
    inputs = network_input(torch.rand(1, 1, 16, 16), torch.ones(1, 1, 16, 16), frames, coordinates)
    assert (inputs[:, TEMPORAL] == 0).all()
    assert inputs[:, 0].std() > 0.1


def test_blur_keeps_the_mean_and_widens_with_sigma() -> None:
    point = torch.zeros(2, 1, 21, 21)
    point[..., 10, 10] = 1
    soft = blurred(point, torch.tensor([0.5, 1.5]))
    assert torch.allclose(soft.sum(dim=(1, 2, 3)), torch.ones(2), atol=1e-5)
    x = torch.arange(21.0) - 10
    variance = (soft.sum(dim=(1, 2)) * x.square()).sum(dim=1)
    assert torch.allclose(variance.sqrt(), torch.tensor([0.5, 1.5]), atol=0.06)
