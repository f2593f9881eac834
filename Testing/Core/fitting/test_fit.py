"""How a fit behaves: reproducible, blind to labels, cancelled at once, clear about bad input."""

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from NISFCore.data.study import CineStudy, SliceLabels
from NISFCore.errors import Cancelled, ConfigError, StudyError
from NISFCore.fitting import preparation
from NISFCore.fitting.config import AdamConfig, FitConfig, GaussNewtonConfig, MotionPrior
from NISFCore.fitting.fit import fit_study
from NISFCore.fitting.gauss_newton import solve_gauss_newton
from NISFCore.fitting.problem import fitted_parameters
from NISFCore.fitting.result import FittedParameters
from NISFCore.geometry.rigid import rigid_about
from NISFCore.progress import CancelToken
from NISFCore.views import View
from Testing.Core.events import Keep
from Testing.Core.fitting.results import made_result
from Testing.Core.fitting.teacher import Teacher, teacher_prior, teacher_study

FAST = FitConfig(GaussNewtonConfig(voxels=(512,) * 3))
FAST_PAPER = FitConfig(gauss_newton=None, adam=AdamConfig(n_steps=4, n_voxels=300))
BOTH = pytest.mark.parametrize("config", [FAST, FAST_PAPER], ids=["default", "paper"])


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return teacher_study(n_phases=4)


@pytest.fixture(scope="module")
def study(teacher: Teacher) -> CineStudy:
    return teacher.study


