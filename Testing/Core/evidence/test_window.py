"""The window: where it lies, and that pixels come back to their own place on any plane."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from NISFCore.errors import StudyError
from NISFCore.evidence.window import (
    WindowChange,
    WindowGrid,
    canonical_from_window,
    is_across_axis,
    pixels_of_window,
    sample_at,
    window_of_pixels,
    window_points,
)
from NISFCore.geometry.planes import normal_ras
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, apply_affine

GRID = WindowGrid(64, 2.0)


def plane(rotvec: list[float], position: list[float], pixel_mm: tuple[float, float]) -> Affine:
    """canonical_from_ijk of an oblique plane of 90 columns and 70 rows about `position`."""
    A = rigid(rotation_from_rotvec(rotvec), np.zeros(3))
    A[:3, 0] *= pixel_mm[0]
    A[:3, 1] *= pixel_mm[1]
    A[:3, 3] = np.array(position) - A[:3, :3] @ [44.5, 34.5, 0]
    return A


angles = st.floats(-3.0, 3.0)
places = st.floats(-20.0, 20.0)
pixels = st.floats(0.6, 3.0)


@given(angles, angles, angles, places, places, places, pixels, pixels)
def test_window_lies_in_its_plane(
    a: float, b: float, c: float, x: float, y: float, z: float, width: float, height: float
) -> None:
    A = plane([a, b, c], [x, y, z], (width, height))
    window = canonical_from_window(A, GRID)
    assert np.allclose(np.linalg.norm(window[:3, :2], axis=0), GRID.pixel_mm)
    n = normal_ras(A)
    offsets = (window_points(window, GRID) - A[:3, 3]) @ n
    assert np.abs(offsets).max() < 1e-9
    there = pixels_of_window(A, window, GRID.n_pixels).double().numpy()[0]
    ijk = np.concatenate([there, np.zeros_like(there[..., :1])], axis=-1)
    assert np.allclose(apply_affine(A, ijk), window_points(window, GRID), atol=2e-3)


@given(angles, angles, angles, pixels, st.floats(-0.3, 0.3), st.floats(0.8, 1.2))
def test_image_through_the_window_and_back(
    a: float, b: float, c: float, width: float, turn: float, scale: float
) -> None:
    """A function that is linear in space survives both samplings exactly, inside."""
    A = plane([a, b, c], [3.0, -5.0, 8.0], (width, 0.7 * width))
    window = canonical_from_window(A, GRID, WindowChange(turn, (3.0, -2.0), scale))
    slope = np.array([0.3, -0.2, 0.5])
    seen = torch.as_tensor(window_points(window, GRID) @ slope)[None, None].float()
    back = window_of_pixels(A, window, (70, 90))
    found = sample_at(seen, back, is_continued=True)[0, 0].numpy()
    j, i = np.meshgrid(np.arange(70), np.arange(90), indexing="ij")
    truth = apply_affine(A, np.stack([i, j, np.zeros_like(i)], axis=-1)) @ slope
    inside = ((back >= 0) & (back <= GRID.n_pixels - 1)).all(dim=-1)[0].numpy()
    assert np.abs(found - truth)[inside].max(initial=0) < 1e-2


def test_short_axis_stands_with_the_rv_to_the_right_and_anterior_up() -> None:
    for flip in (False, True):
        A = plane([0.0, 0.0, 0.4], [0, 0, 20], (1.4, 1.4))
        if flip:  # seen from the other side
            A[:3, 0], A[:3, 2] = -A[:3, 0], -A[:3, 2]
        window = canonical_from_window(A, GRID)
        assert is_across_axis(A)
        assert np.allclose(window[:3, 0], [GRID.pixel_mm, 0, 0], atol=1e-9)
        assert np.allclose(window[:3, 1], [0, GRID.pixel_mm, 0], atol=1e-9)


@pytest.mark.parametrize("azimuth_deg", [0.0, 57.0, 113.0])
def test_long_axis_stands_with_the_base_up(azimuth_deg: float) -> None:
    c, s = np.cos(np.deg2rad(azimuth_deg)), np.sin(np.deg2rad(azimuth_deg))
    for sign in (1.0, -1.0):
        A = np.eye(4)
        A[:3, 0], A[:3, 1] = [sign * c, sign * s, 0], [0, 0, -1]
        A[:3, 2] = np.cross(A[:3, 0], A[:3, 1])
        window = canonical_from_window(A, GRID)
        assert not is_across_axis(A)
        assert np.allclose(window[:3, 1] / GRID.pixel_mm, [0, 0, 1])
        assert np.allclose(window[:3, 0] / GRID.pixel_mm, [c, s, 0])


def test_sampling_knows_pixel_centres() -> None:
    image = torch.arange(20.0).reshape(1, 1, 4, 5)
    ij = torch.tensor([[[[0.0, 0.0], [4.0, 3.0], [1.5, 2.0]]]])
    assert sample_at(image, ij)[0, 0, 0].tolist() == pytest.approx([0.0, 19.0, 11.5])


def test_a_window_off_its_slice_is_refused() -> None:
    A = plane([0, 0, 0], [0, 0, 0], (1.0, 1.0))
    other = canonical_from_window(plane([0, 0, 0], [0, 0, 5], (1.0, 1.0)), GRID)
    with pytest.raises(StudyError, match="off its slice"):
        pixels_of_window(A, other, GRID.n_pixels)
