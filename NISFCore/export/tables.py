"""Volume-time curve and ventricular function as CSV and JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve
from NISFCore.function_names import FUNCTION_NAMES


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as CSV; numbers with six significant digits."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return stream.getvalue()


def volumes_csv(curve: VolumeCurve) -> str:
    """The volume-time curve, one row per phase."""
    return csv_text(curve.rows())


def function_csv(function: VentricularFunction, errors: Mapping[str, float]) -> str:
    """One row per figure: key, name, value, standard error (empty if not known), unit."""
    return csv_text(
        [
            {"figure": key, "name": FUNCTION_NAMES[key][0], "value": value}
            | {"standard_error": errors.get(key, ""), "unit": unit}
            for key, value in function.to_dict().items()
            for unit in [FUNCTION_NAMES[key][1]]
        ]
    )


def function_json(
    function: VentricularFunction, curve: VolumeCurve, errors: Mapping[str, float]
) -> str:
    """All figures, their standard errors as far as known, and which phases they are from."""
    values = {
        **function.to_dict(),
        "standard_errors": dict(errors),
        "ed_phase": curve.ed_index,
        "es_phase": curve.es_index,
        "n_phases": len(curve.cycle_fractions),
    }
    return json.dumps(values, indent=2) + "\n"
