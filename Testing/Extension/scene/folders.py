"""Small folders as `nisf inspect --slices` and `nisf export` write them, of the analytic heart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.export.scanned_slices import write_scanned_slices
from NISFCore.export.settings import ExportFormat, ExportSettings
from NISFCore.export.writer import export_result
from NISFCore.geometry.spaces import apply_affine
from Testing.Core.analysis.hearts import Fitted, small_case

SPACING_MM = 6.0
SCENE_FORMATS = (
    ExportFormat.SEQUENCE,
    ExportFormat.SLICES,
    ExportFormat.VTP,
    ExportFormat.TABLES,
)
BRIGHTNESS = 400.0
N_BORDER = 5


@dataclass(frozen=True)
class Folders:
    """Where they are, and what they were made of.

    Attributes:
        study: slices with their full images.
        result: the export of the fit to the cropped slices.
        fitted: that fit.
        full: the study with full images.
    """

    study: Path
    result: Path
    fitted: Fitted
    full: CineStudy


def scene_case() -> Fitted:
    """A perfect fit of oblique slices with unequal phase counts and RR intervals."""
    fitted, _ = small_case(shape=(40, 44), spacing_mm=(3.1, 3.4))
    slices = tuple(replace(s, frames=np.rint(s.frames * BRIGHTNESS)) for s in fitted.study.slices)
    return replace(
        fitted,
        study=replace(fitted.study, slices=slices, subject="subject ä", warnings=("be careful",)),
        intensity_reference=np.full(len(slices), BRIGHTNESS),
    )


def with_border(cine: CineSlice) -> CineSlice:
    """The slice as it was before it was cropped: the same pixels with more around them."""
    n = N_BORDER
    frames = np.pad(cine.frames, ((0, 0), (n, n), (n, n)), mode="edge")
    ras_from_ijk = cine.ras_from_ijk.copy()
    ras_from_ijk[:3, 3] = apply_affine(cine.ras_from_ijk, [-n, -n, 0])
    return replace(cine, frames=frames, ras_from_ijk=ras_from_ijk)


def make_folders(parent: Path) -> Folders:
    """Write everything, with all phases."""
    fitted = scene_case()
    full = replace(fitted.study, slices=tuple(with_border(s) for s in fitted.study.slices))
    study = parent / "study"
    study.mkdir()
    write_scanned_slices(full, study)
    result = write_result(fitted, parent / "result")
    return Folders(study, result, fitted, full)


def write_result(
    fitted: Fitted,
    folder: Path,
    phases: str = "all",
    formats: Sequence[ExportFormat] = SCENE_FORMATS,
) -> Path:
    """Export a fit for the scene."""
    settings = ExportSettings(
        spacing_mm=SPACING_MM,
        surface_spacing_mm=SPACING_MM,
        phases=phases,
        formats=tuple(formats),
    )
    export_result(fitted, folder, settings)
    return folder
