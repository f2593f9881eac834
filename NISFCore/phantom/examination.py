"""One examination of one heart: cine slices, and tagged planes beside them.

Both are of the same heart in the same place; every slice, tagged or not, has a breath-hold of its
own.
"""

from dataclasses import replace

from NISFCore.phantom.parameters import HeartParameters
from NISFCore.phantom.protocol import AcquisitionProtocol, tagged_beside
from NISFCore.phantom.scanner import SimulatedStudy, simulate_study
from NISFCore.phantom.tag_pattern import TagPattern
from NISFCore.phantom.tagging import simulate_tagged_study
from NISFCore.progress import CancelToken

SEED_STEP = 0x5EED
"""Between the seeds of the two: breath-holds and noise of the tagged planes are their own."""


def simulate_examination(
    heart: HeartParameters,
    cine: AcquisitionProtocol,
    tagged: AcquisitionProtocol,
    pattern: TagPattern,
    seed: int,
    cancel: CancelToken | None = None,
) -> SimulatedStudy:
    """Image one heart without and with tags; tagged slices follow the others.

    Args:
        cine: of the untagged slices.
        tagged: of the tagged ones; breath-holds and heart beat are those of `cine`.

    Raises:
        ConfigError: if the parameters contradict each other.
        Cancelled: if asked through `cancel`.
    """
    plain = simulate_study(heart, cine, seed, cancel)
    place, protocol = plain.truth.ras_from_heart, tagged_beside(tagged, cine)
    lined = simulate_tagged_study(heart, pattern, protocol, seed ^ SEED_STEP, cancel, place)
    named = tuple(replace(s, name=f"tagged_{s.name}") for s in lined.study.slices)
    study = replace(plain.study, slices=(*plain.study.slices, *named))
    return replace(plain, study=study, tagged_truth=lined.truth.phantom)
