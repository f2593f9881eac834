"""Calibration: the factor in closed form, and what is written where."""

import numpy as np
import pytest

from NISFCore.benchmark import calibration
from NISFCore.benchmark.calibration import CalibrationSettings, calibrated, calibration_factor
from NISFCore.benchmark.coverage import coverage
from NISFCore.errors import Cancelled, ConfigError
from NISFCore.model.prior import Calibration, Prior
from NISFCore.progress import CancelToken
from Testing.Core.events import Keep
from Testing.Core.fitting.results import random_prior

SPREAD = {"rotation": 0.5, "translation": 2.0, "volume": 3.0}


def drawn(prior: Prior, number: int, *_: object) -> dict[str, list[float]]:
    """Errors whose true standard deviation is `SPREAD` times what the fit believes in."""
    assert prior.info.calibration == Calibration()
    rng = np.random.default_rng(number)
    return {kind: rng.normal(0, sd, 300).tolist() for kind, sd in SPREAD.items()}


@pytest.mark.parametrize("sd", [0.3, 1.0, 4.0])
def test_calibrated_intervals_hold_the_truth_as_often_as_they_say(sd: float) -> None:
    rng = np.random.default_rng(0)
    factor = calibration_factor(rng.normal(0, sd, 4000).tolist())
    assert factor == pytest.approx(sd, rel=0.05)
    assert coverage(rng.normal(0, sd, 4000) / factor)["95"] == pytest.approx(0.95, abs=0.015)


def test_factors_are_written_into_the_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_z_scores", drawn)
    keep = Keep()
    before = random_prior()
    after = calibrated(before, CalibrationSettings(n_subjects=8), keep)
    assert vars(after.info.calibration) == pytest.approx(SPREAD, rel=0.08)
    assert [e.step for e in keep.events] == list(range(1, 9))
    assert after.decoder is before.decoder
    again = calibrated(after, CalibrationSettings(n_subjects=8))
    assert again.info.calibration == after.info.calibration


def test_too_few_subjects_and_a_cancel_are_refused() -> None:
    with pytest.raises(ConfigError, match="subjects: got 2, at least 4"):
        CalibrationSettings(n_subjects=2)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        calibrated(random_prior(), CalibrationSettings(), cancel=cancel)
