"""Rendering: against direct evaluation, in bounded memory, cancellable."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from NISFCore.analysis.rendering import (
    evaluate_points,
    inside_box,
    render_grid,
    render_phases,
    render_plane,
    slab_samples_ras,
    uniform_cycle_fractions,
)
from NISFCore.errors import Cancelled
from NISFCore.geometry.field import FieldSamples, HeartBox
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Points, apply_affine, invert_affine
from NISFCore.progress import CancelToken, ProgressEvent
from Testing.Core.analysis.hearts import EllipsoidHeart, plane_ras_from_ijk


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


class Events:
    def __init__(self) -> None:
        self.events: list[ProgressEvent] = []

    def report(self, event: ProgressEvent) -> None:
        self.events.append(event)


def test_grid_is_the_field_at_its_voxels() -> None:
    heart = EllipsoidHeart()
    grid = heart.box.grid(9.0)
    phase = render_grid(heart, grid, 0.3)
    k, j, i = 4, 5, 6
    point = apply_affine(grid.ras_from_ijk, [[i, j, k]])
    expected = heart.evaluate(point, 0.3)
    assert phase.intensity.shape == grid.shape
    assert phase.intensity[k, j, i] == pytest.approx(expected.intensity[0])
    assert np.allclose(phase.label_probabilities[k, j, i], expected.label_probabilities[0])
    assert phase.labels[k, j, i] == expected.labels[0]


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
    heart, events, cancel = CountingHeart(), Events(), CancelToken()
    phases = render_phases(
        heart, heart.box.grid(20.0), uniform_cycle_fractions(4), events, cancel, stage="x"
    )
    first = next(phases)
    assert first.cycle_fraction == 0
    assert len(events.events) == 1  # nothing was rendered ahead
    cancel.cancel()
    with pytest.raises(Cancelled):
        next(phases)
    event = events.events[0]
    assert (event.stage, event.step, event.total) == ("x", 1, 4)


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


def test_jitter_removes_the_bias_of_a_boundary_along_the_grid() -> None:
    heart = EllipsoidHeart(sharpness_per_mm=8.0)
    grid = heart.box.grid(2.0)  # the base plane lies in a plane of voxel centres
    expected = heart.volumes_ml(0)[1]
    centres, jittered = (
        (render_grid(heart, grid, 0.0, jitter=jitter).labels == 1).sum() * grid.voxel_volume_ml
        for jitter in (False, True)
    )
    assert abs(jittered / expected - 1) < 0.005 < 0.02 < abs(centres / expected - 1)
