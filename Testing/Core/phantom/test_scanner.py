"""The simulated scanner: conventions, statistics, reproducibility."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.errors import Cancelled, ConfigError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid_about, rotation_angle_deg
from NISFCore.geometry.spaces import apply_affine
from NISFCore.phantom import (
    COHORT,
    BeatingHeart,
    HeartParameters,
    Mode,
    preset,
    sample_heart,
    sample_protocol,
    simulate_study,
)
from NISFCore.phantom.protocol import COHORT_STACK_MM, AcquisitionProtocol
from NISFCore.phantom.scanner import Scanner
from NISFCore.progress import CancelToken
from NISFCore.views import View
from Testing.Core.phantom.conftest import scarred_heart


def test_equal_seeds_give_equal_studies(quick: AcquisitionProtocol) -> None:
    a, b = (simulate_study(HeartParameters(), quick, 5) for _ in range(2))
    other = simulate_study(HeartParameters(), quick, 6)
    assert a.truth == b.truth
    for s, t, u in zip(a.study.slices, b.study.slices, other.study.slices, strict=True):
        assert np.array_equal(s.frames, t.frames)
        assert not np.array_equal(s.frames, u.frames)


def test_pixels_show_the_heart_where_the_truth_says(exact: AcquisitionProtocol) -> None:
    """The misalignment convention: nominal x_ras shows the heart at M x_ras."""
    moved = replace(exact, breath_hold_sd_mm=(3.0, 3.0, 5.0), breath_hold_sd_deg=3.0)
    simulated = simulate_study(HeartParameters(), moved, 8)
    truth = simulated.truth
    for item in simulated.study.slices[::3]:
        entry = truth.slice_truth(item.name)
        M = rigid_about(item.centre_ras, entry.rotvec_rad, entry.translation_mm)
        points = apply_affine(M, pixel_centres_ras(item.ras_from_ijk, item.shape))
        heart_points = apply_affine(truth.heart_from_ras, points.reshape(-1, 3))
        phase = 1
        signal, labels = truth.heart.evaluate_heart(
            torch.as_tensor(heart_points.astype(np.float32)),
            float(item.cycle_fractions[phase]),
            exact.pixel_mm,
        )
        assert np.abs(item.frames[phase].ravel() - exact.gain * signal.numpy()).max() <= 1.0
        assert item.labels is not None
        assert np.array_equal(item.labels.values[phase].ravel(), labels.numpy())
        if np.linalg.norm(entry.translation_mm) > 3:
            unmoved = truth.labels(
                pixel_centres_ras(item.ras_from_ijk, item.shape).reshape(-1, 3),
                float(item.cycle_fractions[phase]),
            )
            assert not np.array_equal(item.labels.values[phase].ravel(), unmoved)


@pytest.mark.parametrize("mode", list(Mode))
def test_nothing_that_moves_is_missed(exact: AcquisitionProtocol, mode: Mode) -> None:
    """Sampling only the pixels near the heart gives the same frames as sampling all."""
    protocol = replace(exact, n_phases=9, fov_mm=280.0)
    simulated = simulate_study(sample_heart(31, mode), protocol, 4)
    truth = simulated.truth
    for item in simulated.study.slices[:: len(simulated.study.slices) - 1]:
        points = pixel_centres_ras(item.ras_from_ijk, item.shape).reshape(-1, 3)
        heart_points = torch.as_tensor(
            apply_affine(truth.heart_from_ras, points).astype(np.float32)
        )
        for phase, time in enumerate(item.cycle_fractions):
            signal, _ = truth.heart.evaluate_heart(heart_points, float(time), protocol.pixel_mm)
            error = np.abs(item.frames[phase].ravel() - protocol.gain * signal.numpy())
            assert error.max() <= 1.0


def test_noise_is_rician(exact: AcquisitionProtocol) -> None:
    """In air the magnitude is Rayleigh (mean sigma sqrt(pi/2)); in signal it is nearly normal."""
    scanner = Scanner(
        BeatingHeart(HeartParameters()),
        np.eye(4),
        replace(exact, noise_sd=0.05),
        np.random.default_rng(0),
    )
    air, blood = scanner._magnitude(np.stack([np.zeros(200_000), np.full(200_000, 0.9)]))
    assert air.mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.01)
    assert air.std() == pytest.approx(0.05 * np.sqrt(2 - np.pi / 2), rel=0.01)
    assert blood.std() == pytest.approx(0.05, rel=0.01)
    assert blood.mean() == pytest.approx(np.sqrt(0.9**2 + 0.05**2), rel=1e-3)


def test_the_noise_free_frames_are_what_the_noise_was_added_to(exact: AcquisitionProtocol) -> None:
    noisy = replace(exact, noise_sd=0.02, coil_bias=0.1, intensity_scale_sd=0.1)
    small = replace(noisy, n_sa_slices=2, n_phases=2)
    with_noise_free = simulate_study(HeartParameters(), small, 8, keeps_noise_free=True)
    plain = simulate_study(HeartParameters(), small, 8)
    assert plain.noise_free == ()
    for s, t, clean in zip(
        with_noise_free.study.slices, plain.study.slices, with_noise_free.noise_free, strict=True
    ):
        np.testing.assert_array_equal(s.frames, t.frames)
        bright = clean > 10 * small.noise_sd * small.gain  # where Rician noise is nearly Gaussian
        error = (s.frames - clean)[bright]
        assert error.std() == pytest.approx(small.noise_sd * small.gain, rel=0.05)
        assert abs(error.mean()) < 0.1 * error.std()


def test_breath_holds_are_mostly_head_foot(quick: AcquisitionProtocol) -> None:
    shifts, angles = [], []
    scanner = Scanner(BeatingHeart(HeartParameters()), np.eye(4), quick, np.random.default_rng(1))
    simulated = simulate_study(HeartParameters(), replace(quick, n_sa_slices=1), 0)
    planned = simulated.study.slices[0]
    for _ in range(400):
        entry = scanner.draw_slice_truth(planned)  # type: ignore[arg-type]
        shifts.append(entry.translation_mm)
        angles.append(np.rad2deg(np.linalg.norm(entry.rotvec_rad)))
    sd = np.std(shifts, axis=0)
    assert sd[2] > 2 * max(sd[0], sd[1])
    assert 3.5 < np.linalg.norm(shifts, axis=1).mean() < 5.0
    assert 1.0 < np.mean(angles) < 3.0


def test_slices_have_their_own_scale_and_heart_rate(quick: AcquisitionProtocol) -> None:
    simulated = simulate_study(HeartParameters(), quick, 2)
    assert len({s.rr_interval_ms for s in simulated.study.slices}) == len(simulated.study.slices)
    scales = [s.intensity_scale for s in simulated.truth.slices]
    assert 0.01 < np.std(np.log(scales)) < 0.15
    assert [s.name for s in simulated.study.slices] == [s.name for s in simulated.truth.slices]


def test_scale_multiplies_the_signal(exact: AcquisitionProtocol) -> None:
    """The same seed draws the same poses, so the images differ by the scale alone."""
    plain = simulate_study(HeartParameters(), exact, 3)
    scaled = simulate_study(HeartParameters(), replace(exact, intensity_scale_sd=0.2), 3)
    for s, t, entry in zip(
        plain.study.slices, scaled.study.slices, scaled.truth.slices, strict=True
    ):
        assert np.abs(t.frames - entry.intensity_scale * s.frames).max() <= 1.5


def test_stack_runs_from_above_the_base_to_below_the_apex(exact: AcquisitionProtocol) -> None:
    protocol = replace(exact, n_sa_slices=0, planning_sd_deg=0.0, planning_sd_mm=0.0)
    simulated = simulate_study(scarred_heart(), protocol, 1)
    truth = simulated.truth
    stack = simulated.study.of_view(View.SA)
    heights = [apply_affine(truth.heart_from_ras, s.centre_ras)[2] for s in stack]
    assert 8 <= len(stack) <= 13
    assert heights == sorted(heights, reverse=True)
    assert heights[0] > truth.heart.shape.z_base_mm
    assert heights[-1] < truth.heart.shape.z_apex_mm + 8
    assert stack[0].labels is not None
    assert not (stack[0].labels.values[:, :] == 2).any()


@pytest.mark.parametrize("seed", range(6))
def test_canonical_frame_is_near_the_hearts_own(exact: AcquisitionProtocol, seed: int) -> None:
    protocol = replace(exact, fov_mm=60.0, n_phases=1)
    simulated = simulate_study(sample_heart(seed), protocol, seed)
    D = canonical_frame_of(simulated.study).canonical_from_ras @ simulated.truth.ras_from_heart
    assert rotation_angle_deg(D[:3, :3]) < 15.0
    assert np.linalg.norm(D[:3, 3]) < 15.0


def test_cohort_is_aligned_and_covers_the_cycle() -> None:
    protocol = replace(COHORT, pixel_mm=4.0)
    simulated = simulate_study(sample_heart(3), protocol, 3)
    assert all(s.translation_mm == (0.0, 0.0, 0.0) for s in simulated.truth.slices)
    D = canonical_frame_of(simulated.study).canonical_from_ras @ simulated.truth.ras_from_heart
    assert rotation_angle_deg(D[:3, :3]) < 1e-6
    times = np.concatenate([s.cycle_fractions for s in simulated.study.slices])
    assert len(np.unique(times)) == len(times)
    assert np.histogram(times, bins=10, range=(0, 1))[0].min() > 0
    assert len(simulated.study.of_view(View.LA_4CH)) == 1


def test_protocols_vary_within_clinical_ranges() -> None:
    protocols = [sample_protocol(seed) for seed in range(40)]
    assert {p.thickness_mm for p in protocols} == {6.0, 7.0, 8.0}
    for p in protocols:
        assert 8 <= p.slice_spacing_mm <= 10
        assert 1.4 <= p.pixel_mm <= 1.9
        assert 25 <= p.n_phases <= 50
    assert sample_protocol(1) == sample_protocol(1)
    for seed in range(5):
        varied = sample_protocol(seed, "cohort")
        assert varied.n_sa_slices * varied.slice_spacing_mm == pytest.approx(COHORT_STACK_MM)
        planes = {"n_sa_slices", "slice_spacing_mm", "n_radial_planes"}
        assert replace(varied, **{name: getattr(COHORT, name) for name in planes}) == COHORT


def test_unknown_preset_and_absurd_protocol_are_errors() -> None:
    with pytest.raises(ConfigError, match="clinical, cohort"):
        preset("klinical")
    with pytest.raises(ConfigError, match="pixel_mm"):
        AcquisitionProtocol(pixel_mm=-1.0)


def test_simulation_can_be_cancelled(quick: AcquisitionProtocol) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        simulate_study(HeartParameters(), quick, 0, token)
