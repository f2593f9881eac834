"""How much faster coarse-to-fine rendering is than dense evaluation (`analysis.export_speed`)."""

from dataclasses import asdict
from typing import Any

from NISFCore.analysis.export_speed import measure_export_speedup
from NISFCore.benchmark.plan import BenchmarkPlan
from NISFCore.fitting.intensity_detail import with_intensity_detail
from NISFCore.fitting.result import FitResult
from NISFCore.progress import CancelToken


def export_speed(
    result: FitResult, plan: BenchmarkPlan, cancel: CancelToken | None = None
) -> dict[str, Any]:
    """Speed-up and agreement on the grid of an export of one fit."""
    detailed = with_intensity_detail(result, cancel=cancel)
    measured = measure_export_speedup(
        detailed.field, plan.export_spacing_mm, plan.n_export_phases, cancel=cancel
    )
    return asdict(measured)
