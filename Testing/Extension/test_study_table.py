"""The table of slices and its corrections, without a window."""

import json

import pytest

from NISFCore.views import View
from NISFLib.choices import FIT_VIEWS, Device, Phases, Quality
from NISFLib.settings import Settings, Source
from NISFLib.study_table import NONE, Corrections, StudyTable

ALL_VIEWS = frozenset(FIT_VIEWS)


def inspected(*views: View) -> dict[str, object]:
    """What `nisf inspect --json` says of slices with these views, each in a series of its own."""
    rows = [
        {
            "name": f"S{k}",
            "series": str(k),
            "view": view.value,
            "included": view is not View.OTHER,
            "reason": "" if view is not View.OTHER else "no plane of the heart",
            "notes": ["one image is damaged"] if k == 1 else [],
            "n_phases": 25,
            "rr_interval_ms": 900.0,
            "position_mm": None if view is View.OTHER else 3.5,
        }
        for k, view in enumerate(views)
    ]
    return {"slices": rows, "warnings": ["w"], "assumptions": ["a"], "missing": ["no LA_2CH view"]}


def test_what_the_worker_says_becomes_rows_and_notes() -> None:
    table = StudyTable.from_inspection(inspected(View.SA, View.LA_4CH, View.OTHER))
    assert [row.name for row in table.rows] == ["S0", "S1", "S2"]
    assert [row.recognised for row in table.rows] == [True, True, False]
    assert [row.warning for row in table.rows] == [
        "",
        "one image is damaged",
        "no plane of the heart",
    ]
    assert table.notes == ("w", "assumed: a", "missing: no LA_2CH view")


def test_what_is_used_depends_on_the_user() -> None:
    table = StudyTable.from_inspection(inspected(View.SA, View.SA, View.LA_4CH, View.OTHER))
    assert [r.name for r in table.used(NONE, ALL_VIEWS)] == ["S0", "S1", "S2"]
    some = NONE.with_included("S0", False)
    assert [r.name for r in table.used(some, ALL_VIEWS)] == ["S1", "S2"]
    assert [r.name for r in table.used(some, frozenset({View.LA_4CH}))] == ["S2"]
    assert table.used(some.with_included("S0", True), frozenset()) == ()


def test_corrections_as_options_of_the_worker() -> None:
    corrections = NONE.with_view("12", View.LA_3CH).with_included("SA_02", False)
    assert corrections.view_words() == ["--view", "12=LA_3CH"]
    assert corrections.words() == ["--view", "12=LA_3CH", "--leave-out", "SA_02"]


def test_a_new_view_forgets_who_was_left_out() -> None:
    """Slices are named anew then: the same name may be another slice."""
    corrections = NONE.with_included("SA_02", False).with_view("12", View.LA_3CH)
    assert corrections.left_out == frozenset()


def test_corrections_survive_the_scene() -> None:
    corrections = Corrections({"ä 1": View.SA, "2": View.OTHER}, frozenset({"SA_01", "LA_4CH"}))
    assert Corrections.from_json(corrections.to_json()) == corrections


@pytest.mark.parametrize("text", ["", "{", "[]", "3", json.dumps({"views": {"1": "LA_9CH"}})])
def test_what_is_no_correction_counts_as_none(text: str) -> None:
    assert Corrections.from_json(text) == NONE


def test_every_choice_has_a_label_of_its_own() -> None:
    for choices in (Device, Quality, Phases, Source):
        labels = [choice.label() for choice in choices]
        assert len(set(labels)) == len(labels) and all(labels)


def test_phases_as_options_of_the_worker() -> None:
    assert [p.words(7) for p in Phases] == ["all", "ED,ES", "7"]


def test_settings_that_cannot_be_fitted(tmp_path: object) -> None:
    assert Settings().why_not_fit() == ""
    assert "at least one view" in Settings(views=frozenset()).why_not_fit()
    assert "no prior at nowhere" in Settings(prior_path="nowhere").why_not_fit()
    assert "no settings file at nowhere" in Settings(config_path="nowhere").why_not_fit()
