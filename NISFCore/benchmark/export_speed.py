"""How much faster coarse-to-fine rendering is than evaluating every voxel, and their agreement."""

from typing import Any

from NISFCore.fitting.result import FitResult
from NISFCore.progress import CancelToken


def export_speed(result: FitResult, cancel: CancelToken | None = None) -> dict[str, Any]:
    """Speed-up and agreement of the exported grid, or `reason` why they cannot be given."""
    del result, cancel
    return {"speedup": None, "reason": "coarse-to-fine rendering cannot be measured yet"}
