"""Files of what the scene shows, edits included: for annotation elsewhere, and the whole scene.

Each file is written beside its place and moved there when it is whole.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import slicer

from NISFCore.labels import FOREGROUND, LABEL_INFO
from NISFLib.scene.cycle import now_of, prepare_sequence
from NISFLib.scene.heart import label_volume
from NISFLib.scene.heart_scene import HeartScene
from NISFLib.scene.loading import LoadProgress
from NISFLib.scene.nodes import Nodes, Role, SceneError
from NISFLib.scene.storage import Writer, storage, write_whole


class SceneFormat(Enum):
    """Kinds of files."""

    SEG_NRRD = ".seg.nrrd"
    """Segmentations, one file per phase."""
    SEQ_NRRD = ".seq.nrrd"
    """Label maps and intensity over the cycle, one file each."""
    SEQ_MRB = ".seq.mrb"
    """The segmentation over the cycle, with its segments, in one file."""
    NIFTI = ".nii.gz"
    """Label maps and intensity, one file per phase each."""
    MODELS = ".vtp"
    """Closed surfaces, one file per segment and phase."""


def save_files(
    heart: HeartScene,
    folder: Path,
    formats: Iterable[SceneFormat],
    phases: Iterable[int] | None = None,
    progress: LoadProgress | None = None,
) -> list[Path]:
    """Write the heart into a folder; files of the same names are replaced.

    Args:
        phases: which phases of the scene; None is all.
        progress: called before every file.

    Returns:
        The files that were written.

    Raises:
        SceneError: if there is no segmentation, a phase does not exist, or a file cannot be
            written; files that were whole by then stay.
    """
    nodes = heart.nodes
    if nodes.one(Role.SEGMENTATION) is None:
        raise SceneError("the scene has no segmentation of ours; export the result into it first")
    wanted = sorted(set(range(heart.n_phases) if phases is None else phases))
    if not wanted or wanted[0] < 0 or wanted[-1] >= heart.n_phases:
        raise SceneError(f"phases: got {wanted}, allowed: 0 to {heart.n_phases - 1}")
    keep_edits(nodes)
    jobs = [job for kind in dict.fromkeys(formats) for job in _jobs(nodes, kind, wanted)]
    files = []
    for step, (name, write) in enumerate(jobs, start=1):
        if progress is not None:
            progress("files", step, len(jobs))
        files.append(write_whole(folder / name, write))
    return files


def save_bundle(heart: HeartScene, path: Path) -> Path:
    """Write the whole scene as `.mrb`, which opens with the browser wherever Slicer is.

    Raises:
        SceneError: if it cannot be written.
    """
    keep_edits(heart.nodes)
    if path.suffix.lower() != ".mrb":
        raise SceneError(f"{path.name}: a scene bundle ends in .mrb")
    return write_whole(path, lambda target: heart.nodes.scene.WriteToMRB(str(target)))


def keep_edits(nodes: Nodes) -> None:
    """Let the sequence have what was painted in the current phase."""
    now, browser = now_of(nodes, Role.SEGMENTATION), nodes.one(Role.BROWSER)
    if now is not None:
        slicer.modules.sequences.logic().UpdateSequencesFromProxyNodes(browser, now)


def _jobs(nodes: Nodes, kind: SceneFormat, phases: list[int]) -> list[tuple[str, Writer]]:
    """The files of one format, by name."""
    if kind is SceneFormat.SEQ_MRB:
        return [("heart.seq.mrb", partial(_write_segmentation_sequence, nodes, phases))]
    if kind is SceneFormat.SEQ_NRRD:
        return _sequence_jobs(nodes, phases)
    if kind is SceneFormat.SEG_NRRD:
        write = partial(_write_segmentation, nodes)
        return [(f"heart_{k:03d}.seg.nrrd", partial(write, k)) for k in phases]
    if kind is SceneFormat.NIFTI:
        return _volume_jobs(nodes, phases)
    keys = [LABEL_INFO[label].key for label in FOREGROUND]
    return [
        (f"{key}_{k:03d}.vtp", partial(_write_model, nodes, k, key)) for k in phases for key in keys
    ]


def _sequence_jobs(nodes: Nodes, phases: list[int]) -> list[tuple[str, Writer]]:
    return [
        (f"{name}.seq.nrrd", partial(_write_volume_sequence, nodes, phases, volume_at))
        for name, volume_at in _volumes(nodes).items()
    ]


def _volume_jobs(nodes: Nodes, phases: list[int]) -> list[tuple[str, Writer]]:
    return [
        (f"{name}_{k:03d}.nii.gz", partial(_write_volume, volume_at, k))
        for k in phases
        for name, volume_at in _volumes(nodes).items()
    ]


def _volumes(nodes: Nodes) -> dict[str, Callable[[int], Any]]:
    """Name → function that gives the volume of a phase."""
    volumes: dict[str, Callable[[int], Any]] = {
        "labels": lambda k: label_volume(segmentation_at(nodes, k))
    }
    intensity = nodes.one(Role.INTENSITY)
    if intensity is not None:
        volumes["intensity"] = intensity.GetNthDataNode
    return volumes


def segmentation_at(nodes: Nodes, k: int) -> Any:
    """The segmentation of phase k as the sequence holds it."""
    return nodes.one(Role.SEGMENTATION).GetNthDataNode(k)


def _write_segmentation_sequence(nodes: Nodes, phases: list[int], path: Path) -> bool:
    sequence = _sequence_of(nodes, phases, lambda k: segmentation_at(nodes, k))
    with storage(slicer.vtkMRMLSequenceStorageNode(), path, sequence) as store:
        return bool(store.WriteData(sequence))


def _write_volume_sequence(
    nodes: Nodes, phases: list[int], volume_at: Callable[[int], Any], path: Path
) -> bool:
    sequence = _sequence_of(nodes, phases, volume_at)
    with storage(slicer.vtkMRMLVolumeSequenceStorageNode(), path, sequence) as store:
        return bool(store.WriteData(sequence))


def _sequence_of(nodes: Nodes, phases: list[int], data_node: Callable[[int], Any]) -> Any:
    """A sequence with these phases, at their times."""
    sequence = slicer.vtkMRMLSequenceNode()
    sequence.SetName("heart")
    prepare_sequence(sequence)
    source = nodes.one(Role.SEGMENTATION)
    for k in phases:
        sequence.SetDataNodeAtValue(data_node(k), source.GetNthIndexValue(k))
    return sequence


def _write_segmentation(nodes: Nodes, k: int, path: Path) -> bool:
    node = segmentation_at(nodes, k)
    with storage(slicer.vtkMRMLSegmentationStorageNode(), path) as store:
        return bool(store.WriteData(node))


def _write_volume(volume_at: Callable[[int], Any], k: int, path: Path) -> bool:
    volume = volume_at(k)
    with storage(slicer.vtkMRMLVolumeArchetypeStorageNode(), path) as store:
        return bool(store.WriteData(volume))


def _write_model(nodes: Nodes, k: int, segment_id: str, path: Path) -> bool:
    node = segmentation_at(nodes, k)
    node.CreateClosedSurfaceRepresentation()  # nothing to do where it is there already
    surface = node.GetClosedSurfaceInternalRepresentation(segment_id)
    if surface is None:  # the user deleted or emptied the segment
        return False
    model = slicer.vtkMRMLModelNode()
    model.SetAndObservePolyData(surface)
    with storage(slicer.vtkMRMLModelStorageNode(), path) as store:
        return bool(store.WriteData(model))
