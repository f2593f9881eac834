"""What an export needs, known beforehand."""

from dataclasses import dataclass

from NISFCore.analysis.fitted import FittedStudy, n_cycle_phases
from NISFCore.analysis.lattice import LATTICE_MM
from NISFCore.export.settings import (
    SURFACE_FORMATS,
    VOLUME_FORMATS,
    ExportFormat,
    ExportSettings,
)
from NISFCore.labels import FOREGROUND

BYTES_PER_RENDERED_VOXEL = 14
BYTES_PER_LATTICE_POINT = 150
BYTES_PER_LATTICE_POINT_AND_PHASE = 10
BYTES_PER_SURFACE_VOXEL = 200
BYTES_OF_SLAB = 45_000_000
BYTES_PER_STORED_VOXEL = {
    ExportFormat.NIFTI: 3,
    ExportFormat.NRRD: 3,
    ExportFormat.SEQUENCE: 3,
    ExportFormat.SEGMENTATION: 1,
    ExportFormat.CONFIDENCE: 1,
}
BYTES_PER_SURFACE = 2_500_000
BYTES_OF_REPORT = 15_000_000


@dataclass(frozen=True)
class ExportEstimate:
    """Upper bounds of what an export needs, known beforehand.

    Attributes:
        n_voxels: of one phase.
        n_phases: to be written.
        memory_bytes: beyond what is in memory already.
        disk_bytes: without counting on compression.
    """

    n_voxels: int
    n_phases: int
    memory_bytes: int
    disk_bytes: int


def estimate_export(fitted: FittedStudy, settings: ExportSettings) -> ExportEstimate:
    """Upper bounds of memory and disk space for an export."""
    n_voxels = fitted.field.box.grid(settings.spacing_mm).n_voxels
    n_cycle = n_cycle_phases(fitted.study)
    n_phases = settings.max_phases(n_cycle)
    per_voxel = sum(BYTES_PER_STORED_VOXEL[f] for f in VOLUME_FORMATS if f in settings.formats)
    disk = n_voxels * n_phases * per_voxel
    disk += sum(
        BYTES_PER_SURFACE * n_phases * len(FOREGROUND)
        for f in SURFACE_FORMATS
        if f in settings.formats
    )
    if settings.wants(ExportFormat.SLICES):
        disk += sum(3 * cine.frames.nbytes for cine in fitted.study.slices)
    if settings.wants(ExportFormat.REPORT):
        disk += BYTES_OF_REPORT
    n_lattice = fitted.field.box.grid(LATTICE_MM).n_voxels
    memory = BYTES_PER_RENDERED_VOXEL * n_voxels + BYTES_OF_SLAB
    memory += n_lattice * (BYTES_PER_LATTICE_POINT + BYTES_PER_LATTICE_POINT_AND_PHASE * n_cycle)
    if settings.wants(*SURFACE_FORMATS, ExportFormat.REPORT):
        n_surface = fitted.field.box.grid(settings.surface_spacing_mm).n_voxels
        memory += BYTES_PER_SURFACE_VOXEL * n_surface + BYTES_PER_SURFACE * n_phases
    return ExportEstimate(n_voxels, n_phases, memory, disk)
