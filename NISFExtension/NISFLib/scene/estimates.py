"""What a heart needs in the scene, known before it is loaded.

Seconds are those of one core of an ordinary machine (docs/slicer-scene.md has the measurements
behind the rates); memory is an upper bound of what the nodes hold.
"""

from dataclasses import dataclass
from pathlib import Path

import slicer

from NISFCore.labels import FOREGROUND
from NISFLib.scene.folders import ResultFolder, SliceFolder
from NISFLib.scene.loading import LoadSettings

BYTES_PER_FRAME_PIXEL = 4
BYTES_PER_SURFACE_POINT = 80
"""Coordinates and normals in float32, two triangles of three 64-bit indices."""
POINTS_PER_SURFACE = 15_000
"""Of the largest of the three surfaces at the usual sampling of 2 mm, generously."""

SECONDS_PER_VOXEL = 1.2e-8
SECONDS_PER_PHASE = 0.02
SECONDS_PER_MADE_SURFACE_VOXEL = 4.5e-8
SECONDS_PER_READ_SURFACE = 0.05


@dataclass(frozen=True)
class SceneEstimate:
    """What loading needs.

    Attributes:
        memory_bytes: of the nodes, in addition to what the scene holds.
        disk_bytes: of the saved scene, without counting on compression.
        seconds: about.
    """

    memory_bytes: int
    disk_bytes: int
    seconds: float


def free_memory_bytes() -> int:
    """Physical memory that this computer could still give; 0 if it does not tell."""
    information = slicer.vtkSystemInformation()
    information.RunMemoryCheck()
    return int(information.GetAvailablePhysicalMemory()) << 20


def estimate_grid(
    shape_kji: tuple[int, int, int],
    n_phases: int,
    settings: LoadSettings | None = None,
    has_surfaces: bool = True,
    n_slice_pixels: int = 0,
) -> SceneEstimate:
    """What a heart on a grid needs.

    Args:
        shape_kji: of one phase.
        settings: what is shown.
        has_surfaces: whether the export has surfaces; else 3D Slicer makes them of the labels.
        n_slice_pixels: pixels of all frames of all slices.
    """
    settings = settings or LoadSettings()
    n_k, n_j, n_i = shape_kji
    n_voxels = n_k * n_j * n_i
    per_voxel = 2 * settings.intensity + settings.labels + 2 * settings.segmentation
    n_surfaces = len(FOREGROUND) * (settings.segmentation + settings.models) * n_phases
    surface_bytes = n_surfaces * BYTES_PER_SURFACE_POINT * POINTS_PER_SURFACE
    memory = n_voxels * n_phases * per_voxel + surface_bytes
    memory += BYTES_PER_FRAME_PIXEL * n_slice_pixels
    seconds = n_phases * (SECONDS_PER_PHASE + SECONDS_PER_VOXEL * n_voxels * per_voxel)
    if has_surfaces:
        seconds += SECONDS_PER_READ_SURFACE * n_surfaces
    elif settings.segmentation:
        seconds += SECONDS_PER_MADE_SURFACE_VOXEL * n_voxels * n_phases
    return SceneEstimate(memory, memory, seconds)


def estimate_load(folder: Path, settings: LoadSettings | None = None) -> SceneEstimate:
    """What an export needs in the scene.

    Raises:
        SceneError: if it cannot be read.
    """
    result = ResultFolder.read(folder)
    slices = SliceFolder.read(folder / "slices").slices
    n_pixels = sum(n * rows * cols for n, rows, cols in (s.shape for s in slices))
    phases = len(result.phases)
    return estimate_grid(result.shape_kji, phases, settings, result.has_surfaces, n_pixels)
