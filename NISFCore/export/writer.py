"""`export_result`: everything that comes out of a fit, written into one folder, all or nothing.

Volumes are rendered and written phase by phase: memory does not grow with the number of phases.
Intensities are stored as int16, `INTENSITY_UNIT` being the study's reference brightness.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore._version import __version__
from NISFCore.analysis.coarse_to_fine import GridRenderer
from NISFCore.analysis.evaluation import DENSE_SPACING_MM, Evaluation, evaluate
from NISFCore.analysis.fitted import FittedStudy, n_cycle_phases
from NISFCore.analysis.function_errors import function_standard_errors
from NISFCore.analysis.lattice import LABELS_ONLY, SampledCycle, Tolerance, sample_cycle
from NISFCore.analysis.moving_surfaces import moving_surfaces
from NISFCore.analysis.outliers import motion_outliers
from NISFCore.analysis.rendering import RenderedPhase, uniform_cycle_fractions
from NISFCore.analysis.steps import Steps
from NISFCore.analysis.surfaces import Surface
from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve, volume_curve_of
from NISFCore.config import to_json_object
from NISFCore.errors import ConfigError, OutputError
from NISFCore.export import meshes, nifti_files, nrrd_files, slice_files, tables
from NISFCore.export.confidence import confidence_percent
from NISFCore.export.estimate import ExportEstimate, estimate_export
from NISFCore.export.motion_section import copy_motion_tables
from NISFCore.export.phase_stream import PhaseStream
from NISFCore.export.profiles import profiles_json
from NISFCore.export.report import ReportInputs, report_html
from NISFCore.export.scanned_slices import write_scanned_slices
from NISFCore.export.settings import (
    SURFACE_FORMATS,
    VOLUME_FORMATS,
    ExportFormat,
    ExportSettings,
)
from NISFCore.files import check_new_folder, new_folder
from NISFCore.geometry.grids import Grid
from NISFCore.labels import FOREGROUND, LABEL_INFO, Label
from NISFCore.progress import CancelToken, ProgressReporter

MANIFEST_VERSION = 1
MANIFEST_FILE = "manifest.json"
INTENSITY_UNIT = 1000


@dataclass
class _Job:
    """What the parts of an export share."""

    fitted: FittedStudy
    settings: ExportSettings
    folder: Path
    progress: ProgressReporter | None
    cancel: CancelToken | None
    motion: Path | None = None
    files: list[dict[str, Any]] = field(default_factory=list)

    def path(self, name: str, kind: str, **about: Any) -> Path:
        """A path to write to, noted in the manifest."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.files.append({"path": name, "kind": kind, **about})
        return path


def export_result(
    fitted: FittedStudy,
    out: Path,
    settings: ExportSettings | None = None,
    evaluation: Evaluation | None = None,
    notes: Sequence[str] = (),
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
    curve: VolumeCurve | None = None,
    motion: Path | None = None,
) -> dict[str, Any]:
    """Write a fit into the folder `out` and return its manifest (also in `out/manifest.json`).

    Args:
        fitted: the fit.
        out: a new or empty folder, or with `settings.overwrite` an earlier export.
        settings: what to write; None is everything.
        evaluation: figures for the report; None computes those that need no truth.
        notes: assumptions and warnings for the report, beside those of the study.
        progress, cancel: as everywhere; a cancelled or failed export leaves nothing behind.
        curve: volumes over the cycle where they are known already; None measures them.
        motion: a motion folder, for the report and the tables.

    Raises:
        OutputError: if `out` is not empty, cannot be written, or its disk is too full.
        ConfigError: for phases that this heart does not have, or confidence that it cannot tell.
        Cancelled: if the job was asked to stop.
    """
    settings = settings or ExportSettings()
    if settings.wants(ExportFormat.CONFIDENCE) and fitted.uncertainty is None:
        raise ConfigError(
            "formats: got confidence, but this fit's solver does not tell how sure it is; leave it "
            "out, or fit with the default configuration"
        )
    check_new_folder(out, settings.overwrite, MANIFEST_FILE)
    _check_free_space(out, estimate_export(fitted, settings))
    with new_folder(out, settings.overwrite, MANIFEST_FILE) as folder:
        job = _Job(fitted, settings, folder, progress, cancel, motion)
        if curve is None and evaluation is not None:
            curve = evaluation.curve
        cycle = None
        if curve is None:
            cycle, curve = _sampled_and_measured(job)
        phases = settings.phase_indices(curve)
        if settings.wants(*VOLUME_FORMATS, *SURFACE_FORMATS):
            t = curve.cycle_fractions[list(phases)]
            cycle = cycle.at(phases) if cycle else _sampled(job, t, [], "render")
            _write_phases(job, cycle, curve, phases)
        if settings.wants(ExportFormat.SLICES, ExportFormat.MOTION):
            _write_slices(job)
        if settings.wants(ExportFormat.TABLES):
            _write_tables(job, curve)
        if settings.wants(ExportFormat.REPORT):
            _write_report(job, curve, evaluation, notes)
        return _write_manifest(job, curve, phases)


