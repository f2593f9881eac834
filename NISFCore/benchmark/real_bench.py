"""One real study, its reference, and the fits that are compared with it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from NISFCore.analysis.checked import checked
from NISFCore.analysis.fitted import n_cycle_phases
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.analysis.volumes import VolumeCurve, volume_curve
from NISFCore.benchmark.real_measures import (
    FrameKey,
    Shown,
    given_frames,
    guidance_of,
    shown_labels,
)
from NISFCore.benchmark.reference import Reference, ReferenceFrame, read_reference
from NISFCore.data.anatomy import GivenOrientation, hint_from_labels, nearest_side
from NISFCore.data.study import CineStudy
from NISFCore.data.surface_files import SurfaceSpace
from NISFCore.evidence.network import load_slice_network
from NISFCore.fitting.config import DEFAULT, FitConfig
from NISFCore.fitting.fit import fit_study, refit_study
from NISFCore.fitting.result import FitResult
from NISFCore.model.prior import Prior
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter
from NISFCore.views import LONG_AXIS_VIEWS, View
from NISFCore.workflows import StudyInput

VOLUME_SPACING_MM = 3.0
N_STEPS = 9
NO_CURVE = VolumeCurve(np.zeros(0), np.zeros((0, 4)))


@dataclass(frozen=True)
class RealSettings:
    """What is compared, and how it is read.

    Attributes:
        source: the study.
        reference: folder or zip of surfaces; file or folder of label maps.
        numbers: numbering of label maps (`reference.NUMBERINGS`).
        space: coordinates of surfaces.
        config: of the fits.
        evidence: whether the bundled slice network's labels count beside the intensities.
    """

    source: StudyInput
    reference: Path
    numbers: str = "lv-myo-rv"
    space: SurfaceSpace = "lps"
    config: FitConfig = DEFAULT
    evidence: bool = True


@dataclass(frozen=True)
class Measured:
    """A fit and what it shows in the reference's frames.

    Attributes:
        name: "unguided" or "guided".
        result: the fit.
        shown: labels by slice and phase.
        frames: those of the reference that count.
        curve: volumes over the cycle.
    """

    name: str
    result: FitResult
    shown: Shown
    frames: tuple[ReferenceFrame, ...]
    curve: VolumeCurve


class RealBench:
    """One study, its reference, and the fits that are compared with it."""

    def __init__(
        self,
        settings: RealSettings,
        prior: Prior,
        progress: ProgressReporter,
        cancel: CancelToken,
    ) -> None:
        self.settings, self.prior, self.cancel = settings, prior, cancel
        listens = settings.evidence and settings.config.gauss_newton is not None
        self.network = load_slice_network() if listens else None
        self._progress, self._began, self._n_done = progress, time.monotonic(), 0
        self.study = settings.source.read(cancel)
        self.tick()
        self.reference = read_reference(
            self.study, settings.reference, settings.numbers, settings.space, cancel
        )
        self.given = given_frames(self.study, self.reference)
        self.orientation = self._orientation()

    def tick(self) -> None:
        """One step more is done."""
        self.cancel.check()
        self._n_done += 1
        seconds = time.monotonic() - self._began
        total = max(N_STEPS, self._n_done)
        self._progress.report(ProgressEvent("benchmark", self._n_done, total, seconds))

    @property
    def given_keys(self) -> frozenset[FrameKey]:
        return frozenset(f.key for f in self.given)

    def _orientation(self) -> GivenOrientation:
        """What a user says; from the reference where the files and the user do not."""
        said = self.settings.source.orientation
        if self.study.has_patient_orientation or said != GivenOrientation():
            return said
        return said_by_a_user(self.study, self.reference)

    def fit(self, study: CineStudy, with_labels: bool = False) -> FitResult:
        """An unguided fit, or one with the given slices of the reference."""
        guidance = guidance_of(self.given) if with_labels else None
        result = fit_study(
            study,
            self.prior,
            self.settings.config,
            guidance=guidance,
            anatomy=self.orientation.hint_for(study),
            network=self.network,
            device="cpu",
            cancel=self.cancel,
        )
        return checked(result)

    def measured(self, name: str, result: FitResult, but: frozenset[FrameKey]) -> Measured:
        """What a fit shows in all frames of the reference, measured on those not in `but`."""
        keys = [f.key for f in self.reference.frames]
        shown = shown_labels(result, self.study, keys, self.cancel)
        frames = tuple(f for f in self.reference.frames if f.key not in but)
        grid = result.field.box.grid(VOLUME_SPACING_MM)
        t = uniform_cycle_fractions(n_cycle_phases(self.study))
        curve = volume_curve(result.field, grid, t, cancel=self.cancel)
        return Measured(name, result, shown, frames, curve)

    def refit_seconds(self, unguided: FitResult) -> tuple[float, FitResult]:
        """How long a warm refit with the given slices takes, from labels to the new heart."""
        began = time.monotonic()
        refitted = refit_study(
            unguided, guidance_of(self.given_in(unguided)), device="cpu", cancel=self.cancel
        )
        return time.monotonic() - began, refitted

    def given_in(self, result: FitResult) -> list[ReferenceFrame]:
        """The given frames, cropped as the slices of a result are."""
        by_name = {s.name: s for s in result.study.slices}
        return [cropped_to(f, self.study, by_name) for f in self.given if f.slice_name in by_name]

    def left_out_views(self) -> dict[str, Measured]:
        """View -> what a fit to the other views shows in it."""
        views = {s.view for s in self.study.slices}
        found = {}
        for view in (v for v in LONG_AXIS_VIEWS if v in views):
            rest = tuple(v for v in views if v is not view)
            if not rest:
                continue
            names = {s.name for s in self.study.of_view(view)}
            frames = tuple(f for f in self.reference.frames if f.slice_name in names)
            result = self.fit(self.study.restricted_to(rest))
            shown = shown_labels(result, self.study, [f.key for f in frames], self.cancel)
            found[view.value] = Measured(view.value, result, shown, frames, NO_CURVE)
            self.tick()
        return found


def said_by_a_user(study: CineStudy, reference: Reference) -> GivenOrientation:
    """Where RV and base are, as coarsely as a user would say it."""
    frames = reference.at(reference.ed(study))
    hint = hint_from_labels(study, guidance_of(frames))
    stack = study.of_view(View.SA)
    if not stack or hint.rv_centroid_ras is None or hint.base_ras is None:
        return GivenOrientation()
    towards_first = float((stack[0].centre_ras - stack[-1].centre_ras) @ hint.base_ras)
    base = stack[0] if towards_first > 0 else stack[-1]
    return GivenOrientation(nearest_side(stack[0], hint.rv_centroid_ras), base.name)


def cropped_to(
    frame: ReferenceFrame, study: CineStudy, cropped: Mapping[str, Any]
) -> ReferenceFrame:
    """The part of a frame that a result's slice shows."""
    whole = next(s for s in study.slices if s.name == frame.slice_name)
    window = whole.window_of(cropped[frame.slice_name])
    labels, known = frame.labels[window], np.ascontiguousarray(frame.known[window])
    return replace(frame, labels=labels, known=known)
