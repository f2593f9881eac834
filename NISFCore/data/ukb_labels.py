"""Label maps that were made of converted images (`label_sa.nii.gz`) onto slices read from DICOM.

Slices find their place in a label volume by geometry, phases by their number: converters keep the
order of the trigger times. Labels are never interpolated. UK Biobank numbers: 1 LV, 2 myocardium,
3 RV. Shapes: label volumes `(n_phases, n_k, n_j, n_i)`.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from NISFCore.data.nifti_images import NiftiImage, is_nifti, load_nifti, nifti_stem
from NISFCore.data.nifti_labels import label_numbers, on_grid_of, renumbered
from NISFCore.data.study import CineSlice, CineStudy, SliceLabels
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.views import View

MAX_HEIGHT_ERROR = 0.1
"""Slice spacings that a slice may lie off the plane of its labels."""

_LABELS = re.compile(r"^(?:label|seg)_sa(?:_(ed|es))?$|^sa(?:_(ed|es))?_(?:seg|gt|label)$", re.I)
_IMAGE = re.compile(r"^sa(?:_(?:ed|es))?$", re.IGNORECASE)


@dataclass(frozen=True)
class _LabelVolume:
    """A label map: its grid, its numbers made ours, and the phase of its first volume."""

    grid: NiftiImage
    values: npt.NDArray[np.uint8]
    first_phase: int


def with_labels(study: CineStudy, folder: Path, eid: str) -> CineStudy:
    """The study with the labels that lie beside its zips.

    In `folder` itself if it is one participant's, and always under the participant's number: as
    `<eid>/label_sa.nii.gz` or `<eid>_label_sa.nii.gz`. Neither number nor name is kept.

    Raises:
        StudyError: if a label map is damaged, has unknown numbers, or lies on no slice.
    """
    stems = _files_of(folder, eid)
    labels = {stem: path for stem, path in stems.items() if _LABELS.match(stem)}
    warnings = list(study.warnings)
    if images := sum(bool(_IMAGE.match(stem)) for stem in stems):
        warnings.append(f"{images} converted image(s) beside the zips not used")
    if any(stem.startswith(("label_la", "seg_la")) for stem in stems):
        warnings.append("labels of long-axis views are the atria (UK Biobank): not used")
    volumes = []
    for stem, path in labels.items():
        phase = _first_phase(stem, stems)
        if phase is None:
            warnings.append(
                f"{stem}: cannot tell which phase this is; not used. Put sa.nii.gz and "
                "sa_ES.nii.gz beside it, or labels of all phases"
            )
            continue
        volumes.append(_volume(path, stem, phase))
    slices, notes = _labelled(study.slices, volumes)
    return replace(study, slices=slices, warnings=(*warnings, *notes))


def _files_of(folder: Path, eid: str) -> dict[str, Path]:
    """NIfTI files of one participant by their stems, without the number."""
    found = {}
    for path in [p for p in sorted(folder.iterdir()) if is_nifti(p)]:
        stem = nifti_stem(path.name)
        if stem.startswith(f"{eid}_"):
            found[stem.removeprefix(f"{eid}_").lower()] = path
        elif _is_of_one(folder, eid):
            found[stem.lower()] = path
    if (folder / eid).is_dir():
        below = [p for p in sorted((folder / eid).iterdir()) if is_nifti(p)]
        found |= {nifti_stem(p.name).lower(): p for p in below}
    return found


def _is_of_one(folder: Path, eid: str) -> bool:
    """Whether all zips of a folder are this participant's, so that plain names are, too."""
    return all(p.name.startswith(f"{eid}_") for p in folder.glob("*_2020[89]_*.zip"))


def _first_phase(stem: str, stems: dict[str, Path]) -> int | None:
    """The phase of a label map: 0 for all phases and for ED; ES by its image; None if unknown."""
    match = _LABELS.match(stem)
    tag = "" if match is None else (match.group(1) or match.group(2) or "").lower()
    if {f"sa_{tag}", "sa"} <= set(stems):
        return _same_phase(load_nifti(stems["sa"]), load_nifti(stems[f"sa_{tag}"]))
    return None if tag == "es" else 0


