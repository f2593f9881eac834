"""How often the truth lies within the intervals that a fit gives.

z is the error over its standard error. For slices it is that of each component of the rotation
vector and of the translation about the slice's own centre, with the common rigid motion, which
cannot be known, taken from the truth. For EDV, ESV, EF and mass see `analysis.function_errors`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.evaluation import motion_errors
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.rigid import about_centre, invert_rigid
from NISFCore.phantom.truth import PhantomTruth

NOMINAL = {"68": 1.0, "95": 1.96}
KINDS = ("rotation", "translation", "volume")
VOLUME_FIGURES = ("edv_ml", "esv_ml", "ef_percent", "mass_g")

Vector = npt.NDArray[np.float64]


def z_scores(
    result: FitResult,
    truth: PhantomTruth,
    volumes: Mapping[str, Mapping[str, float]],
    standard_errors: Mapping[str, float],
) -> dict[str, Any] | None:
    """Kind → z scores of one fit; None if the solver gives no standard errors.

    Args:
        volumes: figure → {estimate, truth}.
        standard_errors: of the same figures.
    """
    if result.uncertainty is None:
        return None
    rotation, translation = _motion_errors(result, truth)
    return {
        "rotation": (rotation / result.uncertainty.rotation_sd_deg).ravel(),
        "translation": (translation / result.uncertainty.translation_sd_mm).ravel(),
        "volume": [
            (volumes[name]["estimate"] - volumes[name]["truth"]) / standard_errors[name]
            for name in VOLUME_FIGURES
        ],
    }


def coverage(z: npt.ArrayLike) -> dict[str, float]:
    """Share of the intervals of each nominal coverage that hold the truth."""
    values = np.abs(np.asarray(z, dtype=np.float64))
    return {name: float((values <= limit).mean()) for name, limit in NOMINAL.items()}


def _motion_errors(result: FitResult, truth: PhantomTruth) -> tuple[Vector, Vector]:
    """Errors of every slice's rotation vector (degrees) and translation (mm), `(n_slices, 3)`."""
    estimate_from_truth = invert_rigid(motion_errors(result, truth)[1].truth_from_estimate)
    rotations, translations = [], []
    pairs = zip(result.study.slices, result.slice_motions, strict=True)
    for cine, motion in pairs:
        true = estimate_from_truth @ truth.true_from_scanned_ras(cine.name)
        ours, theirs = (about_centre(m, cine.centre_ras) for m in (motion, true))
        rotations.append(np.rad2deg(ours[0] - theirs[0]))
        translations.append(ours[1] - theirs[1])
    return np.array(rotations), np.array(translations)
