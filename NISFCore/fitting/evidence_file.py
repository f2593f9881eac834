"""What the slice network said of a study, as a result folder keeps it for a refit.

Probabilities are stored in 255 steps, one tensor `slice.phase` per labelled frame. A fit uses them
so from the beginning, so that a stored result and the one in memory are the same.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.data.study import CineStudy
from NISFCore.files import write_bytes_atomically

EVIDENCE_FILE = "evidence.safetensors"
STEPS = 255


def in_steps(entries: Iterable[SliceGuidance]) -> Guidance:
    """The same, as it is when it was stored and read."""
    return Guidance(tuple(_entry(e.slice_name, e.phase, _steps(e)) for e in entries))


def save_evidence(evidence: Guidance, study: CineStudy, folder: Path) -> None:
    """Write `EVIDENCE_FILE`.

    Args:
        study: that of the result.
    """
    index_of = {s.name: k for k, s in enumerate(study.slices)}
    tensors = {f"{index_of[e.slice_name]}.{e.phase}": _steps(e) for e in evidence.entries}
    write_bytes_atomically(folder / EVIDENCE_FILE, save(tensors))


def load_evidence(study: CineStudy, folder: Path) -> Guidance | None:
    """What `save_evidence` wrote; None if the fit used none.

    Raises:
        ValueError: if the file does not belong to the study.
        StudyError: if it does not belong to the study.
    """
    if not (folder / EVIDENCE_FILE).is_file():
        return None
    entries = []
    for key, steps in load_file(folder / EVIDENCE_FILE).items():
        index, phase = (int(number) for number in key.split("."))
        if not 0 <= index < len(study.slices) or steps.dtype != np.uint8 or steps.ndim != 3:
            raise ValueError(f"{EVIDENCE_FILE}: {key} does not belong to this study")
        entries.append(_entry(study.slices[index].name, phase, steps))
    evidence = Guidance(tuple(entries))
    evidence.check(study)
    return evidence


def _steps(entry: SliceGuidance) -> npt.NDArray[np.uint8]:
    """Those of each known pixel sum to `STEPS`: the likeliest label takes what rounding left."""
    steps = np.rint(entry.probabilities * STEPS).astype(np.int16)
    first = steps.argmax(axis=-1)[..., None]
    missing = STEPS * entry.known[..., None] - steps.sum(axis=-1, keepdims=True)
    np.put_along_axis(steps, first, np.take_along_axis(steps, first, -1) + missing, -1)
    return np.ascontiguousarray(steps, dtype=np.uint8)  # a file holds bytes as they lie


def _entry(name: str, phase: int, steps: npt.NDArray[np.uint8]) -> SliceGuidance:
    p = (steps / np.float32(STEPS)).astype(np.float32)
    return SliceGuidance(name, phase, p, np.asarray(steps.any(axis=-1)))
