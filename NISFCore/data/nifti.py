"""Reading a study from a folder of NIfTI files, with or without a `manifest.json`.

The view comes from the manifest, else from the file's name, else from geometry. NIfTI says neither
the slice thickness nor the heart rate; what is assumed stands in the notes of every slice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from NISFCore.data.assembly import FoundSlice, assemble_study, unit_normal_affine
from NISFCore.data.nifti_images import NiftiImage, nifti_stem
from NISFCore.data.nifti_manifest import (
    Manifest,
    ManifestFile,
    read_manifest,
)
from NISFCore.data.nifti_sequences import (
    ASSUMED_RR_MS,
    ViewSequence,
    find_sequences,
    sequence_of_manifest,
)
from NISFCore.data.study import CineSlice, CineStudy, ExcludedSlice, Provenance, SliceLabels
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Affine
from NISFCore.views import View

MAX_THICKNESS_MM = 8.0
"""Cine slices are 6 to 10 mm thick; where slices are farther apart there is a gap."""

MIN_STACK_SLICES = 3


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
    sequences, messages = find_sequences(path, manifest or Manifest())
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
    sequence = sequence_of_manifest(folder, entry, manifest)
    slices = _slices(sequence)
    if len(slices) != 1 or entry.name is None or entry.view is None:
        raise StudyError(f"{entry.image}: a complete manifest needs one named slice per file")
    provenance = Provenance(entry.source or "", entry.series or "", entry.notes)
    return replace(slices[0], name=entry.name, view=entry.view, provenance=provenance)


# ---------------------------------------------------------------- slices


def _slices(sequence: ViewSequence) -> list[CineSlice]:
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


def _slice_labels(sequence: ViewSequence, k: int) -> SliceLabels | None:
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
    sequences: Sequence[ViewSequence],
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


def _view_without_orientation(sequence: ViewSequence, sequences: Sequence[ViewSequence]) -> View:
    """The view as named, else SA for a stack; LA planes cannot be placed beside an SA stack."""
    others = [s for s in sequences if s is not sequence and s.image.n_slices >= MIN_STACK_SLICES]
    if sequence.image.n_slices >= MIN_STACK_SLICES:
        return sequence.entry.view or View.SA
    return View.OTHER if others else sequence.entry.view or View.OTHER
