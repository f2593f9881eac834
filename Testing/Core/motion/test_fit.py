"""Motion within a plane, from images with a closed-form answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.data.study import CineSlice
from NISFCore.errors import Cancelled, StudyError
from NISFCore.labels import Label
from NISFCore.motion.border_distance import BorderDistance
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LONGITUDINAL, RADIAL
from NISFCore.motion.config import (
    DEFAULT,
    DescentConfig,
    MotionConfig,
    NetworkConfig,
    RefinementConfig,
    StartConfig,
)
from NISFCore.motion.descent import descend
from NISFCore.motion.field import DisplacementField
from NISFCore.motion.fit import fit_cine_plane, fit_tagged_plane
from NISFCore.motion.gauss_newton import start_from_phase
from NISFCore.motion.plane import plane_of
from NISFCore.motion.refinement import tissue_points, track
from NISFCore.motion.result import MotionResult
from NISFCore.motion.tagged import observe, tagged_series
from NISFCore.motion.tagged_plane import TaggedPlane, tagged_plane
from NISFCore.phantom.tag_pattern import TagProfile, cosine_coefficients
from NISFCore.progress import CancelToken, SilentProgress
from Testing.Core.motion.movies import CENTRE_RAS, Ring, RingMotion, rms_error_mm

RING = Ring(noise=0.05)
SMALL = MotionConfig(start=StartConfig(n_features=48))
NO_LABELS = replace(SMALL, refinement=RefinementConfig(wall_weight=0.0))


def error_mm(ring: Ring, result: MotionResult) -> float:
    moved = [result.displacement(result.points_ras, float(t)) for t in ring.times]
    return rms_error_mm(ring, np.stack(moved), result.points_ras)


def still_mm(ring: Ring, result: MotionResult) -> float:
    return rms_error_mm(ring, np.zeros((ring.n_phases, 1, 3)), result.points_ras)


def two_series(ring: Ring) -> list[CineSlice]:
    return [ring.tagged(45.0), ring.tagged(135.0)]


@pytest.fixture(scope="module")
def tracked() -> MotionResult:
    return fit_tagged_plane(two_series(RING), SMALL)


def test_tags_give_the_motion(tracked: MotionResult) -> None:
    assert still_mm(RING, tracked) > 1.5
    assert error_mm(RING, tracked) < 0.25


def test_tags_give_strain(tracked: MotionResult) -> None:
    # at half of the cycle lengths are 0.85 of what they were, in every direction
    true = (0.85**2 - 1) / 2
    curves = tracked.strain([0.5])
    assert curves.whole[0, CIRCUMFERENTIAL] == pytest.approx(true, abs=0.01)
    assert curves.whole[0, RADIAL] == pytest.approx(true, abs=0.03)
    segments = curves.segments[0, 6:12, CIRCUMFERENTIAL]
    assert np.abs(segments - true).max() < 0.02
    assert np.isnan(curves.whole[0, LONGITUDINAL])


def test_labels_of_ed_alone_are_enough_for_tags() -> None:
    result = fit_tagged_plane(two_series(RING), NO_LABELS)
    assert error_mm(RING, result) < 0.3


def test_tags_need_not_be_told() -> None:
    series = [RING.tagged(angle, says_tags=False) for angle in (20.0, 110.0)]
    assert error_mm(RING, fit_tagged_plane(series, NO_LABELS)) < 0.3


def test_the_phase_alone_starts_near_the_truth() -> None:
    slices = two_series(RING)
    plane = plane_of(slices[0], None)
    seen = [observe(tagged_series(s, plane.mask), plane.mask, plane.placement, 0.3) for s in slices]
    field = plane.field(SMALL, seen[0].times.tolist(), is_cyclic=False)
    start_from_phase(field, seen, plane.local_points(), SMALL.start, CancelToken())
    with torch.no_grad():
        u = field.displacement(plane.local_points(), seen[0].times).numpy()
    true = np.stack([RING.displacement(plane.points_ras, float(t)) for t in RING.times])
    error = rms_error_mm(RING, u @ plane.placement.axes, plane.points_ras)
    assert error / np.sqrt((true**2).sum(axis=-1).mean()) < 0.25


def test_a_cine_gives_the_motion_of_its_borders() -> None:
    ring = Ring(RingMotion(shrinking=0.15, turn_rad=0.0), noise=0.03)
    result = fit_cine_plane(ring.cine(), SMALL)
    assert error_mm(ring, result) < 0.35 < 0.2 * still_mm(ring, result)
    assert np.abs(result.displacement(result.points_ras, 1.0)).max() < 1e-6


def test_a_cine_turns_with_its_septum() -> None:
    ring = Ring(RingMotion(shrinking=0.1, turn_rad=0.1), noise=0.03)
    cine = ring.cine()
    result = fit_cine_plane(cine, SMALL)
    assert error_mm(ring, result) < 0.3 * still_mm(ring, result)
    labels = cine.labels
    assert labels is not None
    values = np.where(labels.values == Label.RV_BLOOD_POOL, Label.BACKGROUND, labels.values)
    without = replace(cine, labels=replace(labels, values=values.astype(np.uint8)))
    # nothing else tells the turn of a round wall: it is not made up
    turned = fit_cine_plane(without, SMALL).displacement(result.points_ras, 0.5)
    assert np.abs(turning_mm(ring, turned, result.points_ras)) < 0.5
    seen = result.displacement(result.points_ras, 0.5)
    assert turning_mm(ring, seen, result.points_ras) == pytest.approx(0.1 * 24 * 0.9, abs=0.5)


def turning_mm(ring: Ring, u: np.ndarray, points_ras: np.ndarray) -> float:
    """Mean movement around the ring's centre, from columns to rows."""
    flat = (points_ras - CENTRE_RAS) @ ring.axes.T
    around = np.stack([-flat[:, 1], flat[:, 0]], axis=1)
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    return float(((u @ ring.axes.T) * around).sum(axis=1).mean())


