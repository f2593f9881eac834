"""Views: slices seen straight on, pictures that change with phase and alignment."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer

from NISFCore.geometry.planes import centre_ras
from NISFLib.scene import HeartScene, Part, SceneError
from NISFLib.scene.cycle import now_of
from NISFLib.scene.nodes import Role
from NISFLib.scene.views import composite_of, slice_pose, slice_view
from Testing.Extension.scene.folders import Folders
from Testing.Harness.scene_pictures import heart_centre
from Testing.Harness.views import OffscreenSliceView, OffscreenThreeDView


@pytest.fixture
def view_nodes(scene: Any) -> Any:
    """A scene with the nodes of Slicer's slice views and camera, without any rendering."""
    scene.AddNewNodeByClass("vtkMRMLCameraNode")
    for name in ("Red", "Green", "Yellow"):
        node = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        node.SetLayoutName(name)
        node.SetDimensions(400, 300, 1)
        composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name)
        composite.SetLayoutName(name)
    return scene


def ras_from_view(heart: HeartScene, view: str) -> np.ndarray:
    return slicer.util.arrayFromVTKMatrix(slice_view(heart.nodes, view).GetSliceToRAS())


def background(heart: HeartScene, view: str) -> str:
    return str(composite_of(heart.nodes, view).GetBackgroundVolumeID())


def test_views_show_the_kinds_of_slices_that_they_are_for(
    view_nodes: Any, heart: HeartScene
) -> None:
    heart.arrange_views()
    for view, name in (("Red", "SA_02"), ("Green", "LA_4CH"), ("Yellow", "LA_2CH")):
        assert background(heart, view) == now_of(heart.nodes, Role.SLICE_IMAGES, name).GetID()
    camera = view_nodes.GetFirstNodeByClass("vtkMRMLCameraNode")
    gap = np.array(camera.GetPosition()) - camera.GetFocalPoint()
    assert np.linalg.norm(gap) == pytest.approx(420)


@pytest.mark.parametrize("amount", [0.0, 0.6, 1.0])
def test_a_view_looks_straight_at_its_slice_wherever_it_is(
    view_nodes: Any, heart: HeartScene, folders: Folders, amount: float
) -> None:
    heart.show_slice("LA_4CH", "Green")
    heart.alignment = amount
    cine = next(c for c in folders.fitted.study.slices if c.name == "LA_4CH")
    place = slice_pose(heart.nodes, "LA_4CH") @ cine.ras_from_ijk
    found = ras_from_view(heart, "Green")
    i, j = (place[:3, k] / np.linalg.norm(place[:3, k]) for k in (0, 1))
    assert np.abs(found[:3, 0] - i).max() < 1e-6  # columns to the right
    assert np.abs(found[:3, 1] + j).max() < 1e-6  # rows down
    assert np.linalg.det(found[:3, :3]) == pytest.approx(1)
    assert np.abs(found[:3, 3] - centre_ras(place, cine.shape)).max() < 1e-4


def test_the_fitted_part_of_a_slice_fills_the_view(
    view_nodes: Any, heart: HeartScene, folders: Folders
) -> None:
    heart.show_slice("SA_01", "Red")
    cine = folders.fitted.study.slices[1]
    width, height = np.array(cine.spacing_mm) * cine.shape[::-1]
    node = slice_view(heart.nodes, "Red")
    field = node.GetFieldOfView()
    assert field[0] >= width
    assert field[1] >= height
    assert min(field[0] / width, field[1] / height) < 1.1
    assert field[0] / 400 == pytest.approx(field[1] / 300)  # square pixels


def test_before_a_fit_the_whole_slice_fills_the_view(view_nodes: Any, folders: Folders) -> None:
    heart = HeartScene()
    heart.load_study(folders.study)
    heart.show_slice("SA_01", "Red")
    cine = folders.full.slices[1]
    height = cine.spacing_mm[1] * cine.shape[0]
    assert slice_view(heart.nodes, "Red").GetFieldOfView()[1] == pytest.approx(height, rel=0.1)


def test_a_view_that_the_user_turned_away_is_left_alone(view_nodes: Any, heart: HeartScene) -> None:
    heart.show_slice("SA_01", "Red")
    mine = view_nodes.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    composite_of(heart.nodes, "Red").SetBackgroundVolumeID(mine.GetID())
    before = ras_from_view(heart, "Red")
    heart.alignment = 0.0
    assert np.array_equal(ras_from_view(heart, "Red"), before)


def test_the_super_resolved_image_as_background_and_back(
    view_nodes: Any, heart: HeartScene
) -> None:
    heart.arrange_views()
    slices = [background(heart, view) for view in ("Red", "Green", "Yellow")]
    heart.set_visible(Part.INTENSITY, True)
    intensity = now_of(heart.nodes, Role.INTENSITY).GetID()
    assert [background(heart, view) for view in ("Red", "Green", "Yellow")] == [intensity] * 3
    assert heart.visible(Part.INTENSITY)
    heart.set_visible(Part.INTENSITY, False)
    assert [background(heart, view) for view in ("Red", "Green", "Yellow")] == slices


@pytest.mark.parametrize(("name", "view"), [("SA_99", "Red"), ("SA_00", "Blue")])
def test_no_such_slice_or_view(view_nodes: Any, heart: HeartScene, name: str, view: str) -> None:
    with pytest.raises(SceneError, match=f"no slice '{name}' or no view '{view}'"):
        heart.show_slice(name, view)


@pytest.fixture
def real_views(scene: Any) -> Iterator[tuple[OffscreenSliceView, OffscreenThreeDView]]:
    """A slice view and a 3D view that render."""
    views = OffscreenSliceView("Red", (160, 160)), OffscreenThreeDView("1", (160, 160))
    yield views
    for view in views:
        view.close()


def test_pictures_of_real_views_change_with_phase_and_alignment(
    real_views: tuple[OffscreenSliceView, OffscreenThreeDView], heart: HeartScene
) -> None:
    """The displayable managers of 3D Slicer draw what the nodes say."""
    red, three_d = real_views
    heart.arrange_views()
    three_d.look(heart_centre(heart), [-0.4, 1, 0.3])
    first = red.picture(), three_d.picture()
    outlines = _coloured(first[0])
    assert outlines > 30
    heart.phase = heart.es_phase or 0
    second = red.picture(), three_d.picture()
    heart.alignment = 0.0
    third = red.picture(), three_d.picture()
    for a, b in ((first, second), (second, third)):
        for before, after in zip(a, b, strict=True):
            assert np.abs(before.astype(int) - after).max(axis=2).mean() > 0.5
    heart.set_visible(Part.OUTLINES, False)
    assert _coloured(red.picture()) == 0
    heart.set_visible(Part.SURFACES, False)
    heart.set_visible(Part.PLANES, False)
    assert _coloured(three_d.picture()) == 0


def _coloured(picture: np.ndarray) -> int:
    """Number of pixels that are clearly not grey."""
    values = picture.astype(int)
    return int((values.max(axis=2) - values.min(axis=2) > 60).sum())
