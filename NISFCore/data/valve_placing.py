"""Which slice and phase a valve's points belong to, and what they say of its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.label_files import LabelFile
from NISFCore.data.label_timing import phase_of_single
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.data.valve_points import ValveLine, read_valve_points, valve_labels
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Points


@dataclass(frozen=True)
class PlacedValve:
    """What one line says of one slice and phase.

    Attributes:
        probabilities, known: as `guidance.SliceGuidance` has them.
        note: what was assumed; empty if nothing.
    """

    source: str
    slice_name: str
    phase: int
    probabilities: npt.NDArray[np.float32]
    known: npt.NDArray[np.bool_]
    note: str


def placed_valves(study: CineStudy, files: Sequence[LabelFile]) -> list[PlacedValve]:
    """What files of valve points say of a study.

    Raises:
        StudyError: if one cannot be read, lies in no long-axis slice, is no valve, has no phase,
            or is the second of its slice and phase.
    """
    if not files:
        return []
    base_from_apex_ras = canonical_frame_of(study).canonical_from_ras[2, :3]
    placed: list[PlacedValve] = []
    for file in files:
        new = _placed(study, file, base_from_apex_ras)
        for old in placed:
            if (old.slice_name, old.phase) == (new.slice_name, new.phase):
                raise StudyError(
                    f"{new.source}: {old.source} is of {new.slice_name} at phase {new.phase} as "
                    "well; a valve has one line: leave one out"
                )
        placed.append(new)
    return placed


def _placed(study: CineStudy, file: LabelFile, base_from_apex_ras: Points) -> PlacedValve:
    name, points = file.path.name, read_valve_points(file.path)
    cine = _slice_of(study, file, points)
    phase, note = phase_of_single(file, study, cine)
    p, known = valve_labels(cine, ValveLine.on(cine, points, base_from_apex_ras))
    if not p[..., 1:].any():
        raise StudyError(f"{name}: its line lies beside the image of {cine.name}")
    return PlacedValve(name, cine.name, phase, p, known, note)


def _slice_of(study: CineStudy, file: LabelFile, points_ras: Points) -> CineSlice:
    """The long-axis slice that is named, or in whose plane the points lie."""
    long_axis = [cine for cine in study.slices if cine.view.is_long_axis]
    names = ", ".join(cine.name for cine in long_axis) or "none"
    named = [cine for cine in long_axis if cine.name == file.slice_name]
    if file.slice_name is not None and not named:
        raise StudyError(
            f"{file.path.name}: got slice {file.slice_name!r}; points of a valve belong to a "
            f"long-axis slice, this study has {names}"
        )
    if not long_axis:
        raise StudyError(
            f"{file.path.name}: points of a valve belong to a long-axis slice, this study has none"
        )

    def off_mm(cine: CineSlice) -> float:
        return float(np.abs((points_ras - cine.centre_ras) @ cine.normal_ras).max())

    return min(named or long_axis, key=off_mm)
