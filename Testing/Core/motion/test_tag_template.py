"""The template of tags: known harmonics are found, noise is not, derivatives are exact."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from NISFCore.motion.tag_template import TagTemplate, Waves, fitted_template
from NISFCore.phantom.tag_pattern import TagProfile, cosine_coefficients

SPACING_MM, PIXEL_MM = 7.0, 1.3


def waves(*angles_deg: float, pixel_mm: float = PIXEL_MM) -> Waves:
    """Lines across each direction."""
    angles = torch.deg2rad(torch.tensor(angles_deg))
    k = 2 * math.pi / SPACING_MM * torch.stack([angles.cos(), angles.sin()], dim=1)
    return Waves(k, 0.4 + torch.arange(len(angles_deg)) * 0.8, k * pixel_mm)


def tissue() -> Tensor:
    """Pixels `(n, 2)` of a ring."""
    axis = torch.arange(-30.0, 30.0, PIXEL_MM)
    points = torch.cartesian_prod(axis, axis)
    radius = points.norm(dim=1)
    return points[(radius > 18) & (radius < 28)]


def brightness(points: Tensor) -> Tensor:
    """Of a coil beside the heart: by a third from side to side."""
    return 5 * (1 + 0.006 * points[:, 0] - 0.003 * points[:, 1])


def profile(phase: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    return sum((c * (j * phase).cos() for j, c in enumerate(coefficients)), torch.zeros(()))


def noise_like(values: Tensor, sd: float) -> Tensor:
    return sd * torch.randn(values.shape, generator=torch.Generator().manual_seed(0))


def shape_error(template: TagTemplate, points: Tensor, truth: Tensor) -> float:
    """Of the template against the truth without its mean, over the truth's size, at best scale."""
    T, wanted = template.at(points), truth - truth.mean()
    T = T - T.mean()
    scale = (T @ wanted) / (T @ T)
    return float((scale * T - wanted).norm() / wanted.norm())


def test_harmonics_of_sharp_tags_are_found_under_a_coils_shading() -> None:
    points, lines = tissue(), waves(30.0)
    coefficients = cosine_coefficients(math.radians(90), TagProfile.SHARP)
    assert abs(coefficients[2]) > 0.1 * abs(coefficients[1])  # sharper than a cosine
    truth = profile(points @ lines.vectors[0] + lines.phases_rad[0], coefficients)
    values = brightness(points) * truth
    found = fitted_template(
        lines, points, values + noise_like(values, 0.05), torch.ones(len(points))
    )
    wanted = torch.tensor(coefficients[1:]) / coefficients[1]
    n = len(found.cosines)
    assert (found.cosines / found.cosines[0]).numpy() == pytest.approx(wanted[:n].numpy(), abs=0.02)
    assert float(found.sines.abs().max()) < 0.02
    assert shape_error(found, points, truth) < 0.03
    cosine = fitted_template(
        Waves(lines.vectors, lines.phases_rad, 9 * lines.by_pixel),
        points,
        values,
        torch.ones(len(points)),
    )
    # with pixels too large for harmonics there is the wave alone
    assert len(cosine.cosines) == 1 and shape_error(cosine, points, truth) > 0.1


def test_a_grid_has_products_of_its_families() -> None:
    points, grid = tissue(), waves(20.0, 110.0)
    phases = points @ grid.vectors.T + grid.phases_rad
    truth = (1 + 0.7 * phases.cos()).prod(dim=1)
    values = brightness(points) * truth
    found = fitted_template(grid, points, values + noise_like(values, 0.1), torch.ones(len(points)))
    assert shape_error(found, points, truth) < 0.03
    amplitudes = torch.stack([found.cosines, found.sines]).norm(dim=0).sort(descending=True).values
    assert (amplitudes[:4] / amplitudes[0]).numpy() == pytest.approx([1, 1, 0.35, 0.35], abs=0.03)
    assert len(amplitudes) < 8 and float(amplitudes[4:].sum()) < 0.02


def test_orders_are_those_that_pixels_resolve() -> None:
    def largest(pixel_mm: float) -> float:
        return float(waves(0.0, pixel_mm=pixel_mm).orders().abs().max())

    # half a wavelength per pixel: 7 mm / 3 / 2 = 1.17 mm, 7 mm / 2 / 2 = 1.75 mm
    assert [largest(mm) for mm in (1.1, 1.3, 1.7, 1.8, 5.0)] == [3, 2, 2, 1, 1]
    grid = waves(0.0, 90.0, pixel_mm=1.7).orders()
    assert {tuple(map(int, n)) for n in grid.tolist()} >= {(1, 0), (0, 1), (1, 1), (1, -1), (2, 0)}
    assert (
        len(grid)
        == 12
        == len({tuple(sorted([n, tuple(-np.array(n))])) for n in map(tuple, grid.tolist())})
    )


def test_noise_and_borders_are_no_harmonics() -> None:
    points, lines = tissue(), waves(45.0)
    truth = 1 + 0.5 * (points @ lines.vectors[0] + lines.phases_rad[0]).cos()
    values = truth + noise_like(truth, 0.2)
    beside_blood = points.norm(dim=1) < 19.5
    values = torch.where(beside_blood, 3.0, values)
    trust = torch.where(beside_blood, 0.0, 1.0)
    found = fitted_template(lines, points, values, trust)
    assert len(found.cosines) == 1
    assert float(found.cosines[0]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_the_gradient_is_the_derivative(n_dims: int) -> None:
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    template = TagTemplate(drawn(4, n_dims), drawn(4), drawn(4), drawn(4))
    points, h = drawn(20, n_dims), 1e-5
    for k in range(n_dims):
        step = h * torch.eye(n_dims, dtype=torch.float64)[k]
        difference = (template.at(points + step) - template.at(points - step)) / (2 * h)
        torch.testing.assert_close(template.gradient(points)[:, k], difference, atol=1e-8, rtol=0)
