"""Reading a study from a folder of NIfTI files, with or without a `manifest.json`.

The view comes from the manifest, else from the file's name, else from geometry. NIfTI says neither
the slice thickness nor the heart rate; what is assumed stands in the notes of every slice.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from NISFCore.data.assembly import FoundSlice, assemble_study, unit_normal_affine
from NISFCore.data.nifti_images import NiftiImage, load_nifti, nifti_stem
from NISFCore.data.nifti_labels import label_numbers, on_grid_of, renumbered
from NISFCore.data.nifti_layout import FrameFile, ImageFiles, find_images
from NISFCore.data.nifti_manifest import (
    MAX_AFFINE_ERROR_MM,
    Manifest,
    ManifestFile,
    read_manifest,
)
from NISFCore.data.study import CineSlice, CineStudy, ExcludedSlice, Provenance, SliceLabels
from NISFCore.data.view_hints import view_hint
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Affine
from NISFCore.views import View

ASSUMED_RR_MS = 1000.0
MAX_THICKNESS_MM = 8.0
"""Cine slices are 6 to 10 mm thick; where slices are farther apart there is a gap."""

ASSUMED_ES_FRACTION = 0.35
"""Part of the cycle at end-systole, where only ED and ES are stored."""

MIN_STACK_SLICES = 3

Frames = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Sequence:
    """One view over time, before it is split into slices."""

    image: NiftiImage
    labels: npt.NDArray[np.uint8] | None
    annotated: npt.NDArray[np.bool_] | None
    entry: ManifestFile
    is_named: bool
    notes: tuple[str, ...] = ()


def read_nifti(path: Path, *, views: Mapping[str, View] | None = None) -> CineStudy:
    """Read the study in a folder (or the single NIfTI file) `path`.

    Args:
        views: views that the user gives, by file stem.

    Raises:
        StudyError: if nothing is usable; the message names the file and what is wrong.
    """
    folder = path if path.is_dir() else path.parent
    manifest = read_manifest(folder) if path.is_dir() else None
    if manifest is not None and manifest.complete and not views:
        return _complete_study(folder, manifest)
    sequences, messages = _sequences(path, manifest or Manifest())
    if not sequences:
        raise StudyError(f"{path.name}: no NIfTI image was found; " + "; ".join(messages))
    return _assembled(sequences, messages, manifest or Manifest(), path, views)


# ---------------------------------------------------------------- the exact layout


def _complete_study(folder: Path, manifest: Manifest) -> CineStudy:
    """A study as `write_nifti_study` left it, nothing recognised or assumed."""
    pairs = [(_exact_slice(folder, entry, manifest), entry.reason) for entry in manifest.files]
    return CineStudy(
        slices=tuple(s for s, reason in pairs if reason is None),
        subject=manifest.subject or "subject",
        excluded=tuple(ExcludedSlice(s, reason) for s, reason in pairs if reason is not None),
        warnings=manifest.warnings,
        has_patient_orientation=manifest.has_patient_orientation is not False,
    )


def _exact_slice(folder: Path, entry: ManifestFile, manifest: Manifest) -> CineSlice:
    sequence = _of_manifest(folder, entry, manifest)
    slices = _slices(sequence)
    if len(slices) != 1 or entry.name is None or entry.view is None:
        raise StudyError(f"{entry.image}: a complete manifest needs one named slice per file")
    provenance = Provenance(entry.source or "", entry.series or "", entry.notes)
    return replace(slices[0], name=entry.name, view=entry.view, provenance=provenance)


# ---------------------------------------------------------------- finding sequences


def _sequences(path: Path, manifest: Manifest) -> tuple[list[_Sequence], list[str]]:
    """Listed files as the manifest says, the others by their names."""
    if path.is_file():
        entry = ManifestFile(image=path.name)
        return [_of_manifest(path.parent, entry, manifest)], []
    listed = {e.image for e in manifest.files} | {e.labels for e in manifest.files}
    sequences = [_of_manifest(path, entry, manifest) for entry in manifest.files]
    files, messages = find_images(path)
    for image_files in files:
        members = [image_files.cine, *(f.path for f in image_files.frames)]
        if not any(p is not None and p.name in listed for p in members):
            sequences.append(_of_names(path, image_files, manifest))
    return sequences, messages


def _of_manifest(folder: Path, entry: ManifestFile, manifest: Manifest) -> _Sequence:
    path = _inside(folder, entry.image)
    view = entry.view if entry.view is not None else view_hint(nifti_stem(path.name))
    image = load_nifti(path, _is_plane(view))
    if entry.ras_from_ijk is not None:
        image = _refined(image, np.array(entry.ras_from_ijk, dtype=np.float64))
    sequence = _Sequence(image, None, None, replace(entry, view=view), is_named=view is not None)
    if entry.labels is None:
        return sequence
    labels = load_nifti(_inside(folder, entry.labels), _is_plane(view))
    return _labelled(sequence, [(labels, entry.label_phase)], False, manifest)


def _of_names(folder: Path, files: ImageFiles, manifest: Manifest) -> _Sequence:
    image, phases, notes = _image_of(folder, files)
    first = files.cine or files.frames[0].path
    entry = ManifestFile(image=first.name, view=files.view)
    if phases is not None:
        entry = replace(
            entry,
            rr_interval_ms=ASSUMED_RR_MS,
            trigger_times_ms=tuple(f * ASSUMED_RR_MS for f in phases),
        )
    sequence = _Sequence(image, None, None, entry, files.view is not None, notes)
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
    frames = sorted(files.frames, key=lambda f: _cycle_fraction(folder, f, files.frames))
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


def _cycle_fraction(folder: Path, frame: FrameFile, frames: Sequence[FrameFile]) -> float:
    """Where in the cycle a single phase lies: known for ED; from the frame number in ACDC."""
    if frame.tag in ("ED", "ES"):
        return 0.0 if frame.tag == "ED" else ASSUMED_ES_FRACTION
    numbers = [int(f.tag) for f in frames if f.tag.isdigit()]
    n_frames = _n_frames_of_acdc(folder) or max(numbers) * len(numbers)
    return (int(frame.tag) - 1) / n_frames


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
    sequence: _Sequence,
    pairs: Sequence[tuple[NiftiImage, int | None]],
    is_acdc: bool,
    manifest: Manifest,
) -> _Sequence:
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


# ---------------------------------------------------------------- slices


def _slices(sequence: _Sequence) -> list[CineSlice]:
    """Split a sequence into slices."""
    image, entry = sequence.image, sequence.entry
    times, rr, time_notes = _timing(image, entry)
    thickness, thickness_notes = _thickness_mm(image, entry)
    series = entry.series or nifti_stem(Path(entry.image).name)
    notes = (*entry.notes, *sequence.notes, *time_notes, *thickness_notes)
    return [
        CineSlice(
            name=f"{image.name} {k}",
            view=View.OTHER,
            frames=np.array(image.data[:, k], dtype=np.float32, order="C"),
            ras_from_ijk=_slice_affine(image, entry, k, thickness),
            thickness_mm=thickness,
            trigger_times_ms=times,
            rr_interval_ms=rr,
            labels=_slice_labels(sequence, k),
            provenance=Provenance(entry.source or entry.image, series, notes),
        )
        for k in range(image.n_slices)
    ]


def _slice_affine(image: NiftiImage, entry: ManifestFile, k: int, thickness_mm: float) -> Affine:
    A = image.ras_from_ijk.copy()
    if entry.ras_from_ijk is not None:
        return A  # exact already, third column included
    A[:3, 3] += k * A[:3, 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        return unit_normal_affine(A, thickness_mm)


def _slice_labels(sequence: _Sequence, k: int) -> SliceLabels | None:
    if sequence.labels is None or sequence.annotated is None:
        return None
    values = np.ascontiguousarray(sequence.labels[:, k])
    return SliceLabels(values, np.ascontiguousarray(sequence.annotated[:, k]))


def _timing(
    image: NiftiImage, entry: ManifestFile
) -> tuple[npt.NDArray[np.float64], float, tuple[str, ...]]:
    """Trigger times, RR and what was assumed: manifest, else header, else evenly spread."""
    notes: tuple[str, ...] = ()
    rr = entry.rr_interval_ms
    if rr is None and image.phase_step_ms is not None:
        rr = image.phase_step_ms * image.n_phases
        notes = ("RR interval from the time step in the file's header",)
    if rr is None:
        rr, notes = ASSUMED_RR_MS, (f"RR interval unknown: {ASSUMED_RR_MS:g} ms assumed",)
    if entry.trigger_times_ms is not None:
        return np.array(entry.trigger_times_ms, dtype=np.float64), rr, notes
    if image.n_phases > 1:
        notes = (*notes, "phase times unknown: spread evenly over the cycle")
    return np.arange(image.n_phases) * rr / image.n_phases, rr, notes


def _thickness_mm(image: NiftiImage, entry: ManifestFile) -> tuple[float, tuple[str, ...]]:
    if entry.thickness_mm is not None:
        return entry.thickness_mm, ()
    spacing = image.slice_spacing_mm
    thickness = min(spacing, MAX_THICKNESS_MM) if spacing > 1 else MAX_THICKNESS_MM
    return thickness, (f"slice thickness unknown: {thickness:.3g} mm assumed",)


# ---------------------------------------------------------------- the study


def _assembled(
    sequences: Sequence[_Sequence],
    messages: Sequence[str],
    manifest: Manifest,
    path: Path,
    views: Mapping[str, View] | None,
) -> CineStudy:
    has_orientation = any(s.image.has_orientation for s in sequences)
    if manifest.has_patient_orientation is not None:
        has_orientation = manifest.has_patient_orientation
    warnings = [*manifest.warnings, *messages]
    if not has_orientation:
        warnings.append(
            "the files do not say how the patient lay (axis-aligned or missing affine): left and "
            "right, front and back are unknown, and views cannot be recognised from geometry"
        )
    found = []
    for sequence in sequences:
        view = sequence.entry.view
        if not has_orientation:
            view = _view_without_orientation(sequence, sequences)
        found += [FoundSlice(s, sequence.image.name, view) for s in _slices(sequence)]
    return assemble_study(
        found,
        subject=manifest.subject or nifti_stem(path.name) or "subject",
        views=views,
        warnings=warnings,
        has_patient_orientation=has_orientation,
    )


def _view_without_orientation(sequence: _Sequence, sequences: Sequence[_Sequence]) -> View:
    """The view as named, else SA for a stack; LA planes cannot be placed beside an SA stack."""
    others = [s for s in sequences if s is not sequence and s.image.n_slices >= MIN_STACK_SLICES]
    if sequence.image.n_slices >= MIN_STACK_SLICES:
        return sequence.entry.view or View.SA
    return View.OTHER if others else sequence.entry.view or View.OTHER
