"""A study kept beside a result: `study.json` and `study.safetensors`, without identity.

The round trip is exact for everything that a fit uses. Excluded slices keep their place, name and
reason, not their frames (their images come back as zeros).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from NISFCore.config import from_json_object, to_json_object
from NISFCore.data.study import (
    CineSlice,
    CineStudy,
    ExcludedSlice,
    Provenance,
    SliceLabels,
    TagLines,
)
from NISFCore.errors import ConfigError, ResultError, StudyError
from NISFCore.files import write_bytes_atomically, write_text_atomically
from NISFCore.views import View

SCHEMA = "nisf-study"
VERSION = 1
JSON_NAME = "study.json"
ARRAYS_NAME = "study.safetensors"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class _StoredSlice:
    """What `study.json` says of a slice; its arrays are named after `key`."""

    key: str
    name: str
    view: View
    shape: tuple[int, int, int]
    thickness_mm: float
    rr_interval_ms: float
    has_labels: bool
    provenance: Provenance
    reason: str | None = None
    tags: tuple[TagLines, ...] = ()


@dataclass(frozen=True)
class _StoredStudy:
    schema: str
    version: int
    subject: str
    warnings: tuple[str, ...]
    has_patient_orientation: bool
    slices: tuple[_StoredSlice, ...]
    excluded: tuple[_StoredSlice, ...]


def save_study(study: CineStudy, folder: Path) -> None:
    """Write `study.json` and `study.safetensors` into `folder`, each atomically.

    Raises:
        OutputError: if they cannot be written.
    """
    arrays: Arrays = {}
    slices = tuple(_stored(f"slice_{k}", s, arrays) for k, s in enumerate(study.slices))
    excluded = tuple(
        _stored(f"excluded_{k}", e.slice, arrays, e.reason) for k, e in enumerate(study.excluded)
    )
    stored = _StoredStudy(
        schema=SCHEMA,
        version=VERSION,
        subject=study.subject,
        warnings=study.warnings,
        has_patient_orientation=study.has_patient_orientation,
        slices=slices,
        excluded=excluded,
    )
    write_bytes_atomically(folder / ARRAYS_NAME, save(arrays))
    text = json.dumps(to_json_object(stored), indent=2, ensure_ascii=False)
    write_text_atomically(folder / JSON_NAME, text + "\n")


def load_study(folder: Path) -> CineStudy:
    """Read what `save_study` wrote.

    Raises:
        ResultError: if a file is missing, damaged or of another version.
    """
    try:
        values = json.loads((folder / JSON_NAME).read_text(encoding="utf-8"))
        arrays = load_file(folder / ARRAYS_NAME)
        _check_version(values)
        stored = from_json_object(_StoredStudy, values)
        return CineStudy(
            slices=tuple(_loaded(s, arrays) for s in stored.slices),
            subject=stored.subject,
            excluded=tuple(
                ExcludedSlice(_loaded(s, arrays), s.reason or "") for s in stored.excluded
            ),
            warnings=stored.warnings,
            has_patient_orientation=stored.has_patient_orientation,
        )
    except FileNotFoundError as error:
        raise ResultError(f"{folder}: {Path(str(error.filename)).name} is missing") from error
    except (OSError, ValueError, KeyError, SafetensorError, ConfigError, StudyError) as error:
        raise ResultError(f"{folder}: the stored study is damaged: {error}") from error


def _check_version(values: Any) -> None:
    found = (values.get("schema"), values.get("version")) if isinstance(values, dict) else None
    if found != (SCHEMA, VERSION):
        raise ResultError(
            f"{JSON_NAME}: got schema and version {found}, this program reads ({SCHEMA}, {VERSION})"
        )


def _stored(key: str, item: CineSlice, arrays: Arrays, reason: str | None = None) -> _StoredSlice:
    """Describe a slice and put its arrays into `arrays`; frames only of used slices."""
    arrays[f"{key}.ras_from_ijk"] = np.ascontiguousarray(item.ras_from_ijk)
    arrays[f"{key}.trigger_times_ms"] = np.ascontiguousarray(item.trigger_times_ms)
    if reason is None:
        arrays[f"{key}.frames"] = np.ascontiguousarray(item.frames)
    if item.labels is not None and reason is None:
        arrays[f"{key}.labels"] = np.ascontiguousarray(item.labels.values)
        arrays[f"{key}.annotated"] = np.ascontiguousarray(item.labels.annotated)
    return _StoredSlice(
        key=key,
        name=item.name,
        view=item.view,
        shape=(item.n_phases, *item.shape),
        thickness_mm=item.thickness_mm,
        rr_interval_ms=item.rr_interval_ms,
        has_labels=item.labels is not None and reason is None,
        provenance=item.provenance,
        reason=reason,
        tags=item.tags,
    )


def _loaded(stored: _StoredSlice, arrays: Arrays) -> CineSlice:
    key = stored.key
    if stored.reason is None:
        frames = arrays[f"{key}.frames"]
    else:
        frames = np.zeros(stored.shape, dtype=np.float32)
    labels = None
    if stored.has_labels:
        labels = SliceLabels(arrays[f"{key}.labels"], arrays[f"{key}.annotated"])
    return CineSlice(
        name=stored.name,
        view=stored.view,
        frames=frames,
        ras_from_ijk=arrays[f"{key}.ras_from_ijk"],
        thickness_mm=stored.thickness_mm,
        trigger_times_ms=arrays[f"{key}.trigger_times_ms"],
        rr_interval_ms=stored.rr_interval_ms,
        labels=labels,
        provenance=stored.provenance,
        tags=stored.tags,
    )
