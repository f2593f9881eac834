"""The test cohort: the same hearts at every level, and levels that are what they say."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.analysis.metrics import slice_motion_errors
from NISFCore.benchmark import subjects
from NISFCore.benchmark.plan import DEGREES_PER_MM, FULL, PLANS, QUICK, BenchmarkPlan
from NISFCore.errors import ConfigError
from NISFCore.geometry.planes import centre_ras, normal_ras, pixel_centres_ras
from NISFCore.geometry.rigid import rigid_about
from NISFCore.geometry.spaces import apply_affine
from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.planning import plan as planned
from NISFCore.phantom.protocol import CLINICAL, AcquisitionProtocol
from NISFCore.phantom.scanner import SimulatedStudy

COARSE = replace(CLINICAL, n_sa_slices=3, pixel_mm=5.0, fov_mm=150.0, n_sub_pixels=1, n_profile=1)
TINY = replace(QUICK, n_phases=2)


def coarse(seed: object, name: str) -> AcquisitionProtocol:
    del seed, name
    return COARSE


def measured_level(number: int, level_mm: float) -> tuple[float, float]:
    """Misalignment in mm and degrees of motions drawn on the planned slices, without imaging."""
    heart_parameters, protocol, seed = subjects.subject_parameters(
        QUICK.seed, QUICK.n_phases, number
    )
    protocol = replace(subjects.at_level(protocol, level_mm), pixel_mm=5.0)
    rng, heart = np.random.default_rng(seed), BeatingHeart(heart_parameters)
    ras_from_heart = heart.ras_from_heart((-55.0, 40.0, 0.0))
    low, high = heart.box_mm()
    middle = apply_affine(ras_from_heart, (low + high) / 2)
    shape = (protocol.n_pixels, protocol.n_pixels)
    motions, points = [], []
    for item in planned(heart, ras_from_heart, protocol, rng):
        centre, normal = centre_ras(item.ras_from_ijk, shape), normal_ras(item.ras_from_ijk)
        x = pixel_centres_ras(item.ras_from_ijk, shape).reshape(-1, 3)
        foot = middle - normal * (normal @ (middle - centre))
        points.append(x[np.linalg.norm(x - foot, axis=1) <= 50.0])
        rotvec = np.deg2rad(protocol.breath_hold_sd_deg) * rng.standard_normal(3)
        shift = np.array(protocol.breath_hold_sd_mm) * rng.standard_normal(3)
        motions.append(rigid_about(centre, rotvec, shift))
    errors = slice_motion_errors([np.eye(4)] * len(motions), motions, points)
    return errors.mean_mm, errors.mean_deg


def test_a_level_is_the_mean_misalignment_of_the_cohort() -> None:
    level_mm = 4.0
    found = np.array([measured_level(k, level_mm) for k in range(1, 25)]).mean(axis=0)
    # 24 subjects of about 13 slices: a standard error of 3.5 %
    np.testing.assert_allclose(found, [level_mm, DEGREES_PER_MM * level_mm], rtol=0.1)
    once, twice = (np.array(measured_level(1, mm)) for mm in (2.0, 4.0))
    np.testing.assert_allclose(twice, 2 * once, rtol=0.02)


def test_only_the_breath_holds_differ_between_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "sample_protocol", coarse)
    none, some, twice = (subjects.simulate(TINY, 2, mm) for mm in (0.0, 2.0, 4.0))
    for a, b, c in zip(none.truth.slices, some.truth.slices, twice.truth.slices, strict=True):
        assert a.translation_mm == (0.0, 0.0, 0.0)
        assert a.rotvec_rad == (0.0, 0.0, 0.0)
        np.testing.assert_allclose(c.translation_mm, 2 * np.array(b.translation_mm))
        np.testing.assert_allclose(c.rotvec_rad, 2 * np.array(b.rotvec_rad))
        assert a.centre_ras == b.centre_ras
        assert a.intensity_scale == c.intensity_scale
    assert none.truth.parameters == some.truth.parameters
    for s, t in zip(none.study.slices, some.study.slices, strict=True):
        assert s.rr_interval_ms == t.rr_interval_ms
        np.testing.assert_array_equal(s.ras_from_ijk, t.ras_from_ijk)
    assert not np.array_equal(none.study.slices[0].frames, some.study.slices[0].frames)
    assert noise_of(none).std() == pytest.approx(noise_of(some).std(), rel=0.05)


def noise_of(simulated: SimulatedStudy) -> np.ndarray:
    return np.asarray(simulated.study.slices[0].frames - simulated.noise_free[0])


def test_subjects_are_different_hearts() -> None:
    (a, _, seed_a), (b, _, seed_b) = (
        subjects.subject_parameters(QUICK.seed, QUICK.n_phases, k) for k in (1, 2)
    )
    assert a != b
    assert seed_a != seed_b
    assert subjects.subject_parameters(FULL.seed, FULL.n_phases, 1)[0] == a


def test_plans_are_sensible() -> None:
    assert FULL.n_subjects >= 20
    assert set(PLANS) == {"quick", "full"}
    assert QUICK.with_subjects(5).n_subjects == 5
    with pytest.raises(ConfigError, match="at least 1"):
        QUICK.with_subjects(0)
    with pytest.raises(ConfigError, match="must hold 4"):
        replace(QUICK, levels_mm=(0.0, 8.0))
    assert isinstance(QUICK, BenchmarkPlan)
