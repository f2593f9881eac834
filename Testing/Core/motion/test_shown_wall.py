"""Planes that lose their wall on one side: what labels and images say there does not count."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.benchmark.motion_plan import Group, PlannedSubject
from NISFCore.benchmark.motion_truth import PlaneTruth
from NISFCore.motion.border_distance import BorderDistance
from NISFCore.motion.config import DEFAULT, MotionConfig, StartConfig
from NISFCore.motion.contours import wall_shown
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.fit import fit_tagged_plane
from NISFCore.motion.plane import Plane
from NISFCore.motion.priors.subjects import simulated_plane
from NISFCore.motion.refinement import tissue_points
from NISFCore.motion.second_try import PlaneTracker
from NISFCore.motion.shown_wall import N_RAYS, between_rays, shown_borders
from NISFCore.motion.tag_correlation import TagCorrelation
from NISFCore.motion.tagged_plane import TaggedPlane, tagged_plane
from NISFCore.motion.wall_labels import WallTerm
from NISFCore.progress import CancelToken, SilentProgress
from Testing.Core.motion.leaving import leaving
from Testing.Core.motion.movies import Ring, rms_error_mm

RING = Ring(noise=0.05)
SMALL = MotionConfig(start=StartConfig(n_features=48))
REACH_MM = 38.0
"""At half of the cycle the line is 6 mm beyond the centre."""
HALF = 6


def seen(reach_mm: float) -> TaggedPlane:
    series = [leaving(RING, RING.tagged(angle), reach_mm) for angle in (45.0, 135.0)]
    return tagged_plane(series, SMALL)


@pytest.fixture(scope="module")
def cut() -> TaggedPlane:
    return seen(REACH_MM)


def believing_everything(plane: TaggedPlane) -> TaggedPlane:
    """Where a border that ends is taken for one that has moved."""
    shown = [replace(c.shown, weights=torch.ones_like(c.shown.weights)) for c in plane.contours]
    pairs = zip(plane.contours, shown, strict=True)
    return replace(plane, contours=tuple(replace(c, shown=s) for c, s in pairs))


def tracked(plane: TaggedPlane, config: MotionConfig) -> DisplacementField:
    alone = replace(config, refinement=replace(config.refinement, has_second_try=False))
    field = plane.field(alone)
    tissue = tissue_points(field, plane.points)
    PlaneTracker(plane, field, tissue, alone, CancelToken()).tracked(SilentProgress())
    return field


def error_mm(field: DisplacementField, plane: Plane) -> float:
    with torch.no_grad():
        u = field.displacement(plane.local_points(), plane.times()).numpy()
    return rms_error_mm(RING, u @ plane.placement.axes, plane.points_ras)


def test_rays_that_lose_their_wall_count_nothing(cut: TaggedPlane) -> None:
    inner, outer = (c.shown for c in cut.contours)
    assert outer.weights.shape == (RING.n_phases, N_RAYS)
    assert float(outer.weights[0].min()) == 1.0 == float(inner.weights[0].min())
    # the wall's mean radius is 24 mm x 0.85, the line at -6 mm: it is lost within 107 degrees
    expected = np.arccos(-6 / (24 * 0.85)) / np.pi
    assert outer.lost_share() == pytest.approx(expected, abs=0.08)
    # on the other side all is as it was
    axis = cut.plane.placement.axes @ RING.axes[0]
    for sign, weight in ((1.0, 0.0), (-1.0, 1.0)):
        at = torch.tensor(sign * 24 * axis, dtype=torch.float32)[None]
        assert float(outer.at(HALF, at)) == weight


def test_values_between_rays_are_interpolated_and_close_the_circle() -> None:
    values = torch.arange(8, dtype=torch.float32)
    angles = 2 * torch.pi * torch.tensor([0.0, 1.5, 3.0, 7.5]) / 8
    points = 20 * torch.stack([angles.cos(), angles.sin()], dim=1)
    found = between_rays(values, points).tolist()
    assert found == pytest.approx([0.0, 1.5, 3.0, 3.5], abs=1e-4)


def test_shrinking_is_that_of_what_is_shown(cut: TaggedPlane) -> None:
    whole = seen(0.0)
    for border, other in zip(cut.contours, whole.contours, strict=True):
        got, wanted = border.shown.shrinking, other.shown.shrinking
        assert float(other.shown.weights.min()) == 1.0
        # half of the cycle: 0.15 of each radius; pixels are counted
        assert float(wanted[HALF]) == pytest.approx(0.15, abs=0.02)
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), atol=0.02)


def test_a_cavity_that_closes_has_no_inner_border(cut: TaggedPlane) -> None:
    cine = cut.plane.cine
    labels = cine.labels
    assert labels is not None
    values = labels.values.copy()
    values[HALF] = np.where(values[0] == 1, 2, values[0])
    closed = replace(cine, labels=replace(labels, values=values))
    inner, outer = shown_borders(closed, cut.plane.placement)
    assert float(inner.weights[HALF].max()) == 0.0
    assert float(outer.weights[HALF].min()) == 1.0


def test_labels_of_a_lost_wall_pull_nothing(cut: TaggedPlane) -> None:
    field = tracked(seen(0.0), SMALL)
    terms = [WallTerm(field, p.contours, 1.0, 0.0, 2.0) for p in (cut, believing_everything(cut))]
    C = field.coefficients.detach()
    steps = C.unflatten(1, (-1, 2)).cumsum(dim=1)[:, HALF - 1] * field.placement.radius_mm
    good, misled = (float(t.rows(0.5, steps)[0].square().sum()) for t in terms)
    assert good < 0.05 * misled
    costs = [
        BorderDistance(p.contours, 2.0).cost(field, 1.0).item()
        for p in (cut, believing_everything(cut))
    ]
    assert costs[0] < 0.1 * costs[1]


def test_images_of_a_lost_wall_are_no_misfit(cut: TaggedPlane) -> None:
    field = tracked(seen(0.0), SMALL)
    with_labels, without = (
        TagCorrelation(cut.observations, cut.points, cut.windows, contours).cost(field, 1.0).item()
        for contours in (cut.contours, ())
    )
    assert with_labels < 0.5 * without
    moved = cut.points.expand(2, -1, -1)
    assert bool((wall_shown((), cut.times[:2], moved) == 1).all())


def test_a_wall_that_is_lost_on_one_side_misleads_nothing(cut: TaggedPlane) -> None:
    whole = error_mm(tracked(seen(0.0), SMALL), cut.plane)
    misled = error_mm(tracked(believing_everything(cut), SMALL), cut.plane)
    found = error_mm(tracked(cut, SMALL), cut.plane)
    assert whole < 0.1 and misled > 2.0
    assert found < 1.0


def test_what_is_lost_is_said() -> None:
    series = [leaving(RING, RING.tagged(angle), REACH_MM) for angle in (45.0, 135.0)]
    flags = {f.code: f.text for f in fit_tagged_plane(series, SMALL).flags}
    assert "circumference" in flags["wall_leaves_plane"]


def test_a_heart_near_the_base_that_went_wrong_is_followed() -> None:
    planned = PlannedSubject(24, 80_000_023, Group.DISTANT, 3)
    simulated = simulated_plane(planned.seed, planned.kind, planned.change)
    plane = tagged_plane(list(simulated.study.slices), DEFAULT)
    truth = PlaneTruth.of(simulated.truth, plane.plane)
    misled = truth.rmse_mm(tracked(believing_everything(plane), DEFAULT))
    assert misled > 2.0
    assert truth.rmse_mm(tracked(plane, DEFAULT)) < 0.8
