"""Writing and reading a result folder.

```
RESULT/result.json             schema version, software, prior, settings, summary, figures
       parameters.safetensors  latent, warp, poses, scales: everything the heart is made of
       prior.safetensors       the prior it was fitted with, so that the folder can be moved
       study.json, study.safetensors   the fitted slices, cropped and without identity
       evidence.safetensors    what the slice network said of them, if it was asked
```
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from NISFCore._version import __version__
from NISFCore.config import from_json_object, to_json_object
from NISFCore.data.storage import load_study, save_study
from NISFCore.errors import ConfigError, PriorError, ResultError, StudyError
from NISFCore.files import new_folder, write_bytes_atomically, write_text_atomically
from NISFCore.fitting.evidence_file import load_evidence, save_evidence
from NISFCore.fitting.quality import QualityReport
from NISFCore.fitting.result import (
    FitResult,
    FitStep,
    FittedParameters,
    FitUncertainty,
    SliceMotion,
)
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.rigid import is_rigid
from NISFCore.labels import N_LABELS
from NISFCore.model.prior import load_prior
from NISFCore.model.receive_gain import N_GAIN
from NISFCore.model.shape_warp import ShapeWarp, WarpModes

SCHEMA_VERSION = 4
RESULT_FILE = "result.json"
PARAMETER_FILE = "parameters.safetensors"
PRIOR_FILE = "prior.safetensors"

Tensors = dict[str, np.ndarray]

_DAMAGE = (OSError, SafetensorError, ValueError, KeyError, ConfigError, PriorError, StudyError)


@dataclass(frozen=True)
class _StoredFit:
    """What `result.json` holds beyond what is read from the other files."""

    assumptions: tuple[str, ...]
    history: tuple[FitStep, ...]
    settings: dict[str, Any]
    figures: dict[str, float]
    seconds: dict[str, float]
    quality: QualityReport | None = None


def save_result(result: FitResult, folder: Path, overwrite: bool = False) -> None:
    """Write the whole folder, or nothing.

    Raises:
        OutputError: if it exists and is not empty (unless it is a result and `overwrite`), or
            cannot be written.
    """
    with new_folder(folder, overwrite, RESULT_FILE) as temporary:
        save_study(result.study, temporary)
        result.prior.save(temporary / PRIOR_FILE)
        write_bytes_atomically(temporary / PARAMETER_FILE, save(_tensors(result)))
        if result.evidence is not None:
            save_evidence(result.evidence, result.study, temporary)
        text = json.dumps(result_summary(result), indent=2, allow_nan=False)
        write_text_atomically(temporary / RESULT_FILE, text)


def load_result(folder: Path) -> FitResult:
    """Read a folder that `save_result` wrote.

    Raises:
        ResultError: if it is no result folder, incomplete, damaged, or of another version.
    """
    if not (folder / RESULT_FILE).is_file():
        raise ResultError(
            f"{folder} is no result folder (no {RESULT_FILE}); make one by `nisf fit`"
        )
    try:
        return _loaded(folder, _stored_fit(folder))
    except _DAMAGE as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ResultError(
            f"{folder} is incomplete or damaged: {problem}; fit the study again"
        ) from error


def _loaded(folder: Path, stored: _StoredFit) -> FitResult:
    study = load_study(folder)
    prior = load_prior(folder / PRIOR_FILE)
    tensors = load_file(folder / PARAMETER_FILE)
    _check_tensors(tensors, prior.info.decoder.n_latent, len(study.slices))
    return FitResult(
        study=study,
        prior=prior,
        frame=CanonicalFrame(tensors["canonical_from_ras"], stored.assumptions),
        parameters=_parameters(tensors),
        history=stored.history,
        settings=stored.settings,
        figures=stored.figures,
        seconds=stored.seconds,
        quality=stored.quality,
        uncertainty=_uncertainty(tensors),
        evidence=load_evidence(study, folder),
    )


def _stored_fit(folder: Path) -> _StoredFit:
    text = (folder / RESULT_FILE).read_text(encoding="utf-8")
    values = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(values, dict):
        raise ValueError(f"{RESULT_FILE} holds no JSON object")
    if values.get("schema_version") != SCHEMA_VERSION:
        raise ResultError(
            f"{folder} has result schema {values.get('schema_version')}, this software reads "
            f"{SCHEMA_VERSION}; fit the study again"
        )
    wanted = {field.name: values[field.name] for field in fields(_StoredFit)[:-1]}
    return from_json_object(_StoredFit, wanted | {"quality": _stored_quality(values)})


def _stored_quality(values: dict[str, Any]) -> dict[str, Any] | None:
    """The report's own fields: `verdict` and `kind` follow from them. None in results of versions
    that made no checks."""
    stored = values.get("quality")
    if stored is None:
        return None
    return {field.name: stored[field.name] for field in fields(QualityReport)}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{RESULT_FILE} holds {name}, which is no JSON")


def _check_tensors(tensors: Tensors, n_latent: int, n_slices: int) -> None:
    """Shapes, types and values that a fit can have.

    Raises:
        ValueError: if a tensor is wrong.
        KeyError: if one is missing.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "latent": (n_latent,),
        "global_pose": (4, 4),
        "canonical_from_ras": (4, 4),
        "slice_rotvec_rad": (n_slices, 3),
        "slice_translation_mm": (n_slices, 3),
        "intensity_scale": (n_slices,),
        "log_gain": (N_GAIN,),
        "tissue_offset": (N_LABELS,),
        "intensity_reference": (n_slices,),
    }
    n_code = n_latent
    if "warp_coefficients" in tensors:
        n_code += tensors["warp_coefficients"].size
    covariances = {
        "code_covariance": (n_code, n_code),
        "motion_covariance": (n_slices, 6, 6),
    }
    if any(name in tensors for name in covariances):
        shapes |= covariances
    for name, shape in shapes.items():
        value, dtype = tensors[name], np.float32 if name == "latent" else np.float64
        if value.shape != shape or value.dtype != dtype:
            raise ValueError(
                f"{name} has shape {value.shape} {value.dtype}, expected {shape} {np.dtype(dtype)}"
            )
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    for name in ("global_pose", "canonical_from_ras"):
        if not is_rigid(tensors[name]):
            raise ValueError(f"{name} is no rigid motion")
    for name in ("intensity_scale", "intensity_reference"):
        if not (tensors[name] > 0).all():
            raise ValueError(f"{name} holds values that are not positive")


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
        "quality": quality_summary(result.quality),
        "seconds": result.seconds,
        "slices": _slice_rows(result),
        "history": [vars(step) for step in result.history],
    }


