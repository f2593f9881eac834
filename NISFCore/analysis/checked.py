"""What is done with every fit before anybody sees it: motions that crossing slices contradict are
taken back, the agreement of crossing slices is measured, and the quality checks are made."""

import math
from collections.abc import Mapping
from dataclasses import replace

from NISFCore.analysis.evaluation import intersection_ncc_before_after
from NISFCore.analysis.quality import quality_of
from NISFCore.analysis.trusted_motion import PutBack, with_trusted_motions
from NISFCore.fitting.result import FitResult

NCC_TOLERANCE = 0.01
"""A fall of the intersection NCC by less is no reason to warn."""


def checked(result: FitResult) -> FitResult:
    """The fit with trusted motions, figures of its crossing slices, warnings and quality report."""
    result, put_back = with_trusted_motions(result)
    figures = _intersection_figures(result)
    texts = _put_back_warning(put_back) + _disagreement(figures)
    warnings = dict.fromkeys(result.study.warnings + texts)
    study = replace(result.study, warnings=tuple(warnings))
    result = replace(result, study=study, figures=result.figures | figures)
    return replace(result, quality=quality_of(result))


def _intersection_figures(result: FitResult) -> dict[str, float]:
    """Intersection NCC without and with the fitted motions; nothing where no slices cross."""
    before, after = intersection_ncc_before_after(result)
    figures = {"intersection_ncc_before": before.mean, "intersection_ncc_after": after.mean}
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _put_back_warning(put_back: tuple[PutBack, ...]) -> tuple[str, ...]:
    """Which slices stay where they were scanned, and why."""
    if not put_back:
        return ()
    names = ", ".join(f"{p.name} (NCC {p.ncc_moved:.2f}, {p.ncc_scanned:.2f})" for p in put_back)
    return (
        "slices left where they were scanned, since those that they cross agree more with them "
        f"there (moved, as scanned): {names}",
    )


def _disagreement(figures: Mapping[str, float]) -> tuple[str, ...]:
    """A warning if slices that cross agree less where the fit put them than as scanned."""
    before, after = (figures.get(f"intersection_ncc_{when}") for when in ("before", "after"))
    if before is None or after is None or after >= before - NCC_TOLERANCE:
        return ()
    return (
        f"slices that cross agree less after the fit (NCC {before:.2f} before, {after:.2f} after): "
        "this prior does not explain this heart, do not trust the slice motions",
    )
