"""The scanner's blur: sampled against closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from NISFCore.phantom.chest import coverage
from NISFCore.phantom.psf import (
    SIGMA_PER_FWHM,
    average,
    blur,
    in_plane_weights,
    profile_offsets,
    sub_pixel_offsets,
)


@pytest.mark.parametrize("n", [2, 3, 6, 10])
def test_profile_has_the_gaussians_width(n: int) -> None:
    offsets = profile_offsets(n)
    assert offsets.mean() == pytest.approx(0, abs=1e-12)
    assert offsets.std() == pytest.approx(1 / math.sqrt(8 * math.log(2)))


def test_thin_slice_has_one_sample() -> None:
    assert profile_offsets(1).tolist() == [0.0]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_weights_are_normalised_and_symmetric(n: int) -> None:
    w = in_plane_weights(n)
    assert w.sum() == pytest.approx(1)
    assert np.allclose(w, w[::-1])


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("shift", [0.0, 0.13, 0.31, 0.5])
def test_partial_volume_of_a_planar_edge(n: int, shift: float) -> None:
    """A half plane at `shift` pixels blurs to the normal distribution function, up to the error
    h^2 / 8 max |f''| of linear interpolation between samples h = 1 / n pixels apart."""
    bound = 0.242 / (8 * n**2 * SIGMA_PER_FWHM**2)
    pixels = 12
    x = (np.arange(pixels)[:, None] + sub_pixel_offsets(n)).reshape(-1)
    edge = coverage(torch.as_tensor(x) - (5.0 + shift), 1 / n)
    image = blur(edge.expand(1, pixels * n, pixels * n).contiguous(), n)[0, 5]
    expected = ndtr((5.0 + shift - np.arange(pixels)) / SIGMA_PER_FWHM)
    assert np.abs(image.numpy() - expected).max() < bound


@pytest.mark.parametrize("n", [1, 2, 3])
def test_constant_images_stay_constant(n: int) -> None:
    samples = torch.full((2, 6 * n, 8 * n), 0.7)
    for image in (blur(samples, n), average(samples, n)):
        assert image.shape == (2, 6, 8)
        assert torch.allclose(image, torch.tensor(0.7))
