"""Writing and reading a motion folder.

```
MOTION/motion.json          schema version, configuration, LV frame, flags, settings, seconds, units
       motion.safetensors   weights, placement, the wall's points
```
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from NISFCore._version import __version__
from NISFCore.config import from_json_object, to_json_object
from NISFCore.errors import ConfigError, ResultError
from NISFCore.files import new_folder, write_bytes_atomically, write_text_atomically
from NISFCore.geometry.prolate import Foci
from NISFCore.motion.cardiac_frame import LVFrame
from NISFCore.motion.config import FieldConfig
from NISFCore.motion.field import DisplacementField, Placement
from NISFCore.motion.result import MotionFlag, MotionResult

SCHEMA_VERSION = 1
MOTION_FILE = "motion.json"
TENSOR_FILE = "motion.safetensors"

UNITS = {
    "space": "RAS mm",
    "displacement": "mm since ED",
    "strain": "Green-Lagrange, percent in tables and models",
    "torsion": "degrees",
    "time": "cycle fraction, and ms",
}

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class _StoredMotion:
    """What `motion.json` holds beyond its schema version."""

    software: str
    config: FieldConfig
    apex_mm: float
    base_mm: float
    has_longitudinal: bool
    foci_mm: tuple[float, ...] = ()
    flags: tuple[MotionFlag, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    lv_frame: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


def save_motion(result: MotionResult, folder: Path, overwrite: bool = False) -> None:
    """Write the whole folder, or nothing.

    Raises:
        OutputError: if it exists and is not empty (unless it is a motion and `overwrite`), or
            cannot be written.
    """
    with new_folder(folder, overwrite, MOTION_FILE) as temporary:
        write_motion(result, temporary)


def write_motion(result: MotionResult, folder: Path) -> None:
    """Write both files into a folder that is being made.

    Raises:
        OutputError: if they cannot be written.
    """
    write_bytes_atomically(folder / TENSOR_FILE, save(_tensors(result)))
    content = {"schema_version": SCHEMA_VERSION, **to_json_object(_stored(result))}
    text = json.dumps(content, indent=2, allow_nan=False)
    write_text_atomically(folder / MOTION_FILE, text + "\n")


def load_motion(folder: Path) -> MotionResult:
    """Read a folder that `save_motion` wrote.

    Raises:
        ResultError: if it is none, incomplete, damaged, or of another version.
    """
    if not (folder / MOTION_FILE).is_file():
        raise ResultError(f"{folder} is no motion folder (no {MOTION_FILE}); estimate the motion")
    try:
        values = json.loads((folder / MOTION_FILE).read_text(encoding="utf-8"))
        version = values.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise ResultError(
                f"{folder} has motion schema {version}, this software reads {SCHEMA_VERSION}; "
                "estimate the motion again"
            )
        stored = from_json_object(_StoredMotion, values)
        return _loaded(stored, load_file(folder / TENSOR_FILE))
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError, ConfigError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ResultError(
            f"{folder} is incomplete or damaged: {problem}; estimate the motion again"
        ) from error


def _stored(result: MotionResult) -> _StoredMotion:
    return _StoredMotion(
        software=f"NISFCore {__version__}",
        config=result.displacement_field.config,
        apex_mm=result.frame.apex_mm,
        base_mm=result.frame.base_mm,
        has_longitudinal=result.has_longitudinal,
        foci_mm=() if result.frame.foci is None else tuple(result.frame.foci),
        flags=result.flags,
        settings=result.settings,
        seconds=result.seconds,
        lv_frame={
            "centre_ras_mm": result.frame.centre_ras.tolist(),
            "base_from_apex_ras": result.frame.base_from_apex_ras.tolist(),
            "rv_from_lv_ras": result.frame.rv_from_lv_ras.tolist(),
        },
        units=UNITS,
    )


def _tensors(result: MotionResult) -> Tensors:
    placement, frame = result.displacement_field.placement, result.frame
    return {
        "state": result.displacement_field.flat_state().numpy(),
        "placement_centre_ras": np.ascontiguousarray(placement.centre_ras),
        "placement_axes": np.ascontiguousarray(placement.axes),
        "placement_radius_mm": np.array([placement.radius_mm]),
        "frame_centre_ras": np.ascontiguousarray(frame.centre_ras),
        "base_from_apex_ras": np.ascontiguousarray(frame.base_from_apex_ras),
        "rv_from_lv_ras": np.ascontiguousarray(frame.rv_from_lv_ras),
        "points_ras": np.ascontiguousarray(result.points_ras),
        "cycle_fractions": np.ascontiguousarray(result.cycle_fractions),
    }


def _loaded(stored: _StoredMotion, tensors: Tensors) -> MotionResult:
    for name, value in tensors.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    placement = Placement(
        tensors["placement_centre_ras"],
        tensors["placement_axes"],
        float(tensors["placement_radius_mm"][0]),
    )
    displacement_field = DisplacementField(stored.config, placement)
    displacement_field.load_flat_state(torch.from_numpy(tensors["state"]))
    frame = LVFrame(
        tensors["frame_centre_ras"],
        tensors["base_from_apex_ras"],
        tensors["rv_from_lv_ras"],
        stored.apex_mm,
        stored.base_mm,
        Foci(*stored.foci_mm) if stored.foci_mm else None,
    )
    return MotionResult(
        displacement_field=displacement_field,
        frame=frame,
        points_ras=tensors["points_ras"],
        cycle_fractions=tensors["cycle_fractions"],
        has_longitudinal=stored.has_longitudinal,
        flags=stored.flags,
        settings=stored.settings,
        seconds=stored.seconds,
    )