@pytest.fixture(autouse=True)
def few_voxels_for_the_psnr(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure at the end of a fit costs more than these small fits."""
    monkeypatch.setattr("NISFCore.fitting.fit.N_PSNR_VOXELS", 5000)


def assert_same(a: FittedParameters, b: FittedParameters) -> None:
    """Equal to the bit."""
    for name in ("latent", "global_pose", "intensity_scale", "intensity_reference"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for one, other in zip(a.slice_motion, b.slice_motion, strict=True):
        np.testing.assert_array_equal(one.rotvec_rad, other.rotvec_rad)
        np.testing.assert_array_equal(one.translation_mm, other.translation_mm)


@BOTH
def test_equal_seeds_give_equal_fits(study: CineStudy, config: FitConfig) -> None:
    first = fit_study(study, teacher_prior(), config, device="cpu")
    again = fit_study(study, teacher_prior(), config, device="cpu")
    assert_same(first.parameters, again.parameters)
    assert first.figures == again.figures
    other = fit_study(study, teacher_prior(), replace(config, seed=1), device="cpu")
    assert not np.array_equal(first.parameters.latent, other.parameters.latent)


@BOTH
def test_labels_in_the_study_are_not_used(study: CineStudy, config: FitConfig) -> None:
    rng = np.random.default_rng(0)

    def scrambled(labels: SliceLabels | None) -> SliceLabels:
        assert labels is not None
        values = rng.integers(0, 4, labels.values.shape).astype(np.uint8)
        return SliceLabels(values, rng.random(len(values)) < 0.5)

    wrong = tuple(replace(s, labels=scrambled(s.labels)) for s in study.slices)
    none = tuple(replace(s, labels=None) for s in study.slices)
    fits = [
        fit_study(replace(study, slices=slices), teacher_prior(), config, device="cpu")
        for slices in (study.slices, wrong, none)
    ]
    assert_same(fits[0].parameters, fits[1].parameters)
    assert_same(fits[0].parameters, fits[2].parameters)


@BOTH
def test_progress_is_complete_and_is_the_history(study: CineStudy, config: FitConfig) -> None:
    keep = Keep()
    result = fit_study(study, teacher_prior(), config, progress=keep)
    n = len(config.gauss_newton.voxels) if config.gauss_newton else 4
    assert [(e.stage, e.step, e.total) for e in keep.events] == [
        ("fit", k, n) for k in range(1, n + 1)
    ]
    for event, step in zip(keep.events, result.history, strict=True):
        assert (event.step, event.loss, event.psnr_db) == (step.step, step.loss, step.psnr_db)
        assert event.seconds == step.seconds
    seconds = [e.seconds for e in keep.events]
    assert seconds == sorted(seconds)
    assert result.settings["fit"]["seed"] == 0
    assert result.seconds["fit"] >= seconds[-1]


@BOTH
def test_the_decoder_is_left_as_it_was(study: CineStudy, config: FitConfig) -> None:
    """Frozen while it is fitted to, also when that ends early; never moved to a device."""
    prior = teacher_prior()
    before = {name: value.clone() for name, value in prior.decoder.state_dict().items()}
    prior.decoder.head.weight.requires_grad_(True)
    token = CancelToken()
    with pytest.raises(Cancelled):
        fit_study(study, prior, config, progress=Keep(lambda _: token.cancel()), cancel=token)
    assert prior.decoder.head.weight.requires_grad
    assert prior.decoder.head.weight.grad is None
    assert not prior.decoder.point_layer.weight.requires_grad
    prior.decoder.head.weight.requires_grad_(False)
    for name, value in prior.decoder.state_dict().items():
        assert torch.equal(value, before[name])


@BOTH
def test_a_cancel_is_seen_within_a_step(study: CineStudy, config: FitConfig) -> None:
    keep, token = Keep(lambda _: token.cancel()), CancelToken()
    with pytest.raises(Cancelled):
        fit_study(study, teacher_prior(), config, progress=keep, cancel=token)
    assert len(keep.events) == 1


@pytest.mark.parametrize(
    "config",
    [
        FitConfig(GaussNewtonConfig(voxels=(3_000_000,))),
        FitConfig(gauss_newton=None, adam=AdamConfig(n_steps=1, n_voxels=3_000_000)),
    ],
    ids=["default", "paper"],
)
def test_a_cancel_does_not_wait_for_a_long_step(study: CineStudy, config: FitConfig) -> None:
    """One step of minutes, cancelled in its midst: a user waits for one second at most."""
    token, asked = CancelToken(), []

    def ask() -> None:
        asked.append(time.monotonic())
        token.cancel()

    timer = threading.Timer(1.0, ask)
    timer.start()
    with pytest.raises(Cancelled):
        fit_study(study, teacher_prior(), config, device="cpu", cancel=token)
    assert time.monotonic() - asked[0] < 1.0


def test_a_cancel_before_the_fit(study: CineStudy) -> None:
    token, keep = CancelToken(), Keep()
    token.cancel()
    with pytest.raises(Cancelled):
        fit_study(study, teacher_prior(), FAST, progress=keep, cancel=token)
    assert keep.events == []


def test_devices(study: CineStudy) -> None:
    with pytest.raises(ConfigError, match="allowed: auto, cpu, cuda"):
        fit_study(study, teacher_prior(), FAST, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="choose auto or cpu"):
            fit_study(study, teacher_prior(), FAST, device="cuda")
    automatic = fit_study(study, teacher_prior(), FAST, device="auto")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert automatic.settings["device"] == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_gpu_finds_the_same(teacher: Teacher) -> None:
    prior = teacher_prior()
    cpu = fit_study(teacher.study, prior, device="cpu")
    gpu = fit_study(teacher.study, prior, device="cuda")
    assert next(prior.decoder.parameters()).device.type == "cpu"
    assert next(gpu.prior.decoder.parameters()).device.type == "cpu"
    # other random voxels, the same exact answer
    np.testing.assert_allclose(gpu.slice_motions, cpu.slice_motions, atol=0.05)
    np.testing.assert_allclose(gpu.parameters.latent, cpu.parameters.latent, atol=5e-3)


def test_a_study_without_a_frame_is_a_clear_error(study: CineStudy) -> None:
    with pytest.raises(StudyError, match="do not determine the LV axis"):
        fit_study(study.restricted_to((View.LA_4CH,)), teacher_prior(), FAST)


def test_assumptions_of_the_frame_are_told(study: CineStudy) -> None:
    result = fit_study(study.restricted_to((View.SA,)), teacher_prior(), FAST)
    assert any("no 4-chamber view" in text for text in result.study.warnings)
    assert result.frame.assumptions == result.study.warnings


def test_a_dark_slice_is_named(study: CineStudy) -> None:
    dark = replace(study.slices[2], frames=np.zeros_like(study.slices[2].frames))
    slices = (*study.slices[:2], dark, *study.slices[3:])
    with pytest.raises(StudyError, match="'SA_03' is dark"):
        fit_study(replace(study, slices=slices), teacher_prior(), FAST)


def test_a_solver_that_ran_away_is_an_error() -> None:
    made = made_result()
    made.estimate.poses.slice_rotvec[0, 0] = torch.nan
    r = made.result
    with pytest.raises(StudyError, match="no finite answer"):
        fitted_parameters(made.estimate, r.study, r.frame, made.table)


def test_settings_must_make_sense() -> None:
    with pytest.raises(ConfigError, match="exactly one"):
        FitConfig(GaussNewtonConfig(), AdamConfig())
    with pytest.raises(ConfigError, match="exactly one"):
        FitConfig(None, None)
    with pytest.raises(ConfigError, match="voxels"):
        GaussNewtonConfig(voxels=())
    with pytest.raises(ConfigError, match="n_steps"):
        AdamConfig(n_steps=0)
    with pytest.raises(ConfigError, match="slice_mm"):
        MotionPrior(slice_mm=0.0)


def test_a_whole_study_moved_in_the_scanner_gives_the_moved_fit(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing may depend on where in the scanner the patient lay, but for rounding."""
    monkeypatch.setattr(preparation, "hidden_dtype", lambda device: torch.float32)
    away = rigid_about(np.zeros(3), [0.0, 0.0, 0.05], [30.0, -20.0, 50.0])
    slices = tuple(replace(s, ras_from_ijk=away @ s.ras_from_ijk) for s in teacher.study.slices)
    here = fit_study(teacher.study, teacher_prior())
    there = fit_study(replace(teacher.study, slices=slices), teacher_prior())
    for a, b in zip(here.slice_motions, there.slice_motions, strict=True):
        np.testing.assert_allclose(away @ a @ np.linalg.inv(away), b, atol=1e-3)
    np.testing.assert_allclose(there.canonical_from_ras @ away, here.canonical_from_ras, atol=1e-3)


@pytest.mark.parametrize(("views", "share"), [((View.SA,), 2), (tuple(View), 1)])
def test_stacks_that_nothing_crosses_are_drawn_more_densely(
    study: CineStudy, views: tuple[View, ...], share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, chance would decide too much."""
    asked: list[tuple[int, int]] = []

    def solve(problem: Any, settings: GaussNewtonConfig, *rest: Any) -> Any:
        asked.append((settings.voxels[0], settings.evidence.n_pixels))
        return solve_gauss_newton(problem, settings, *rest)

    monkeypatch.setattr("NISFCore.fitting.fit.solve_gauss_newton", solve)
    some = study.restricted_to(tuple(v for v in views if study.of_view(v)))
    fit_study(some, teacher_prior(), FAST, device="cpu")
    usual = GaussNewtonConfig().evidence.n_pixels
    assert asked == [(512 * share, usual * share**2)]
