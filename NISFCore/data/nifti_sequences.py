"""Finding the views of a NIfTI study: files, phases and labels put together.

A `ViewSequence` is one view over time, on its file's own grid, before it is split into slices.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from NISFCore.data.nifti_images import NiftiImage, load_nifti, nifti_stem
from NISFCore.data.nifti_labels import label_numbers, on_grid_of, renumbered
from NISFCore.data.nifti_layout import FrameFile, ImageFiles, find_images
from NISFCore.data.nifti_manifest import MAX_AFFINE_ERROR_MM, Manifest, ManifestFile
from NISFCore.data.view_hints import view_hint
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Affine
from NISFCore.views import View

ASSUMED_RR_MS = 1000.0
ASSUMED_ES_FRACTION = 0.35
"""Part of the cycle at end-systole, where only ED and ES are stored."""


@dataclass(frozen=True)
class ViewSequence:
    """One view over time, before it is split into slices.

    Attributes:
        labels: `(n_phases, n_k, n_j, n_i)` in the numbers of `NISFCore.labels`, or None.
        annotated: `(n_phases, n_k)`, which of these labels mean anything.
        entry: what is known of the file; its `view` is final unless it is None.
    """

    image: NiftiImage
    labels: npt.NDArray[np.uint8] | None
    annotated: npt.NDArray[np.bool_] | None
    entry: ManifestFile
    notes: tuple[str, ...] = ()


def find_sequences(path: Path, manifest: Manifest) -> tuple[list[ViewSequence], list[str]]:
    """Listed files as the manifest says, the others by their names."""
    if path.is_file():
        entry = ManifestFile(image=path.name)
        return [sequence_of_manifest(path.parent, entry, manifest)], []
    listed = {e.image for e in manifest.files} | {e.labels for e in manifest.files}
    sequences = [sequence_of_manifest(path, entry, manifest) for entry in manifest.files]
    files, messages = find_images(path)
    for image_files in files:
        members = [image_files.cine, *(f.path for f in image_files.frames)]
        if not any(p is not None and p.name in listed for p in members):
            sequences.append(_of_names(path, image_files, manifest))
    return sequences, messages


def sequence_of_manifest(folder: Path, entry: ManifestFile, manifest: Manifest) -> ViewSequence:
    path = _inside(folder, entry.image)
    view = entry.view if entry.view is not None else view_hint(nifti_stem(path.name))
    image = load_nifti(path, _is_plane(view))
    if entry.ras_from_ijk is not None:
        image = _refined(image, np.array(entry.ras_from_ijk, dtype=np.float64))
    sequence = ViewSequence(image, None, None, replace(entry, view=view))
    if entry.labels is None:
        return sequence
    labels = load_nifti(_inside(folder, entry.labels), _is_plane(view))
    return _labelled(sequence, [(labels, entry.label_phase)], False, manifest)


def _of_names(folder: Path, files: ImageFiles, manifest: Manifest) -> ViewSequence:
    files = replace(files, frames=_in_time(folder, files.frames))
    image, phases, notes = _image_of(folder, files)
    first = files.cine or files.frames[0].path
    entry = ManifestFile(image=first.name, view=files.view)
    if phases is not None:
        entry = replace(
            entry,
            rr_interval_ms=ASSUMED_RR_MS,
            trigger_times_ms=tuple(f * ASSUMED_RR_MS for f in phases),
        )
    sequence = ViewSequence(image, None, None, entry, notes)
    pairs: list[tuple[NiftiImage, int | None]] = []
    if files.cine_labels is not None:
        pairs.append((load_nifti(files.cine_labels, _is_plane(files.view)), None))
    for frame in files.frame_labels:
        labels = load_nifti(frame.path, _is_plane(files.view))
        pairs.append((labels, _phase_of(frame, files, image)))
    return _labelled(sequence, pairs, files.is_acdc, manifest) if pairs else sequence


def _inside(folder: Path, name: str) -> Path:
    """A file named by a manifest, which may not lead outside its folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StudyError(f"manifest.json: {name!r} lies outside the study's folder")
    if not path.is_file():
        raise StudyError(f"manifest.json: the file {name!r} does not exist")
    return path


def _is_plane(view: View | None) -> bool:
    return view is not None and view.is_long_axis


def _refined(image: NiftiImage, ras_from_ijk: Affine) -> NiftiImage:
    """Replace the file's float32 affine by the manifest's, if they agree."""
    if ras_from_ijk.shape != (4, 4):
        raise StudyError(f"{image.name}: ras_from_ijk in the manifest is not 4 x 4")
    if np.abs(ras_from_ijk - image.ras_from_ijk).max() > MAX_AFFINE_ERROR_MM:
        raise StudyError(f"{image.name}: the manifest's ras_from_ijk contradicts the file's affine")
    return replace(image, ras_from_ijk=ras_from_ijk)


