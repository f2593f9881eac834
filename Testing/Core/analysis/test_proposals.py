"""The frames that are proposed for annotation: that their labels tell more than those of others."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from NISFCore.analysis.proposals import (
    ProposedAnnotation,
    proposed_annotations,
    updated_covariance,
)
from NISFCore.analysis.quick_curve import SPACING_MM, quick_volume_curve, resampled_cycle
from NISFCore.analysis.volumes import label_volumes_ml
from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.errors import ConfigError
from NISFCore.fitting.config import FitConfig, GaussNewtonConfig
from NISFCore.fitting.fit import fit_study, refit_study
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.volume_gradients import volume_gradients_ml
from NISFCore.geometry.grids import Grid
from NISFCore.labels import FOREGROUND, N_LABELS, Label
from Testing.Core.fitting.teacher import teacher_study
from Testing.Core.teacher_files import small_prior

TIMES = {"ED": 0.0, "ES": 0.5}
FEW = FitConfig(GaussNewtonConfig(voxels=(512,) * 8, tempered_steps=4, settled_after=4))
REFIT = FitConfig(
    GaussNewtonConfig(voxels=(512,) * 4, tempered_steps=0, settled_after=0, memory=0.5)
)


@pytest.fixture(scope="module")
def result() -> FitResult:
    study = teacher_study(seed=3, n_psf_nodes=1, n_phases=4).study
    # little is known from the images: labels have something left to tell
    settings = FEW.gauss_newton
    assert settings is not None
    weak = FitConfig(replace(settings, effective_voxels=40.0))
    return fit_study(study, small_prior(), weak, device="cpu")


def volume_variance(result: FitResult) -> float:
    """Summed over all labels at ED and ES, ml^2."""
    assert result.uncertainty is not None
    rows = [
        volume_gradients_ml(result.decoder, result.parameters.code, t)[list(FOREGROUND)]
        for t in TIMES.values()
    ]
    G = np.concatenate(rows)
    return float(np.einsum("vi,ij,vj->", G, result.uncertainty.code_covariance, G))


def refitted(result: FitResult, slice_name: str, phase: int) -> FitResult:
    """A refit with the true labels of one frame."""
    cine = next(s for s in result.study.slices if s.name == slice_name)
    assert cine.labels is not None
    hard = np.eye(N_LABELS, dtype=np.float32)[cine.labels.values[phase]]
    entry = SliceGuidance(slice_name, phase, hard, np.ones(cine.shape, dtype=np.bool_))
    settings = REFIT.gauss_newton
    assert settings is not None
    weak = FitConfig(replace(settings, effective_voxels=40.0))
    return refit_study(result, Guidance((entry,)), weak, device="cpu")


def test_labels_of_the_proposed_frame_tell_more_than_those_of_others(result: FitResult) -> None:
    """Measured by refits with the true labels: the volumes are surer than after those of frames
    that were drawn by lot, on average. (Not compared with the fit before: each refit estimates the
    images' noise anew.)"""
    (best,) = proposed_annotations(result, 1, TIMES)
    rng = np.random.default_rng(5)
    names = [s.name for s in result.study.slices]
    others = [(str(rng.choice(names)), int(rng.integers(4))) for _ in range(6)]
    chance = np.mean([volume_variance(refitted(result, *frame)) for frame in others])
    proposed = volume_variance(refitted(result, best.slice_name, best.phase))
    assert proposed < chance


def test_the_expected_gains_order_real_ones(result: FitResult) -> None:
    """The best and the worst of all frames."""
    every = proposed_annotations(result, 100, TIMES)
    assert len(every) == 2 * len(result.study.slices)
    first = {(p.slice_name, p.phase): _gain_alone(result, p, every) for p in every}
    best, worst = max(first, key=lambda k: first[k]), min(first, key=lambda k: first[k])
    assert volume_variance(refitted(result, *best)) < volume_variance(refitted(result, *worst))


def _gain_alone(
    result: FitResult, frame: ProposedAnnotation, every: list[ProposedAnnotation]
) -> float:
    """The gain of a frame as the first one."""
    others = {(p.slice_name, p.phase) for p in every} - {(frame.slice_name, frame.phase)}
    (alone,) = proposed_annotations(result, 1, TIMES, taken=others)
    return alone.expected_gain


def test_proposals_are_different_frames_and_promise_less_and_less(result: FitResult) -> None:
    found = proposed_annotations(result, 4, TIMES)
    frames = [(p.slice_name, p.phase) for p in found]
    assert len(set(frames)) == 4
    assert all(0 < p.expected_gain < 1 for p in found)
    assert {p.moment for p in found} <= set(TIMES)
    assert found[0].expected_gain >= found[1].expected_gain
    again = proposed_annotations(result, 4, TIMES, taken=frames[:1])
    assert frames[0] not in [(p.slice_name, p.phase) for p in again]


def test_the_moments_are_those_of_the_heart_by_default(result: FitResult) -> None:
    (found,) = proposed_annotations(result, 1)
    cine = next(s for s in result.study.slices if s.name == found.slice_name)
    assert found.cycle_fraction == cine.cycle_fractions[found.phase]
    gap = abs(found.cycle_fraction - TIMES[found.moment])
    assert min(gap, 1 - gap) <= 0.5


def test_a_fit_that_does_not_tell_is_refused(result: FitResult) -> None:
    silent = replace(result, uncertainty=None)
    with pytest.raises(ConfigError, match="default configuration"):
        proposed_annotations(silent, 1, TIMES)


def test_information_adds_to_the_inverse_covariance() -> None:
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(5, 5)), rng.normal(size=(5, 2))
    C, F = A @ A.T, B @ B.T
    np.testing.assert_allclose(
        updated_covariance(C, F), np.linalg.inv(np.linalg.inv(C) + F), rtol=1e-8
    )
    singular = np.diag([2.0, 0.0])
    np.testing.assert_allclose(updated_covariance(singular, np.eye(2)), np.diag([2 / 3, 0.0]))


