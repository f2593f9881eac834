"""Rendering: against direct evaluation, in bounded memory, cancellable."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from NISFCore.analysis.rendering import (
    LABELS_ONLY,
    RenderedPhase,
    evaluate_points,
    grid_chunks_ras,
    inside_box,
    render_dense,
    render_grid,
    render_phases,
    render_plane,
    sample_labels,
    slab_samples_ras,
    uniform_cycle_fractions,
)
from NISFCore.errors import Cancelled
from NISFCore.fitting.heart import FittedHeart
from NISFCore.geometry.field import FieldSamples, HeartBox
from NISFCore.geometry.grids import Grid, box_grid
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Points, apply_affine, invert_affine
from NISFCore.labels import N_LABELS
from NISFCore.model.prior import load_prior
from NISFCore.progress import CancelToken
from Testing.Core.analysis.hearts import OBLIQUE, EllipsoidHeart, plane_ras_from_ijk
from Testing.Core.events import Keep

LATTICE_AND_SLAB_BYTES = 45e6
"""Of a lattice of 51 x 51 x 51 points while it is sampled, or of half a million voxels."""


@dataclass
class CountingHeart:
    """Remembers how many points it was asked for at once."""

    heart: EllipsoidHeart = field(default_factory=EllipsoidHeart)
    sizes: list[int] = field(default_factory=list)

    @property
    def box(self) -> HeartBox:
        return self.heart.box

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        self.sizes.append(len(points_ras))
        return self.heart.evaluate(points_ras, cycle_fraction)


@dataclass(frozen=True)
class RegionHeart(EllipsoidHeart):
    """Satisfies `ContinuedField`: background drops in at the border of `contains`."""

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        samples = super().evaluate(points_ras, cycle_fraction)
        inside = self.contains(points_ras)
        probabilities = np.where(inside[:, None], samples.label_probabilities, [1, 0, 0, 0])
        return FieldSamples(samples.intensity * inside, probabilities.astype(np.float32))

    def evaluate_continued(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        return super().evaluate(points_ras, cycle_fraction)


def part_of_the_heart(spacing_mm: float) -> Grid:
    """A grid over the septum and the base: all labels, at a price for unit tests. No plane of
    voxels lies in the base plane, where labels are tied."""
    return box_grid(OBLIQUE, [10.0, -15, -5.3], [50.0, 15, 24.7], spacing_mm)


@dataclass(frozen=True)
class Ball:
    """A heart that costs nothing: a ball of one label."""

    box: HeartBox = field(
        default_factory=lambda: HeartBox(np.eye(4), np.full(3, -50.0), np.full(3, 50.0))
    )

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        depth = 20 - 5 * cycle_fraction - np.linalg.norm(points_ras, axis=1).astype(np.float32)
        p = 1 / (1 + np.exp(-np.clip(2 * depth, -20, 20)))
        probabilities = np.stack([1 - p, p, 0 * p, 0 * p], axis=1)
        return FieldSamples(p.astype(np.float32), probabilities.astype(np.float32))


@pytest.mark.parametrize("render", [render_grid, render_dense])
def test_grid_is_the_field_at_its_voxels(render: Callable[..., RenderedPhase]) -> None:
    heart = EllipsoidHeart()
    grid = heart.box.grid(9.0)
    phase = render(heart, grid, 0.3)
    k, j, i = 4, 5, 6
    point = apply_affine(grid.ras_from_ijk, [[i, j, k]])
    expected = heart.evaluate(point, 0.3)
    assert phase.intensity.shape == grid.shape
    assert phase.intensity[k, j, i] == pytest.approx(expected.intensity[0], abs=3e-4)
    assert phase.labels[k, j, i] == expected.labels[0]


@pytest.mark.parametrize("spacing_mm", [1.0, 1.3, 2.5])
@pytest.mark.parametrize(
    ("sharpness_per_mm", "max_rms"),
    # a network's edges are about as sharp as the first; edges that jump are smeared in time
    [(1.0, 0.005), (8.0, 0.03), (None, 0.05)],
)
def test_coarse_to_fine_agrees_with_dense(
    sharpness_per_mm: float | None, max_rms: float, spacing_mm: float
) -> None:
    heart = CountingHeart(EllipsoidHeart(sharpness_per_mm=sharpness_per_mm))
    grid = part_of_the_heart(spacing_mm)
    times = uniform_cycle_fractions(16)
    for index, phase in enumerate(render_phases(heart, grid, times)):
        if index in (0, 3, 9):
            dense = render_dense(heart.heart, grid, times[index])
            assert (phase.labels == dense.labels).mean() > 0.9995
            error = phase.intensity - dense.intensity
            assert np.sqrt((error**2).mean()) < max_rms
    share = sum(heart.sizes) / (16 * grid.n_voxels)
    assert share < (0.3 if spacing_mm == 1.0 and sharpness_per_mm else 1.0)


def test_labels_only_costs_less_and_gives_the_same_labels() -> None:
    hearts = CountingHeart(), CountingHeart()
    grid, times = part_of_the_heart(1.0), uniform_cycle_fractions(8)
    both = render_phases(hearts[0], grid, times)
    only = render_phases(hearts[1], grid, times, tolerance=LABELS_ONLY)
    for a, b in zip(both, only, strict=True):
        assert (a.labels == b.labels).mean() > 0.999
        assert not b.intensity.any()
    assert sum(hearts[1].sizes) < 0.9 * sum(hearts[0].sizes)


def test_times_may_come_in_any_order_and_twice() -> None:
    heart = EllipsoidHeart()
    grid = heart.box.grid(6.0)
    phases = list(render_phases(heart, grid, [0.7, 0.1, 0.7]))
    assert [p.cycle_fraction for p in phases] == [0.7, 0.1, 0.7]
    assert np.array_equal(phases[0].labels, phases[2].labels)
    assert np.array_equal(phases[1].labels, render_dense(heart, grid, 0.1).labels)


def test_a_grid_with_other_axes_and_larger_than_the_box() -> None:
    heart = EllipsoidHeart()
    centre = apply_affine(heart.ras_from_heart, [20.0, 0, 0])
    grid = box_grid(np.eye(4), centre - 80, centre + 80, 4.0)
    phase, dense = render_grid(heart, grid, 0.3), render_dense(heart, grid, 0.3)
    assert (phase.labels == dense.labels).mean() > 0.9999
    assert np.abs(phase.intensity - dense.intensity).max() < 0.03
    assert len(np.unique(phase.labels)) == 4


def test_a_region_is_rendered_to_its_border() -> None:
    heart = RegionHeart()
    grid = heart.box.grid(4.0)
    phase, dense = render_grid(heart, grid, 0.2), render_dense(heart, grid, 0.2)
    inside = heart.contains(grid.points_ras())
    assert not phase.intensity[~inside].any()
    assert not phase.labels[~inside].any()
    assert np.abs(phase.intensity - dense.intensity).max() < 0.05
    assert 0.02 < inside.mean() < 0.8


def test_memory_does_not_grow_with_phases_and_little_with_voxels() -> None:
    """At most two phases of 5 bytes per voxel are alive, the one shown and the one being made."""
    heart = Ball()
    grid = heart.box.grid(0.8)
    list(render_phases(heart, heart.box.grid(20.0), [0.0]))  # what is imported once
    tracemalloc.start()
    for phase in render_phases(heart, grid, uniform_cycle_fractions(6)):
        assert phase.labels.any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * grid.n_voxels + LATTICE_AND_SLAB_BYTES


def test_points_outside_the_box_are_background() -> None:
    heart = CountingHeart()
    outside = apply_affine(heart.box.ras_from_box, [[500.0, 0, 0], [0, 0, 0.0]])
    samples = evaluate_points(heart, outside, 0.0)
    assert heart.sizes == [1]
    assert samples.labels.tolist() == [0, 1]
    assert samples.intensity[0] == 0
    assert inside_box(heart.box, outside).tolist() == [False, True]


def test_chunks_are_bounded_and_change_nothing() -> None:
    heart = CountingHeart()
    points = heart.box.grid(12.0).points_ras().reshape(-1, 3)
    points = points[inside_box(heart.box, points)]
    chunked = evaluate_points(heart, points, 0.1, points_per_chunk=100)
    assert max(heart.sizes) == 100
    assert sum(heart.sizes) == len(points)
    whole = heart.heart.evaluate(points, 0.1)
    assert np.array_equal(chunked.intensity, whole.intensity)
    assert np.array_equal(chunked.label_probabilities, whole.label_probabilities)


def test_phases_are_streamed_with_progress_and_cancel() -> None:
    heart, events, cancel = CountingHeart(), Keep(), CancelToken()
    phases = render_phases(
        heart, heart.box.grid(20.0), uniform_cycle_fractions(4), events, cancel, stage="x"
    )
    first = next(phases)
    assert first.cycle_fraction == 0
    # every time was sampled, one was rendered, nothing was rendered ahead
    assert [e.step for e in events.events] == [1, 2, 3, 4, 5]
    cancel.cancel()
    with pytest.raises(Cancelled):
        next(phases)
    event = events.events[0]
    assert (event.stage, event.step, event.total) == ("x", 1, 8)


def test_cancel_is_seen_inside_one_phase() -> None:
    heart, cancel = CountingHeart(), CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        render_grid(heart, heart.box.grid(20.0), 0.0, cancel)
    assert heart.sizes == []


def test_plane_shows_the_field_on_an_oblique_anisotropic_plane() -> None:
    heart = EllipsoidHeart()
    shape = (40, 50)
    A = plane_ras_from_ijk(
        heart.ras_from_heart, [10.0, 3, -8], [0.8, 0, 0.6], [0, 1.0, 0], (1.5, 2.5), shape
    )
    plane = render_plane(heart, A, shape, [0.0, 0.4])
    points = pixel_centres_ras(A, shape)
    assert plane.intensity.shape == (2, *shape)
    inside = plane.inside
    expected = heart.evaluate(points[inside], 0.4)
    assert np.allclose(plane.intensity[1][inside], expected.intensity)
    assert np.array_equal(plane.labels[1][inside], expected.labels)
    assert not plane.labels[:, ~inside].any()
    assert 0 < inside.sum() < inside.size


def test_jittered_samples_stay_in_their_voxels_and_are_repeatable() -> None:
    grid = EllipsoidHeart().box.grid(7.0)
    samples = slab_samples_ras(grid, 3, jitter=True)
    offsets = apply_affine(invert_affine(grid.ras_from_ijk), samples) - apply_affine(
        invert_affine(grid.ras_from_ijk), slab_samples_ras(grid, 3, jitter=False)
    )
    assert np.abs(offsets).max() <= 0.5 + 1e-9
    assert np.allclose(offsets.std(axis=0), 12**-0.5, rtol=0.1)
    assert np.array_equal(samples, slab_samples_ras(grid, 3, jitter=True))
    assert not np.allclose(offsets, 0)


def test_sampled_labels_are_those_of_the_jittered_points() -> None:
    heart = EllipsoidHeart()
    grid = part_of_the_heart(2.0)
    labels = list(sample_labels(heart, grid, uniform_cycle_fractions(9)))[4]
    points = np.concatenate(list(grid_chunks_ras(grid, jitter=True)))
    expected = evaluate_points(heart, points, 4 / 9).labels.reshape(grid.shape)
    assert (labels == expected).mean() > 0.999
    assert len(np.unique(labels)) == 4


def test_jitter_removes_the_bias_of_a_boundary_along_the_grid() -> None:
    heart = EllipsoidHeart(sharpness_per_mm=8.0)
    grid = heart.box.grid(2.0)  # the base plane lies in a plane of voxel centres
    expected = heart.volumes_ml(0)[1]
    centres = (render_grid(heart, grid, 0.0).labels == 1).sum() * grid.voxel_volume_ml
    (labels,) = sample_labels(heart, grid, [0.0])
    jittered = (labels == 1).sum() * grid.voxel_volume_ml
    assert abs(jittered / expected - 1) < 0.005 < 0.02 < abs(centres / expected - 1)


def test_a_trained_heart_is_right_at_every_phase() -> None:
    """Its probabilities are certain, and say little of what happens between two times: the wall at
    end-systole was missed once."""
    prior = load_prior()
    mean, covariance = prior.latent_mean.numpy(), prior.latent_covariance.numpy()
    latent = np.random.default_rng(0).multivariate_normal(mean, covariance).astype(np.float32)
    heart = FittedHeart(prior.decoder, latent, np.eye(4), np.zeros(N_LABELS))
    grid, t = heart.box.grid(5.0), uniform_cycle_fractions(30)
    for phase in render_phases(heart, grid, t):
        dense = render_dense(heart, grid, phase.cycle_fraction).labels
        either = (dense > 0) | (phase.labels > 0)
        assert (dense == phase.labels)[either].mean() > 0.999, phase.cycle_fraction
