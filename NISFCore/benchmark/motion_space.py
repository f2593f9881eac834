"""Motion in space of one simulated heart, against its exact displacement."""

import time

from NISFCore.benchmark.motion_figures import Part
from NISFCore.benchmark.motion_plan import PlannedSubject
from NISFCore.benchmark.motion_truth import SpaceTruth
from NISFCore.motion.study_fit import fit_tagged_study
from NISFCore.phantom.protocol import sample_protocol
from NISFCore.phantom.tagging import simulate_tagged_study
from NISFCore.progress import CancelToken

PRESET = "tagged-3d"


def space_part(subject: PlannedSubject, cancel: CancelToken) -> Part:
    """Scores of the usual fit of six short-axis and three long-axis planes of the subject's heart,
    with labels of all frames.

    Raises:
        Cancelled: during the fit.
    """
    drawn = subject.drawn()
    protocol = sample_protocol(subject.seed, PRESET)
    simulated = simulate_tagged_study(drawn.heart, drawn.pattern, protocol, subject.seed, cancel)
    began = time.process_time()
    result = fit_tagged_study(simulated.study, cancel=cancel)
    seconds = time.process_time() - began
    return {
        "group": subject.group.value,
        **SpaceTruth.of(simulated.truth, result.cycle_fractions).scores_of(result),
        "seconds": seconds,
        "flags": [flag.code for flag in result.flags],
    }
