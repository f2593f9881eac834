"""Standard errors of the figures of ventricular function, from the covariance of volumes.

To first order (delta method): with EDV = a, ESV = b, EF = 100 (a - b) / a,

    d EF = 100 (b / a^2 da - db / a),     d SV = da - db
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.volumes import MYOCARDIUM_DENSITY_G_PER_ML, VolumeCurve
from NISFCore.labels import Label

VolumeCovariance = Callable[[Sequence[float]], npt.NDArray[np.float64] | None]


def function_standard_errors(
    curve: VolumeCurve, volume_covariance_ml2: VolumeCovariance
) -> dict[str, float]:
    """Standard error of each figure of `VentricularFunction`, by its name; empty if not known.

    Args:
        volume_covariance_ml2: see `FittedStudy`.
    """
    lv, rv = curve.of(Label.LV_BLOOD_POOL), curve.of(Label.RV_BLOOD_POOL)
    phases = [int(f(v)) for v in (lv, rv) for f in (np.argmax, np.argmin)]
    C = volume_covariance_ml2([float(curve.cycle_fractions[i]) for i in phases])
    if C is None:
        return {}
    errors = _stroke_errors(C[:2, Label.LV_BLOOD_POOL, :2, Label.LV_BLOOD_POOL], lv, "")
    myocardium = C[0, Label.LV_MYOCARDIUM, 0, Label.LV_MYOCARDIUM]
    errors["mass_g"] = MYOCARDIUM_DENSITY_G_PER_ML * float(np.sqrt(myocardium))
    return errors | _stroke_errors(C[2:, Label.RV_BLOOD_POOL, 2:, Label.RV_BLOOD_POOL], rv, "rv_")


def _stroke_errors(
    C: npt.NDArray[np.float64], volume_ml: npt.NDArray[np.float64], prefix: str
) -> dict[str, float]:
    """Of one ventricle; C `(2, 2)` is the covariance of its largest and smallest volume."""
    a, b = float(volume_ml.max()), float(volume_ml.min())
    gradients = {
        "edv_ml": [1.0, 0.0],
        "esv_ml": [0.0, 1.0],
        "sv_ml": [1.0, -1.0],
        "ef_percent": [100 * b / a**2, -100 / a] if a > 0 else [0.0, 0.0],
    }
    return {f"{prefix}{name}": float(np.sqrt(g @ C @ g)) for name, g in _arrays(gradients).items()}


def _arrays(rows: dict[str, list[float]]) -> dict[str, npt.NDArray[np.float64]]:
    return {name: np.array(row) for name, row in rows.items()}
