"""`fit_study`: one study and a prior in, a `FitResult` out; `refit_study`: labels added to one."""

import copy
import math
import time
from dataclasses import replace
from typing import Any

import torch

from NISFCore.config import to_json_object
from NISFCore.data.anatomy import combined_hint
from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.guidance import Guidance
from NISFCore.data.study import CineStudy
from NISFCore.evidence.drawn_borders import as_drawn
from NISFCore.evidence.inference import slice_evidence
from NISFCore.evidence.network import SliceNetwork
from NISFCore.fitting.adam import solve_adam
from NISFCore.fitting.config import DEFAULT, N_REFIT_STEPS, REFIT, AdamConfig, FitConfig
from NISFCore.fitting.evidence_file import in_steps
from NISFCore.fitting.frame import heart_as_seen, hint_of, labels_hint, planes_say
from NISFCore.fitting.gauss_newton import solve_gauss_newton
from NISFCore.fitting.preparation import seen_in, with_evidence
from NISFCore.fitting.problem import (
    VOXELS_PER_PART,
    Estimate,
    FitProblem,
    Posterior,
    Recorder,
    fitted_parameters,
    frozen,
)
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.starts import best_start, candidate_starts
from NISFCore.fitting.subject_prior import with_warp
from NISFCore.fitting.uncertainty import fit_uncertainty
from NISFCore.fitting.warm_start import estimate_of
from NISFCore.geometry.frame import NO_HINT, AnatomyHint, CanonicalFrame
from NISFCore.model.device import resolve_device
from NISFCore.model.forward_model import predict
from NISFCore.model.prior import Prior
from NISFCore.model.psf import PsfConfig
from NISFCore.model.shape_warp import WarpModes, warp_modes
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress

N_PSNR_VOXELS = 8192


