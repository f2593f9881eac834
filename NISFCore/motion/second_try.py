"""Tracking a tagged plane, and tracking it again where its tissue moves far between two frames.

Frame after frame is followed from where the frames before lead to. Where the tissue moves by more
than a share of the tags' distance between two frames (`quality.wrapping_flags`) that is not safe,
and the plane is tracked a second time: what is expected of a frame is then half-way between that
and what a learned prior says of the heart, its code found from all frames together
(`priors.latent`). Of the two the one whose images agree better with the tags at ED is taken: where
the wall is shown, 1 - local NCC. Labels do not vote: they are of other tissue (`wall_labels`). A
second solution is an estimate as free as the first; that it was taken is said.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from NISFCore.errors import StudyError
from NISFCore.motion.config import FieldConfig, MotionConfig, StartConfig
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.gauss_newton import FrameCoefficients, coefficients_of, set_coefficients
from NISFCore.motion.priors.file import MotionPrior, load_motion_prior
from NISFCore.motion.quality import wrapping_flags
from NISFCore.motion.refinement import TissuePoints, track
from NISFCore.motion.result import MotionFlag
from NISFCore.motion.tagged_plane import TaggedPlane
from NISFCore.progress import CancelToken, ProgressReporter, SilentProgress

N_LED_STAGES = 2
"""Phase and intensity."""


@dataclass(frozen=True)
class Tracked:
    """A solution of all frames.

    Attributes:
        found: its coefficients.
        misfit: mean of 1 - local NCC of images and tags, see `TagCorrelation`.
        flags: what to know of how it was had.
    """

    found: FrameCoefficients
    misfit: float
    flags: tuple[MotionFlag, ...] = ()


@dataclass(frozen=True)
class HalfWay:
    """What is expected of a frame is half-way between its past and a given motion (a
    `refinement.Lead`)."""

    motion: FrameCoefficients

    def corrected(self, expected: Tensor, moment: float) -> Tensor:
        j = int((self.motion.times - moment).abs().argmin())
        return (expected + self.motion.values[j]) / 2


class PlaneTracker:
    """Follows one plane's tissue; the field is left with the better solution."""

    def __init__(
        self,
        seen: TaggedPlane,
        field: DisplacementField,
        tissue: TissuePoints,
        config: MotionConfig,
        cancel: CancelToken,
    ) -> None:
        self._seen, self._field, self._tissue = seen, field, tissue
        self._config, self._cancel = config.refinement, cancel
        self._stages = seen.stages(field, config.refinement)

    def tracked(self, progress: ProgressReporter) -> Tracked:
        """The first solution, or the second one where that is asked for and better.

        Raises:
            StudyError: if the solver diverged.
            Cancelled: between two frames.
        """
        first = self._once(None, progress)
        if not (self._config.has_second_try and self._moves_far()):
            return first
        prior = load_motion_prior()
        second = self._again(prior)
        if second is None or second.misfit >= first.misfit:
            set_coefficients(self._field, first.found)
            return first
        return Tracked(second.found, second.misfit, (led_flag(prior, first, second),))

    def _once(self, lead: HalfWay | None, progress: ProgressReporter) -> Tracked:
        # a prior's motion is as near as labels lead
        stages = self._stages if lead is None else self._stages[-N_LED_STAGES:]
        found = track(
            self._field,
            self._tissue,
            self._seen.times,
            stages,
            self._config,
            progress,
            self._cancel,
            lead=lead,
        )
        return Tracked(found, self._seen.misfit(self._field))

    def _moves_far(self) -> bool:
        seen = self._seen
        return bool(wrapping_flags(self._field, seen.observations, seen.points))

    def _again(self, prior: MotionPrior) -> Tracked | None:
        """None if that fails: there is a first solution."""
        try:
            lead = HalfWay(prior_motion(prior, self._seen, self._tissue))
            return self._once(lead, SilentProgress())
        except StudyError:
            return None


@torch.no_grad()
def prior_motion(prior: MotionPrior, seen: TaggedPlane, tissue: TissuePoints) -> FrameCoefficients:
    """What a prior says of a heart, as coefficients of the tissue's features: least squares.

    Raises:
        StudyError: if no code could be found.
    """
    own = seen.field(config_of(prior.info.field_config))
    own.load_flat_state(prior.state(own, seen))
    return coefficients_of(tissue.features, seen.times, own.displacement(seen.points, seen.times))


def config_of(field: FieldConfig) -> MotionConfig:
    """Settings whose fields are of a prior's network."""
    start = StartConfig(n_features=field.n_features, omega=field.omega, seed=field.seed)
    return MotionConfig(network=field.network, start=start)


def led_flag(prior: MotionPrior, first: Tracked, second: Tracked) -> MotionFlag:
    """That the second solution was taken."""
    return MotionFlag(
        "led_by_prior",
        "the tissue moves far between two frames; of two solutions the one that was led by the "
        f"motion of simulated hearts ({prior.info.name}) follows the tags better and was taken "
        f"(misfit {second.misfit:.3f}, without it {first.misfit:.3f})",
    )