def _image_of(
    folder: Path, files: ImageFiles
) -> tuple[NiftiImage, tuple[float, ...] | None, tuple[str, ...]]:
    """The image of a view over time; if only single phases are stored, those, with their times."""
    if files.cine is not None:
        return load_nifti(files.cine, _is_plane(files.view)), None, ()
    frames = files.frames
    images = [load_nifti(f.path, _is_plane(files.view)) for f in frames]
    fractions = tuple(_cycle_fraction(folder, f, files.frames) for f in frames)
    if len({i.data.shape[1:] for i in images}) > 1 or len(set(fractions)) < len(fractions):
        names = ", ".join(f.path.name for f in frames)
        raise StudyError(f"{names}: single phases of one view must differ in time only")
    data = np.concatenate([i.data for i in images])
    note = f"only {len(frames)} phase(s) stored ({', '.join(f.tag for f in frames)})"
    if len(frames) > 1:
        note += ", their times assumed"
    return replace(images[0], data=data, name=files.key), fractions, (note,)


def _in_time(folder: Path, frames: Sequence[FrameFile]) -> tuple[FrameFile, ...]:
    """By name, `frame12` comes before `frame2`."""
    return tuple(sorted(frames, key=lambda f: _cycle_fraction(folder, f, frames)))


def _cycle_fraction(folder: Path, frame: FrameFile, frames: Sequence[FrameFile]) -> float:
    """Where in the cycle a single phase lies: known for ED; from the frame number in ACDC."""
    if frame.tag in ("ED", "ES"):
        return 0.0 if frame.tag == "ED" else ASSUMED_ES_FRACTION
    numbers = [int(f.tag) for f in frames if f.tag.isdigit()]
    first = min(1, *numbers)  # some count from 0
    n_frames = _n_frames_of_acdc(folder) or max(1, max(numbers) * len(numbers))
    return (int(frame.tag) - first) / n_frames


def _n_frames_of_acdc(folder: Path) -> int | None:
    path = folder / "Info.cfg"
    if not path.is_file():
        return None
    match = re.search(r"^NbFrame:\s*(\d+)", path.read_text(errors="replace"), re.MULTILINE)
    return int(match.group(1)) if match else None


def _phase_of(frame: FrameFile, files: ImageFiles, image: NiftiImage) -> int:
    """The phase of the cine that a single labelled phase belongs to."""
    if files.cine is None:
        tags = [f.tag for f in files.frames]
        if frame.tag not in tags:
            raise StudyError(f"{frame.path.name}: labels of a phase that is not stored")
        return tags.index(frame.tag)
    if frame.tag.isdigit():
        return int(frame.tag) - 1
    single = next((f for f in files.frames if f.tag == frame.tag), None)
    if single is not None:
        same = _same_phase(image, load_nifti(single.path, _is_plane(files.view)))
        if same is not None:
            return same
    if frame.tag == "ED":
        return 0
    raise StudyError(
        f"{frame.path.name}: cannot tell which phase of {files.cine.name} this is; give "
        "`label_phase` in manifest.json"
    )


def _same_phase(image: NiftiImage, single: NiftiImage) -> int | None:
    if single.data.shape[1:] != image.data.shape[1:]:
        return None
    equal = [k for k, frame in enumerate(image.data) if np.array_equal(frame, single.data[0])]
    return equal[0] if equal else None


def _labelled(
    sequence: ViewSequence,
    pairs: Sequence[tuple[NiftiImage, int | None]],
    is_acdc: bool,
    manifest: Manifest,
) -> ViewSequence:
    """The sequence with label volumes put onto its grid and phases."""
    image = sequence.image
    values = np.zeros(image.data.shape, dtype=np.uint8)
    annotated = np.zeros(image.data.shape[:2], dtype=np.bool_)
    notes = list(sequence.notes)
    for labels, phase in pairs:
        numbers, note = label_numbers(labels, is_acdc, manifest.label_numbers)
        volume, covered = on_grid_of(image, labels, renumbered(labels, numbers))
        phases = _phases_of(image, labels, phase)
        values[phases] = volume
        # In a 4D label file, phases without any label are those that nobody annotated.
        has_any = np.array([len(phases) == 1 or bool(v.any()) for v in volume])
        annotated[phases] = has_any[:, None] & covered[None]
        notes += [note] if note and note not in notes else []
    if sequence.entry.annotated is not None:
        annotated = _annotated_of_manifest(image, sequence.entry.annotated)
    return replace(sequence, labels=values, annotated=annotated, notes=tuple(notes))


def _phases_of(image: NiftiImage, labels: NiftiImage, phase: int | None) -> list[int]:
    if phase is None and labels.n_phases == image.n_phases:
        return list(range(image.n_phases))
    first = 0 if phase is None else phase
    if labels.n_phases != 1 or not 0 <= first < image.n_phases:
        raise StudyError(
            f"{labels.name}: {labels.n_phases} phase(s) from phase {first} do not fit the "
            f"{image.n_phases} phase(s) of {image.name}"
        )
    return [first]


def _annotated_of_manifest(image: NiftiImage, annotated: tuple[bool, ...]) -> npt.NDArray[np.bool_]:
    if len(annotated) != image.n_phases:
        raise StudyError(
            f"{image.name}: the manifest annotates {len(annotated)} phases of {image.n_phases}"
        )
    return np.repeat(np.array(annotated, dtype=np.bool_)[:, None], image.n_slices, axis=1)
