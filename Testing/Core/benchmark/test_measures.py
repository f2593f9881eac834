"""What the experiments measure, on hearts and signals whose answers are known."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from NISFCore.benchmark.coverage import coverage, z_scores
from NISFCore.benchmark.frames import (
    near_heart,
    noise_free_frames,
    seen_through_profile,
    with_fewer_phases,
)
from NISFCore.benchmark.misalignment import before_after
from NISFCore.benchmark.psf_ablation import lines_along, locked_amplitudes
from NISFCore.benchmark.slice_groups import GROUPS, slice_group
from NISFCore.benchmark.surface_distances import between, boundary_mm, surface_distances
from NISFCore.data.study import kept_phases
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.rigid import (
    about_centre,
    invert_rigid,
    rigid,
    rigid_about,
    rotation_from_rotvec,
)
from NISFCore.geometry.spaces import apply_affine
from NISFCore.model.psf import SIGMA_PER_FWHM, gauss_hermite
from NISFCore.phantom import CLINICAL, HeartParameters, simulate_study
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.phantom.truth import PhantomTruth
from NISFCore.views import View
from Testing.Core.analysis.hearts import EllipsoidHeart, TrueHeart, small_case, with_common_motion

COMMON = rigid(rotation_from_rotvec([0.02, -0.03, 0.01]), [2.0, -3.0, 1.0])


@pytest.fixture(scope="module")
def simulated() -> SimulatedStudy:
    protocol = replace(
        CLINICAL, pixel_mm=5.0, fov_mm=180.0, n_phases=3, n_sub_pixels=1, n_profile=1
    )
    return simulate_study(HeartParameters(), protocol, 3, keeps_noise_free=True)


def ball(radius: float, n: int = 60) -> np.ndarray:
    x = np.stack(np.meshgrid(*[np.arange(n) - n / 2] * 3), axis=-1)
    return np.asarray(np.linalg.norm(x, axis=-1) <= radius)


def test_concentric_balls_are_their_difference_apart() -> None:
    found = between(boundary_mm(ball(20), 1.0), boundary_mm(ball(24), 1.0))
    assert found["mean_mm"] == pytest.approx(4.0, abs=0.3)
    assert found["hd95_mm"] == pytest.approx(4.0, abs=0.7)
    same = between(boundary_mm(ball(20), 1.0), boundary_mm(ball(20), 1.0))
    assert same == {"mean_mm": 0.0, "hd95_mm": 0.0}


def test_a_label_that_is_not_there_has_no_distance() -> None:
    nothing = boundary_mm(np.zeros((5, 5, 5), dtype=np.bool_), 1.0)
    assert np.isnan(between(nothing, boundary_mm(ball(5, 12), 1.0))["mean_mm"])


def test_surfaces_are_compared_through_the_common_motion() -> None:
    truth = TrueHeart(sharpness_per_mm=None)
    moved = EllipsoidHeart(sharpness_per_mm=None).moved(invert_rigid(COMMON))
    seen = surface_distances(moved, truth, COMMON, 0.1, 2.9)
    unseen = surface_distances(moved, truth, np.eye(4), 0.1, 2.9)
    for label, found in seen.items():
        assert found["mean_mm"] < 0.1
        assert unseen[label]["mean_mm"] > 0.5


def test_alignment_of_a_perfect_fit_is_perfect_whatever_the_gauge() -> None:
    fitted, truth = small_case()
    for fit in (fitted, with_common_motion(fitted, COMMON)):
        found = before_after(cast(FitResult, fit), cast(PhantomTruth, truth))
        assert np.mean(found["before"]["distance_mm"]) > 2.5
        np.testing.assert_allclose(found["after"]["distance_mm"], 0, atol=1e-6)
        np.testing.assert_allclose(found["after"]["angle_deg"], 0, atol=1e-4)
        assert found["after"]["ncc"] > max(0.98, found["before"]["ncc"])
        assert found["after"]["dice"] > max(0.95, found["before"]["dice"])


def test_coverage_of_normal_scores_is_nominal() -> None:
    z = np.random.default_rng(0).standard_normal(20_000)
    assert coverage(z) == pytest.approx({"68": 0.683, "95": 0.95}, abs=0.01)
    assert coverage(3 * z)["95"] < 0.55


def test_scores_are_errors_over_standard_errors() -> None:
    fitted, truth = small_case()
    centres = [cine.centre_ras for cine in fitted.study.slices]
    # errors without a common motion: opposite in two parallel slices, so that none is left to find
    shift_mm = 0.01
    steps = [shift_mm, -shift_mm, -shift_mm, shift_mm, 0.0, 0.0]
    wrong = tuple(
        rigid_about(c, *_moved_by(motion, c, step))
        for motion, c, step in zip(fitted.slice_motions, centres, steps, strict=True)
    )
    uncertainty = SimpleNamespace(
        rotation_sd_deg=np.full((6, 3), 0.5), translation_sd_mm=np.full((6, 3), 0.002)
    )
    fit = SimpleNamespace(
        study=fitted.study, slice_motions=wrong, field=fitted.field, uncertainty=uncertainty
    )
    volumes = {n: {"estimate": 105.0, "truth": 100.0} for n in FIGURES}
    z = z_scores(cast(Any, fit), cast(PhantomTruth, truth), volumes, dict.fromkeys(FIGURES, 2.5))
    assert z is not None
    assert z["volume"] == [2.0] * 4
    x = np.asarray(z["translation"]).reshape(6, 3)[:, 0]
    np.testing.assert_allclose(x, np.array(steps) / 0.002, atol=0.5)
    fit.uncertainty = None
    assert z_scores(cast(Any, fit), cast(PhantomTruth, truth), volumes, {}) is None


FIGURES = ("edv_ml", "esv_ml", "ef_percent", "mass_g")


def _moved_by(motion: np.ndarray, centre: np.ndarray, mm: float) -> tuple[np.ndarray, np.ndarray]:
    rotvec, translation = about_centre(motion, centre)
    return rotvec, translation + np.array([mm, 0.0, 0.0])


def test_banding_is_told_from_chance() -> None:
    rng = np.random.default_rng(0)
    phase = np.tile(np.linspace(0, 8 * np.pi, 80), (40, 1))
    error = 0.05 * np.cos(phase) + 0.01 * rng.standard_normal(phase.shape) + 0.3 + 0.01 * phase
    mask = np.ones(phase.shape, dtype=np.bool_)
    mask[0, 10:] = False  # too short a line
    cosine, sine = locked_amplitudes(error, phase, mask)
    assert len(cosine) == 39
    assert np.sqrt(np.mean(cosine**2)) == pytest.approx(0.05, rel=0.05)
    assert np.sqrt(np.mean(sine**2)) < 0.005
    assert locked_amplitudes(error, phase, ~np.ones_like(mask)).shape == (2, 0)


def test_lines_run_along_the_normal(simulated: SimulatedStudy) -> None:
    normal = simulated.study.slices[0].normal_ras
    lines = lines_along(simulated.truth, normal, -20.0, 20.0)
    steps = np.diff(lines, axis=1)
    np.testing.assert_allclose(steps, np.broadcast_to(normal, steps.shape), atol=1e-9)
    np.testing.assert_allclose(lines[:, 0] @ normal, -20.0, atol=1e-9)


def test_phases_are_thinned_evenly(simulated: SimulatedStudy) -> None:
    np.testing.assert_array_equal(kept_phases(12, 4), [0, 3, 6, 9])
    np.testing.assert_array_equal(kept_phases(3, 8), [0, 1, 2])
    assert np.diff(kept_phases(25, 8)).max() <= 4
    thin = with_fewer_phases(simulated.study, 2).slices[0]
    whole = simulated.study.slices[0]
    np.testing.assert_array_equal(thin.frames, whole.frames[:2])
    np.testing.assert_array_equal(thin.cycle_fractions, whole.cycle_fractions[:2])
    assert thin.labels is not None and len(thin.labels.values) == 2


def test_noise_free_frames_are_those_of_the_cropped_slice(simulated: SimulatedStudy) -> None:
    whole = simulated.study.slices[2]
    cropped = whole.cropped((7, 4), (12, 15))
    clean = noise_free_frames(simulated, cropped)
    np.testing.assert_array_equal(clean, simulated.noise_free[2][:, 7:19, 4:19])
    assert np.abs(clean - cropped.frames).std() < 3 * CLINICAL.noise_sd * CLINICAL.gain


def test_near_the_heart_is_within_the_margin(simulated: SimulatedStudy) -> None:
    cine = next(s for s in simulated.study.slices if s.labels is not None and s.labels.values.any())
    assert cine.labels is not None
    labels, near = cine.labels.values, near_heart(cine, 11.0)
    assert near[labels > 0].all()
    reached = [
        np.hypot(*((np.argwhere(f > 0)[:, None] - np.argwhere(n)[None]) * 5.0).T).min(axis=-1).max()
        for f, n in zip(labels, near, strict=True)
        if f.any()
    ]
    assert 5.0 < max(reached) <= 11.0


def test_slices_have_a_kind(simulated: SimulatedStudy) -> None:
    kinds = [slice_group(cine, simulated.truth) for cine in simulated.study.slices]
    n_sa = len(simulated.study.of_view(View.SA))
    assert kinds[0] == "SA basal"
    assert kinds[n_sa - 1] == "SA apical"
    assert set(kinds) == set(GROUPS)
    order = [("SA basal", "SA mid-ventr.", "SA apical").index(k) for k in kinds[:n_sa]]
    assert order == sorted(order)
    assert kinds[n_sa:] == ["LA 2-ch", "LA 3-ch", "LA 4-ch"]


def test_the_profile_blurs_through_the_plane() -> None:
    fitted, _ = small_case()
    plane, image = seen_through_profile(cast(FitResult, fitted), 0)
    np.testing.assert_array_equal(plane.cycle_fractions, fitted.study.slices[0].cycle_fractions)
    corrected = fitted.slice_motions[0] @ fitted.study.slices[0].ras_from_ijk
    middle = apply_affine(corrected, [36, 32, 0])
    normal = corrected[:3, 2] / np.linalg.norm(corrected[:3, 2])
    nodes, weights = gauss_hermite(3)
    offsets = [float(z) * SIGMA_PER_FWHM * 8.0 for z in nodes]
    points = np.stack([middle + o * normal for o in offsets])
    expected = float(fitted.field.evaluate(points, 0.0).intensity @ weights.numpy())
    assert image[0, 32, 36] == pytest.approx(expected, abs=1e-5)
