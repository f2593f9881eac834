"""The warp of a fit: a known one is found again, and there is none where nothing speaks for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.analysis.metrics import DiceCounts
from NISFCore.fitting.config import DEFAULT, FitConfig, GaussNewtonConfig
from NISFCore.fitting.fit import fit_study
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.spaces import apply_affine
from NISFCore.model.shape_warp import ShapeWarp, WarpConfig, WarpedDecoder, warp_modes
from Testing.Core.fitting.teacher import (
    CONFIG,
    Teacher,
    ras_from_planned,
    teacher_prior,
    teacher_study,
)

N_WARPED_MODES, N_POINTS = 4, 6000
NO_WARP = FitConfig(replace(GaussNewtonConfig(), warp=None))


def known_warp() -> ShapeWarp:
    """The longest waves, twice as large as usual."""
    modes = warp_modes(CONFIG.region, WarpConfig())
    coefficients = np.zeros((len(modes.sd_mm), 3), dtype=np.float32)
    rng = np.random.default_rng(3)
    coefficients[:N_WARPED_MODES] = 2 * rng.choice([-1, 1], (N_WARPED_MODES, 3))
    return ShapeWarp(modes, coefficients)


def still_study(warp: ShapeWarp | None = None) -> Teacher:
    return teacher_study(motion_mm=0.0, motion_deg=0.0, n_phases=4, warp=warp)


@pytest.fixture
def warped() -> Teacher:
    return still_study(known_warp())


def fit(teacher: Teacher, config: FitConfig = DEFAULT) -> FitResult:
    return fit_study(teacher.study, teacher_prior(), config, device="cpu")


def agreement(teacher: Teacher, result: FitResult) -> float:
    """Mean Dice of the labels around the heart, at two times."""
    x = np.random.default_rng(1).uniform(-65, 65, (N_POINTS, 3)) + CONFIG.region.centre_mm
    points, counts = apply_affine(ras_from_planned(), x), DiceCounts()
    for t in (0.0, 0.5):
        counts.add(
            result.field.evaluate(points, t).labels, teacher.heart.evaluate(points, t).labels
        )
    return counts.mean()


def displacement_mm(result: FitResult) -> float:
    """Root mean square of the warp around the heart."""
    decoder = result.decoder
    assert isinstance(decoder, WarpedDecoder)
    g = torch.Generator().manual_seed(0)
    x = 30 * torch.randn(N_POINTS, 3, generator=g) + torch.tensor(CONFIG.region.centre_mm)
    amplitudes = decoder.amplitudes_mm(torch.from_numpy(result.parameters.code), 0.0)
    return float((decoder.warped(x, amplitudes) - x).square().sum(1).mean().sqrt())


def test_a_known_warp_is_found(warped: Teacher) -> None:
    assert agreement(warped, fit(warped)) > 0.97
    assert agreement(warped, fit(warped, NO_WARP)) < 0.8  # the latent cannot say it


def test_where_nothing_speaks_for_a_warp_there_is_none() -> None:
    teacher = still_study()
    result = fit(teacher)
    assert displacement_mm(result) < 0.2
    assert agreement(teacher, result) > 0.99
