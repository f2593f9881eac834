"""Which frame of a file of labels is which phase of a slice.

A file with one frame needs the phase from the user or from its name. One with several has as many
frames as the slice has phases, in their order, or they are matched by their times in the cycle.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from NISFCore.data.label_files import LabelFile
from NISFCore.data.label_volume import LabelVolume
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import StudyError

MAX_TIME_ERROR_PHASES = 0.75
"""How far a frame may be from a slice's phase, in mean distances of its phases: prospective gating
leaves the end of the cycle out, and frames from there belong to no phase."""

Match = tuple[list[tuple[int, int]], str]
"""Pairs (frame, phase), and what was assumed ("" if nothing)."""


def phases_of_study(study: CineStudy) -> int:
    """How many phases the phase numbers of a study count: the median over its slices."""
    return int(np.median([cine.n_phases for cine in study.slices]))


def matched_frames(
    file: LabelFile, volume: LabelVolume, study: CineStudy, cine: CineSlice
) -> Match:
    """Which frames of the file that say something belong to which phases of the slice.

    Raises:
        StudyError: if the phase of a single frame is not known or does not exist, or if a phase is
            given for a file that has its own.
    """
    if volume.n_frames == 1:
        phase, note = phase_of_single(file, study, cine)
        return [(0, phase)], note
    if file.phase is not None:
        raise StudyError(
            f"{volume.name}: got phase {file.phase} for a file with {volume.n_frames} frames; a "
            "phase is for files with one frame: leave the number out, or give that frame alone"
        )
    said = volume.said_frames
    if volume.cycle_fractions is not None:
        return _nearest(said, volume.cycle_fractions, cine), ""
    if volume.n_frames == cine.n_phases:
        return [(frame, frame) for frame in said], ""
    note = (
        f"{volume.name}: its {volume.n_frames} frames are matched to the {cine.n_phases} phases of "
        f"{cine.name} by time, as if they were spread evenly over the cycle"
    )
    return _nearest(said, np.arange(volume.n_frames) / volume.n_frames, cine), note


def phase_of_single(file: LabelFile, study: CineStudy, cine: CineSlice) -> tuple[int, str]:
    """The slice's phase for a file with one frame, and what was assumed.

    Raises:
        StudyError: if it is not known or does not exist.
    """
    name, n_study = file.path.name, phases_of_study(study)
    phase = file.phase if file.phase is not None else file.phase_in_name
    # A phase given with a slice's name counts the phases of that slice.
    n_phases = cine.n_phases if file.slice_name is not None else n_study
    if phase is None and max(c.n_phases for c in study.slices) == 1:
        return 0, ""
    if phase is None:
        raise StudyError(
            f"{name}: which phase do these labels belong to? Give {name}@PHASE, counted from 0 (of "
            f"{n_phases}), or let the name end in _frameNN (from 1) or _phaseNN (from 0)"
        )
    if phase >= n_phases:
        raise StudyError(
            f"{name}: got phase {phase}, allowed: 0 to {n_phases - 1}; for the phases of one slice "
            f"give {name}@SLICE:PHASE"
        )
    if cine.n_phases == n_phases:
        return phase, ""
    distance = _cycle_distance(np.array([phase / n_phases]), cine)[0]
    nearest = int(np.argmin(distance))
    return nearest, (
        f"{name}: phase {phase} of {n_phases} is taken as phase {nearest} of the {cine.n_phases} "
        f"of {cine.name}"
    )


def _nearest(
    frames: Sequence[int], cycle_fractions: npt.NDArray[np.float64], cine: CineSlice
) -> list[tuple[int, int]]:
    """Each frame's nearest phase; of several frames with the same one, the nearest frame."""
    distance = _cycle_distance(cycle_fractions, cine)
    best: dict[int, int] = {}
    for frame in frames:
        phase = int(np.argmin(distance[frame]))
        if distance[frame, phase] > MAX_TIME_ERROR_PHASES / cine.n_phases:
            continue
        other = best.get(phase)
        if other is None or distance[frame, phase] < distance[other, phase]:
            best[phase] = frame
    return [(frame, phase) for phase, frame in sorted(best.items())]


def _cycle_distance(
    cycle_fractions: npt.NDArray[np.float64], cine: CineSlice
) -> npt.NDArray[np.float64]:
    """`(n_frames, n_phases)`, in [0, 0.5]: the cycle closes."""
    difference = np.mod(cycle_fractions[:, None] - cine.cycle_fractions[None], 1.0)
    return np.minimum(difference, 1.0 - difference)