def test_the_descent_goes_on_from_any_weights() -> None:
    class Still:
        def state(self, field: DisplacementField, seen: TaggedPlane) -> torch.Tensor:
            assert len(seen.observations) == 2
            return field.flat_state()

    descent = DescentConfig(n_steps=40, coefficient_rate=5e-4, opening_share=0.5)
    config = replace(NO_LABELS, descent=descent, network=NetworkConfig(width=16))
    ring = Ring(RingMotion(0.05, 0.03), n_phases=8)
    result = fit_tagged_plane(two_series(ring), config, initialisation=Still())
    assert error_mm(ring, result) < 0.6 * still_mm(ring, result)


def codes(result: MotionResult) -> set[str]:
    return {flag.code for flag in result.flags}


def test_what_a_plane_cannot_show_is_said(tracked: MotionResult) -> None:
    assert codes(tracked) == {"no_long_axis"}
    assert "longitudinal" in tracked.warnings[0]


def test_one_direction_of_lines_is_said() -> None:
    assert "one_tag_direction" in codes(fit_tagged_plane([RING.tagged(0.0)], NO_LABELS))


def test_fast_motion_is_flagged() -> None:
    fast = Ring(RingMotion(shrinking=0.05, turn_rad=0.0, shift_mm=9.0), n_phases=6)
    assert "tag_wrapping" in codes(fit_tagged_plane(two_series(fast), NO_LABELS))


def one_frame() -> CineSlice:
    s = RING.tagged(45.0)
    labels = s.labels
    assert labels is not None
    return replace(
        s,
        frames=s.frames[:1],
        trigger_times_ms=s.trigger_times_ms[:1],
        labels=replace(labels, values=labels.values[:1], annotated=labels.annotated[:1]),
    )


def without_wall() -> CineSlice:
    s = RING.tagged(45.0)
    labels = s.labels
    assert labels is not None
    return replace(s, labels=replace(labels, values=np.zeros_like(labels.values)))


