"""Motion folders as `nisf motion fit` writes them, of the analytic heart and a known motion."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from NISFCore.analysis.surfaces import Surface, label_surfaces
from NISFCore.export.motion_files import write_motion_folder
from NISFCore.geometry.field import HeartField
from NISFCore.labels import Label
from NISFCore.motion.cardiac_frame import LVFrame
from NISFCore.motion.result import MotionFlag, MotionResult
from Testing.Core.motion.movies import small_field

RR_MS = 800.0
N_TIMES = 4
WARNING = "neighbouring planes are far apart: strain between them is a guess"
WALL_MM = 8.0


def motion_of_the_heart(field: HeartField) -> MotionResult:
    """Some smooth motion of all directions in the analytic heart's place, at four times."""
    wall = _wall(field).points_ras
    centre, axis = wall.mean(axis=0), np.array([0.0, 0.0, 1.0])
    heights = (wall - centre) @ axis
    frame = LVFrame(
        centre, axis, np.array([1.0, 0.0, 0.0]), float(heights.min()), float(heights.max())
    )
    return MotionResult(
        displacement_field=small_field(n_dims=3, is_cyclic=True).float(),
        frame=frame,
        points_ras=wall[::3],
        cycle_fractions=np.arange(N_TIMES) / N_TIMES,
        has_longitudinal=True,
        flags=(MotionFlag("sparse_coverage", WARNING),),
    )


def _wall(field: HeartField) -> Surface:
    surfaces = label_surfaces(field, 0.0, labels=[Label.LV_MYOCARDIUM], spacing_mm=WALL_MM)
    return surfaces[Label.LV_MYOCARDIUM]


def write_motion(field: HeartField, folder: Path, has_longitudinal: bool = True) -> Path:
    """Write a motion folder, and return it."""
    result = replace(motion_of_the_heart(field), has_longitudinal=has_longitudinal)
    write_motion_folder(result, _wall(field), RR_MS, folder)
    return folder
