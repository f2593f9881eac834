"""The label set and the views: every number, key and name once."""

import re

from NISFCore.labels import FOREGROUND, LABEL_INFO, N_LABELS, Label
from NISFCore.views import CARDIAC_VIEWS, LONG_AXIS_VIEWS, View


def test_numbers_are_those_of_the_documents() -> None:
    assert [label.value for label in Label] == [0, 1, 2, 3]
    assert N_LABELS == 4
    assert FOREGROUND == (Label.LV_BLOOD_POOL, Label.LV_MYOCARDIUM, Label.RV_BLOOD_POOL)


def test_every_foreground_label_is_described_once() -> None:
    infos = [LABEL_INFO[label] for label in FOREGROUND]
    assert [info.label for info in infos] == list(FOREGROUND)
    for values in ([i.key for i in infos], [i.rgb for i in infos], [i.snomed_code for i in infos]):
        assert len(set(values)) == len(infos)


def test_descriptions_can_be_written_to_files() -> None:
    for info in LABEL_INFO.values():
        assert re.fullmatch(r"[a-z_]+", info.key)
        assert info.key == info.label.name.lower()
        assert all(0 <= channel <= 255 for channel in info.rgb)
        assert info.snomed_code.isdigit()


def test_long_axis_views() -> None:
    assert {view for view in View if view.is_long_axis} == set(LONG_AXIS_VIEWS)
    assert set(View) - set(CARDIAC_VIEWS) == {View.OTHER}
    assert View("LA_4CH") is View.LA_4CH
