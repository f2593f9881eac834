"""A refitted heart in the place of the one that the scene shows: phases of the same sequences,
motions of the same slices, rows of the same tables. Views, phase and alignment stay as they are,
and so does everything that the user has drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from NISFLib.scene import annotations, certainty, heart, motion, parts, plots, slices, tables
from NISFLib.scene.cycle import (
    ED_PHASE,
    ES_PHASE,
    FRACTIONS,
    describe,
    description,
    replace_phase,
    update_now,
)
from NISFLib.scene.folders import ResultFolder
from NISFLib.scene.images import read_phases
from NISFLib.scene.loading import LoadProgress
from NISFLib.scene.nodes import Nodes, Role, SceneError

SAME_TIME = 1e-6

Places = list[tuple[int, int]]
"""(phase in the scene, phase in the folder)."""


def update_result(nodes: Nodes, folder: Path, progress: LoadProgress | None = None) -> None:
    """See `HeartScene.update_result`."""
    result = ResultFolder.read(folder)
    if nodes.one(Role.SEGMENTATION) is None:
        raise SceneError("there is no heart in the scene to bring up to date; fit the study first")
    fractions = np.array(description(nodes, FRACTIONS, []))
    places = _places(fractions, result.cycle_fractions)
    if not places:
        raise SceneError("the scene shows none of the phases that were rendered anew")
    made = _made_anew(nodes, result, places, progress)
    for role, k, node in made:  # all was read and made: from here on nothing fails
        replace_phase(nodes, role, k, node)
    update_now(nodes, nodes.one(Role.BROWSER))
    nodes.remove(Role.MODEL, Role.MODEL_NOW)  # they are of the heart before
    _remove_motion(nodes)
    certainty.hide(nodes)
    slices.update_motions(nodes, result.motions)
    _update_figures(nodes, result, fractions)
    annotations.attach(nodes)


def _remove_motion(nodes: Nodes) -> None:
    """It is of the heart before; the surfaces stand where its wall stood."""
    if parts.visible(nodes, parts.Part.WALL):
        parts.set_visible(nodes, parts.Part.SURFACES, True)
    motion.remove(nodes)


def _places(fractions: npt.NDArray[np.float64], rendered: npt.NDArray[np.float64]) -> Places:
    """Where the rendered phases belong in the scene; those that it does not show are left out."""
    return [
        (int(k), n)
        for n, time in enumerate(rendered)
        for k in np.flatnonzero(np.abs(fractions - time) < SAME_TIME)
    ]


def _made_anew(
    nodes: Nodes, result: ResultFolder, places: Places, progress: LoadProgress | None
) -> list[tuple[Role, int, Any]]:
    """The nodes that take the places of those in the scene's sequences."""
    labels = read_phases(result.label_path)
    intensity = read_phases(result.intensity_path)
    makers: dict[Role, Callable[[int], Any]] = {
        Role.SEGMENTATION: lambda n: heart.phase_segmentation(
            labels, n, heart.read_surfaces(result, n)
        ),
        Role.INTENSITY: lambda n: heart.phase_volume(intensity, n, slicer.vtkMRMLScalarVolumeNode),
        Role.LABELS: lambda n: heart.phase_volume(labels, n, slicer.vtkMRMLLabelMapVolumeNode),
    }
    made = []
    for step, (k, n) in enumerate(places, start=1):
        if progress is not None:
            progress("scene", step, len(places))
        made += [(role, k, make(n)) for role, make in makers.items() if nodes.one(role) is not None]
    return made


def _update_figures(nodes: Nodes, result: ResultFolder, fractions: npt.NDArray[np.float64]) -> None:
    """Tables and plots in their places, ED and ES among the phases of the scene."""
    lv = [row["lv_blood_pool_ml"] for row in result.volumes]
    for key, row in ((ED_PHASE, int(np.argmax(lv))), (ES_PHASE, int(np.argmin(lv)))):
        time = result.volumes[row]["cycle_fraction"]
        found = np.flatnonzero(np.abs(fractions - time) < SAME_TIME)
        describe(nodes, key, int(found[0]) if len(found) else None)
    tables.add_volume_table(nodes, result)
    tables.add_mark_table(nodes, result)
    tables.add_function_table(nodes, result)
    tables.add_motion_table(nodes, slices.scene_slices(nodes))
    if result.profiles is None:
        return
    shown = plots.shown_profile(nodes)
    plots.keep_profiles(nodes, result.profiles)
    if plots.profile_pairs(nodes):
        plots.show_profile(nodes, shown)
