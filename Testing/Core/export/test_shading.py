"""Software rendering of surfaces: where things are, what hides what, what shines through."""

import numpy as np
import pytest

from NISFCore.analysis.surfaces import EMPTY_SURFACE, Surface
from NISFCore.export.shading import Camera, ShadedSurface, framing, look_from, render_surfaces

RED, BLUE = (255, 0, 0), (0, 0, 255)
WHITE = (255, 255, 255)
FRONT = look_from([0, 0, 1], [0, 1, 0])


def _square(half_mm: float, z_mm: float, x_mm: float = 0.0) -> Surface:
    """A square that faces +z."""
    h = half_mm
    corners = [[x_mm - h, -h, z_mm], [x_mm + h, -h, z_mm], [x_mm + h, h, z_mm], [x_mm - h, h, z_mm]]
    return Surface(np.array(corners), np.array([[0, 1, 2], [0, 2, 3]]))


def _camera(half_width_mm: float = 10.0) -> Camera:
    return Camera(np.zeros(3), FRONT, half_width_mm)


def _is(pixel: np.ndarray, channel: int) -> bool:
    others = np.delete(pixel.astype(int), channel)
    return bool(pixel[channel] > others.max() + 60)


def test_a_square_covers_its_pixels_without_holes() -> None:
    image = render_surfaces([ShadedSurface(_square(4.99, 0), RED)], _camera(), 40, WHITE)
    red = (image[..., 0].astype(int) - image[..., 2]) > 60
    expected = np.zeros((40, 40), dtype=bool)
    expected[10:30, 10:30] = True
    assert np.array_equal(red, expected)
    assert (image[~expected] == 255).all()


@pytest.mark.parametrize("order", [1, -1])
def test_the_nearer_surface_hides_the_farther(order: int) -> None:
    surfaces = [ShadedSurface(_square(3, 4), BLUE), ShadedSurface(_square(6, 0), RED)][::order]
    image = render_surfaces(surfaces, _camera(), 40, WHITE)
    assert _is(image[20, 20], 2)
    assert _is(image[20, 10], 0)


def test_a_translucent_surface_shows_what_is_behind() -> None:
    surfaces = [ShadedSurface(_square(6, 4), BLUE, 0.3), ShadedSurface(_square(6, 0), RED)]
    pixel = render_surfaces(surfaces, _camera(), 40, WHITE)[20, 20].astype(int)
    alone = render_surfaces(surfaces[1:], _camera(), 40, WHITE)[20, 20].astype(int)
    assert pixel[0] < alone[0]
    assert pixel[2] > alone[2]
    assert pixel[0] > pixel[2]


def test_faces_turned_away_are_not_drawn() -> None:
    turned = Surface(_square(5, 0).points_ras, _square(5, 0).triangles[:, ::-1])
    image = render_surfaces([ShadedSurface(turned, RED)], _camera(), 20, WHITE)
    assert (image == 255).all()


def test_right_is_right_and_up_is_up() -> None:
    camera = Camera(np.zeros(3), look_from([0, 1, 0], [0, 0, 1]), 10.0)
    # seen from the front of the patient (+A towards the viewer), +R is on the left
    assert np.allclose(camera.view_from_ras @ [1, 0, 0], [-1, 0, 0])
    assert np.allclose(camera.view_from_ras @ [0, 0, 1], [0, 1, 0])
    image = render_surfaces([ShadedSurface(_square(2, 0, x_mm=6), RED)], _camera(), 40, WHITE)
    assert _is(image[20, 32], 0)


def test_framing_holds_everything() -> None:
    surfaces = [_square(5, 0, x_mm=40), _square(5, 0, x_mm=-20)]
    camera = framing(surfaces, FRONT)
    assert np.allclose(camera.centre_ras, [10, 0, 0])
    assert 35 < camera.half_width_mm < 40
    image = render_surfaces([ShadedSurface(s, RED) for s in surfaces], camera, 80, WHITE)
    assert (image[:, [0, -1]] == 255).all()


def test_nothing_to_show_is_background() -> None:
    camera = framing([EMPTY_SURFACE], FRONT)
    image = render_surfaces([ShadedSurface(EMPTY_SURFACE, RED)], camera, 10, (1, 2, 3))
    assert (image == [1, 2, 3]).all()
