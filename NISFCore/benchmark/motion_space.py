"""Motion in space of one simulated heart, against its exact displacement."""

import time

import numpy as np

from NISFCore.benchmark.motion_figures import Part
from NISFCore.benchmark.motion_plan import PlannedSubject
from NISFCore.motion.strain import displacement_ras
from NISFCore.motion.study_fit import fit_tagged_study
from NISFCore.phantom.protocol import sample_protocol
from NISFCore.phantom.tagging import simulate_tagged_study
from NISFCore.progress import CancelToken

PRESET = "tagged-3d"
TRUTH_SPACING_MM = 4.0


def space_part(subject: PlannedSubject, cancel: CancelToken) -> Part:
    """RMSE in mm over the LV wall and all frames, usual fit of six short-axis and three long-axis
    planes of the subject's heart, with labels of all frames.

    Raises:
        Cancelled: during the fit.
    """
    drawn = subject.drawn()
    protocol = sample_protocol(subject.seed, PRESET)
    simulated = simulate_tagged_study(drawn.heart, drawn.pattern, protocol, subject.seed, cancel)
    began = time.process_time()
    result = fit_tagged_study(simulated.study, cancel=cancel)
    seconds = time.process_time() - began
    points, times = simulated.truth.wall_points(TRUTH_SPACING_MM), result.cycle_fractions
    true = np.stack([simulated.truth.displacement_mm(points, float(t)) for t in times])
    error = displacement_ras(result.displacement_field, points, times) - true
    return {
        "group": subject.group.value,
        "rmse_mm": float(np.sqrt((error**2).sum(axis=-1).mean())),
        "seconds": seconds,
        "flags": [flag.code for flag in result.flags],
    }
