"""`FittedHeart`: where it is known, its cycle, and evaluation in chunks."""

import numpy as np
import pytest
import torch

from NISFCore.fitting.heart import FittedHeart
from NISFCore.geometry.field import ContinuedField
from NISFCore.geometry.rigid import invert_rigid
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.labels import Label
from NISFCore.model import folded
from NISFCore.model.prior import Prior
from Testing.Core.fitting.results import N_LATENT, random_prior, random_rigid

TISSUE_OFFSET = np.array([0.02, 0.05, 0.01, 0.04], dtype=np.float32)


@pytest.fixture(scope="module")
def prior() -> Prior:
    return random_prior()


@pytest.fixture(scope="module")
def canonical_from_ras() -> Affine:
    return random_rigid(np.random.default_rng(5), 80.0)


@pytest.fixture(scope="module")
def heart(prior: Prior, canonical_from_ras: Affine) -> FittedHeart:
    latent = np.linspace(-0.5, 0.5, N_LATENT).astype(np.float32)
    return FittedHeart(prior.decoder, latent, canonical_from_ras, TISSUE_OFFSET)


@pytest.fixture(scope="module")
def points(heart: FittedHeart) -> np.ndarray:
    """A grid that is larger than the region."""
    box = heart.box
    corners = np.stack(np.meshgrid(*[np.linspace(-90, 100, 20)] * 3), axis=-1).reshape(-1, 3)
    return apply_affine(box.ras_from_box, corners)


def test_outside_the_region_is_background(heart: FittedHeart, points: np.ndarray) -> None:
    samples, inside = heart.evaluate(points, 0.2), heart.contains(points)
    assert 0.1 < inside.mean() < 0.5
    assert (samples.intensity[~inside] == 0).all()
    assert (samples.label_probabilities[~inside] == [1, 0, 0, 0]).all()
    assert (samples.labels[~inside] == Label.BACKGROUND).all()
    assert (samples.intensity[inside] > 0).all()
    np.testing.assert_allclose(samples.label_probabilities.sum(axis=1), 1, atol=1e-6)
    assert samples.intensity.dtype == samples.label_probabilities.dtype == np.float32


def test_inside_it_is_the_decoder_at_canonical_points(
    heart: FittedHeart, prior: Prior, points: np.ndarray, canonical_from_ras: Affine
) -> None:
    inside = points[heart.contains(points)][::7]
    x = torch.tensor(apply_affine(canonical_from_ras, inside), dtype=torch.float32)
    latent = torch.linspace(-0.5, 0.5, N_LATENT)[None]
    intensity, logits, _ = prior.decoder(x, torch.full((len(x),), 0.7), latent)
    intensity = intensity + logits.softmax(1) @ torch.tensor(TISSUE_OFFSET)
    samples = heart.evaluate(inside, 0.7)
    np.testing.assert_allclose(samples.intensity, intensity, atol=1e-6)
    np.testing.assert_allclose(samples.label_probabilities, logits.softmax(1), atol=1e-6)


def test_chunks_change_nothing(
    prior: Prior,
    heart: FittedHeart,
    points: np.ndarray,
    canonical_from_ras: Affine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = heart.evaluate(points, 0.4)
    monkeypatch.setattr(folded, "CHUNK_CPU", 97)
    latent = np.linspace(-0.5, 0.5, N_LATENT).astype(np.float32)
    same = FittedHeart(prior.decoder, latent, canonical_from_ras, TISSUE_OFFSET)
    parts = same.evaluate(points, 0.4)
    np.testing.assert_allclose(parts.intensity, whole.intensity, atol=1e-6)
    np.testing.assert_allclose(parts.label_probabilities, whole.label_probabilities, atol=1e-6)


def test_continued_is_smooth_across_the_border_and_the_same_inside(
    heart: FittedHeart, points: np.ndarray
) -> None:
    inside = heart.contains(points)
    cut, continued = heart.evaluate(points, 0.2), heart.evaluate_continued(points, 0.2)
    # other points beside them: some processors then add up products in another order
    np.testing.assert_allclose(continued.intensity[inside], cut.intensity[inside], atol=1e-6)
    assert (continued.intensity[~inside] > 0).all()
    assert isinstance(heart, ContinuedField)


@pytest.mark.parametrize("turns", [-1, 1, 5])
def test_the_cycle_closes(heart: FittedHeart, points: np.ndarray, turns: int) -> None:
    inside = points[heart.contains(points)]
    samples, later = heart.evaluate(inside, 0.3), heart.evaluate(inside, 0.3 + turns)
    np.testing.assert_allclose(later.intensity, samples.intensity, atol=1e-5)
    end, start = heart.evaluate(inside, 1 - 1e-6), heart.evaluate(inside, 0.0)
    np.testing.assert_allclose(end.intensity, start.intensity, atol=1e-4)
    assert np.abs(heart.evaluate(inside, 0.8).intensity - samples.intensity).max() > 0.05


def test_the_box_bounds_the_region_tightly(
    heart: FittedHeart, prior: Prior, points: np.ndarray, canonical_from_ras: Affine
) -> None:
    box, region = heart.box, prior.info.decoder.region
    np.testing.assert_allclose(box.ras_from_box, invert_rigid(canonical_from_ras), atol=1e-9)
    inside = apply_affine(canonical_from_ras, points[heart.contains(points)])
    assert (inside >= box.low_mm).all()
    assert (inside <= box.high_mm).all()
    for axis in range(3):
        for end in (box.low_mm, box.high_mm):
            touching = np.array(region.centre_mm)
            touching[axis] = end[axis]
            nearly = touching + 0.01 * (np.array(region.centre_mm) - touching)
            assert heart.contains(apply_affine(box.ras_from_box, nearly))
            beyond = touching - 0.01 * (np.array(region.centre_mm) - touching)
            assert not heart.contains(apply_affine(box.ras_from_box, beyond))


def test_no_points(heart: FittedHeart) -> None:
    samples = heart.evaluate(np.zeros((0, 3)), 0.0)
    assert samples.intensity.shape == (0,)
    assert samples.label_probabilities.shape == (0, 4)
