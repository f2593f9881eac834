"""Tissue that moves through planes: found again, and its derivatives against differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.motion.borders import borders_in_plane
from NISFCore.motion.cine import SlidingTerm, around_axis
from NISFCore.motion.config import MotionConfig, NetworkConfig, SpaceConfig
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.plane_in_space import BorderInSpace, PlaneInSpace, evenly
from NISFCore.motion.refinement import FrameTerm, tissue_points
from NISFCore.motion.space import HeartSpace, labelled_space
from NISFCore.motion.study_fit import plane_in_space
from NISFCore.motion.wall import Wall
from Testing.Core.motion.beating_tube import INNER_MM, OUTER_MM, BeatingTube, to_tube

CONFIG = MotionConfig(network=NetworkConfig(width=8), space=SpaceConfig(n_features=30))
TUBE = BeatingTube(n_phases=4)
CINE = TUBE.cine()


@pytest.fixture(scope="module")
def heart() -> tuple[HeartSpace, Wall, DisplacementField]:
    space, wall = labelled_space(CINE.slices)
    return space, wall, space.field(CONFIG, [0.0, 0.5], is_cyclic=False)


@pytest.fixture(scope="module")
def plane(heart: tuple[HeartSpace, Wall, DisplacementField]) -> PlaneInSpace:
    return plane_in_space(heart[2], CINE.slices[1])


def some_coefficients(field: DisplacementField, seed: int = 0) -> torch.Tensor:
    """Of movements of a few mm."""
    generator = torch.Generator().manual_seed(seed)
    return 0.4 * torch.randn(field.config.n_features + 1, 3, generator=generator)


def check_jacobian(term: FrameTerm, C: torch.Tensor, tolerance: float) -> None:
    """Along a random direction, against central differences."""
    direction = torch.randn(C.shape, generator=torch.Generator().manual_seed(5))
    h = 2e-3
    r, J = term.rows(0.5, C)
    after, before = term.rows(0.5, C + h * direction)[0], term.rows(0.5, C - h * direction)[0]
    difference = (after - before) / (2 * h)
    error = (J @ direction.flatten() - difference).norm() / difference.norm()
    assert len(r) == len(J) > 0
    assert float(error) < tolerance


def test_what_is_in_a_plane_now_is_found(
    heart: tuple[HeartSpace, Wall, DisplacementField], plane: PlaneInSpace
) -> None:
    space, _, field = heart
    points = evenly(space.local_of(space.points_ras), 200)
    C = some_coefficients(field)
    tissue = plane.tissue_beside(points, C)
    on_plane = tissue.places @ plane.normal - plane.offset
    assert float(on_plane.abs().max()) < 1e-3
    moved = tissue.material + tissue.features @ C
    assert float((moved - tissue.places).norm(dim=1).quantile(0.95)) < 0.05
    again = plane.tissue_at(tissue.places, C)
    assert float((again.material - tissue.material).norm(dim=1).median()) < 0.02


def test_border_rows_have_exact_derivatives(
    heart: tuple[HeartSpace, Wall, DisplacementField], plane: PlaneInSpace
) -> None:
    _, wall, field = heart
    (inner, _) = borders_in_plane(CINE.slices[1], field.placement)
    far = 1e6  # no Huber weight, which changes with the residual
    term = BorderInSpace(plane, inner, wall.blood, 0.7, far)
    # the distance is divided by the length of its gradient, taken as constant
    check_jacobian(term, 0.2 * some_coefficients(field), tolerance=0.1)


def test_sliding_rows_have_exact_derivatives(
    heart: tuple[HeartSpace, Wall, DisplacementField],
) -> None:
    space, _, field = heart
    tissue = tissue_points(field, evenly(space.local_of(space.points_ras), 50))
    around = around_axis(space.frame, space.placement, tissue.points)
    check_jacobian(SlidingTerm(tissue, around, 0.3), some_coefficients(field), tolerance=1e-3)


def test_the_wall_between_planes_is_the_labels(
    heart: tuple[HeartSpace, Wall, DisplacementField],
) -> None:
    space, wall, _ = heart
    X = to_tube(space.points_ras)
    radius = np.hypot(X[:, 0], X[:, 1])
    beside_cavity = X[:, 2] > -20
    assert radius.max() < OUTER_MM + 3.0
    assert np.mean(radius > OUTER_MM + 1.0) < 0.005
    assert np.mean(radius[beside_cavity] < INNER_MM - 1.0) < 0.005
    assert float(wall.depth_mm(space.local_of(space.points_ras)).min()) > 0


def test_borders_need_labels_of_every_frame() -> None:
    cine = CINE.slices[0]
    labels = cine.labels
    assert labels is not None
    first = np.arange(cine.n_phases) == 0
    partly = replace(cine, labels=replace(labels, annotated=first))
    placement = labelled_space([cine, *CINE.slices[1:]])[0].placement
    assert borders_in_plane(partly, placement) == []
    inner, outer = borders_in_plane(cine, placement)
    assert inner.is_inner and not outer.is_inner
    radius = np.hypot(*to_tube(placement.ras_from_local(inner.places[0].numpy()))[:, :2].T)
    assert np.abs(radius - INNER_MM).max() < 1.0