def quality_summary(quality: QualityReport | None) -> dict[str, Any] | None:
    """A quality report as plain JSON, with what follows from its checks."""
    if quality is None:
        return None
    own = to_json_object(quality)
    return {"verdict": quality.verdict.value, "kind": quality.kind, **own}


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
            **_slice_uncertainty(result.uncertainty, index),
        }
        for index, (s, motion, scale) in enumerate(rows)
    ]


def _slice_uncertainty(uncertainty: FitUncertainty | None, index: int) -> dict[str, list[float]]:
    if uncertainty is None:
        return {}
    return {
        "translation_sd_mm": uncertainty.translation_sd_mm[index].tolist(),
        "rotation_sd_deg": uncertainty.rotation_sd_deg[index].tolist(),
    }


def _tensors(result: FitResult) -> Tensors:
    p, uncertainty = result.parameters, result.uncertainty
    return {
        **({} if uncertainty is None else vars(uncertainty)),
        "latent": p.latent,
        "global_pose": p.global_pose,
        "canonical_from_ras": result.frame.canonical_from_ras,
        "slice_rotvec_rad": np.stack([m.rotvec_rad for m in p.slice_motion]),
        "slice_translation_mm": np.stack([m.translation_mm for m in p.slice_motion]),
        "intensity_scale": p.intensity_scale,
        "log_gain": p.log_gain,
        "tissue_offset": p.tissue_offset,
        "intensity_reference": p.intensity_reference,
        **({} if p.warp is None else _warp_tensors(p.warp)),
    }


def _warp_tensors(warp: ShapeWarp) -> Tensors:
    return {
        "warp_coefficients": warp.coefficients,
        "warp_half_waves": warp.modes.half_waves,
        "warp_sd_mm": warp.modes.sd_mm,
    }


def _warp(tensors: Tensors) -> ShapeWarp | None:
    if "warp_coefficients" not in tensors:
        return None
    modes = WarpModes(tensors["warp_half_waves"], tensors["warp_sd_mm"])
    return ShapeWarp(modes, tensors["warp_coefficients"])


def _uncertainty(tensors: Tensors) -> FitUncertainty | None:
    if "code_covariance" not in tensors:
        return None
    return FitUncertainty(tensors["code_covariance"], tensors["motion_covariance"])


def _parameters(tensors: Tensors) -> FittedParameters:
    pairs = zip(tensors["slice_rotvec_rad"], tensors["slice_translation_mm"], strict=True)
    return FittedParameters(
        latent=tensors["latent"],
        global_pose=tensors["global_pose"],
        slice_motion=tuple(SliceMotion(rotvec, shift) for rotvec, shift in pairs),
        intensity_scale=tensors["intensity_scale"],
        log_gain=tensors["log_gain"],
        tissue_offset=tensors["tissue_offset"],
        intensity_reference=tensors["intensity_reference"],
        warp=_warp(tensors),
    )
