"""Profiles along slice intersections: matched in space, in time, and over the cycle."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.analysis.intersections import (
    PairStatistics,
    crossings,
    intersection_dice,
    intersection_ncc,
    intersection_profiles,
    ncc,
    sample_cine,
    study_labels,
)
from NISFCore.analysis.rendering import render_plane
from NISFCore.data.study import CineSlice, CineStudy, SliceLabels
from NISFCore.geometry.spaces import apply_affine
from Testing.Core.analysis.hearts import Fitted, small_case


def test_crossings_lie_on_both_corrected_planes() -> None:
    fitted, _ = small_case()
    found = crossings(fitted.study, fitted.slice_motions, fitted.field.contains)
    assert {(c.a, c.b) for c in found} == {(a, b) for a in range(4) for b in (4, 5)} | {(4, 5)}
    for c in found:
        assert np.allclose(np.diff(c.distances_mm), c.distances_mm[1], atol=1e-6)
        assert c.distances_mm[1] == pytest.approx(1, rel=0.02)
        assert fitted.field.contains(c.points_ras).all()
        for index, scanned in ((c.a, c.a_points_ras), (c.b, c.b_points_ras)):
            cine = fitted.study.slices[index]
            assert np.abs((scanned - cine.centre_ras) @ cine.normal_ras).max() < 1e-6
            assert np.allclose(apply_affine(fitted.slice_motions[index], scanned), c.points_ras)


def test_alignment_raises_the_correlation() -> None:
    fitted, _ = small_case()
    region = fitted.field.contains
    identities = [np.eye(4)] * len(fitted.study.slices)
    before = intersection_ncc(intersection_profiles(fitted.study, identities, region))
    after = intersection_ncc(intersection_profiles(fitted.study, fitted.slice_motions, region))
    assert before.n_pairs == after.n_pairs == 9
    assert after.mean > 0.99 > before.mean
    assert after.sd < before.sd


def test_profiles_show_the_field() -> None:
    fitted, _ = small_case()
    profile = intersection_profiles(fitted.study, fitted.slice_motions, fitted.field.contains)[0]
    t = fitted.study.slices[profile.crossing.a].cycle_fractions[2]
    values = sample_cine(
        fitted.study.slices[profile.crossing.a], profile.crossing.a_points_ras, np.array([t])
    )
    expected = fitted.field.evaluate(profile.crossing.points_ras, float(t)).intensity
    assert np.abs(values[0] - expected).max() < 0.15  # bilinear in 2 mm pixels at a 1 mm edge
    assert np.abs(values[0] - expected).mean() < 0.02


def test_slices_are_matched_by_cycle_fraction_not_by_phase() -> None:
    """Two slices of a pulsing plate, one with twice the phases and a longer RR interval."""
    fitted, _ = small_case()
    a, b = fitted.study.slices[0], fitted.study.slices[4]

    def pulsing(cine: CineSlice, n: int, rr_ms: float) -> CineSlice:
        t = np.arange(n) / n
        pulse = np.cos(2 * np.pi * t)[:, None, None].astype(np.float32)
        frames = np.broadcast_to(pulse, (n, *cine.shape)).copy()
        return replace(cine, frames=frames, trigger_times_ms=t * rr_ms, rr_interval_ms=rr_ms)

    study = CineStudy((pulsing(a, 40, 700.0), pulsing(b, 80, 1100.0)))
    profile = intersection_profiles(study, [np.eye(4)] * 2, fitted.field.contains)[0]
    assert profile.ncc == pytest.approx(1, abs=1e-3)


def test_ncc_of_known_signals() -> None:
    x = np.linspace(0, 2 * np.pi, 101)[:-1]
    assert ncc(np.sin(x), 3 * np.sin(x) + 5) == pytest.approx(1)
    assert ncc(np.sin(x), -np.sin(x)) == pytest.approx(-1)
    assert ncc(np.sin(x), np.cos(x)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(ncc(np.sin(x), np.ones(100)))


def test_statistics_leave_out_pairs_without_a_value() -> None:
    statistics = PairStatistics.of([0.5, np.nan, 1.0])
    assert (statistics.mean, statistics.sd, statistics.n_pairs) == (0.75, 0.25, 2)
    assert PairStatistics.of([]).n_pairs == 0


def _labelled(fitted: Fitted, only_phase: int | None = None) -> CineStudy:
    slices = []
    for cine, motion in zip(fitted.study.slices, fitted.slice_motions, strict=True):
        plane = render_plane(
            fitted.field, motion @ cine.ras_from_ijk, cine.shape, cine.cycle_fractions
        )
        annotated = np.full(cine.n_phases, only_phase is None)
        if only_phase is not None:
            annotated[only_phase] = True
        slices.append(replace(cine, labels=SliceLabels(plane.labels, annotated)))
    return CineStudy(tuple(slices))


@pytest.mark.parametrize("only_phase", [None, 0])
def test_reference_labels_agree_better_after_alignment(only_phase: int | None) -> None:
    fitted, _ = small_case(shape=(150, 170), spacing_mm=(0.8, 0.9))
    study = _labelled(fitted, only_phase)
    t = np.zeros(1)  # all slices have a phase at the R wave: only pixels are rounded
    region = fitted.field.contains
    before, after = (
        intersection_dice(crossings(study, motions, region), study_labels(study), t)
        for motions in ([np.eye(4)] * 6, fitted.slice_motions)
    )
    assert before.n_pairs == after.n_pairs == 9
    assert after.mean > 0.97
    assert before.mean < 0.92


def test_without_common_annotation_there_is_no_dice() -> None:
    fitted, _ = small_case()
    study = _labelled(fitted, only_phase=0)
    bare = CineStudy((study.slices[0], replace(study.slices[4], labels=None)))
    found = crossings(bare, [np.eye(4)] * 2, fitted.field.contains)
    assert len(found) == 1
    assert intersection_dice(found, study_labels(bare), np.arange(10) / 10).n_pairs == 0