def _check_free_space(out: Path, estimate: ExportEstimate) -> None:
    free = shutil.disk_usage(out.parent).free
    if free < estimate.disk_bytes:
        raise OutputError(
            f"{out.parent} has {free / 1e6:.0f} MB free, the export may need up to "
            f"{estimate.disk_bytes / 1e6:.0f} MB: free some space, choose a larger spacing, fewer "
            "phases or fewer formats"
        )


def _sampled_and_measured(job: _Job) -> tuple[SampledCycle, VolumeCurve]:
    """The heart at all phases, sampled once for its volumes and for what is rendered of it."""
    t = uniform_cycle_fractions(n_cycle_phases(job.fitted.study))
    grid = job.fitted.field.box.grid(DENSE_SPACING_MM)
    cycle = _sampled(job, t, [grid], "sample")
    steps = Steps("volume curve", len(t), job.progress, job.cancel)
    return cycle, volume_curve_of(cycle, grid, steps)


def _sampled(
    job: _Job, t: npt.NDArray[np.float64], more: Sequence[Grid], stage: str
) -> SampledCycle:
    """The heart at these times, on a lattice for all grids that are wanted of it, and `more`."""
    box, settings = job.fitted.field.box, job.settings
    grids = list(more)
    if settings.wants(*SURFACE_FORMATS):
        grids.append(box.grid(settings.surface_spacing_mm))
    if settings.wants(*VOLUME_FORMATS):
        grids.append(box.grid(settings.spacing_mm))
    finest = min(grids, key=lambda grid: grid.voxel_volume_ml)
    steps = Steps(stage, len(t), job.progress, job.cancel)
    return sample_cycle(job.fitted.field, finest, t, _tolerance(job), steps)


def _tolerance(job: _Job) -> Tolerance:
    return Tolerance() if job.settings.wants(*VOLUME_FORMATS) else LABELS_ONLY


def _write_phases(
    job: _Job, cycle: SampledCycle, curve: VolumeCurve, phases: Sequence[int]
) -> None:
    """Hand the sampled phases to every writer of volumes and surfaces."""
    box, settings, t = job.fitted.field.box, job.settings, cycle.cycle_fractions
    if settings.wants(*VOLUME_FORMATS):
        grid = box.grid(settings.spacing_mm)
        steps = Steps("render", len(t), job.progress, job.cancel)
        renderer = GridRenderer(cycle, grid, _tolerance(job), job.cancel)
        with ExitStack() as stack:
            streams = _open_streams(job, grid, t, stack)
            confidence = _open_confidence(job, grid, t, stack)
            for position, index in enumerate(phases):
                steps.tick()
                _write_volumes(job, grid, index, renderer.phase(position), streams, confidence)
    if settings.wants(*SURFACE_FORMATS):
        _write_surfaces(job, cycle, box.grid(settings.surface_spacing_mm), curve, phases)


def _write_volumes(
    job: _Job,
    grid: Grid,
    index: int,
    phase: RenderedPhase,
    streams: Sequence[tuple[PhaseStream, PhaseStream]],
    confidence: PhaseStream | None,
) -> None:
    intensity, labels = stored_intensity(phase), phase.labels
    for intensity_stream, label_stream in streams:
        intensity_stream.write(intensity)
        label_stream.write(labels)
    _write_phase(job, grid, index, intensity, labels)
    if confidence is not None:
        percent = confidence_percent(job.fitted, labels, grid, phase.cycle_fraction, job.cancel)
        confidence.write(percent)


