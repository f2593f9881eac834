"""Simulated hearts with known truth: an analytic beating heart and a simulated scanner.

See `docs/phantom.md` for the model, its sources and its limits.
"""

from NISFCore.phantom.displacement import DisplacementTruth
from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.motion_population import MotionKind, sample_motion_heart
from NISFCore.phantom.parameters import HeartParameters, Mode
from NISFCore.phantom.population import sample_heart
from NISFCore.phantom.protocol import (
    CLINICAL,
    COHORT,
    TAGGED_2D,
    TAGGED_3D,
    TAGGED_3SA,
    AcquisitionProtocol,
    preset,
    sample_protocol,
)
from NISFCore.phantom.scanner import SimulatedStudy, simulate_study
from NISFCore.phantom.tag_pattern import TagKind, TagPattern, TagProfile, sample_tag_pattern
from NISFCore.phantom.tagging import SimulatedTagged, simulate_tagged_study
from NISFCore.phantom.truth import PhantomTruth, SliceTruth

__all__ = [
    "CLINICAL",
    "COHORT",
    "TAGGED_2D",
    "TAGGED_3D",
    "TAGGED_3SA",
    "AcquisitionProtocol",
    "BeatingHeart",
    "DisplacementTruth",
    "HeartParameters",
    "Mode",
    "MotionKind",
    "PhantomTruth",
    "SimulatedStudy",
    "SimulatedTagged",
    "SliceTruth",
    "TagKind",
    "TagPattern",
    "TagProfile",
    "preset",
    "sample_heart",
    "sample_motion_heart",
    "sample_protocol",
    "sample_tag_pattern",
    "simulate_study",
    "simulate_tagged_study",
]
