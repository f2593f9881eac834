"""Tissue that moves through a plane: labels that show other tissue, and what follows from them."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL
from NISFCore.motion.config import DEFAULT
from NISFCore.motion.contours import Contour, wall_contours
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.gauss_newton import FrameCoefficients, set_coefficients
from NISFCore.motion.plane import Plane, plane_of
from NISFCore.motion.quality import leaving_flags
from NISFCore.motion.refinement import TissuePoints, tissue_points
from NISFCore.motion.strain import strain_curves
from NISFCore.motion.through_plane import follow_expected_tissue, follow_tissue
from NISFCore.motion.wall_labels import LEAST_SHRINKING, WallTerm, of_whole_heart
from Testing.Core.motion.tapered import INNER_MM, OUTER_MM, Tapered

Array = npt.NDArray[np.float64]
LOOSE = 1e6
HALF = 4
"""Frame of the largest motion."""


class Scene:
    """A tapered wall, its plane, and fields that are set to given radii."""

    def __init__(self, wall: Tapered) -> None:
        self.wall, cine = wall, wall.cine()
        self.plane: Plane = plane_of(cine, None)
        self.contours: list[Contour] = wall_contours(cine, self.plane.placement)
        self.times = self.plane.times()
        self.field: DisplacementField = self.plane.field(DEFAULT, self.times.tolist(), False)
        self.tissue: TissuePoints = tissue_points(self.field, self.plane.local_points())
        self.R = self.tissue.points.norm(dim=1).double().numpy()

    def displacement(self, radii: Array) -> torch.Tensor:
        """`(n_times, n, 2)` of tissue that comes to radii `(n_times, n)`."""
        return torch.tensor(radii / self.R - 1)[..., None] * self.tissue.points.double()

    def seen(self) -> torch.Tensor:
        return self.displacement(
            np.stack([self.wall.shown_radius(self.R, float(t)) for t in self.times])
        )

    def true(self) -> torch.Tensor:
        return self.displacement(np.stack([self.wall.radius(self.R, float(t)) for t in self.times]))

    def follow(self, u: torch.Tensor) -> FrameCoefficients:
        """Set the field to displacements."""
        h = self.tissue.features.double()
        A = h.T @ h
        A.diagonal().add_(1e-6 * len(h))
        C = torch.linalg.solve(A, torch.einsum("nf,tnd->ftd", h, u).flatten(1))
        found = FrameCoefficients(
            self.times, C.unflatten(1, (len(self.times), 2)).transpose(0, 1).float()
        )
        set_coefficients(self.field, found)
        return found

    def error_mm(self) -> float:
        """Root mean square over all frames."""
        with torch.no_grad():
            u = self.field.displacement(self.tissue.points, self.times)
        return float((u - self.true()).square().sum(dim=-1).mean().sqrt())

    def gcs(self) -> float:
        """At half of the cycle."""
        plane = self.plane
        curves = strain_curves(self.field, plane.frame, plane.points_ras, [0.5], False)
        return float(curves.whole[0, CIRCUMFERENTIAL])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(Tapered())


def test_tissue_is_followed_where_tags_show_other_tissue(scene: Scene) -> None:
    scene.follow(scene.true())
    true_gcs = scene.gcs()
    found = scene.follow(scene.seen())
    before, gcs_before = scene.error_mm(), scene.gcs()
    changed = follow_tissue(scene.field, scene.tissue, found, scene.contours)
    assert before > 0.4 and abs(gcs_before - true_gcs) > 0.01
    assert scene.error_mm() < 0.3 * before
    assert abs(scene.gcs() - true_gcs) < 0.3 * abs(gcs_before - true_gcs)
    # the field is what is returned
    with torch.no_grad():
        u = scene.field.displacement(scene.tissue.points, scene.times)
    torch.testing.assert_close(
        u[1:], (scene.tissue.features @ changed.values)[1:], atol=0.01, rtol=0
    )


def test_nothing_is_changed_without_labels_or_where_labels_agree(scene: Scene) -> None:
    found = scene.follow(scene.seen())
    assert follow_tissue(scene.field, scene.tissue, found, []) is found
    straight = Scene(Tapered(widening=0.0))
    found = straight.follow(straight.true())
    follow_tissue(straight.field, straight.tissue, found, straight.contours)
    assert straight.error_mm() < 0.1


def test_a_wall_that_does_not_deform_stays_with_its_tags() -> None:
    stiff = Scene(Tapered(shrinking=0.0, shortening=0.0, widening=0.06))
    found = stiff.follow(stiff.true())
    follow_tissue(stiff.field, stiff.tissue, found, stiff.contours)
    # labels show a wall that is 1.5 mm wider
    assert stiff.error_mm() < 0.1


def test_without_tags_the_wall_is_narrowed_by_what_is_usual(scene: Scene) -> None:
    found = scene.follow(0 * scene.true())
    follow_expected_tissue(scene.field, scene.tissue, found, scene.contours, 1.5)
    with torch.no_grad():
        u = scene.field.displacement(scene.tissue.points, scene.times)
    inwards = -(u * torch.nn.functional.normalize(scene.tissue.points, dim=1)).sum(dim=-1)
    lost = 1 - 0.7 * 1.06  # of the shown endocardium's radius
    assert inwards[HALF].mean().item() == pytest.approx(1.5 * lost, rel=0.05)
    assert inwards[0].abs().max().item() < 1e-5
    assert follow_expected_tissue(scene.field, scene.tissue, found, scene.contours, 0.0) is found


def cost(scene: Scene, growth: float) -> float:
    """Of a still wall against the labels at half of the cycle."""
    term = WallTerm(scene.field, scene.contours, 1.0, growth, LOOSE)
    still = torch.zeros(scene.tissue.features.shape[1], 2)
    r, J = term.rows(0.5, still)
    assert len(r) == len(J)
    return float(r.square().sum())


def test_thickness_counts_fully_and_position_less_the_more_the_wall_has_shrunk(
    scene: Scene,
) -> None:
    t = 0.5
    inner, outer = (
        R - 1.06 * float(scene.wall.radius(np.array(R / 1.0), t)) for R in (INNER_MM, OUTER_MM)
    )
    n = len(scene.contours[0].points)
    thickness, position = n * (inner - outer) ** 2 / 2, n * (inner + outer) ** 2 / 2
    # this wall loses 0.26 of its radius, the doubt is that of 0.3
    doubt = 1 + (10 * LEAST_SHRINKING) ** 2
    assert cost(scene, 0.0) == pytest.approx(thickness + position, rel=0.1)
    assert cost(scene, 10.0) == pytest.approx(thickness + position / doubt, rel=0.15)
    assert cost(scene, 1e4) == pytest.approx(thickness, rel=0.3)


def test_a_plane_that_hardly_contracts_is_doubted_as_others_are() -> None:
    healthy, sick = torch.tensor([0.0, 0.2, 0.4]), torch.tensor([0.0, 0.05, 0.1])
    torch.testing.assert_close(of_whole_heart(healthy), healthy)
    torch.testing.assert_close(of_whole_heart(sick), torch.tensor([0.0, 0.15, 0.3]))
    torch.testing.assert_close(of_whole_heart(torch.zeros(3)), torch.zeros(3))


def test_the_walls_jacobian_is_the_residuals_derivative(scene: Scene) -> None:
    term = WallTerm(scene.field, scene.contours, 1.0, 3.0, LOOSE)
    generator = torch.Generator().manual_seed(1)
    C, d = (
        0.1 * torch.randn(scene.tissue.features.shape[1], 2, generator=generator) for _ in range(2)
    )
    difference = term.rows(0.25, C + 0.2 * d)[0] - term.rows(0.25, C - 0.2 * d)[0]
    wanted, got = difference / 0.4, term.rows(0.25, C)[1] @ d.flatten()
    # gradients are smoothed over a pixel, values are interpolated between pixels
    assert float((wanted - got).norm() / wanted.norm()) < 0.15


def test_borders_tell_how_much_they_have_shrunk(scene: Scene) -> None:
    inner, _ = scene.contours
    wanted = [
        1 - (1 + scene.wall.share(t) * 0.06) * (1 - scene.wall.share(t) * 0.3)
        for t in scene.times.tolist()
    ]
    np.testing.assert_allclose(inner.shown.shrinking.numpy(), wanted, atol=0.02)


def test_a_wall_that_leaves_its_plane_is_said(scene: Scene) -> None:
    cine = scene.plane.cine
    assert leaving_flags(cine) == []
    labels = cine.labels
    assert labels is not None
    values = labels.values.copy()
    values[HALF, : values.shape[1] // 2 + 10] = 0
    gone = replace(cine, labels=replace(labels, values=values))
    (flag,) = leaving_flags(gone)
    assert flag.code == "wall_leaves_plane" and "%" in flag.text


def test_the_closed_form_keeps_area_times_length(scene: Scene) -> None:
    wall, t = scene.wall, 0.5
    inner, outer = (float(wall.radius(np.array(R), t)) for R in (INNER_MM, OUTER_MM))
    assert (outer**2 - inner**2) * 0.85 == pytest.approx(OUTER_MM**2 - INNER_MM**2)
    assert inner == pytest.approx(0.7 * INNER_MM)
