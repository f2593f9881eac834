"""Tagged planes beside a fitted heart: a tube that shortens and twists, whose truth is closed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import StudyError
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LONGITUDINAL
from NISFCore.motion.cine import around_axis
from NISFCore.motion.cine_study import fit_cine_study
from NISFCore.motion.config import CineConfig, MotionConfig, NetworkConfig, SpaceConfig
from NISFCore.motion.heart_labels import space_of_heart
from NISFCore.motion.heart_tags import (
    HeartTags,
    TwistTerm,
    WithinPlane,
    tags_of_heart,
    wall_in_plane,
)
from NISFCore.motion.refinement import Rows, TissuePoints
from NISFCore.motion.result import MotionResult
from NISFCore.views import View
from Testing.Core.motion.beating_tube import RAS_FROM_TUBE, BeatingTube, wall_points_ras

TUBE = BeatingTube(turn_rad_per_mm=0.004, n_phases=10)
BASE_RAS = RAS_FROM_TUBE[:, 2]
SMALL = MotionConfig(
    network=NetworkConfig(width=8),
    space=SpaceConfig(n_features=90, n_points=200, n_image_points=80, n_volume_points=400),
)
THREE = ("SA_01", "SA_03", "SA_05")


def without_labels(s: CineSlice) -> CineSlice:
    return replace(s, labels=None)


def tagged_sa(tube: BeatingTube = TUBE, share: float = 0.7) -> CineStudy:
    """Three short-axis planes without labels, over a share of the cycle only."""
    n = round(share * tube.n_phases)
    slices = [s for s in tube.tagged().slices if s.name[:5] in THREE]
    short = [
        replace(without_labels(s), frames=s.frames[:n], trigger_times_ms=s.trigger_times_ms[:n])
        for s in slices
    ]
    return CineStudy(tuple(short), subject="tube")


@pytest.fixture(scope="module")
def cine_alone() -> MotionResult:
    return fit_cine_study(TUBE.cine(), TUBE, BASE_RAS, SMALL)


@pytest.fixture(scope="module")
def with_tags() -> MotionResult:
    return fit_cine_study(TUBE.cine(), TUBE, BASE_RAS, SMALL, tagged=tagged_sa())


def around_mm(result: MotionResult, t: float) -> float:
    """Root mean square error around the axis."""
    points = wall_points_ras()
    error = result.displacement(points, t) - TUBE.displacement(points, t)
    around = result.frame.directions(points)[:, CIRCUMFERENTIAL]
    return float(np.sqrt(((error * around).sum(axis=1) ** 2).mean()))


def codes(result: MotionResult) -> set[str]:
    return {flag.code for flag in result.flags}


def test_tags_show_the_twist_that_a_cine_does_not(
    cine_alone: MotionResult, with_tags: MotionResult
) -> None:
    assert around_mm(cine_alone, 0.5) > 1.2
    assert around_mm(with_tags, 0.5) < 0.4
    turns = np.rad2deg(TUBE.turn_rad_per_mm) * 40
    assert with_tags.strain([0.5]).torsion_deg[0] == pytest.approx(turns, rel=0.25)
    assert abs(cine_alone.strain([0.5]).torsion_deg[0]) < 0.3 * turns


def test_motion_along_the_axis_comes_from_the_heart_without_tagged_long_axes(
    with_tags: MotionResult,
) -> None:
    curves = with_tags.strain([0.5])
    assert with_tags.has_longitudinal
    assert curves.whole[0, LONGITUDINAL] == pytest.approx((0.88**2 - 1) / 2, abs=0.03)
    assert curves.whole[0, CIRCUMFERENTIAL] == pytest.approx((1 / 0.88 - 1) / 2, abs=0.03)


def test_flags_say_what_the_tags_do_not_show(with_tags: MotionResult) -> None:
    assert codes(with_tags) == {"axis_from_borders", "sparse_tags"}


def test_the_cycle_goes_on_after_the_tags(with_tags: MotionResult) -> None:
    times = with_tags.cycle_fractions
    assert times[:7] == pytest.approx(0.1 * np.arange(7))
    assert times[-1] == pytest.approx(0.9) and len(times) == TUBE.n_phases
    assert np.abs(with_tags.displacement(wall_points_ras(), 1.0)).max() < 1e-6
    # no tags any more at 0.8, where a third of the full motion is left: borders show it
    strain = with_tags.strain([0.8]).whole[0]
    along = 1 - np.sin(0.8 * np.pi) ** 2 * TUBE.shortening
    assert strain[LONGITUDINAL] == pytest.approx((along**2 - 1) / 2, abs=0.02)
    assert strain[CIRCUMFERENTIAL] == pytest.approx((1 / along - 1) / 2, abs=0.02)


def tags_of(slices: tuple[CineSlice, ...]) -> HeartTags:
    space = space_of_heart(TUBE, BASE_RAS)
    return tags_of_heart(CineStudy(slices), TUBE, space, SMALL)


def elsewhere(s: CineSlice, mm: float) -> CineSlice:
    A = s.ras_from_ijk.copy()
    A[:3, 3] += mm * BASE_RAS
    return replace(s, ras_from_ijk=A)


def still(s: CineSlice) -> CineSlice:
    return replace(s, frames=np.repeat(s.frames[:1], s.n_phases, axis=0))


def one_phase(s: CineSlice) -> CineSlice:
    return replace(s, frames=s.frames[:1], trigger_times_ms=s.trigger_times_ms[:1])


def untagged(s: CineSlice) -> CineSlice:
    plain = np.arange(s.n_phases, dtype=np.float32)[:, None, None] + 0 * s.frames
    return replace(s, tags=(), frames=plain)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: elsewhere(s, 300.0), "same examination, in the same patient coordinates"),
        (still, "same image"),
        (one_phase, "1 phase"),
        (untagged, "says nothing of tags"),
    ],
)
def test_tagged_slices_of_no_use_fail_clearly(change: object, says: str) -> None:
    assert callable(change)
    with pytest.raises(StudyError, match=says):
        tags_of(tuple(change(s) for s in tagged_sa().slices))


def test_slices_beside_the_heart_are_left_out_and_named() -> None:
    first, *others = tagged_sa().slices
    tags = tags_of((elsewhere(first, 60.0), still(others[0]), *others[1:]))
    assert tags.left_out == (first.name, others[0].name)
    assert len(tags.planes) == len(others) - 1


def test_the_wall_of_a_plane_is_the_heart_s() -> None:
    cine = next(s for s in TUBE.tagged().slices if s.view is View.SA)
    assert cine.labels is not None
    np.testing.assert_array_equal(wall_in_plane(cine, TUBE), cine.labels.values[0] == 2)


class Rowed:
    """One residual per component of the movement."""

    def rows(self, moment: float, C: torch.Tensor) -> Rows:
        return torch.ones(3), torch.eye(3).repeat(1, len(C))


def test_a_plane_speaks_of_motion_within_it_while_it_is_seen() -> None:
    normal, times = torch.tensor([0.0, 0.6, 0.8]), torch.tensor([0.0, 0.1, 0.2])
    term, C = WithinPlane(Rowed(), normal, times, 4.0), torch.zeros(5, 3)
    r, J = term.rows(0.24, C)
    np.testing.assert_allclose(r, 2.0)
    by_u = J.unflatten(1, (5, 3))
    np.testing.assert_allclose(by_u @ normal, 0.0, atol=1e-6)
    np.testing.assert_allclose(by_u[0, 0], [2.0, 0.0, 0.0], atol=1e-6)
    assert [len(x) for x in term.rows(0.26, C)] == [0, 0]


def test_twist_costs_nothing_while_tags_are_seen() -> None:
    space = space_of_heart(TUBE, BASE_RAS)
    points = space.local_of(space.points_ras)[::20]
    x, y, z = points.T
    tissue = TissuePoints(points, torch.stack([x, y, x * z, y * z], dim=1))
    around = around_axis(space.frame, space.placement, points)
    term = TwistTerm(tissue, around, CineConfig(), tags_end=0.6)
    turn, twist = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]).repeat(2, 1, 1)
    C = torch.cat([0.01 * turn, 0.002 * twist])
    seen, after = (term.rows(t, C)[0].square().sum() for t in (0.6, 0.61))
    moved = (tissue.features @ C).square().sum()
    assert float(after) == pytest.approx(CineConfig().sliding_weight * float(moved), rel=1e-4)
    assert float(seen) < 1e-6 * float(after)