def fit_study(
    study: CineStudy,
    prior: Prior,
    config: FitConfig = DEFAULT,
    *,
    guidance: Guidance | None = None,
    anatomy: AnatomyHint | None = None,
    network: SliceNetwork | None = None,
    device: str = "auto",
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> FitResult:
    """Solve for latent, global pose, receive gain, slice motion and scales of one study.

    Args:
        study: labels in it, if any, are not used.
        guidance: labels that are to be used, placed on `study`.
        anatomy: what the user says of the heart's place; by default what the labels say.
        network: labels slices as evidence beside their intensities; without, there is none.
        device: "auto", "cpu" or "cuda".

    Raises:
        StudyError: if the planes give no frame or no slice shows the heart region.
        StudyError: if the patient's orientation is lost, and neither labels nor user tell it.
        StudyError: if the labels do not belong to the study.
        Cancelled: at the latest when the voxels now in the decoder are through.
    """
    began = time.monotonic()
    job = _Job(config, guidance, resolve_device(device), progress, cancel, network)
    on_device = job.on_device(prior)
    with frozen(on_device):
        frame = _frame(study, on_device, job, anatomy or NO_HINT)
        job.modes = job.modes_of(None, prior)
        return _fitted(study, prior, on_device, frame, job, None, began)


def refit_study(
    result: FitResult,
    guidance: Guidance,
    config: FitConfig = REFIT,
    *,
    device: str = "auto",
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> FitResult:
    """Go on from a fit with labels that somebody gave meanwhile.

    Args:
        result: an earlier fit; it stays as it is.
        guidance: all labels that are to be used, placed on `result.study`.

    Raises:
        StudyError: if the labels do not belong to the study.
        Cancelled: at the latest when the voxels now in the decoder are through.
    """
    began = time.monotonic()
    job = _Job(config, guidance, resolve_device(device), progress, cancel, None)
    job.evidence = result.evidence
    on_device = job.on_device(result.prior)
    with frozen(on_device):
        job.modes = job.modes_of(result, result.prior)
        start, frame = estimate_of(result, job.modes), result.frame
        known = replace(frame, assumptions=())  # they stand among the study's warnings already
        refitted = _fitted(result.study, result.prior, on_device, known, job, start, began)
    return replace(refitted, frame=frame)


class _Job:
    """How a fit is to be done."""

    def __init__(
        self,
        config: FitConfig,
        guidance: Guidance | None,
        device: str,
        progress: ProgressReporter | None,
        cancel: CancelToken | None,
        network: SliceNetwork | None,
    ) -> None:
        self.config, self.guidance, self.device, self.network = config, guidance, device, network
        self.progress, self.cancel = progress or SilentProgress(), cancel or CancelToken()
        self.evidence: Guidance | None = None
        self.modes: WarpModes | None = None

    def modes_of(self, before: FitResult | None, prior: Prior) -> WarpModes | None:
        """Of the heart's warp: those of an earlier fit, else as this job is configured."""
        if before is not None and before.parameters.warp is not None:
            return before.parameters.warp.modes
        settings = self.config.gauss_newton
        if settings is None or settings.warp is None:
            return None
        return warp_modes(prior.info.decoder.region, settings.warp)

    def on_device(self, prior: Prior) -> Prior:
        """The prior with a decoder on the device; the caller's own stays where it is."""
        if self.device == "cpu":
            return prior
        return replace(prior, decoder=copy.deepcopy(prior.decoder).to(self.device))

    def seen(
        self, study: CineStudy, prior: Prior, frame: CanonicalFrame
    ) -> tuple[CineStudy, FitProblem]:
        return seen_in(study, frame, prior, self.config, self.device, self.guidance)

    def with_evidence(
        self,
        problem: FitProblem,
        study: CineStudy,
        cropped: CineStudy,
        frame: CanonicalFrame,
    ) -> FitProblem:
        """The problem with what the slice network says, if there is one and the solver listens."""
        settings = self.config.gauss_newton
        if settings is None or settings.evidence.frame_worth == 0:
            return problem
        if self.evidence is None and self.network is not None:
            n = settings.evidence_phases
            self.evidence = self._asked(self.network, cropped, frame, n)
        if self.evidence is None:
            return problem
        evidence = self.evidence
        if self.guidance is not None:
            evidence = as_drawn(evidence, self.guidance, study, cropped, frame.canonical_from_ras)
        return with_evidence(problem, evidence, cropped, frame, settings)

    def _asked(
        self, network: SliceNetwork, cropped: CineStudy, frame: CanonicalFrame, n_phases: int
    ) -> Guidance:
        began = time.monotonic()
        self.progress.report(ProgressEvent("evidence", 0, 1, 0.0))
        entries = slice_evidence(
            cropped,
            frame.canonical_from_ras,
            network,
            phases_per_slice=n_phases,
            device=self.device,
            cancel=self.cancel,
        )
        self.progress.report(ProgressEvent("evidence", 1, 1, time.monotonic() - began))
        return in_steps(entries)

    def begins_alone(self, start: Estimate | None) -> bool:
        """Whether labels wait for a first fit without them: a few labelled frames, heard from the
        beginning, would lead astray."""
        return self.guidance is not None and start is None

    def recorder(self, start: Estimate | None) -> Recorder:
        settings = self.config.gauss_newton
        n = len(settings.voxels) if settings is not None else _adam(self.config).n_steps
        if self.begins_alone(start):
            n += N_REFIT_STEPS
        return Recorder("fit", n, self.progress, self.cancel)

    def solve(
        self, problem: FitProblem, recorder: Recorder, start: Estimate | None
    ) -> tuple[Estimate, Posterior | None]:
        settings, seed = self.config.gauss_newton, self.config.seed
        if settings is None:
            return solve_adam(problem, _adam(self.config), seed, recorder), None
        if start is None and problem.guidance is None and not problem.has_crossings:
            settings = settings.denser()
        if self.begins_alone(start):
            alone = replace(problem, guidance=None)
            start, _ = solve_gauss_newton(alone, settings, seed, recorder)
            settings = settings.going_on()
        return solve_gauss_newton(problem, settings, seed, recorder, start)

    def settings(self) -> dict[str, Any]:
        """What `result.json` says of it."""
        values = {"fit": to_json_object(self.config), "device": self.device}
        if self.guidance is not None:
            entries = [{"slice": e.slice_name, "phase": e.phase} for e in self.guidance.entries]
            values["labels"] = {"files": list(self.guidance.sources), "frames": entries}
        if self.network is not None and self.evidence is not None:
            values["slice_network"] = self.network.info.name
        return values


def _fitted(
    study: CineStudy,
    prior: Prior,
    on_device: Prior,
    frame: CanonicalFrame,
    job: _Job,
    start: Estimate | None,
    began: float,
) -> FitResult:
    whole = study
    study, problem = job.seen(whole, on_device, frame)
    problem = job.with_evidence(problem, whole, study, frame)
    if job.modes is not None:
        problem = replace(problem, prior=with_warp(on_device, job.modes))
    table, recorder = problem.table, job.recorder(start)
    job.cancel.check()
    prepared = time.monotonic()
    estimate, posterior = job.solve(problem, recorder, start)
    config = job.config
    psf = config.gauss_newton.psf if config.gauss_newton else _adam(config).psf
    figures = {"psnr_db": reconstruction_psnr_db(problem, estimate, psf, job.cancel)}
    parameters = fitted_parameters(estimate, study, frame, table, job.modes)
    uncertainty = None
    if posterior is not None:
        uncertainty = fit_uncertainty(posterior, study, frame, table, prior.info.calibration)
    warnings = job.guidance.warnings if job.guidance is not None else ()
    finished = time.monotonic()
    return FitResult(
        study=replace(study, warnings=study.warnings + frame.assumptions + warnings),
        prior=prior,
        frame=frame,
        parameters=parameters,
        history=tuple(recorder.steps),
        settings=job.settings(),
        figures=figures,
        seconds={"prepare": prepared - began, "fit": finished - prepared},
        uncertainty=uncertainty,
        evidence=job.evidence,
    )


def _frame(study: CineStudy, prior: Prior, job: _Job, anatomy: AnatomyHint) -> CanonicalFrame:
    """The frame from the planes; where they leave it uncertain, from labels or what the slice
    network sees, and then the best of several."""
    hint = hint_of(study, job.guidance, anatomy)
    config = job.config
    if config.gauss_newton is None:
        return canonical_frame_of(study, hint)
    known = labels_hint(study, job.guidance)
    if job.network is not None and job.guidance is None and not planes_say(study):
        known = heart_as_seen(study, hint, job.network, job.device, job.cancel)
        hint = combined_hint(known, hint)
    frame = canonical_frame_of(study, hint)
    starts = candidate_starts(study, frame, known.rv_centroid_ras is not None)

    def problem_of(frame: CanonicalFrame) -> FitProblem:
        return job.seen(study, prior, frame)[1]

    return best_start(starts, problem_of, config.gauss_newton, config.seed, job.cancel).frame


def reconstruction_psnr_db(
    problem: FitProblem, estimate: Estimate, psf: PsfConfig, cancel: CancelToken | None = None
) -> float:
    """PSNR (peak 1) of the predicted voxels in the heart region, all slices and phases."""
    generator = torch.Generator(problem.device).manual_seed(1)
    table, decoder = problem.table, problem.prior.decoder
    squares = 0.0
    for part in table.sample(N_PSNR_VOXELS, generator).split(VOXELS_PER_PART):
        if cancel is not None:
            cancel.check()
        with torch.inference_mode():
            predicted = predict(
                decoder, part, table.slices, estimate.latent, estimate.poses, psf, generator
            )
            squares += float((predicted.intensity - part.intensity).square().sum())
    return -10.0 * math.log10(max(squares / N_PSNR_VOXELS, 1e-12))


def _adam(config: FitConfig) -> AdamConfig:
    assert config.adam is not None  # FitConfig holds exactly one solver
    return config.adam