def late() -> CineSlice:
    s = RING.tagged(45.0)
    return replace(s, trigger_times_ms=s.trigger_times_ms / 2 + 300.0)


def still() -> CineSlice:
    s = RING.tagged(45.0)
    return replace(s, frames=np.repeat(s.frames[:1], RING.n_phases, axis=0))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (one_frame, "phase"),
        (lambda: replace(RING.tagged(45.0), labels=None), "no labels at ED"),
        (without_wall, "no pixel"),
        (late, "end-diastole"),
        (still, "same image"),
        (RING.cine, "nothing of tags"),
    ],
    ids=["one_phase", "no_labels", "no_wall", "no_ed", "still", "not_tagged"],
)
def test_what_has_no_answer_fails_clearly(bad: object, says: str) -> None:
    assert callable(bad)
    with pytest.raises(StudyError, match=says):
        fit_tagged_plane([bad()], NO_LABELS)


def test_series_of_two_planes_are_refused() -> None:
    other = RING.tagged(135.0)
    moved = other.ras_from_ijk.copy()
    moved[:3, 3] += 5.0
    with pytest.raises(StudyError, match="same plane"):
        fit_tagged_plane([RING.tagged(45.0), replace(other, ras_from_ijk=moved)], DEFAULT)


def test_a_cancel_is_heard() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        fit_tagged_plane(two_series(RING), SMALL, cancel=cancel)


def test_planes_seen_from_either_side_have_the_same_axes() -> None:
    cine = RING.cine()
    assert cine.labels is not None
    # rows from bottom to top: the same pixels, the normal turned around
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = cine.shape[0] - 1
    other = replace(
        cine,
        frames=cine.frames[:, ::-1].copy(),
        ras_from_ijk=cine.ras_from_ijk @ flip,
        labels=replace(cine.labels, values=cine.labels.values[:, ::-1].copy()),
    )
    assert cine.normal_ras @ other.normal_ras == pytest.approx(-1.0)
    ours, theirs = (plane_of(c, None).placement for c in (cine, other))
    np.testing.assert_allclose(theirs.axes, ours.axes, atol=1e-9)
    np.testing.assert_allclose(theirs.centre_ras, ours.centre_ras, atol=1e-6)


def test_labels_alone_lead_a_descent_across_the_wall() -> None:
    ring = Ring(RingMotion(shrinking=0.1, turn_rad=0.0), n_phases=6)
    seen = tagged_plane(two_series(ring), SMALL)
    field = seen.field(SMALL)
    term = BorderDistance(seen.contours, 2.0)
    still = term.cost(field, 1.0).item()
    config = DescentConfig(n_steps=60, coefficient_rate=1e-3, contour_weight=1.0)
    terms = [(1.0, term)]
    descend(field, terms, seen.points, seen.times, config, SilentProgress(), CancelToken())
    assert still > 1.0 and term.cost(field, 1.0).item() < 0.05 * still
    assert BorderDistance((), 2.0).cost(field, 1.0).item() == 0.0


def test_sharp_tags_are_followed_better_by_intensity_than_by_phase() -> None:
    sharp = cosine_coefficients(np.deg2rad(90), TagProfile.SHARP)
    ring = Ring(n_phases=8, n_pixels=84, pixel_mm=1.15, noise=0.03, profile=sharp)
    seen = tagged_plane(two_series(ring), NO_LABELS)
    assert all(len(o.template.cosines) == 3 for o in seen.observations)
    errors = []
    for n_stages in (1, 2):
        field, settings = seen.field(NO_LABELS), NO_LABELS.refinement
        stages, tissue = seen.stages(field, settings)[:n_stages], tissue_points(field, seen.points)
        track(field, tissue, seen.times, stages, settings, SilentProgress(), CancelToken())
        with torch.no_grad():
            u = field.displacement(seen.points, seen.times).numpy()
        errors.append(rms_error_mm(ring, u @ field.placement.axes, seen.plane.points_ras))
    assert errors[1] < 0.6 * errors[0] and errors[1] < 0.15
