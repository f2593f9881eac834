"""Simulated hearts with known truth: an analytic beating heart and a simulated scanner.

See `docs/phantom.md` for the model, its sources and its limits.
"""

from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.parameters import HeartParameters, Mode
from NISFCore.phantom.population import sample_heart
from NISFCore.phantom.protocol import (
    CLINICAL,
    COHORT,
    AcquisitionProtocol,
    preset,
    sample_protocol,
)
from NISFCore.phantom.scanner import SimulatedStudy, simulate_study
from NISFCore.phantom.truth import PhantomTruth, SliceTruth

__all__ = [
    "CLINICAL",
    "COHORT",
    "AcquisitionProtocol",
    "BeatingHeart",
    "HeartParameters",
    "Mode",
    "PhantomTruth",
    "SimulatedStudy",
    "SliceTruth",
    "preset",
    "sample_heart",
    "sample_protocol",
    "simulate_study",
]
