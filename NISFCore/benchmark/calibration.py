"""Calibration of a prior's standard errors on simulated subjects of known truth.

The Laplace approximation takes the prior for the truth. Fits of subjects that no training saw tell
by how much errors exceed it: each kind's standard errors are multiplied by the factor with which
95 % of the errors lie within 1.96 of them. Subjects come at all levels of misalignment in turn.
"""

from dataclasses import dataclass, replace

import numpy as np

from NISFCore.analysis.evaluation import evaluate
from NISFCore.benchmark.coverage import KINDS, VOLUME_FIGURES, z_scores
from NISFCore.benchmark.subjects import at_level, subject_parameters
from NISFCore.errors import ConfigError
from NISFCore.evidence.network import load_slice_network
from NISFCore.fitting.config import DEFAULT, FitConfig
from NISFCore.fitting.fit import fit_study
from NISFCore.model.prior import Calibration, Prior
from NISFCore.phantom.scanner import SimulatedStudy, simulate_study
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress

CALIBRATION_SEED = 3_141_593
"""No prior was trained on it, and it is not the benchmark's."""
LEVELS_MM = (0.0, 2.0, 4.0, 8.0)
N_PHASES = 20
VOLUME_SPACING_MM = 3.0
NOMINAL_Z = 1.96
MIN_SUBJECTS = 4


@dataclass(frozen=True)
class CalibrationSettings:
    """Which subjects, and how they are fitted."""

    n_subjects: int = 24
    seed: int = CALIBRATION_SEED
    config: FitConfig = DEFAULT
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.n_subjects < MIN_SUBJECTS:
            raise ConfigError(f"subjects: got {self.n_subjects}, at least {MIN_SUBJECTS}")


def calibrated(
    prior: Prior,
    settings: CalibrationSettings,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> Prior:
    """The prior with factors that make its standard errors true on simulated subjects.

    Raises:
        ConfigError: if the fit's solver gives no standard errors.
        Cancelled: between two subjects.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    plain = replace(prior, info=replace(prior.info, calibration=Calibration()))
    z: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(1, settings.n_subjects + 1):
        cancel.check()
        for kind, values in _z_scores(plain, number, settings, cancel).items():
            z[kind].extend(values)
        progress.report(ProgressEvent("calibrate", number, settings.n_subjects, 0.0))
    factors = {kind: calibration_factor(values) for kind, values in z.items()}
    return replace(prior, info=replace(prior.info, calibration=Calibration(**factors)))


def calibration_factor(z: list[float]) -> float:
    """By what standard errors are to be multiplied so that 95 % of |z| lie within 1.96."""
    return float(np.quantile(np.abs(z), 0.95)) / NOMINAL_Z


def _z_scores(
    prior: Prior, number: int, settings: CalibrationSettings, cancel: CancelToken
) -> dict[str, list[float]]:
    simulated = _simulated(number, settings, cancel)
    config, device = settings.config, settings.device
    result = fit_study(
        simulated.study,
        prior,
        config,
        network=load_slice_network(),
        device=device,
        cancel=cancel,
    )
    evaluation = evaluate(result, simulated.truth, VOLUME_SPACING_MM, N_PHASES, cancel=cancel)
    volumes = {
        name: {"estimate": v.estimate, "truth": v.truth or 0.0, "sd": v.sd or 0.0}
        for name, v in evaluation.volumes.items()
    }
    errors = {name: volumes[name]["sd"] for name in VOLUME_FIGURES}
    z = z_scores(result, simulated.truth, volumes, errors)
    if z is None:
        raise ConfigError("this solver gives no standard errors: calibrate with the default one")
    return {kind: [float(v) for v in values] for kind, values in z.items()}


def _simulated(number: int, settings: CalibrationSettings, cancel: CancelToken) -> SimulatedStudy:
    heart, protocol, seed = subject_parameters(settings.seed, N_PHASES, number)
    level_mm = LEVELS_MM[number % len(LEVELS_MM)]
    return simulate_study(heart, at_level(protocol, level_mm), seed, cancel)