def stored_intensity(phase: RenderedPhase) -> npt.NDArray[np.int16]:
    """Intensities as they are stored: int16, `INTENSITY_UNIT` is the reference brightness."""
    scaled = np.rint(phase.intensity * INTENSITY_UNIT)
    return np.clip(scaled, -32768, 32767).astype(np.int16)


def _open_streams(
    job: _Job, grid: Grid, t: npt.NDArray[np.float64], stack: ExitStack
) -> list[tuple[PhaseStream, PhaseStream]]:
    """Pairs of (intensity, labels) files that hold all phases, closed with `stack`."""
    shape, A = grid.shape, grid.ras_from_ijk
    pairs = []
    if job.settings.wants(ExportFormat.NIFTI):
        timing = (len(t), _mean_rr_s(job.fitted) / n_cycle_phases(job.fitted.study))
        path = job.path("volumes/intensity.nii.gz", "intensity", phases=len(t))
        intensity = nifti_files.nifti_stream(path, shape, A, *timing, np.int16, "NISF intensity")
        stack.enter_context(intensity)
        path = job.path("volumes/labels.nii.gz", "labels", phases=len(t))
        labels = nifti_files.nifti_stream(path, shape, A, *timing, np.uint8, "NISF labels")
        pairs.append((intensity, stack.enter_context(labels)))
    if job.settings.wants(ExportFormat.SEQUENCE):
        path = job.path("sequences/intensity.seq.nrrd", "intensity", phases=len(t))
        intensity = nrrd_files.nrrd_sequence_stream(path, shape, A, t, np.int16)
        stack.enter_context(intensity)
        path = job.path("sequences/labels.seq.nrrd", "labels", phases=len(t))
        about = (nrrd_files.LABEL_VOLUME, nrrd_files.label_fields())
        labels = nrrd_files.nrrd_sequence_stream(path, shape, A, t, np.uint8, *about)
        pairs.append((intensity, stack.enter_context(labels)))
    return pairs


def _open_confidence(
    job: _Job, grid: Grid, t: npt.NDArray[np.float64], stack: ExitStack
) -> PhaseStream | None:
    if not job.settings.wants(ExportFormat.CONFIDENCE):
        return None
    path = job.path("volumes/confidence.nii.gz", "confidence in percent", phases=len(t))
    timing = (len(t), _mean_rr_s(job.fitted) / n_cycle_phases(job.fitted.study))
    stream = nifti_files.nifti_stream(
        path, grid.shape, grid.ras_from_ijk, *timing, np.uint8, "NISF confidence %"
    )
    return stack.enter_context(stream)


def _write_phase(
    job: _Job,
    grid: Grid,
    phase: int,
    intensity: npt.NDArray[np.int16],
    labels: npt.NDArray[np.uint8],
) -> None:
    """The files that hold one phase each."""
    A = grid.ras_from_ijk
    if job.settings.wants(ExportFormat.NRRD):
        path = job.path(f"volumes/intensity_{phase:03d}.nrrd", "intensity", phase=phase)
        nrrd_files.write_volume_nrrd(path, intensity, A)
        path = job.path(f"volumes/labels_{phase:03d}.nrrd", "labels", phase=phase)
        nrrd_files.write_volume_nrrd(path, labels, A, nrrd_files.label_fields())
    if job.settings.wants(ExportFormat.SEGMENTATION):
        path = job.path(f"segmentations/heart_{phase:03d}.seg.nrrd", "segmentation", phase=phase)
        nrrd_files.write_segmentation_nrrd(path, labels, A)


def _write_surfaces(
    job: _Job, cycle: SampledCycle, grid: Grid, curve: VolumeCurve, phases: Sequence[int]
) -> None:
    """Surfaces of all phases; the manifest says of which labels vertices can be followed."""
    reference = phases.index(curve.ed_index) if curve.ed_index in phases else 0
    steps = Steps("surfaces", len(FOREGROUND) * len(phases), job.progress, job.cancel)
    for label, moving in moving_surfaces(cycle, grid, reference, steps).items():
        for index, surface in zip(phases, moving.phases, strict=True):
            _write_surface(job, label, index, surface, moving.same_vertices)


