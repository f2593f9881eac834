"""From the folders that `nisf` wrote to the nodes of a scene.

Everything is read before the scene is touched, so that a damaged file changes nothing in it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFLib.scene import heart, plots, slices, tables
from NISFLib.scene.cycle import ED_PHASE, ES_PHASE, add_cycle, describe
from NISFLib.scene.folders import ResultFolder, ScannedSlice, SliceFolder
from NISFLib.scene.images import Phases, read_phases
from NISFLib.scene.nodes import Nodes, SceneError

LoadProgress = Callable[[str, int, int], None]
"""Gets (stage, step, total) before each step; may raise `NISFCore.errors.Cancelled` to stop."""

SUBJECT, NOTES = "NISF.subject", "NISF.notes"

Read = list[tuple[ScannedSlice, Phases]]
"""Slices with their frames."""


@dataclass(frozen=True)
class LoadSettings:
    """Which parts of a result come into the scene."""

    intensity: bool = True
    labels: bool = False
    segmentation: bool = True
    models: bool = False


@dataclass
class _Steps:
    """Counts the steps of one load over all its stages."""

    progress: LoadProgress | None
    total: int
    step: int = 0

    def tick(self, stage: str) -> None:
        self.step += 1
        if self.progress is not None:
            self.progress(stage, self.step, self.total)


@dataclass(frozen=True)
class _Loaded:
    """What was read of a result before the scene is touched."""

    slices: Read
    intensity: Phases | None
    labels: Phases | None


def load_study(nodes: Nodes, folder: Path, progress: LoadProgress | None) -> None:
    """See `HeartScene.load_study`."""
    found = SliceFolder.read(folder)
    read = _read_slices(found.slices, _Steps(progress, len(found.slices)))
    n_phases = int(np.median([s.n_phases for s in found.slices]))
    fractions = np.arange(n_phases) / n_phases
    with _replacing(nodes):
        add_cycle(nodes, fractions)
        _describe(nodes, found.subject, found.warnings)
        _add_slices(nodes, read, fractions)


def load_result(
    nodes: Nodes,
    folder: Path,
    study: Path | None,
    settings: LoadSettings | None,
    progress: LoadProgress | None,
) -> ResultFolder:
    """See `HeartScene.load_result`."""
    settings = settings or LoadSettings()
    result = ResultFolder.read(folder)
    if result.profiles is None:
        raise SceneError(
            f"{folder} has no profiles.json: it is no folder for the scene, or not whole"
        )
    own = SliceFolder.read(folder / "slices")
    scanned, notes = _with_full_images(own.slices, study)
    n_heart = (settings.segmentation + 3 * settings.models) * len(result.phases)
    steps = _Steps(progress, len(scanned) + 2 + n_heart)
    loaded = _read_result(result, scanned, settings, steps)
    with _replacing(nodes):
        highest = max(max(row.values()) for row in result.volumes)
        add_cycle(nodes, result.cycle_fractions, highest)
        _describe(nodes, own.subject, (*own.warnings, *notes))
        describe(nodes, ED_PHASE, result.ed_phase)
        describe(nodes, ES_PHASE, result.es_phase)
        regions = {item.name: item for item in own.slices}
        _add_slices(nodes, loaded.slices, result.cycle_fractions, result.motions, regions)
        _add_heart(nodes, result, loaded, settings, steps)
        _add_figures(nodes, result)
    return result


@contextmanager
def _replacing(nodes: Nodes) -> Iterator[None]:
    """What was there goes; if the block fails, what it made goes too."""
    nodes.remove()
    try:
        yield
    except BaseException:
        nodes.remove()
        raise


def _describe(nodes: Nodes, subject: str, notes: tuple[str, ...]) -> None:
    describe(nodes, SUBJECT, subject)
    describe(nodes, NOTES, list(notes))


def _add_slices(
    nodes: Nodes,
    read: Read,
    fractions: npt.NDArray[np.float64],
    motions: Mapping[str, Mapping[str, Any]] | None = None,
    regions: Mapping[str, ScannedSlice] | None = None,
) -> None:
    for scanned, phases in read:
        motion = (motions or {}).get(scanned.name)
        region = (regions or {}).get(scanned.name)
        slices.add_slice(nodes, scanned, phases, fractions, motion, region)
    slices.show_slices(nodes)


def _add_heart(
    nodes: Nodes, result: ResultFolder, loaded: _Loaded, settings: LoadSettings, steps: _Steps
) -> None:
    if loaded.intensity is not None:
        heart.add_intensity(nodes, loaded.intensity)
    if loaded.labels is not None and settings.labels:
        heart.add_labels(nodes, loaded.labels)
    if loaded.labels is not None and settings.segmentation:
        heart.add_segmentation(
            nodes,
            loaded.labels,
            lambda k: heart.read_surfaces(result, k),
            lambda: steps.tick("segmentation"),
        )
    if settings.models and result.has_surfaces:
        heart.add_models(nodes, result, lambda: steps.tick("models"))


def _add_figures(nodes: Nodes, result: ResultFolder) -> None:
    volumes, marks = tables.add_volume_table(nodes, result), tables.add_mark_table(nodes, result)
    tables.add_function_table(nodes, result)
    tables.add_motion_table(nodes, slices.scene_slices(nodes))
    plots.add_curve_chart(nodes, volumes, marks)
    plots.keep_profiles(nodes, result.profiles or {})
    if plots.profile_pairs(nodes):
        plots.show_profile(nodes, 0)


def _read_slices(scanned: tuple[ScannedSlice, ...], steps: _Steps) -> Read:
    read: Read = []
    for item in scanned:
        steps.tick("slices")
        read.append((item, read_phases(item.path)))
    return read


def _read_result(
    result: ResultFolder,
    scanned: tuple[ScannedSlice, ...],
    settings: LoadSettings,
    steps: _Steps,
) -> _Loaded:
    """Read all images. Their index has six digits in the file: the manifest's times are exact."""
    read = _read_slices(scanned, steps)
    steps.tick("images")
    intensity = read_phases(result.intensity_path) if settings.intensity else None
    steps.tick("labels")
    wants_labels = settings.labels or settings.segmentation
    labels = read_phases(result.label_path) if wants_labels else None
    for phases in (intensity, labels):
        if phases is not None and len(phases.images) != len(result.phases):
            raise SceneError(f"{result.folder} is damaged: its sequences have other phases")
    return _Loaded(read, _timed(intensity, result), _timed(labels, result))


def _timed(phases: Phases | None, result: ResultFolder) -> Phases | None:
    return None if phases is None else replace(phases, cycle_fractions=result.cycle_fractions)


def _with_full_images(
    own: tuple[ScannedSlice, ...], study: Path | None
) -> tuple[tuple[ScannedSlice, ...], tuple[str, ...]]:
    """The fitted slices with the full images of the study they came from, where that is given."""
    if study is None:
        return own, ()
    try:
        full = {item.name: item for item in SliceFolder.read(study).slices}
    except SceneError as error:
        return own, (f"slices are shown as they were fitted, cropped: {error}",)
    if all(s.name in full and s.is_in_plane_of(full[s.name]) for s in own):
        return tuple(full[s.name] for s in own), ()
    return own, ("the result is of another study: its own, cropped slices are shown",)
