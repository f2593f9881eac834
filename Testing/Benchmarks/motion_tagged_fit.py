"""Motion of fitted simulated examinations with tagged planes, against their exact displacement.

    python -m Testing.Benchmarks.motion_tagged_fit --out DIR [--subjects 1] [--first-seed N]

Every heart is imaged as a clinical cine and tagged, each slice in a breath-hold of its own, written
as DICOM, read back and fitted by `nisf fit`'s defaults: poses and labels are the fit's. Ways that
are compared:

    still        nothing moves
    cine         `motion_of` without tags
    tagged_3sa   with three short-axis planes (a grid, 85 % of the cycle), as UK Biobank takes them
    tagged_3d    with six short-axis and three long-axis planes (two series of lines each)
    unshifted    tagged_3sa with its planes where their headers say

Scores are those of `Testing.Benchmarks.motion_3d` at the fit's place of the heart, the error around
the axis, that of torsion at ES, and how far tagged planes lie from the heart before and after their
shift, at the heart, in the plane and off it (root mean square over planes).
"""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import tyro

from NISFCore.benchmark.motion_truth import SpaceTruth
from NISFCore.data.read import read_study, read_tagged
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.evidence.network import load_slice_network
from NISFCore.fitting.fit import fit_study
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.spaces import Points, apply_affine
from NISFCore.model.prior import load_prior
from NISFCore.motion import heart_tags
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL
from NISFCore.motion.cine_study import common_times
from NISFCore.motion.heart_tags import wall_in_plane
from NISFCore.motion.images import mask_points_ras
from NISFCore.motion.result import MotionResult
from NISFCore.motion.strain import displacement_ras, torsion_of_thirds
from NISFCore.motion_workflow import motion_of
from NISFCore.phantom.dicom_writer import write_dicom
from NISFCore.phantom.displacement import DisplacementTruth
from NISFCore.phantom.examination import simulate_examination
from NISFCore.phantom.motion_population import MotionKind, sample_motion_heart
from NISFCore.phantom.protocol import sample_protocol
from NISFCore.phantom.scanner import SimulatedStudy
from NISFCore.phantom.tag_pattern import TagKind, sample_tag_pattern
from NISFCore.phantom.truth import PhantomTruth
from Testing.Benchmarks.motion_from_fit import fit_from_true_mm
from Testing.Benchmarks.motion_runs import KINDS, run, timed

FIRST_SEED = 7_730_000
TAGS = {"tagged_3sa": ("tagged-3sa", TagKind.GRID), "tagged_3d": ("tagged-3d", TagKind.LINES)}
"""Preset and kind of tags."""


@dataclass(frozen=True)
class Settings:
    """What is run.

    Attributes:
        out: folder for `motion_tagged_fit.json`.
        subjects: of each kind.
        first_seed: of the hearts; settings were chosen on seeds 900 to 905.
        kinds: of motion.
        ways: that are compared.
    """

    out: Path
    subjects: int = 1
    first_seed: int = FIRST_SEED
    kinds: tuple[MotionKind, ...] = KINDS
    ways: tuple[str, ...] = ("cine", "tagged_3sa", "tagged_3d", "unshifted")


