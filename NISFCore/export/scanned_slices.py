"""Slices as they were scanned, for 3D Slicer: a sequence file for each, and what is known of it.

```
FOLDER/slices.json        subject, warnings; per slice: name, view, timing, geometry, file
       <name>.seq.nrrd    its frames in the order of the cardiac cycle, index in percent of it
```

Excluded slices are there too, with the reason. Names and numbers of the study only: nothing here
identifies a patient.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.steps import Steps
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.export.nrrd_files import nrrd_sequence_stream
from NISFCore.export.slice_files import file_stems
from NISFCore.files import write_text_atomically
from NISFCore.progress import CancelToken, ProgressReporter

SLICES_VERSION = 1
SLICES_FILE = "slices.json"


def write_scanned_slices(
    study: CineStudy,
    folder: Path,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> list[str]:
    """Write the files of the module's docstring into an existing folder; returns their names.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    slices = [(cine, "") for cine in study.slices]
    slices += [(excluded.slice, excluded.reason) for excluded in study.excluded]
    steps = Steps("slices", len(slices), progress, cancel)
    stems = file_stems([cine.name for cine, _ in slices])
    records = []
    for (cine, reason), stem in zip(slices, stems, strict=True):
        steps.tick()
        name = f"{stem}.seq.nrrd"
        write_slice_sequence(folder / name, cine)
        records.append({"file": name, **slice_record(cine, reason)})
    values = {
        "slices_version": SLICES_VERSION,
        "subject": study.subject,
        "warnings": list(study.warnings),
        "slices": records,
    }
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    write_text_atomically(folder / SLICES_FILE, text + "\n")
    return [SLICES_FILE, *(record["file"] for record in records)]


def slice_record(cine: CineSlice, reason: str = "") -> dict[str, Any]:
    """One slice as JSON; `reason` tells why it is excluded, empty if it is not."""
    return {
        "name": cine.name,
        "view": cine.view.value,
        "included": not reason,
        "reason": reason,
        "series": cine.provenance.series,
        "notes": list(cine.provenance.notes),
        "shape": [cine.n_phases, *cine.shape],
        "ras_from_ijk": cine.ras_from_ijk.tolist(),
        "thickness_mm": cine.thickness_mm,
        "rr_interval_ms": cine.rr_interval_ms,
        "cycle_fractions": np.sort(cine.cycle_fractions).tolist(),
    }


def write_slice_sequence(path: Path, cine: CineSlice) -> None:
    """Write a cine as `.seq.nrrd` `(cols, rows, 1, n_phases)`, sorted by cycle fraction: a trigger
    time beyond the RR interval belongs to the beginning of the cycle."""
    order = np.argsort(cine.cycle_fractions, kind="stable")
    frames = stored_frames(cine.frames)
    shape, t = (1, *cine.shape), cine.cycle_fractions[order]
    with nrrd_sequence_stream(path, shape, cine.ras_from_ijk, t, frames.dtype) as stream:
        for index in order:
            stream.write(frames[index][None])


def stored_frames(frames: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """int16 where that loses nothing (as scanners store images), else the float32 frames."""
    small = frames.astype(np.int16) if np.abs(frames).max() < 32768 else None
    return frames if small is None or not np.array_equal(small, frames) else small
