"""The test cohort: the same hearts, imaged with more or less breath-hold motion.

A level is the mean displacement of slices against each other, in mm, as `slice_motion_errors`
measures it before any fit (over the heart's part of each slice, the common rigid motion removed).
Only the standard deviation of the breath-holds changes between levels: heart, planes, heart rate
and noise of a subject are the same, and so is the direction in which each slice is displaced.
"""

from dataclasses import replace

import numpy as np

from NISFCore.benchmark.plan import BenchmarkPlan
from NISFCore.phantom.cohort import subject_seed
from NISFCore.phantom.parameters import HeartParameters
from NISFCore.phantom.population import sample_heart
from NISFCore.phantom.protocol import AcquisitionProtocol, sample_protocol
from NISFCore.phantom.scanner import SimulatedStudy, simulate_study
from NISFCore.progress import CancelToken

# Found by Monte Carlo over 60 hearts and protocols; mostly head-foot, as the clinical preset is.
SD_MM_PER_LEVEL_MM = (0.283, 0.425, 1.04)
SD_DEG_PER_LEVEL_MM = 0.28


def at_level(protocol: AcquisitionProtocol, level_mm: float) -> AcquisitionProtocol:
    """The protocol with breath-hold motion of this level."""
    right, anterior, superior = (sd * level_mm for sd in SD_MM_PER_LEVEL_MM)
    return replace(
        protocol,
        breath_hold_sd_mm=(right, anterior, superior),
        breath_hold_sd_deg=SD_DEG_PER_LEVEL_MM * level_mm,
    )


def subject_parameters(
    seed: int, n_phases: int, number: int
) -> tuple[HeartParameters, AcquisitionProtocol, int]:
    """Heart, clinical protocol and seed of subject `number` (from 1) of a cohort."""
    heart, protocol, study = np.random.SeedSequence([seed, number]).spawn(3)
    sampled = sample_protocol(np.random.default_rng(protocol), "clinical")
    return (
        sample_heart(np.random.default_rng(heart)),
        replace(sampled, n_phases=n_phases),
        subject_seed(study),
    )


def simulate(
    plan: BenchmarkPlan, number: int, level_mm: float, cancel: CancelToken | None = None
) -> SimulatedStudy:
    """Subject `number` at a level of misalignment, with its noise-free frames."""
    heart, protocol, seed = subject_parameters(plan.seed, plan.n_phases, number)
    return simulate_study(heart, at_level(protocol, level_mm), seed, cancel, keeps_noise_free=True)
