"""Tagged MR of a simulated heart: images with tags, and the exact displacement behind them.

A plane is imaged in two breath-holds with lines across each other, or in one with a grid. Tags are
laid down at ED where the plane truly lies and move with the tissue, through the plane too.
"""

from dataclasses import dataclass, replace

import numpy as np

from NISFCore.data.study import CineSlice, CineStudy, TagLines
from NISFCore.data.tags import series_name
from NISFCore.geometry.spaces import Affine
from NISFCore.phantom.displacement import DisplacementTruth
from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.parameters import HeartParameters
from NISFCore.phantom.planning import plan
from NISFCore.phantom.protocol import AcquisitionProtocol
from NISFCore.phantom.scanner import Preparation, Scanner, ras_from_heart_of_patient
from NISFCore.phantom.scene import Scene, TaggedScene, spoiled_gradient_echo
from NISFCore.phantom.tag_pattern import TagPattern, lay_tags, line_normal
from NISFCore.phantom.truth import SliceTruth
from NISFCore.progress import CancelToken


@dataclass(frozen=True)
class SimulatedTagged:
    """A tagged study as a reader would deliver it, and the truth behind it."""

    study: CineStudy
    truth: DisplacementTruth


def simulate_tagged_study(
    heart: HeartParameters,
    pattern: TagPattern,
    protocol: AcquisitionProtocol,
    seed: int,
    cancel: CancelToken | None = None,
    ras_from_heart: Affine | None = None,
) -> SimulatedTagged:
    """Tag and image one heart.

    Every slice carries `tags` and true labels, as `scanner.simulate_study` gives them. Equal seeds
    give equal studies.

    Args:
        ras_from_heart: where the patient lies; drawn if not given.

    Raises:
        ConfigError: if the parameters contradict each other.
        Cancelled: if asked through `cancel`.
    """
    rng = np.random.default_rng(seed)
    seen = BeatingHeart(replace(heart, appearance=spoiled_gradient_echo(heart.appearance)))
    place = ras_from_heart_of_patient(seen, rng) if ras_from_heart is None else ras_from_heart
    scanner = Scanner(seen, place, protocol, rng)
    slices: list[CineSlice] = []
    truths: list[SliceTruth] = []
    all_angles = pattern.series_angles_deg
    for planned in plan(seen, scanner.ras_from_heart, protocol, rng):
        for k, angles_deg in enumerate(all_angles):
            if cancel is not None:
                cancel.check()
            named = replace(planned, name=series_name(planned.name, k, len(all_angles)))
            truths.append(scanner.draw_slice_truth(named))
            prepare = _tagging(scanner, pattern, angles_deg)
            cine, _ = scanner.acquire(named, truths[-1], prepare)
            slices.append(replace(cine, tags=_lines(pattern, angles_deg, named.ras_from_ijk)))
    truth = replace(scanner.truth(truths, seed), parameters=heart, tags=pattern)
    study = CineStudy(tuple(slices), subject=f"simulated_{seed}")
    return SimulatedTagged(study, DisplacementTruth(truth))


def _tagging(scanner: Scanner, pattern: TagPattern, angles_deg: tuple[float, ...]) -> Preparation:
    def prepare(heart_from_ijk: Affine, rr_ms: float) -> Scene:
        tags = lay_tags(pattern, angles_deg, heart_from_ijk, scanner.rng)
        return TaggedScene(scanner.heart, tags, rr_ms)

    return prepare


def _lines(
    pattern: TagPattern, angles_deg: tuple[float, ...], ras_from_ijk: Affine
) -> tuple[TagLines, ...]:
    normals = [line_normal(ras_from_ijk, angle_deg).tolist() for angle_deg in angles_deg]
    return tuple(TagLines((x, y, z), pattern.spacing_mm) for x, y, z in normals)
