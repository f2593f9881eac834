"""Simulated hearts that motion priors learn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from NISFCore.data.study import CineSlice
from NISFCore.motion.config import DEFAULT
from NISFCore.motion.fit import fit_tagged_plane
from NISFCore.motion.plane import Plane, plane_of
from NISFCore.motion.priors.config import MIXTURE, Targets
from NISFCore.motion.strain import displacement_ras
from NISFCore.phantom.displacement import DisplacementTruth
from NISFCore.phantom.motion_population import MotionKind, sample_motion_heart
from NISFCore.phantom.parameters import HeartParameters
from NISFCore.phantom.protocol import AcquisitionProtocol, sample_protocol
from NISFCore.phantom.tag_pattern import TagKind, TagPattern, sample_tag_pattern
from NISFCore.phantom.tagging import SimulatedTagged, simulate_tagged_study
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter

PRESET = "tagged-2d"
LEVELS = (0.4, 0.7)
"""Of the plane, as parts of the LV's length from the apex: the middle third."""


@dataclass(frozen=True)
class MotionSubject:
    """The motion of one heart in one plane, in radii of its LV.

    Attributes:
        points: `(n, 2)` of the tissue at ED.
        displacement: `(n_steps, n, 2)` at the later knots of a prior.
        radius_mm: of the LV.
    """

    points: Tensor
    displacement: Tensor
    radius_mm: float


@dataclass(frozen=True)
class Subjects:
    """Hearts of equal weight, each with as many points as the one with fewest.

    Attributes:
        points: `(n_subjects, n, 2)` in radii.
        displacement: `(n_subjects, n_steps, n, 2)` in radii.
        radii_mm: `(n_subjects,)`.
    """

    points: Tensor
    displacement: Tensor
    radii_mm: Tensor

    @staticmethod
    def of(subjects: Sequence[MotionSubject], seed: int) -> "Subjects":
        """Draw points of each heart."""
        generator = torch.Generator().manual_seed(seed)
        n = min(len(s.points) for s in subjects)
        drawn = [torch.randperm(len(s.points), generator=generator)[:n] for s in subjects]
        pairs = list(zip(subjects, drawn, strict=True))
        return Subjects(
            torch.stack([s.points[d] for s, d in pairs]),
            torch.stack([s.displacement[:, d] for s, d in pairs]),
            torch.tensor([s.radius_mm for s in subjects]),
        )

    def batch(self, n_subjects: int, n_points: int, generator: torch.Generator) -> "Batch":
        """Some of the subjects at some of their points, at random."""
        chosen = torch.randperm(len(self.points), generator=generator)[:n_subjects]
        at = torch.randperm(self.points.shape[1], generator=generator)[:n_points]
        displacement = self.displacement[chosen][:, :, at]
        return Batch(
            chosen, Subjects(self.points[chosen][:, at], displacement, self.radii_mm[chosen])
        )


@dataclass(frozen=True)
class Batch:
    """Some subjects, and which of all they are."""

    chosen: Tensor
    subjects: Subjects


@dataclass(frozen=True)
class Drawn:
    """What decides a simulated plane, beside its seed."""

    heart: HeartParameters
    pattern: TagPattern
    protocol: AcquisitionProtocol


def simulated_plane(
    seed: int, kind: MotionKind, change: Callable[[Drawn], Drawn] | None = None
) -> SimulatedTagged:
    """One tagged plane of one heart: two series of lines across each other.

    Args:
        change: of what was drawn, before it is simulated.
    """
    drawn = drawn_plane(seed, kind)
    drawn = drawn if change is None else change(drawn)
    return simulate_tagged_study(drawn.heart, drawn.pattern, drawn.protocol, seed)


def drawn_plane(seed: int, kind: MotionKind) -> Drawn:
    """A heart of a kind, and how one plane of it is imaged; equal seeds give equal ones."""
    rng = np.random.default_rng([seed, list(MotionKind).index(kind)])
    protocol = sample_protocol(rng, PRESET)
    protocol = replace(protocol, sa_levels=(float(rng.uniform(*LEVELS)),))
    return Drawn(sample_motion_heart(seed, kind), sample_tag_pattern(rng, TagKind.LINES), protocol)


def without_images(drawn: Drawn) -> Drawn:
    """A single coarse frame: where the plane lies and what tissue is in it, at little cost."""
    protocol = replace(drawn.protocol, n_phases=1, n_sub_pixels=1, n_profile=1)
    return replace(drawn, protocol=protocol, pattern=replace(drawn.pattern, kind=TagKind.GRID))


def drawn_kind(seed: int) -> MotionKind:
    """The kind of a training subject, by `MIXTURE`."""
    kinds, shares = zip(*MIXTURE, strict=True)
    return MotionKind(np.random.default_rng(seed).choice([k.value for k in kinds], p=shares))


def true_motion(truth: DisplacementTruth, cine: CineSlice, knots: Sequence[float]) -> MotionSubject:
    """Exact displacement of the tissue that lies in a plane at ED, its components in the plane."""
    plane = plane_of(cine, None)
    later = [truth.displacement_mm(plane.points_ras, t) for t in knots[1:]]
    return _in_radii(plane, np.stack(later))


def fitted_motion(slices: Sequence[CineSlice], knots: Sequence[float]) -> MotionSubject:
    """What a Gauss-Newton fit finds from images and labels; between frames, along a line."""
    # no prior is learned from what another one said
    alone = replace(DEFAULT, refinement=replace(DEFAULT.refinement, has_second_try=False))
    result = fit_tagged_plane(slices, alone)
    plane = plane_of(slices[0], None)
    u = displacement_ras(result.displacement_field, plane.points_ras, list(knots[1:]))
    return _in_radii(plane, u)


def training_subject(seed: int, targets: Targets, knots: Sequence[float]) -> MotionSubject:
    """One simulated training subject; images are only made if they are looked at."""
    change = without_images if targets is Targets.TRUTH else None
    simulated = simulated_plane(seed, drawn_kind(seed), change)
    slices = list(simulated.study.slices)
    if targets is Targets.TRUTH:
        return true_motion(simulated.truth, slices[0], knots)
    return fitted_motion(slices, knots)


def training_subjects(
    seeds: Sequence[int],
    targets: Targets,
    knots: Sequence[float],
    progress: ProgressReporter,
    cancel: CancelToken,
) -> list[MotionSubject]:
    """Simulate them all.

    Raises:
        Cancelled: between two of them.
    """
    found = []
    for k, seed in enumerate(seeds, start=1):
        cancel.check()
        found.append(training_subject(seed, targets, knots))
        progress.report(ProgressEvent("simulate", k, len(seeds), 0.0))
    return found


def _in_radii(plane: Plane, displacement_ras_mm: np.ndarray) -> MotionSubject:
    placement = plane.placement
    u = displacement_ras_mm @ placement.axes.T / placement.radius_mm
    points = plane.local_points() / placement.radius_mm
    return MotionSubject(points, torch.tensor(u, dtype=torch.float32), placement.radius_mm)
