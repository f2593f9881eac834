"""Segments of a 3D Slicer segmentation, and which label each of them is.

A segment is known by its name, else by its terminology. `Segment<N>_…` fields and layers:
https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.data.label_volume import Array
from NISFCore.errors import StudyError
from NISFCore.labels import LABEL_INFO, UNKNOWN, Label

_LEFT = ("lv", "left ventricle", "left ventricular", "ventricle left", "heart ventricle left")
_RIGHT = ("rv", "right ventricle", "right ventricular", "ventricle right", "heart ventricle right")
_CAVITY = ("", " blood pool", " blood", " cavity", " chamber", " endo", " endocardium", " lumen")
_WALL = (" myo", " myocardium", " wall", " muscle")

SYNONYMS: dict[str, Label] = {
    **{side + part: Label.LV_BLOOD_POOL for side in _LEFT for part in _CAVITY},
    **{side + part: Label.RV_BLOOD_POOL for side in _RIGHT for part in _CAVITY},
    **{side + part: Label.LV_MYOCARDIUM for side in _LEFT for part in _WALL},
    **dict.fromkeys(("lvc", "lvbp", "lvendo", "endo", "endocardium"), Label.LV_BLOOD_POOL),
    **dict.fromkeys(("rvc", "rvbp", "rvendo"), Label.RV_BLOOD_POOL),
    **dict.fromkeys(("myo", "myocardium", "lvm", "lvmyo", "heart myocardium"), Label.LV_MYOCARDIUM),
    **dict.fromkeys(("background", "other", "bg"), Label.BACKGROUND),
}
"""Names as `plain_name` gives them, beside those of `LABEL_INFO`."""

_SEGMENT_FIELD = re.compile(r"^Segment(\d+)_(ID|Name|LabelValue|Layer|Tags)$")


@dataclass(frozen=True)
class Segment:
    """One segment of a file: the voxels of `layer` that hold `value`; `label` None if unknown."""

    name: str
    value: int
    layer: int
    label: Label | None


def plain_name(name: str) -> str:
    """A name in lower case, without accents, marks of any kind as single spaces."""
    folded = unicodedata.normalize("NFKD", name).casefold()
    letters = "".join(c for c in folded if not unicodedata.combining(c))
    return re.sub(r"[\W_]+", " ", letters).strip()


def label_of_segment(name: str, tags: str = "", identifier: str = "") -> Label | None:
    """The label that a segment means by its name, else its ID, else its terminology."""
    known = {plain_name(i.name): i.label for i in LABEL_INFO.values()} | SYNONYMS
    for text in (name, identifier):
        if plain_name(text) in known:
            return known[plain_name(text)]
    if any(plain_name(name).startswith(other) for other in ("lv ", "rv ", "left ", "right ")):
        return None  # "LV scar" may carry the terminology of the left ventricle
    codes = {info.snomed_code: info.label for info in LABEL_INFO.values()}
    found = {codes[code] for code in re.findall(r"SCT\^(\d+)\^", tags) if code in codes}
    return found.pop() if len(found) == 1 else None


def segments_of(file_name: str, header: Mapping[str, Any]) -> list[Segment]:
    """The segments that a NRRD header describes, in order; none for a plain volume.

    Raises:
        StudyError: if a segment's number or layer is no number.
    """
    fields: dict[int, dict[str, str]] = {}
    for key, value in header.items():
        match = _SEGMENT_FIELD.match(key)
        if match:
            fields.setdefault(int(match.group(1)), {})[match.group(2)] = str(value)
    try:
        return [_segment(index, fields[index]) for index in sorted(fields)]
    except ValueError as error:
        raise StudyError(f"{file_name}: a segment's LabelValue or Layer is no number") from error


def _segment(index: int, field: Mapping[str, str]) -> Segment:
    identifier = field.get("ID", f"Segment{index}")
    name = field.get("Name", identifier)
    label = label_of_segment(name, field.get("Tags", ""), identifier)
    # Files of Slicer 4.10 and before have a layer of ones for every segment.
    default = 0 if "LabelValue" in field else index
    value, layer = int(field.get("LabelValue", 1)), int(field.get("Layer", default))
    return Segment(name, value, layer, label)


def merged_segments(
    file_name: str, layers: Array, segments: Sequence[Segment]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], tuple[str, ...]]:
    """One label map of all layers `(n_layers, n_k, n_j, n_i)`.

    Where a segment without a known meaning overlaps a known one, the known one counts.

    Returns:
        labels `(n_k, n_j, n_i)`, 0 where nothing is painted and `UNKNOWN` under segments that mean
        no label; which voxels are painted with a known one; warnings.

    Raises:
        StudyError: if no segment is known, two of different labels overlap, or voxels belong to
            no segment.
    """
    known = [s for s in segments if s.label is not None]
    if not known:
        raise StudyError(
            f"{file_name}: got segment(s) {_quoted(segments)}, none of which is a known label; "
            "name them LV blood pool, LV myocardium, RV blood pool or background"
        )
    _check_values(file_name, layers, segments)
    labels = np.zeros(layers.shape[1:], dtype=np.uint8)
    painted_by = np.full(layers.shape[1:], -1, dtype=np.int16)
    for index, segment in enumerate(known):
        assert segment.label is not None
        voxels = layers[segment.layer] == segment.value
        _check_overlap(file_name, known, segment, painted_by[voxels])
        labels[voxels], painted_by[voxels] = int(segment.label), index
    painted = painted_by >= 0
    strange = [s for s in segments if s.label is None]
    for segment in strange:
        labels[(layers[segment.layer] == segment.value) & ~painted] = UNKNOWN
    note = f"{file_name}: segment(s) {_quoted(strange)} mean no label here and are left out"
    return labels, painted, (note,) if strange else ()


def _check_values(file_name: str, layers: Array, segments: Sequence[Segment]) -> None:
    missing = sorted({s.layer for s in segments} - set(range(len(layers))))
    if missing:
        raise StudyError(f"{file_name}: its header names layer(s) {missing}, it has {len(layers)}")
    for index, layer in enumerate(layers):
        named = {0, *(s.value for s in segments if s.layer == index)}
        strange = sorted({int(v) for v in np.unique(layer)} - named)
        if strange:
            raise StudyError(
                f"{file_name}: got voxel value(s) {strange[:8]} that belong to no segment, "
                f"allowed: {sorted(named)}; save the segmentation again"
            )


def _check_overlap(
    file_name: str,
    known: Sequence[Segment],
    segment: Segment,
    before: npt.NDArray[np.int16],
) -> None:
    for index in np.unique(before[before >= 0]):
        other = known[int(index)]
        if other.label is not segment.label:
            n = int((before == index).sum())
            raise StudyError(
                f"{file_name}: segments {other.name!r} and {segment.name!r} overlap in {n} voxels; "
                "a voxel has one label: subtract one from the other, or forbid overlaps in the "
                "Segment Editor's masking"
            )


def _quoted(segments: Sequence[Segment]) -> str:
    return ", ".join(repr(s.name) for s in segments)