def _same_phase(cine: NiftiImage, single: NiftiImage) -> int | None:
    if single.data.shape[1:] != cine.data.shape[1:]:
        return None
    equal = (k for k, frame in enumerate(cine.data) if np.array_equal(frame, single.data[0]))
    return next(equal, None)


def _volume(path: Path, stem: str, phase: int) -> _LabelVolume:
    # The participant's number must not reach a message.
    try:
        grid = replace(load_nifti(path), name=stem)
    except StudyError as error:
        raise StudyError(str(error).replace(path.name, f"{stem}.nii.gz")) from error
    numbers, _ = label_numbers(grid, False, None)
    return _LabelVolume(grid, renumbered(grid, numbers), phase)


def _labelled(
    slices: tuple[CineSlice, ...], volumes: list[_LabelVolume]
) -> tuple[tuple[CineSlice, ...], list[str]]:
    """The slices with labels, and what was assumed."""
    if not volumes:
        return slices, []
    result = list(slices)
    for volume in volumes:
        n_matched = 0
        for k, item in enumerate(result):
            if item.view is View.SA and (labels := _labels_of(item, volume)) is not None:
                result[k] = replace(item, labels=labels)
                n_matched += 1
        if n_matched == 0:
            raise StudyError(
                f"{volume.grid.name}: lies on no short-axis slice of the zips; it belongs to "
                "another study or was resampled. Remove it, or give labels on the images' grid"
            )
    n_sa = sum(s.view is View.SA for s in slices)
    n_labelled = sum(s.labels is not None for s in result)
    notes = ["labels taken as in UK Biobank: 1 LV, 2 myocardium, 3 RV"]
    if n_labelled < n_sa:
        notes.append(f"label maps cover {n_labelled} of {n_sa} short-axis slices")
    return tuple(result), notes


def _labels_of(item: CineSlice, volume: _LabelVolume) -> SliceLabels | None:
    """Labels of one slice, added to those that it has; None where the volume has no such plane."""
    plane = _as_image(item, volume.grid)
    if plane is None:
        return None
    try:
        values, covered = on_grid_of(plane, volume.grid, volume.values)
    except StudyError:
        return None
    if not covered[0]:
        return None
    last = volume.first_phase + len(values)
    if last > item.n_phases or (len(values) > 1 and len(values) != item.n_phases):
        raise StudyError(
            f"{volume.grid.name}: {len(values)} phase(s) from phase {volume.first_phase} do not "
            f"fit the {item.n_phases} phase(s) of slice {item.name}"
        )
    window = slice(volume.first_phase, last)
    before = item.labels or _no_labels(item)
    merged, annotated = before.values.copy(), before.annotated.copy()
    merged[window] = values[:, 0]
    # In a label map of all phases, phases without any label are those that nobody annotated.
    annotated[window] = [len(values) == 1 or bool(v.any()) for v in volume.values]
    return SliceLabels(merged, annotated)


def _no_labels(item: CineSlice) -> SliceLabels:
    return SliceLabels(np.zeros(item.frames.shape, np.uint8), np.zeros(item.n_phases, np.bool_))


def _as_image(item: CineSlice, grid: NiftiImage) -> NiftiImage | None:
    """A slice as an image whose third axis steps as the label map's; None if it lies between two
    planes of that or is tilted against them."""
    label_from_pixel = invert_affine(grid.ras_from_ijk) @ item.ras_from_ijk
    rows, cols = item.shape
    corners = [[0, 0, 0], [cols - 1, 0, 0], [0, rows - 1, 0], [cols - 1, rows - 1, 0]]
    heights = apply_affine(label_from_pixel, corners)[:, 2]
    if np.abs(heights - np.rint(heights[0])).max() > MAX_HEIGHT_ERROR:
        return None
    A = item.ras_from_ijk.copy()
    A[:3, 2] = grid.ras_from_ijk[:3, 2]
    return NiftiImage(item.name, item.frames[:, None], A, None, True)