def _write_surface(
    job: _Job, label: Label, index: int, surface: Surface, same_vertices: bool
) -> None:
    key = LABEL_INFO[label].key
    name = f"surfaces/{key}_{index:03d}"
    about = {"phase": index, "label": key, "space": "LPS", "same_vertices": same_vertices}
    if job.settings.wants(ExportFormat.VTP):
        meshes.write_vtp(job.path(f"{name}.vtp", "surface", **about), surface, label)
    if job.settings.wants(ExportFormat.STL):
        meshes.write_stl(job.path(f"{name}.stl", "surface", **about), surface)


def _write_slices(job: _Job) -> None:
    slices, fitted = job.fitted.study.slices, job.fitted
    wants_images = job.settings.wants(ExportFormat.SLICES)
    steps = Steps("aligned slices", len(slices), job.progress, job.cancel)
    records = []
    stems = slice_files.file_stems([cine.name for cine in slices])
    for i, (cine, stem) in enumerate(zip(slices, stems, strict=True)):
        steps.tick()
        motion, scale = fitted.slice_motions[i], float(fitted.intensity_scale[i])
        record = slice_files.motion_record(cine, motion, scale, fitted.uncertainty, i)
        records.append({"files": stem, **record})
        if wants_images:
            for suffix in slice_files.SUFFIXES:
                job.path(f"slices/{stem}{suffix}", "slice", slice=cine.name)
            slice_files.write_aligned_slice(job.folder / "slices", stem, cine, motion)
    if wants_images:
        folder = job.folder / "slices"
        for name in write_scanned_slices(job.fitted.study, folder, cancel=job.cancel):
            job.path(f"slices/{name}", "scanned slice")
    sizes = ([r["distance_mm"] for r in records], [r["rotation_deg"] for r in records])
    for record, reason in zip(records, motion_outliers(*sizes), strict=True):
        record["outlier"] = reason
    path = job.path("slices/motion.json", "motion")
    path.write_text(json.dumps({"slices": records}, indent=2) + "\n", encoding="utf-8")


def _write_tables(job: _Job, curve: VolumeCurve) -> None:
    function = VentricularFunction.from_curve(curve)
    errors = function_standard_errors(curve, job.fitted.volume_covariance_ml2)
    texts = {
        "volumes.csv": tables.volumes_csv(curve),
        "function.csv": tables.function_csv(function, errors),
        "function.json": tables.function_json(function, curve, errors),
        "profiles.json": profiles_json(job.fitted, len(curve.cycle_fractions)),
    }
    for name, text in texts.items():
        job.path(name, "table").write_text(text, encoding="utf-8")
    for name in copy_motion_tables(job.motion, job.folder) if job.motion else ():
        job.path(name, "table")


def _write_report(
    job: _Job, curve: VolumeCurve, evaluation: Evaluation | None, notes: Sequence[str]
) -> None:
    if evaluation is None:
        evaluation = evaluate(job.fitted, curve=curve, progress=job.progress, cancel=job.cancel)
    inputs = ReportInputs(job.fitted, curve, evaluation, tuple(notes), job.motion)
    html = report_html(inputs, job.progress, job.cancel)
    job.path("report.html", "report").write_text(html, encoding="utf-8")


def _write_manifest(job: _Job, curve: VolumeCurve, phases: Sequence[int]) -> dict[str, Any]:
    grid = job.fitted.field.box.grid(job.settings.spacing_mm)
    manifest = {
        "manifest_version": MANIFEST_VERSION,
        "software": f"NISF {__version__}",
        "note": "Research use only. Not a medical device.",
        "settings": to_json_object(job.settings),
        "phases": list(phases),
        "cycle_fractions": [float(curve.cycle_fractions[i]) for i in phases],
        "ed_phase": curve.ed_index,
        "es_phase": curve.es_index,
        "ras_from_ijk": grid.ras_from_ijk.tolist(),
        "shape_kji": list(grid.shape),
        "intensity_unit": f"1/{INTENSITY_UNIT} of the study's reference brightness",
        "labels": {info.key: int(label) for label, info in LABEL_INFO.items()},
        "files": job.files,
    }
    path = job.folder / MANIFEST_FILE
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _mean_rr_s(fitted: FittedStudy) -> float:
    return float(np.mean([cine.rr_interval_ms for cine in fitted.study.slices])) / 1000