@dataclass(frozen=True)
class Heart:
    """One fitted heart, its motion, and the fit's place of it less the true one `(3,)` in mm."""

    fitted: FitResult
    truth: DisplacementTruth
    offset_mm: Points

    def scores(self, tagged: tuple[CineStudy, PhantomTruth] | None, result: MotionResult) -> Any:
        """See the module."""
        times = result.cycle_fractions
        truth = SpaceTruth.of(self.truth, times)
        truth = replace(truth, points_ras=truth.points_ras + self.offset_mm)
        u = displacement_ras(result.displacement_field, truth.points_ras, times)
        around = ((u - truth.displacement) * truth.directions[:, CIRCUMFERENTIAL]).sum(axis=-1)
        turns = [
            torsion_of_thirds(result.frame, truth.points_ras, d[[truth.es]])[0]
            for d in (u, truth.displacement)
        ]
        return {
            **truth.scores_of(result),
            "around_mm": float(np.sqrt((around**2).mean())),
            "torsion_deg": float(abs(turns[0] - turns[1])),
            **({} if tagged is None else self.places(*tagged, result)),
        }

    def places(
        self, study: CineStudy, truth: PhantomTruth, result: MotionResult
    ) -> dict[str, float]:
        """How far the planes that were used lie from the heart."""
        found = result.settings["tagged_shifts_mm"]
        pairs = [p for p in zip(study.slices, truth.slices, strict=True) if p[0].name in found]
        errors = [self._misplaced(s, t.corrected_from_scanned_ras, found[s.name]) for s, t in pairs]
        squares = np.square(errors)  # (slices, before and after, axes)
        before, after = np.sqrt(squares[..., :2].sum(axis=-1).mean(axis=0))
        off_before, off_after = np.sqrt(squares[..., 2].mean(axis=0))
        names = ("in_plane_before_mm", "in_plane_after_mm", "off_before_mm", "off_after_mm")
        return dict(zip(names, map(float, (before, after, off_before, off_after)), strict=True))

    def _misplaced(
        self, cine: CineSlice, true_from_scanned: npt.NDArray[np.float64], found: Any
    ) -> npt.NDArray[np.float64]:
        """`(2, 3)` mm along columns, rows and across: without and with the shift."""
        centre = mask_points_ras(cine, wall_in_plane(cine, self.fitted.field)).mean(axis=0)
        left = apply_affine(true_from_scanned, centre) - centre + self.offset_mm
        axes = np.column_stack([cine.ras_from_ijk[:3, :2] / cine.spacing_mm, cine.normal_ras])
        return np.stack([left @ axes, (left - (found or np.zeros(3))) @ axes])


def examination(seed: int, kind: MotionKind, way: str) -> SimulatedStudy:
    """A heart with a cine and one kind of tagged planes; the cine is the same for all ways."""
    preset, tags = TAGS[way]
    heart, rng = sample_motion_heart(seed, kind), np.random.default_rng(seed)
    pattern = sample_tag_pattern(rng, tags)
    tagged = sample_protocol(rng, preset)
    return simulate_examination(heart, sample_protocol(seed), tagged, pattern, seed)


def in_files(simulated: SimulatedStudy, read: Callable[[Path], CineStudy]) -> CineStudy:
    """What is read of a study's DICOM."""
    with tempfile.TemporaryDirectory() as folder:
        write_dicom(simulated.study, Path(folder) / "dicom")
        return read(Path(folder) / "dicom")


def subject(seed: int, kind: MotionKind, ways: tuple[str, ...]) -> dict[str, Any]:
    """All ways on one heart."""
    simulated = {way: examination(seed, kind, way) for way in TAGS}
    first = simulated["tagged_3sa"]
    fitted = fit_study(in_files(first, read_study), load_prior(), network=load_slice_network())
    heart = Heart(fitted, DisplacementTruth(first.truth), fit_from_true_mm(fitted, first.truth))
    fits = {way: scored(heart, way, simulated) for way in ways}
    still = SpaceTruth.of(heart.truth, common_times(fitted.study.slices)).still()
    return {"seed": seed, "kind": kind.value, "still": still, **fits}


def scored(heart: Heart, way: str, simulated: dict[str, SimulatedStudy]) -> dict[str, Any]:
    """One way; see `timed`."""
    if way == "cine":
        return timed(partial(heart.scores, None), partial(motion_of, heart.fitted))
    made = simulated["tagged_3sa" if way == "unshifted" else way]
    assert made.tagged_truth is not None  # an examination
    study = in_files(made, read_tagged)
    fit = partial(motion_of, heart.fitted, tagged=study)
    stays = patch.object(heart_tags, "heart_shift", lambda *_: None)
    with stays if way == "unshifted" else nullcontext():
        return timed(partial(heart.scores, (study, made.tagged_truth)), fit)


def main() -> None:
    """Run all subjects, each written as soon as it is done."""
    settings = tyro.cli(Settings)
    seeds = range(settings.first_seed, settings.first_seed + settings.subjects)
    rows = (subject(seed, kind, settings.ways) for seed in seeds for kind in settings.kinds)
    run(rows, settings.out / "motion_tagged_fit.json")


if __name__ == "__main__":
    main()
