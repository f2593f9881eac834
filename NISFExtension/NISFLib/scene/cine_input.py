"""Cine sequences of the scene as an input of `nisf inspect` and `nisf fit`: NIfTI and a manifest.

Files are numbered: the name of a node may hold a patient's name.
"""

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from NISFCore.files import write_bytes_atomically, write_text_atomically
from NISFLib.scene.images import array_of_image
from NISFLib.scene.nodes import RECORD, SceneError, array_of, get_json

MANIFEST, SCHEMA, VERSION = "manifest.json", "nisf-nifti-study", 1
MS_PER_UNIT = {"ms": 1.0, "msec": 1.0, "s": 1000.0, "sec": 1000.0}
SAME_GEOMETRY_MM = 1e-3
POSSIBLE_RR_MS = (200.0, 3000.0)
"""Beyond this an index is no time, though MRML's default unit is the second."""


def write_cine_input(sequences: Iterable[Any], folder: Path) -> Path:
    """Write cine sequences (vtkMRMLSequenceNode of scalar volumes, one per slice or stack).

    Times come from a sequence's index where its unit is ms or s; the RR interval is then the
    number of phases times their mean distance. Transforms of the volumes are not applied.

    Returns:
        The folder.

    Raises:
        SceneError: if a sequence is no cine: other nodes, one phase, changing geometry.
        OutputError: if the folder cannot be written.
    """
    entries = []
    for number, sequence in enumerate(sequences, start=1):
        name = f"cine_{number:03d}.nii"
        entries.append(_write_cine(sequence, folder / name))
    if not entries:
        raise SceneError("choose at least one cine sequence")
    values = {"schema": SCHEMA, "version": VERSION, "files": entries}
    write_text_atomically(folder / MANIFEST, json.dumps(values, indent=1) + "\n")
    return folder


def _write_cine(sequence: Any, path: Path) -> dict[str, Any]:
    volumes = [sequence.GetNthDataNode(k) for k in range(sequence.GetNumberOfDataNodes())]
    ras_from_ijk = _common_geometry(sequence.GetName(), volumes)
    frames = np.stack([array_of_image(volume.GetImageData()) for volume in volumes])
    write_bytes_atomically(path, nifti_bytes(frames, ras_from_ijk))
    entry: dict[str, Any] = {"image": path.name, "series": path.stem.removeprefix("cine_")}
    record = get_json(sequence, RECORD)
    if record is not None:  # a slice of ours: its view is known
        entry["view"] = record["view"]
    if frames.shape[1] == 1:
        entry["ras_from_ijk"] = ras_from_ijk.tolist()
        entry["thickness_mm"] = float(np.linalg.norm(ras_from_ijk[:3, 2]))
    times_ms = _times_ms(sequence)
    if times_ms is None:
        return entry
    rr_interval_ms = float(len(times_ms) * np.diff(times_ms).mean())
    if POSSIBLE_RR_MS[0] <= rr_interval_ms <= POSSIBLE_RR_MS[1]:
        entry |= {"trigger_times_ms": times_ms.tolist(), "rr_interval_ms": rr_interval_ms}
    return entry


def _common_geometry(name: str, volumes: list[Any]) -> npt.NDArray[np.float64]:
    if len(volumes) < 2:
        raise SceneError(f"{name}: a cine sequence needs at least 2 phases, it has {len(volumes)}")
    matrices = []
    for volume in volumes:
        if not volume.IsA("vtkMRMLScalarVolumeNode") or volume.GetImageData() is None:
            raise SceneError(f"{name}: a cine sequence holds scalar volumes, this one does not")
        matrix = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        matrices.append(array_of(matrix))
    sizes = {volume.GetImageData().GetDimensions() for volume in volumes}
    if len(sizes) > 1 or np.abs(np.array(matrices) - matrices[0]).max() > SAME_GEOMETRY_MM:
        raise SceneError(f"{name}: the phases of a cine lie in one place, these do not")
    return matrices[0]


def _times_ms(sequence: Any) -> npt.NDArray[np.float64] | None:
    """Trigger times from the index, None if it does not tell them."""
    scale = MS_PER_UNIT.get(sequence.GetIndexUnit() or "")
    if scale is None or sequence.GetIndexType() != slicer.vtkMRMLSequenceNode.NumericIndex:
        return None
    n_phases = sequence.GetNumberOfDataNodes()
    return scale * np.array([float(sequence.GetNthIndexValue(k)) for k in range(n_phases)])


def nifti_bytes(frames: npt.NDArray[Any], ras_from_ijk: npt.NDArray[np.float64]) -> bytes:
    """An uncompressed NIfTI-1 file of frames `(n_phases, n_k, n_j, n_i)`, stored as float32.

    Written here because 3D Slicer brings no library that writes 4D NIfTI. The layout is that of
    https://nifti.nimh.nih.gov/nifti-1: 348 bytes of header, 4 of extensions, voxels with i fastest.
    """
    n_t, n_k, n_j, n_i = frames.shape
    spacing = np.linalg.norm(ras_from_ijk[:3, :3], axis=0)
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 4, n_i, n_j, n_k, n_t, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 16, 32)  # float32
    struct.pack_into("<8f", header, 76, 1.0, *spacing, 0.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, 352.0, 1.0, 0.0)
    header[123] = 2  # mm, time unknown: it is in the manifest
    struct.pack_into("<2h", header, 252, 0, 1)  # sform: scanner space
    struct.pack_into("<12f", header, 280, *ras_from_ijk[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header) + np.ascontiguousarray(frames, dtype="<f4").tobytes()
