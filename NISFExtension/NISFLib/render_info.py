"""What was rendered into the scene, from an export's manifest, and what another one would need."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from NISFCore.errors import NISFError
from NISFCore.labels import FOREGROUND
from NISFLib.scene import LoadSettings, SceneEstimate, estimate_grid, free_memory_bytes
from NISFLib.settings import Settings

MANIFEST_FILE = "manifest.json"

SECONDS_PER_RENDERING = 18.0
"""To start, to take up the subject's own intensities, and to write the tables."""
SECONDS_PER_SAMPLED_PHASE = 0.9
SECONDS_PER_SURFACE = 0.35
SECONDS_PER_RENDERED_VOXEL = 1.3e-7


MEGABYTE = 1e6


def load_settings(settings: Settings, has_surfaces: bool = True) -> LoadSettings:
    """What of a rendering is wanted in the scene; models need its surfaces."""
    models = settings.with_models and has_surfaces
    return LoadSettings(labels=settings.with_labels, models=models)


def in_megabytes(n_bytes: float) -> str:
    """As it is told to the user."""
    return f"{n_bytes / MEGABYTE:.0f} MB"


@dataclass(frozen=True)
class ExportNeeds:
    """What an export into the scene needs. Seconds are those of one core of an ordinary machine
    (docs/slicer-scene.md).

    Attributes:
        n_phases: that would be in the scene.
        render_seconds: until it is rendered, all in the worker.
        scene: what loading it needs, in Slicer.
    """

    shape_kji: tuple[int, int, int]
    n_phases: int
    render_seconds: float
    scene: SceneEstimate

    def check_memory(self) -> None:
        """
        Raises:
            NISFError: if the scene would take more memory than is free.
        """
        free_bytes = free_memory_bytes()  # 0: the system does not tell
        if not 0 < free_bytes < self.scene.memory_bytes:
            return
        voxels = " × ".join(map(str, self.shape_kji[::-1]))
        raise NISFError(
            f"{self.n_phases} phase(s) of {voxels} voxels would take "
            f"{in_megabytes(self.scene.memory_bytes)} of memory in the scene, of which "
            f"{in_megabytes(free_bytes)} are free: choose a larger spacing or fewer phases, or "
            "write files without the scene by the command nisf export"
        )


@dataclass(frozen=True)
class RenderInfo:
    """The grid, the phases and the kinds of node of what was loaded.

    Attributes:
        phases: indices within the whole cycle.
        n_cycle_phases: of the whole cycle, as far as it is known.
        wanted: the `--phases` that led to it.
        is_final: False for a first look, which an export always replaces.
    """

    spacing_mm: float
    shape_kji: tuple[int, int, int]
    phases: tuple[int, ...]
    wanted: str
    load: LoadSettings
    is_final: bool = True

    @classmethod
    def of(cls, folder: Path, load: LoadSettings, is_final: bool = True) -> "RenderInfo":
        """Read the manifest of an export that was just loaded."""
        manifest: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        k, j, i = manifest["shape_kji"]
        return cls(
            spacing_mm=float(manifest["settings"]["spacing_mm"]),
            shape_kji=(k, j, i),
            phases=tuple(manifest["phases"]),
            wanted=str(manifest["settings"]["phases"]),
            load=load,
            is_final=is_final,
        )

    def shows(self, spacing_mm: float, phases: str, load: LoadSettings) -> bool:
        """Whether the scene has what these settings would render."""
        asked = (spacing_mm, phases, load)
        return self.is_final and (self.spacing_mm, self.wanted, self.load) == asked

    def cycle_phase(self, phase: int) -> int:
        """The cycle's index of a phase in the scene."""
        return self.phases[phase] if 0 <= phase < len(self.phases) else phase

    def needs(
        self, spacing_mm: float, n_phases: int, n_cycle_phases: int, load: LoadSettings
    ) -> ExportNeeds:
        """What an export of some phases of the cycle at another spacing needs."""
        scale = self.spacing_mm / spacing_mm
        k, j, i = (max(1, round(n * scale)) for n in self.shape_kji)
        seconds = SECONDS_PER_RENDERING + SECONDS_PER_SAMPLED_PHASE * n_cycle_phases
        seconds += SECONDS_PER_SURFACE * len(FOREGROUND) * n_phases
        seconds += SECONDS_PER_RENDERED_VOXEL * k * j * i * n_phases
        scene = estimate_grid((k, j, i), n_phases, load)
        return ExportNeeds((k, j, i), n_phases, seconds, scene)
