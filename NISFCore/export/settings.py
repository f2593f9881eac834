"""What is exported, on which grid and in which phases."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from NISFCore.errors import ConfigError

if TYPE_CHECKING:  # the command line reads these settings before it loads anything large
    from NISFCore.analysis.volumes import VolumeCurve

ALLOWED_SPACING_MM = (0.3, 10.0)


class ExportFormat(str, Enum):
    """One kind of output."""

    NIFTI = "nifti"
    """4D intensity and label volumes, `.nii.gz`."""
    NRRD = "nrrd"
    """Intensity and label volumes, one `.nrrd` per phase."""
    SEQUENCE = "seq.nrrd"
    """3D Slicer volume sequences."""
    SEGMENTATION = "seg.nrrd"
    """3D Slicer segmentations, one per phase."""
    SLICES = "slices"
    """Aligned slices: transforms and images."""
    MOTION = "motion"
    """The transforms of the slices alone."""
    VTP = "vtp"
    """Surfaces as VTK poly data."""
    STL = "stl"
    """Surfaces as STL."""
    TABLES = "tables"
    """Volume-time curve and ventricular function as CSV and JSON."""
    REPORT = "report"
    """One-page HTML report."""
    CONFIDENCE = "confidence"
    """4D map of how sure every voxel's label is, in percent, `.nii.gz`; takes minutes."""


ALL_FORMATS = tuple(ExportFormat)
STANDARD_FORMATS = tuple(
    f for f in ExportFormat if f not in (ExportFormat.CONFIDENCE, ExportFormat.MOTION)
)
"""What "all" stands for: the map of confidence takes as long as everything else together, and the
slices come with their motions."""
VOLUME_FORMATS = (
    ExportFormat.NIFTI,
    ExportFormat.NRRD,
    ExportFormat.SEQUENCE,
    ExportFormat.SEGMENTATION,
    ExportFormat.CONFIDENCE,
)
INTENSITY_FORMATS = (
    ExportFormat.NIFTI,
    ExportFormat.NRRD,
    ExportFormat.SEQUENCE,
    ExportFormat.REPORT,
)
"""What shows the heart's intensities."""
SURFACE_FORMATS = (ExportFormat.VTP, ExportFormat.STL)


@dataclass(frozen=True)
class ExportSettings:
    """What to export.

    Attributes:
        spacing_mm: isotropic voxel size of exported volumes.
        phases: "all", or a comma-separated list of ED, ES and phase indices, e.g. "ED,ES,7".
        formats: kinds of output.
        surface_spacing_mm: sampling of surfaces; finer keeps smaller details.
        overwrite: replace an output folder that holds something.
    """

    spacing_mm: float = 1.5
    phases: str = "all"
    formats: tuple[ExportFormat, ...] = STANDARD_FORMATS
    surface_spacing_mm: float = 2.0
    overwrite: bool = False

    def __post_init__(self) -> None:
        low, high = ALLOWED_SPACING_MM
        for name in ("spacing_mm", "surface_spacing_mm"):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}: got {value}, allowed: {low:g} to {high:g} mm")
        if not self.formats:
            raise ConfigError(f"formats: none given; allowed: {', '.join(ALL_FORMATS)}")
        _phase_names(self.phases)

    def wants(self, *formats: ExportFormat) -> bool:
        """True if any of these formats is asked for."""
        return any(f in self.formats for f in formats)

    def max_phases(self, n_phases: int) -> int:
        """At most this many of a heart's phases are exported."""
        names = _phase_names(self.phases)
        return n_phases if "ALL" in names else min(n_phases, len(names))

    def phase_indices(self, curve: "VolumeCurve") -> tuple[int, ...]:
        """The phases to export, in order of time, each once.

        Raises:
            ConfigError: if an index is beyond the cycle.
        """
        n_phases = len(curve.cycle_fractions)
        named = {"ED": curve.ed_index, "ES": curve.es_index}
        wanted: set[int] = set()
        for name in _phase_names(self.phases):
            if name == "ALL":
                return tuple(range(n_phases))
            wanted.add(named[name] if name in named else int(name))
        if max(wanted) >= n_phases:
            raise ConfigError(
                f"phases: got {max(wanted)}, but this heart has phases 0 to {n_phases - 1}"
            )
        return tuple(sorted(wanted))


def parse_formats(text: str) -> tuple[ExportFormat, ...]:
    """Read a comma-separated list of formats; "all" stands for `STANDARD_FORMATS`.

    Raises:
        ConfigError: for an unknown format.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    allowed = [f.value for f in ALL_FORMATS]
    unknown = [name for name in names if name not in (*allowed, "all")]
    if unknown or not names:
        raise ConfigError(f"formats: got {text!r}, allowed: all, {', '.join(allowed)}")
    wanted = [f for name in names for f in _formats_of(name)]
    return tuple(dict.fromkeys(wanted))


def _formats_of(name: str) -> tuple[ExportFormat, ...]:
    return STANDARD_FORMATS if name == "all" else (ExportFormat(name),)


def _phase_names(phases: str) -> list[str]:
    names = [name.strip().upper() for name in phases.split(",")]
    if not all(re.fullmatch(r"ALL|ED|ES|\d+", name) for name in names):
        raise ConfigError(
            f"phases: got {phases!r}, allowed: all, or a list of ED, ES and phase indices"
        )
    return names
