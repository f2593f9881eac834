"""Borders of the slice network where an annotator draws them: discs whose borders are known."""

import numpy as np
import pytest

from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.data.study import CineStudy
from NISFCore.evidence.drawn_borders import as_drawn
from NISFCore.labels import N_LABELS, Label
from Testing.Core.evidence.hearts import still_study

SHAPE, SPACING_MM, CENTRE = (90, 110), 1.25, (45.0, 50.0)
CAVITY_MM, LV_MM, RV_MM = 18.0, 27.0, 44.0
HEIGHTS_MM = (-30.0, -20.0, -10.0, 0.0, 10.0, 60.0)


def study_of_discs() -> CineStudy:
    maps = []
    for z in HEIGHTS_MM:
        A = np.diag([SPACING_MM, SPACING_MM, 8.0, 1.0])
        A[:3, 3] = -CENTRE[1] * SPACING_MM, -CENTRE[0] * SPACING_MM, z
        maps.append(A)
    return still_study(*maps, shape=SHAPE)


STUDY = study_of_discs()


def discs(cavity_mm: float = 0.0, lv_mm: float = 0.0, rv_mm: float = 0.0) -> np.ndarray:
    """Cavity, wall, and a RV around a half of it, each so much larger than the network's."""
    rows, cols = np.indices(SHAPE)
    y, x = (rows - CENTRE[0]) * SPACING_MM, (cols - CENTRE[1]) * SPACING_MM
    r = np.hypot(x, y)
    labels = np.where((r < RV_MM + rv_mm) & (x > 0), Label.RV_BLOOD_POOL, Label.BACKGROUND)
    labels[r < LV_MM + lv_mm] = Label.LV_MYOCARDIUM
    labels[r < CAVITY_MM + cavity_mm] = Label.LV_BLOOD_POOL
    return labels


def entry(
    k: int, labels: np.ndarray, phase: int = 0, known: np.ndarray | None = None
) -> SliceGuidance:
    known = np.ones(labels.shape, dtype=np.bool_) if known is None else known
    p = np.eye(N_LABELS, dtype=np.float32)[labels] * known[..., None]
    return SliceGuidance(STUDY.slices[k].name, phase, p, known)


def network(*phases: int) -> Guidance:
    return Guidance(
        tuple(entry(k, discs(), j) for k in range(len(HEIGHTS_MM)) for j in phases or (0,))
    )


def moved(given: Guidance, evidence: Guidance | None = None) -> dict[tuple[str, int], np.ndarray]:
    found = as_drawn(evidence or network(), given, STUDY, STUDY, np.eye(4))
    return {
        (e.slice_name, e.phase): np.where(e.known, e.probabilities.argmax(-1), -1)
        for e in found.entries
    }


def radius_mm(labels: np.ndarray, *inside: Label) -> float:
    """Of the half without RV, by area."""
    half = labels[:, : int(CENTRE[1])]
    return float(np.sqrt(2 * np.isin(half, inside).sum() * SPACING_MM**2 / np.pi))


def grown(labels: np.ndarray) -> np.ndarray:
    """How much larger cavity and LV are than the network's, mm."""
    wall = (Label.LV_BLOOD_POOL, Label.LV_MYOCARDIUM)
    plain = discs()
    kinds = (wall[:1], wall)
    return np.array([radius_mm(labels, *kind) - radius_mm(plain, *kind) for kind in kinds])


def name(k: int) -> str:
    return STUDY.slices[k].name


@pytest.mark.parametrize(("cavity_mm", "lv_mm"), [(2.0, 1.0), (-1.5, 0.0), (1.0, -2.0)])
def test_between_labelled_slices_borders_are_those_of_the_annotator(
    cavity_mm: float, lv_mm: float
) -> None:
    given = Guidance(tuple(entry(k, discs(cavity_mm, lv_mm)) for k in (1, 3)))
    found = moved(given)
    np.testing.assert_allclose(grown(found[name(2), 0]), [cavity_mm, lv_mm], atol=0.45)


def test_the_right_ventricle_follows_too() -> None:
    found = moved(Guidance((entry(1, discs(rv_mm=2.5)), entry(3, discs(rv_mm=2.5)))))
    area = [float((found[name(2), 0] == Label.RV_BLOOD_POOL).sum())]
    area += [float((discs(rv_mm=mm) == Label.RV_BLOOD_POOL).sum()) for mm in (0.0, 2.5)]
    assert (area[0] - area[1]) / (area[2] - area[1]) == pytest.approx(1.0, abs=0.25)


def test_far_away_only_what_is_everywhere_counts() -> None:
    given = Guidance((entry(0, discs(3.0)), entry(1, discs(0.0)), entry(2, discs(0.0))))
    found = moved(given)
    assert 0.2 < grown(found[name(5), 0])[0] < 1.5


