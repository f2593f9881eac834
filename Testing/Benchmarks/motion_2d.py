"""Motion within one short-axis plane of simulated hearts, against their exact displacement.

    python -m Testing.Benchmarks.motion_2d --out DIR [--subjects 2] [--first-seed N]

Every kind of heart is tagged (two series of lines) and imaged as a cine at the same plane. Truth is
the displacement of the tissue that lies in the plane at ED, its components in the plane; strain is
scored at ES over the wall. Ways that are compared:

    still        nothing moves
    phase        the Gauss-Newton start on tag phase alone
    tagged_ed    phase and intensity, labels of ED only
    tagged       the same with labels of all frames (`fit_tagged_plane` as it comes)
    tagged_off   the same with every later frame's labels off by up to a pixel along each axis
    cine         images and labels of the untagged cine (`fit_cine_plane`)
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import tyro

from NISFCore.data.study import CineSlice
from NISFCore.files import write_text_atomically
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, RADIAL
from NISFCore.motion.config import DEFAULT
from NISFCore.motion.fit import fit_cine_plane, fit_tagged_plane
from NISFCore.motion.gauss_newton import start_from_phase
from NISFCore.motion.plane import plane_of
from NISFCore.motion.result import MotionResult
from NISFCore.motion.strain import deformation_gradient, directional_strain, displacement_ras
from NISFCore.motion.tagged import observe, tagged_series
from NISFCore.phantom.displacement import DisplacementTruth
from NISFCore.phantom.motion_population import MotionKind, sample_motion_heart
from NISFCore.phantom.protocol import sample_protocol
from NISFCore.phantom.scanner import simulate_study
from NISFCore.phantom.tag_pattern import TagKind, TagPattern
from NISFCore.phantom.tagging import simulate_tagged_study
from NISFCore.progress import CancelToken

Array = npt.NDArray[np.float64]
FIRST_SEED = 7_710_000
N_SEGMENT_POINTS = 5


@dataclass(frozen=True)
class Settings:
    """What is run.

    Attributes:
        out: folder for `motion_2d.json`.
        subjects: of each kind.
        first_seed: of the hearts; the settings were chosen on seeds 100 to 103.
        kinds: of motion.
    """

    out: Path
    subjects: int = 2
    first_seed: int = FIRST_SEED
    kinds: tuple[MotionKind, ...] = (
        MotionKind.HEALTHY,
        MotionKind.DYSFUNCTIONAL,
        MotionKind.DYSSYNCHRONOUS,
        MotionKind.LARGE,
    )


@dataclass(frozen=True)
class Truth:
    """Displacement `(n_times, n, 3)` in the plane and strain `(n_times, n, 2)` of the wall."""

    points_ras: Array
    displacement: Array
    strain: Array
    segments: npt.NDArray[np.uint8]
    es: int

    @staticmethod
    def of(truth: DisplacementTruth, cine: CineSlice) -> "Truth":
        """At the wall's pixels and the slice's times."""
        plane = plane_of(cine, None)
        points, times = plane.points_ras, cine.cycle_fractions
        axes = plane.placement.axes
        u = np.stack([truth.displacement_mm(points, float(t)) for t in times])
        F = np.stack([truth.deformation_gradient(points, float(t)) for t in times])
        E = directional_strain(F, plane.frame.directions(points))[..., :2]
        es = int(np.argmin(E[..., CIRCUMFERENTIAL].mean(axis=1)))
        return Truth(points, u @ axes.T @ axes, E, plane.frame.segments(points), es)

    def scores(self, displacement: Array, strain: Array) -> dict[str, float]:
        """RMSE in mm; errors at ES in points (1 point is a strain of 0.01)."""
        error = 100 * (strain - self.strain)[self.es]
        circumferential = error[:, CIRCUMFERENTIAL]
        members = [self.segments == k for k in np.unique(self.segments)]
        by_segment = [
            abs(circumferential[m].mean()) for m in members if m.sum() >= N_SEGMENT_POINTS
        ]
        squares = ((displacement - self.displacement) ** 2).sum(axis=-1)
        return {
            "rmse_mm": float(np.sqrt(squares.mean())),
            "gcs_points": float(abs(circumferential.mean())),
            "segmental_points": float(np.mean(by_segment)),
            "grs_points": float(abs(error[:, RADIAL].mean())),
        }


def score(truth: Truth, result: MotionResult) -> dict[str, float]:
    """Scores of one result."""
    field, times = result.displacement_field, result.cycle_fractions
    F = deformation_gradient(field, truth.points_ras, times)
    E = directional_strain(F, result.frame.directions(truth.points_ras))[..., :2]
    return truth.scores(displacement_ras(field, truth.points_ras, times), E)


def timed(truth: Truth, fit: Callable[[], MotionResult]) -> dict[str, Any]:
    """Scores, processor seconds and flags of one fit."""
    began = time.process_time()
    result = fit()
    seconds = time.process_time() - began
    codes = [flag.code for flag in result.flags]
    return {**score(truth, result), "cpu_seconds": seconds, "flags": codes}


def phase_only(slices: list[CineSlice], truth: Truth) -> dict[str, Any]:
    """The start alone."""
    plane, config = plane_of(slices[0], None), DEFAULT.start
    seen = [
        observe(tagged_series(s, plane.mask), plane.mask, plane.placement, config.band_width)
        for s in slices
    ]
    times = seen[0].times
    field = plane.field(DEFAULT, times.tolist(), is_cyclic=False)
    began = time.process_time()
    start_from_phase(field, seen, plane.local_points(), config, CancelToken())
    seconds = time.process_time() - began
    result = MotionResult(field, plane.frame, plane.points_ras, times.double().numpy(), False)
    return {**score(truth, result), "cpu_seconds": seconds}


def with_labels_of_ed(cine: CineSlice) -> CineSlice:
    """No labels after the first frame."""
    assert cine.labels is not None  # simulated
    first = np.arange(cine.n_phases) == 0
    return replace(cine, labels=replace(cine.labels, annotated=first))


def with_labels_off(cine: CineSlice, seed: int) -> CineSlice:
    """Labels of later frames shifted by up to a pixel along each axis, each frame's by itself."""
    assert cine.labels is not None  # simulated
    rng, values = np.random.default_rng(seed), cine.labels.values.copy()
    for j in range(1, len(values)):
        values[j] = np.roll(values[j], rng.integers(-1, 2, size=2), axis=(0, 1))
    return replace(cine, labels=replace(cine.labels, values=values))


