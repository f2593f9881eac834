"""A motion folder for the user: field, tables, models and pictures (`docs/motion.md`, "Files")."""

from pathlib import Path

from NISFCore.analysis.surfaces import Surface
from NISFCore.export.motion_models import write_models
from NISFCore.export.motion_pictures import (
    bullseye_picture,
    curves_picture,
    es_index,
    es_picture,
)
from NISFCore.export.motion_section import MOTION_FOLDER
from NISFCore.export.motion_tables import segment_curves_csv, segments_csv, strain_csv
from NISFCore.files import new_folder, write_bytes_atomically, write_text_atomically
from NISFCore.motion.result import MotionResult
from NISFCore.motion.storage import MOTION_FILE, write_motion

__all__ = ["MOTION_FOLDER", "write_motion_folder"]

MODELS_FOLDER = "models"
STRAIN_FILE = "strain.csv"
PICTURES = ("bullseye.png", "curves.png", "es_strain.png")


def write_motion_folder(
    result: MotionResult,
    wall: Surface,
    rr_interval_ms: float,
    out: Path,
    overwrite: bool = False,
) -> None:
    """Write the whole folder, or nothing.

    Args:
        wall: the LV wall's surface at ED.
        rr_interval_ms: duration of the cycle.

    Raises:
        OutputError: if `out` exists and is not empty (unless it is a motion and `overwrite`), or
            cannot be written.
    """
    curves = result.strain()
    with new_folder(out, overwrite, MOTION_FILE) as folder:
        write_motion(result, folder)
        tables = {
            STRAIN_FILE: strain_csv(curves, rr_interval_ms),
            "segments.csv": segments_csv(curves, rr_interval_ms),
            "segment_curves.csv": segment_curves_csv(curves, rr_interval_ms),
        }
        for name, text in tables.items():
            write_text_atomically(folder / name, text)
        write_models(result, wall, folder / MODELS_FOLDER)
        es = float(curves.cycle_fractions[es_index(curves)])
        pictures = (
            bullseye_picture(curves),
            curves_picture(curves, rr_interval_ms),
            es_picture(result, wall, es),
        )
        for name, picture in zip(PICTURES, pictures, strict=True):
            write_bytes_atomically(folder / name, picture.data)
