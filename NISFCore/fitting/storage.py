"""Writing and reading a result folder.

```
RESULT/result.json             schema version, software, prior, settings, summary, figures
       parameters.safetensors  latent, poses, scales: everything the heart is made of
       prior.safetensors       the prior it was fitted with, so that the folder can be moved
       study.json, study.safetensors   the fitted slices, cropped and without identity
```
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from NISFCore._version import __version__
from NISFCore.data.storage import load_study, save_study
from NISFCore.errors import ResultError
from NISFCore.files import new_folder, write_bytes_atomically, write_text_atomically
from NISFCore.fitting.result import FitResult, FitStep, FittedParameters, SliceMotion
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.model.prior import load_prior

SCHEMA_VERSION = 1
RESULT_FILE = "result.json"
PARAMETER_FILE = "parameters.safetensors"
PRIOR_FILE = "prior.safetensors"


def save_result(result: FitResult, folder: Path, overwrite: bool = False) -> None:
    """Write the whole folder, or nothing.

    Raises:
        OutputError: if it exists and is not empty (unless `overwrite`), or cannot be written.
    """
    with new_folder(folder, overwrite) as temporary:
        save_study(result.study, temporary)
        result.prior.save(temporary / PRIOR_FILE)
        write_bytes_atomically(temporary / PARAMETER_FILE, save(_tensors(result)))
        text = json.dumps(result_summary(result), indent=2, allow_nan=False)
        write_text_atomically(temporary / RESULT_FILE, text)


def load_result(folder: Path) -> FitResult:
    """Read a folder that `save_result` wrote.

    Raises:
        ResultError: if it is no result folder, incomplete, or of another version.
    """
    if not (folder / RESULT_FILE).is_file():
        raise ResultError(
            f"{folder} is no result folder (no {RESULT_FILE}); make one by `nisf fit`"
        )
    try:
        values = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        if values.get("schema_version") != SCHEMA_VERSION:
            raise ResultError(
                f"{folder} has result schema {values.get('schema_version')}, this software reads "
                f"{SCHEMA_VERSION}; fit the study again"
            )
        tensors = load_file(folder / PARAMETER_FILE)
        return FitResult(
            study=load_study(folder),
            prior=load_prior(folder / PRIOR_FILE),
            frame=CanonicalFrame(tensors["canonical_from_ras"], tuple(values["assumptions"])),
            parameters=_parameters(tensors),
            history=tuple(FitStep(**step) for step in values["history"]),
            settings=values["settings"],
            figures=values["figures"],
            seconds=values["seconds"],
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(f"{folder} is incomplete or damaged: {error}; fit it again") from error


def result_summary(result: FitResult) -> dict[str, Any]:
    """The content of `result.json`: plain JSON, nothing that identifies a patient."""
    return {
        "schema_version": SCHEMA_VERSION,
        "software": f"NISFCore {__version__}",
        "research_use_only": True,
        "prior": {"name": result.prior.info.name, "n_subjects": result.prior.info.n_subjects},
        "settings": result.settings,
        "input": {
            "subject": result.study.subject,
            "n_slices": len(result.study.slices),
            "excluded": [{"name": e.slice.name, "reason": e.reason} for e in result.study.excluded],
            "warnings": list(result.study.warnings),
        },
        "assumptions": list(result.frame.assumptions),
        "figures": result.figures,
        "seconds": result.seconds,
        "slices": _slice_rows(result),
        "history": [vars(step) for step in result.history],
    }


def _slice_rows(result: FitResult) -> list[dict[str, Any]]:
    parameters = result.parameters
    rows = zip(
        result.study.slices, parameters.slice_motion, parameters.intensity_scale, strict=True
    )
    return [
        {
            "name": s.name,
            "view": s.view.value,
            "n_phases": s.n_phases,
            "translation_ras_mm": motion.translation_mm.tolist(),
            "rotation_ras_deg": np.rad2deg(motion.rotvec_rad).tolist(),
            "distance_mm": motion.distance_mm,
            "angle_deg": motion.angle_deg,
            "intensity_scale": float(scale),
        }
        for s, motion, scale in rows
    ]


def _tensors(result: FitResult) -> dict[str, np.ndarray]:
    p = result.parameters
    return {
        "latent": p.latent,
        "global_pose": p.global_pose,
        "canonical_from_ras": result.frame.canonical_from_ras,
        "slice_rotvec_rad": np.stack([m.rotvec_rad for m in p.slice_motion]),
        "slice_translation_mm": np.stack([m.translation_mm for m in p.slice_motion]),
        "intensity_scale": p.intensity_scale,
        "intensity_reference": p.intensity_reference,
    }


def _parameters(tensors: dict[str, np.ndarray]) -> FittedParameters:
    pairs = zip(tensors["slice_rotvec_rad"], tensors["slice_translation_mm"], strict=True)
    return FittedParameters(
        latent=tensors["latent"],
        global_pose=tensors["global_pose"],
        slice_motion=tuple(SliceMotion(rotvec, shift) for rotvec, shift in pairs),
        intensity_scale=tensors["intensity_scale"],
        intensity_reference=tensors["intensity_reference"],
    )
