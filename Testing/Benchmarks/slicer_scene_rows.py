"""The measurements of `Testing.Benchmarks.slicer_scene`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFLib.scene import (
    HeartScene,
    LoadSettings,
    SceneFormat,
    estimate_grid,
    save_bundle,
    save_files,
)
from NISFLib.scene.cycle import add_cycle
from NISFLib.scene.heart import Surfaces, add_segmentation
from NISFLib.scene.images import Phases, array_of_image, vtk_image
from Testing.Harness.mrml import clear_scene

N_PHASES = 30


@dataclass(frozen=True)
class Timing:
    """Seconds on the clock, and those that the processor worked: fewer on a busy machine."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Row:
    """One line of the table. `estimate` is what `estimate_grid` says beforehand, if anything."""

    name: str
    time: Timing
    estimate_seconds: float | None = None
    size_mb: float | None = None


def heart_labels(n: int, fraction: float) -> npt.NDArray[np.uint8]:
    """A beating heart `(n, n, n)`."""
    axis = np.linspace(-1, 1, n, dtype=np.float32)
    z, y, x = axis[:, None, None], axis[None, :, None], axis[None, None, :]
    s = 1 - 0.25 * np.sin(np.pi * fraction) ** 2

    def inside(a: float, b: float, c: float, x0: float = 0.0) -> npt.NDArray[np.bool_]:
        return ((x - x0) / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1

    labels = np.zeros((n, n, n), dtype=np.uint8)
    labels[inside(0.32 * s, 0.35 * s, 0.6, -0.45)] = 3
    labels[inside(0.38, 0.38, 0.7)] = 2
    labels[inside(0.26 * s, 0.26 * s, 0.58 * s)] = 1
    return labels


def timed(work: Callable[[], Any], n_times: int = 1) -> tuple[Timing, Any]:
    """(time, answer) of a function that does something `n_times`; the time is that of one."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Timing(wall / n_times, cpu / n_times), answer


def heart_rows(slicer: Any, n: int, folder: Path) -> list[Row]:
    """A segmentation sequence with and without surfaces, scrubbing, files."""
    fractions = np.arange(N_PHASES) / N_PHASES
    geometry = np.diag([150 / n, 150 / n, 150 / n, 1.0])
    images = tuple(vtk_image(heart_labels(n, float(t))) for t in fractions)
    labels = Phases(fractions, geometry, images)
    heart = HeartScene()
    return [
        *loading_rows(heart, labels, "without surfaces", {}),
        *loading_rows(heart, labels, "with Slicer's surfaces", None),
        *file_rows(slicer, heart, folder),
    ]


def loading_rows(
    heart: HeartScene, labels: Phases, name: str, surfaces: Surfaces | None
) -> list[Row]:
    """A segmentation sequence into an empty scene, and one change of phase."""
    clear_scene()
    fractions, n_phases = labels.cycle_fractions, len(labels.images)
    add_cycle(heart.nodes, fractions)
    loading, _ = timed(lambda: add_segmentation(heart.nodes, labels, lambda _: surfaces))
    settings = LoadSettings(intensity=False)
    known = estimate_grid(labels.shape_kji, n_phases, settings, has_surfaces=False)
    estimate = known.seconds if surfaces is None else None
    rows = [Row(f"segmentation into the scene, {name}", loading, estimate)]
    if n_phases > 1:
        scrubbing, _ = timed(lambda: scrub(heart, n_phases), n_phases - 1)
        rows.append(Row(f"one change of phase, {name}", scrubbing))
    return rows


def scrub(heart: HeartScene, n_phases: int) -> None:
    """Show every phase but the first, which is shown already."""
    sizes = set()
    for phase in range(1, n_phases):
        heart.phase = phase
        core = heart.segmentation.GetSegmentation()
        image = core.GetNthSegment(0).GetRepresentation(core.GetSourceRepresentationName())
        sizes.add(float(np.sum(array_of_image(image)[image.GetDimensions()[2] // 2] == 1)))
    if len(sizes) < 3:
        raise RuntimeError("the heart does not beat: the browser has not changed its segmentation")


def file_rows(slicer: Any, heart: HeartScene, folder: Path) -> list[Row]:
    """Every file format, and the scene bundle both ways."""
    rows = []
    for kind in (SceneFormat.SEG_NRRD, SceneFormat.SEQ_NRRD, SceneFormat.SEQ_MRB):
        writing, files = timed(partial(save_files, heart, folder, [kind]))
        size_mb = sum(path.stat().st_size for path in files) / 1e6
        rows.append(Row(f"write {kind.value} ({len(files)} files)", writing, None, size_mb))
    writing, path = timed(lambda: save_bundle(heart, folder / "scene.mrb"))
    rows.append(Row("write .mrb", writing, None, path.stat().st_size / 1e6))
    clear_scene()
    reading, _ = timed(lambda: slicer.mrmlScene.ReadFromMRB(str(path)))
    return [*rows, Row("read .mrb", reading)]


def single_phase_rows(n: int) -> list[Row]:
    """One phase at annotation resolution, with surfaces."""
    image = vtk_image(heart_labels(n, 0.0))
    labels = Phases(np.zeros(1), np.diag([0.5, 0.5, 0.5, 1.0]), (image,))
    return loading_rows(HeartScene(), labels, f"one phase of {n}^3, with Slicer's surfaces", None)
