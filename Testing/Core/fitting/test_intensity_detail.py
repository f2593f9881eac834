"""`with_intensity_detail`: what images show beyond the heart is found where slices are, and only
there; labels stay; renderings show it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from NISFCore.analysis.rendering import render_dense, render_grid
from NISFCore.errors import Cancelled, ConfigError
from NISFCore.fitting.config import DetailConfig
from NISFCore.fitting.intensity_detail import with_intensity_detail
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.field import DetailedField
from NISFCore.geometry.planes import normal_ras, pixel_centres_ras
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.labels import N_LABELS
from NISFCore.model.intensity_detail import IntensityDetail, harmonics
from NISFCore.model.psf import SIGMA_PER_FWHM, gauss_hermite
from NISFCore.progress import CancelToken
from Testing.Core.fitting.results import made_result

Wave = Callable[[Points, float], np.ndarray]


def wave(points_mm: Points, cycle_fraction: float) -> np.ndarray:
    """Something in canonical space that no decoder has learned, and that beats."""
    x, y, z = np.moveaxis(points_mm / 25.0, -1, 0)
    beat = np.sin(2 * np.pi * cycle_fraction + z)
    return np.asarray(0.06 * np.sin(x) * np.cos(y) + 0.04 * np.cos(x - y) * beat)


def nothing(points_mm: Points, cycle_fraction: float) -> np.ndarray:
    return np.zeros(points_mm.shape[:-1])


def imaged(beyond: Wave, n_phases: int = 9) -> FitResult:
    """A result whose images are exactly its heart and `beyond`, seen through the profiles."""
    made = made_result().result
    # no pixel is so dark that the wave is cut off at zero
    bright = replace(made.parameters, tissue_offset=np.full(N_LABELS, 0.3))
    result = replace(made, parameters=bright)
    slices, t = [], np.arange(n_phases) / n_phases
    for index, cine in enumerate(result.study.slices):
        corrected = result.slice_motions[index] @ cine.ras_from_ijk
        points = pixel_centres_ras(corrected, cine.shape).reshape(-1, 3)
        frames = np.zeros((n_phases, len(points)))
        for node, weight in zip(*(v.tolist() for v in gauss_hermite(3)), strict=True):
            along = node * cine.thickness_mm * SIGMA_PER_FWHM * normal_ras(corrected)
            for frame, time in zip(frames, t, strict=True):
                heart = result.field.evaluate_continued(points + along, time).intensity
                canonical = apply_affine(result.canonical_from_ras, points + along)
                frame += weight * (heart + beyond(canonical, time))
        gain = result.image_gain(index) * result.intensity_reference[index]
        images = frames.reshape(n_phases, *cine.shape) * gain
        times = t * cine.rr_interval_ms
        slices.append(
            replace(cine, frames=images.astype(np.float32), trigger_times_ms=times, labels=None)
        )
    # far above every pixel: nothing is clipped
    factor, p = 4.0, result.parameters
    parameters = replace(
        p,
        intensity_scale=p.intensity_scale / factor,
        intensity_reference=p.intensity_reference * factor,
    )
    return replace(result, study=replace(result.study, slices=tuple(slices)), parameters=parameters)


def scanned_points(result: FitResult) -> Points:
    """Where pixels of the modelled region were found to be, RAS."""
    planes = zip(result.slice_motions, result.study.slices, strict=True)
    points = [pixel_centres_ras(m @ s.ras_from_ijk, s.shape).reshape(-1, 3) for m, s in planes]
    everywhere = np.concatenate(points)
    return everywhere[result.field.contains(everywhere)]


CLOSE = DetailConfig(stride_elsewhere=1, n_iterations=40)


def test_what_images_show_beyond_the_heart_is_found() -> None:
    result = imaged(wave)
    found = with_intensity_detail(result, CLOSE)
    points = scanned_points(result)
    for t in (0.1, 0.62):
        expected = wave(apply_affine(result.canonical_from_ras, points), t)
        seen = (
            found.field.evaluate(points, t).intensity - result.field.evaluate(points, t).intensity
        )
        assert np.sqrt(np.mean((seen - expected) ** 2)) < 0.2 * np.sqrt(np.mean(expected**2))


def test_images_that_the_heart_explains_add_nothing() -> None:
    found = with_intensity_detail(imaged(nothing))
    assert found.detail is not None
    assert np.abs(found.detail.values).max() < 1e-4


def test_labels_and_volumes_stay() -> None:
    result = imaged(wave)
    found = with_intensity_detail(result)
    points = scanned_points(result)[::7]
    before, after = (r.field.evaluate(points, 0.4) for r in (result, found))
    assert np.array_equal(before.label_probabilities, after.label_probabilities)
    assert not np.array_equal(before.intensity, after.intensity)
    assert result.detail is None
    assert found.seconds["intensities"] > 0


def test_far_from_all_slices_the_decoder_has_the_word() -> None:
    found = with_intensity_detail(imaged(wave), CLOSE)
    assert found.detail is not None
    near = scanned_points(found)
    grid = found.field.box.grid(6.0)
    points = grid.points_ras().reshape(-1, 3)[::5]
    distance = np.array([np.linalg.norm(near - p, axis=1).min() for p in points])
    sizes = np.abs(found.detail.at(apply_affine(found.canonical_from_ras, points), 0.3))
    assert distance.max() > 25
    assert sizes[distance > 20].mean() < 0.3 * sizes[distance < 4].mean()


@pytest.mark.parametrize("n_phases", [1, 2, 4])
def test_few_phases(n_phases: int) -> None:
    found = with_intensity_detail(imaged(wave, n_phases))
    assert found.detail is not None
    assert len(found.detail.values) == 1 + 2 * ((n_phases - 1) // 2)
    assert np.isfinite(found.detail.values).all()
    assert np.abs(found.detail.values).max() < 0.5


def test_renderings_show_it() -> None:
    """Coarse to fine as dense, though the lattice knows nothing of it."""
    result = with_intensity_detail(imaged(wave))
    assert isinstance(result.field, DetailedField)
    grid = result.field.box.grid(1.5)
    coarse, dense = (render(result.field, grid, 0.4) for render in (render_grid, render_dense))
    plain = render_grid(result.field.without_detail, grid, 0.4)
    error = np.abs(coarse.intensity - dense.intensity)
    assert np.percentile(error, 99) < 0.03
    assert np.percentile(np.abs(plain.intensity - dense.intensity), 99) > 0.04
    assert (coarse.labels == dense.labels).mean() > 0.999
    assert result.field.without_detail.detail_on_grid(grid, 0.0) is None


def test_cancel() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        with_intensity_detail(imaged(nothing, 1), cancel=cancel)


@pytest.mark.parametrize(
    "wrong", [{"n_phases": 0}, {"spacing_mm": (1.0, 0.0, 1.0)}, {"n_harmonics": -1}]
)
def test_settings_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="at least 1, spacings positive"):
        DetailConfig(**wrong)  # type: ignore[arg-type]


def test_harmonics_are_orthonormal_over_a_cycle() -> None:
    B = harmonics(np.arange(11) / 11, 5)
    np.testing.assert_allclose(B.T @ B / 11, np.eye(11), atol=1e-12)


def test_a_detail_is_trilinear_and_ends_at_its_grid() -> None:
    rng = np.random.default_rng(3)
    low, spacing = np.array([-4.0, 2.0, 10.0]), np.array([2.0, 3.0, 5.0])
    detail = IntensityDetail(low, spacing, rng.normal(size=(3, 6, 5, 4)).astype(np.float32))
    inside = low + spacing * rng.uniform(0, 1, (50, 3)) * [3, 4, 5]
    volume = np.tensordot(harmonics([0.3], 1)[0], detail.values, 1)
    expected = map_coordinates(volume, ((inside - low) / spacing).T[::-1], order=1)
    np.testing.assert_allclose(detail.at(inside, 0.3), expected, atol=1e-5)
    np.testing.assert_allclose(detail.at(inside, 1.3), expected, atol=1e-5)
    assert (detail.at(low - spacing * [[2, 0, 0], [0, 2, 0]], 0.3) == 0).all()
    assert detail.at(inside.reshape(5, 10, 3), 0.3).shape == (5, 10)


@pytest.mark.parametrize("turn_rad", [0.0, 0.3])
def test_a_grid_has_the_values_of_its_points(turn_rad: float) -> None:
    """By matrix products where the axes are parallel, by looking points up where they are not."""
    rng = np.random.default_rng(3)
    low, spacing = np.array([-4.0, 2.0, 10.0]), np.array([2.0, 3.0, 5.0])
    detail = IntensityDetail(low, spacing, rng.normal(size=(5, 6, 5, 4)).astype(np.float32))
    A = rigid(rotation_from_rotvec([0.0, turn_rad, 0.0]), [-6.3, 0.7, 8.1])
    A[:3, :3] = A[:3, :3] @ np.diag([0.9, 1.3, 2.1])
    shape = (13, 12, 11)
    expected = detail.at(apply_affine(A, np.moveaxis(np.indices(shape)[::-1], 0, -1)), 0.4)
    np.testing.assert_allclose(detail.on_grid(A, shape, 0.4), expected, atol=1e-5)
    assert 0.05 < (expected == 0).mean() < 0.9
