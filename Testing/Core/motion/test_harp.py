"""HARP: a known shift is recovered, waves are measured, the phase knows nothing of fading."""

import math

import numpy as np
import pytest
import torch

from NISFCore.errors import StudyError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.motion.harp import TagWave, demodulated, refined_wave, wrapped
from NISFCore.motion.images import ImageStack
from Testing.Core.motion.movies import SPACING_MM, Ring, RingMotion


def wave_of(ring: Ring, angle_deg: float) -> TagWave:
    """The wave that the ring's tags were made from."""
    from Testing.Core.motion.movies import CENTRE_RAS

    vector = ring.wave(angle_deg) @ ring.axes
    return TagWave(vector, 0.7 - float(vector @ CENTRE_RAS))


def middle(ring: Ring) -> np.ndarray:
    """A small patch within the wall."""
    points = pixel_centres_ras(ring.ras_from_ijk, (ring.n_pixels, ring.n_pixels))
    target = points.mean(axis=(0, 1)) + 24.0 * ring.axes[1]
    return np.asarray(np.linalg.norm(points - target, axis=-1) < 3.0)


def test_a_known_shift_is_the_phase_over_the_wave_number() -> None:
    shift_mm = 2.5
    ring = Ring(RingMotion(shrinking=0.0, turn_rad=0.0, shift_mm=shift_mm), n_phases=8)
    wave = wave_of(ring, 0.0)
    phase = np.angle(demodulated(ring.tagged(0.0).frames, ring.tagged(0.0), wave, 0.3))
    seen_mm = -phase[4][middle(ring)].mean() / np.linalg.norm(wave.vector_ras)
    assert seen_mm == pytest.approx(shift_mm, abs=0.1)


def test_fading_and_brightness_do_not_change_the_phase() -> None:
    ring = Ring(n_phases=4)
    cine, wave, patch = ring.tagged(45.0), wave_of(ring, 45.0), middle(ring)
    strong = np.angle(demodulated(cine.frames, cine, wave, 0.3))[:, patch]
    faded = np.angle(demodulated(5.0 + 0.3 * cine.frames, cine, wave, 0.3))[:, patch]
    assert np.abs(wrapped(strong - faded)).max() < 1e-5


def test_a_wave_is_measured_from_a_nearby_one() -> None:
    ring = Ring(n_phases=4, noise=0.05)
    cine, true = ring.tagged(30.0), wave_of(ring, 30.0)
    wall = ring.labels(0.0) == 2
    guess = TagWave(0.97 * true.vector_ras + 0.02 * ring.axes[1], 0.0)
    found = refined_wave(cine, wall, guess)
    assert found.spacing_mm == pytest.approx(SPACING_MM, rel=0.005)
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)[wall]
    error = wrapped(found.phase_at(points) - true.phase_at(points))
    assert np.sqrt((error**2).mean()) < 0.05


def test_wrapping_is_into_half_open_turns() -> None:
    assert wrapped(np.array([math.pi, -math.pi, 3 * math.pi + 0.1])) == pytest.approx(
        [-math.pi, -math.pi, -math.pi + 0.1]
    )


def test_points_far_outside_show_the_border_and_no_numbers_are_refused() -> None:
    values = torch.arange(6.0).reshape(1, 1, 2, 3)
    stack = ImageStack(values, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    far = torch.tensor([[[1e30, 1e30], [-1e30, -1e30]]])
    assert stack.sample(far)[0, 0].tolist() == [5.0, 0.0]
    with pytest.raises(StudyError, match="diverged"):
        stack.sample(torch.full((1, 1, 2), torch.nan))