def test_a_cycle_is_resampled_exactly_where_it_is_smooth() -> None:
    def curve(t: np.ndarray) -> np.ndarray:
        waves = [np.cos(2 * np.pi * k * t + k) * 10 / k for k in (1, 2, 5)]
        return np.stack([100 + np.sum(waves, axis=0), 3 + 0 * t], axis=1)

    wanted = np.linspace(0, 1, 45, endpoint=False)
    for n in (12, 13):
        known = curve(np.arange(n) / n)
        np.testing.assert_allclose(resampled_cycle(known, wanted), curve(wanted), atol=1e-9)
        np.testing.assert_allclose(resampled_cycle(known, np.arange(n) / n), known, atol=1e-9)


def test_a_quick_curve_has_the_volumes_of_the_heart(result: FitResult) -> None:
    """Against a grid of 2 mm that is evaluated everywhere. Only voxels at a border are left to
    chance, each with a variance of at most a quarter of a voxel squared."""
    curve = quick_volume_curve(result.field, 20)
    fine, coarse = result.field.box.grid(2.0), result.field.box.grid(SPACING_MM)
    for phase in (0, 7):
        t = float(curve.cycle_fractions[phase])
        volumes = label_volumes_ml(labels_on(result, fine, t), fine)
        labels = labels_on(result, coarse, t)
        for label in FOREGROUND:
            n_border = int((border(labels == label)).sum())
            sd_ml = 0.5 * np.sqrt(n_border) * coarse.voxel_volume_ml
            assert abs(curve.volumes_ml[phase, label] - volumes[label]) < 3 * sd_ml
    assert (curve.of(Label.BACKGROUND) == 0).all()


def labels_on(result: FitResult, grid: Grid, t: float) -> npt.NDArray[np.uint8]:
    points = grid.points_ras().reshape(-1, 3)
    return result.field.evaluate(points, t).labels.reshape(grid.shape)


def border(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Voxels with a neighbour on the other side."""
    return np.asarray(binary_dilation(inside) & ~binary_erosion(inside))