def test_one_frame_is_not_believed_wholly() -> None:
    found = moved(Guidance((entry(3, discs(2.0, 2.0)),)))
    beside, far = grown(found[name(2), 0]), grown(found[name(5), 0])
    assert (far > 0.5).all() and (beside > far).all() and (beside < 1.9).all()


def test_another_time_of_the_cycle_is_another_place() -> None:
    given = Guidance((entry(3, discs(2.0, 2.0), phase=2),))
    found = moved(given, network(0, 2))
    assert (grown(found[name(2), 2]) > grown(found[name(2), 0]) + 0.2).all()
    assert (moved(given, network(4))[name(2), 4] == discs()).all()  # nothing to compare with


def test_the_network_is_silent_where_somebody_spoke() -> None:
    known = np.zeros(SHAPE, dtype=np.bool_)
    known[:, : SHAPE[1] // 3] = True
    found = as_drawn(
        network(), Guidance((entry(3, discs(), known=known),)), STUDY, STUDY, np.eye(4)
    )
    by_name = {e.slice_name: e for e in found.entries}
    np.testing.assert_array_equal(by_name[name(3)].known, ~known)
    assert not by_name[name(3)].probabilities[known].any()
    assert by_name[name(2)].known.all()


def test_agreement_changes_nothing() -> None:
    found = moved(Guidance((entry(3, discs()),)))
    for k in (0, 1, 2, 4, 5):
        np.testing.assert_array_equal(found[name(k), 0], discs())


def test_a_mistake_is_no_habit() -> None:
    """Borders 15 mm apart: one of both took something else for the cavity."""
    found = moved(Guidance((entry(3, discs(-15.0)),)))
    assert abs(grown(found[name(2), 0])[0]) < 0.1


def test_strokes_tell_only_where_they_are() -> None:
    """The cavity's left third is painted, 2 mm larger; the rest of the slice is unknown."""
    known = np.zeros(SHAPE, dtype=np.bool_)
    known[:, 20 : int(CENTRE[1]) - 6] = True
    whole = moved(Guidance((entry(3, discs(2.0)),)))[name(2), 0]
    part = moved(Guidance((entry(3, discs(2.0), known=known),)))[name(2), 0]
    np.testing.assert_allclose(grown(part), grown(whole), atol=0.3)


def test_pixels_need_not_be_square() -> None:
    """2.5 mm between rows, 1 mm between columns; the annotator's cavity is 2 mm larger."""
    A = np.diag([1.0, 2.5, 8.0, 1.0])
    A[:3, 3] = -60.0, -60.0, 0.0
    B = A.copy()
    B[2, 3] = 6.0
    study = still_study(A, B, shape=(48, 120))
    y, x = np.indices((48, 120)) * np.array([2.5, 1.0])[:, None, None] - 60.0

    def drawn(k: int, cavity_mm: float) -> SliceGuidance:
        r = np.hypot(x, y)
        labels = np.where(r < 40, Label.LV_MYOCARDIUM, Label.BACKGROUND)
        labels[r < cavity_mm] = Label.LV_BLOOD_POOL
        p = np.eye(N_LABELS, dtype=np.float32)[labels]
        return SliceGuidance(study.slices[k].name, 0, p, np.ones(labels.shape, dtype=np.bool_))

    network = Guidance(tuple(drawn(k, 24.0) for k in (0, 1)))
    found = as_drawn(network, Guidance((drawn(0, 26.0),)), study, study, np.eye(4))
    cavity = found.entries[1].probabilities.argmax(-1) == Label.LV_BLOOD_POOL
    along_x_mm = np.ptp(x[24, cavity[24]]) / 2
    by_area_mm = np.sqrt(cavity.sum() * 2.5 / np.pi)
    assert along_x_mm == pytest.approx(25.4, abs=0.7)
    assert by_area_mm == pytest.approx(25.4, abs=1.0)


def test_cropped_slices_are_compared_where_they_lie() -> None:
    cropped = CineStudy(tuple(s.cropped((8, 5), (75, 90)) for s in STUDY.slices))
    window = np.s_[8:83, 5:95]
    assert STUDY.slices[0].window_of(cropped.slices[0]) == window
    entries = tuple(
        SliceGuidance(e.slice_name, 0, e.probabilities[window], e.known[window])
        for e in network().entries
    )
    given = Guidance((entry(3, discs(2.0, 1.0)),))
    found = as_drawn(Guidance(entries), given, STUDY, cropped, np.eye(4))
    labels = next(e for e in found.entries if e.slice_name == name(2)).probabilities.argmax(-1)
    expected = moved(given)[name(2), 0][window]
    assert (labels != expected).mean() < 0.002