def subject(seed: int, kind: MotionKind) -> dict[str, Any]:
    """All ways on one heart."""
    heart = sample_motion_heart(seed, kind)
    protocol = sample_protocol(seed, "tagged-2d")
    simulated = simulate_tagged_study(heart, TagPattern(kind=TagKind.LINES), protocol, seed)
    slices = list(simulated.study.slices)
    truth = Truth.of(simulated.truth, slices[0])
    untagged = simulate_study(heart, protocol, seed)
    cine = untagged.study.slices[0]
    cine_truth = Truth.of(DisplacementTruth(untagged.truth), cine)
    others = slices[1:]
    return {
        "seed": seed,
        "kind": kind.value,
        "still": truth.scores(np.zeros((1, 1, 3)), np.zeros((1, 1, 2)) + 0 * truth.strain),
        "phase": phase_only(slices, truth),
        "tagged_ed": timed(
            truth, lambda: fit_tagged_plane([with_labels_of_ed(slices[0]), *others])
        ),
        "tagged": timed(truth, lambda: fit_tagged_plane(slices)),
        "tagged_off": timed(
            truth, lambda: fit_tagged_plane([with_labels_off(slices[0], seed), *others])
        ),
        "cine": timed(cine_truth, lambda: fit_cine_plane(cine)),
    }


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean of every figure of every way."""
    ways = [key for key, value in rows[0].items() if isinstance(value, dict)]
    return {
        way: {
            name: float(np.mean([row[way][name] for row in rows]))
            for name, value in rows[0][way].items()
            if isinstance(value, float)
        }
        for way in ways
    }


def main() -> None:
    """Run all subjects, each written as soon as it is done."""
    settings = tyro.cli(Settings)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for index in range(settings.subjects):
        for kind in settings.kinds:
            rows.append(subject(settings.first_seed + index, kind))
            sys.stdout.write(json.dumps(rows[-1]) + "\n")
            sys.stdout.flush()
            content = {"means": means(rows), "subjects": rows}
            write_text_atomically(settings.out / "motion_2d.json", json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
