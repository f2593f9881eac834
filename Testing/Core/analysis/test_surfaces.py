"""Surfaces against closed forms: closed, outwards, smooth, of the right volume."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from NISFCore.analysis.surfaces import EMPTY_SURFACE, Surface, label_margin, label_surfaces
from NISFCore.errors import Cancelled
from NISFCore.geometry.field import FieldSamples, HeartBox
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.labels import FOREGROUND, Label
from NISFCore.progress import CancelToken
from Testing.Core.analysis.hearts import BASE_MM, EllipsoidHeart

TETRAHEDRON = Surface(
    np.array([[0.0, 0, 0], [60, 0, 0], [0, 60, 0], [0, 0, 60]]),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
)


def test_tetrahedron_has_its_volume_area_and_normals() -> None:
    assert TETRAHEDRON.volume_ml == pytest.approx(60**3 / 6 / 1000)
    assert TETRAHEDRON.area_cm2 == pytest.approx((3 * 1800 + 3**0.5 / 4 * 2 * 3600) / 100)
    assert TETRAHEDRON.n_boundary_edges == 0
    assert (TETRAHEDRON.vertex_normals()[0] < 0).all()
    assert Surface(TETRAHEDRON.points_ras, TETRAHEDRON.triangles[1:]).n_boundary_edges == 3


@pytest.mark.parametrize("sharpness_per_mm", [1.0, 8.0, None])
@pytest.mark.parametrize("base_mm", [None, BASE_MM])
@pytest.mark.parametrize("cycle_fraction", [0.0, 0.5])
def test_surfaces_are_closed_and_have_the_closed_form_volume(
    sharpness_per_mm: float | None, base_mm: float | None, cycle_fraction: float
) -> None:
    heart = EllipsoidHeart(sharpness_per_mm=sharpness_per_mm, base_mm=base_mm)
    surfaces = label_surfaces(heart, cycle_fraction, spacing_mm=2.0)
    assert tuple(surfaces) == FOREGROUND
    for label, surface in surfaces.items():
        assert surface.n_boundary_edges == 0
        assert surface.volume_ml == pytest.approx(heart.volumes_ml(cycle_fraction)[label], rel=5e-3)


@pytest.mark.parametrize("sharpness_per_mm", [1.0, None])
def test_no_staircases_also_where_probabilities_jump(sharpness_per_mm: float | None) -> None:
    heart = EllipsoidHeart(sharpness_per_mm=sharpness_per_mm, base_mm=None)
    surface = label_surfaces(heart, 0.0, 3.0, [Label.LV_BLOOD_POOL])[Label.LV_BLOOD_POOL]
    x = apply_affine(invert_rigid(heart.ras_from_heart), surface.points_ras)
    axes = heart.semi_axes_mm(0.0)[0]
    radial = np.linalg.norm(x / axes, axis=1)
    assert np.abs(radial - 1).max() * axes.min() < 0.25  # mm, on a 3 mm grid
    true_normals = x / axes**2
    true_normals /= np.linalg.norm(true_normals, axis=1, keepdims=True)
    R = heart.ras_from_heart[:3, :3]
    cosine = np.einsum("ij,ij->i", surface.vertex_normals(), true_normals @ R.T)
    # the normals of a staircase are up to 45 degrees off nearly everywhere
    assert np.rad2deg(np.arccos(np.percentile(cosine, 1))) < 5


def test_valves_are_capped_by_a_flat_lid() -> None:
    heart = EllipsoidHeart()
    surface = label_surfaces(heart, 0.0, 2.0, [Label.LV_BLOOD_POOL])[Label.LV_BLOOD_POOL]
    x = apply_affine(invert_rigid(heart.ras_from_heart), surface.points_ras)
    lid = x[np.linalg.norm(x[:, :2], axis=1) < 12]
    lid = lid[lid[:, 2] > 0]
    assert len(lid) > 50
    assert np.abs(lid[:, 2] - BASE_MM).max() < 0.1


def test_the_cavity_of_a_closed_shell_is_kept() -> None:
    heart = EllipsoidHeart(base_mm=None)
    shell = label_surfaces(heart, 0.0, 2.5, [Label.LV_MYOCARDIUM])[Label.LV_MYOCARDIUM]
    radial = np.linalg.norm(
        apply_affine(invert_rigid(heart.ras_from_heart), shell.points_ras)
        / heart.semi_axes_mm(0.0)[1],
        axis=1,
    )
    assert radial.max() < 1.02
    assert radial.min() < 0.75  # the endocardium


@dataclass(frozen=True)
class WithSpeck:
    """A heart with a speck of LV blood pool far from the ventricle."""

    heart: EllipsoidHeart = field(default_factory=EllipsoidHeart)
    speck_ras: Sequence[float] = ()

    @property
    def box(self) -> HeartBox:
        return self.heart.box

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        samples = self.heart.evaluate(points_ras, cycle_fraction)
        near = np.linalg.norm(points_ras - np.asarray(self.speck_ras), axis=1) < 5
        probabilities = samples.label_probabilities.copy()
        probabilities[near] = [0, 1, 0, 0]
        return FieldSamples(samples.intensity, probabilities)


def test_only_the_largest_component_is_kept() -> None:
    heart = EllipsoidHeart()
    spoiled = WithSpeck(heart, apply_affine(heart.ras_from_heart, [60.0, 20, 45]).tolist())
    clean, kept = (
        label_surfaces(h, 0.0, 2.5, [Label.LV_BLOOD_POOL])[Label.LV_BLOOD_POOL]
        for h in (heart, spoiled)
    )
    assert kept.volume_ml == pytest.approx(clean.volume_ml, rel=1e-6)
    assert kept.n_boundary_edges == 0


def test_a_surface_at_the_border_of_the_box_is_closed() -> None:
    heart = EllipsoidHeart(sharpness_per_mm=None, base_mm=None)

    @dataclass(frozen=True)
    class Cut:
        box: HeartBox

        def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
            return heart.evaluate(points_ras, cycle_fraction)

    box = heart.box
    cut = Cut(HeartBox(box.ras_from_box, np.array([-5.0, -42, -60]), box.high_mm))
    surface = label_surfaces(cut, 0.0, 2.0, [Label.LV_BLOOD_POOL])[Label.LV_BLOOD_POOL]
    assert surface.n_boundary_edges == 0
    assert 0.5 < surface.volume_ml / heart.volumes_ml(0)[1] < 0.75


def test_a_label_that_does_not_occur_has_an_empty_surface() -> None:
    @dataclass(frozen=True)
    class Nothing:
        box: HeartBox

        def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
            probabilities = np.zeros((len(points_ras), 4), dtype=np.float32)
            probabilities[:, 0] = 1
            return FieldSamples(np.zeros(len(points_ras), dtype=np.float32), probabilities)

    surfaces = label_surfaces(Nothing(EllipsoidHeart().box), 0.0, 10.0)
    for surface in surfaces.values():
        assert surface.points_ras.shape == EMPTY_SURFACE.points_ras.shape
        assert surface.volume_ml == 0
        assert surface.to_polydata().GetNumberOfCells() == 0


def test_polydata_has_points_triangles_and_normals() -> None:
    polydata = TETRAHEDRON.to_polydata()
    assert polydata.GetNumberOfPoints() == 4
    assert polydata.GetNumberOfPolys() == 4
    assert polydata.GetPointData().GetNormals().GetNumberOfTuples() == 4
    assert polydata.GetPoint(3) == (0, 0, 60)


def test_margin_is_positive_for_the_winner_only() -> None:
    p = np.array([[0.1, 0.6, 0.2, 0.1], [0.5, 0.5, 0.0, 0.0]], dtype=np.float32)
    margin = label_margin(p, Label.LV_BLOOD_POOL)
    assert margin[0] == pytest.approx(np.log(0.6 / 0.2), rel=1e-5)
    assert margin[1] < 0  # a tie is not inside
    assert (label_margin(p, Label.RV_BLOOD_POOL) < 0).all()


def test_cancel() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        label_surfaces(EllipsoidHeart(), 0.0, cancel=cancel)
