"""What `inspect` says of a study."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from NISFCore.analysis.contact_sheet import contact_sheet, contracted_phase, write_contact_sheet
from NISFCore.analysis.inspect import inspect_study, inspect_table, missing_parts, sa_spacing_mm
from NISFCore.data.read import read_study
from NISFCore.data.study import CineStudy
from NISFCore.errors import OutputError
from NISFCore.views import View
from Testing.Core.generators.dicom_writer import PATIENT_ID, PATIENT_NAME
from Testing.Core.generators.odd_dicom import right_ventricular_long_axis


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> CineStudy:
    """Five SA slices 14 mm apart, three LA views, and an RV plane that is left out."""
    return read_study(right_ventricular_long_axis(tmp_path_factory.mktemp("study")).path)


def test_json(study: CineStudy) -> None:
    found = json.loads(json.dumps(inspect_study(study)))
    rows = found["slices"]
    assert [r["view"] for r in rows] == [*["SA"] * 5, "LA_2CH", "LA_3CH", "LA_4CH", "OTHER"]
    assert [r["included"] for r in rows] == [*[True] * 8, False]
    assert rows[-1]["reason"]
    np.testing.assert_allclose([r["position_mm"] for r in rows[:5]], [28, 14, 0, -14, -28], atol=1)
    assert [r["rr_interval_ms"] for r in rows[:3]] == [800, 820, 840]
    assert rows[0]["series"] == "1"
    assert rows[0]["n_phases"] == 8
    assert rows[0]["spacing_mm"] == [4.0, 4.0]
    assert rows[0]["thickness_mm"] == 8.0
    assert found["sa_spacing_mm"] == 14.0
    assert found["missing"] == ["only 5 short-axis slice(s)"]


def test_what_is_missing(study: CineStudy) -> None:
    assert missing_parts(study.restricted_to((View.LA_4CH,))) == [
        "no LA_2CH view", "no LA_3CH view", "no short-axis stack"
    ]  # fmt: skip
    gap = replace(study, slices=tuple(s for s in study.slices if s.name != "SA_03"))
    assert any("a gap of 28.0 mm" in text for text in missing_parts(gap))
    still = replace(
        study.slices[0],
        frames=study.slices[0].frames[:1],
        trigger_times_ms=study.slices[0].trigger_times_ms[:1],
    )
    assert any(
        "one phase only in SA_01" in m for m in missing_parts(replace(study, slices=(still,)))
    )


def test_study_without_a_frame(study: CineStudy) -> None:
    """One LA plane: positions are unknown, and the reason is told."""
    found = inspect_study(study.restricted_to((View.LA_4CH,)))
    assert found["slices"][0]["position_mm"] is None
    assert any("LV axis" in text for text in found["assumptions"])
    assert sa_spacing_mm(study.restricted_to((View.LA_4CH,))) is None


def test_table_shows_every_slice_and_no_name(study: CineStudy) -> None:
    stream = io.StringIO()
    Console(width=160, file=stream).print(inspect_table(study))
    text = stream.getvalue()
    for item in study.slices:
        assert item.name in text
    assert "OTHER_01" in text
    for word in (PATIENT_ID, *PATIENT_NAME.split("^")):
        assert word not in text


def test_most_contracted_phase(study: CineStudy) -> None:
    """The blob heart is smallest at 0.35 of the cycle: phase 3 of 8."""
    assert [contracted_phase(s) for s in study.of_view(View.SA)[1:4]] == [3, 3, 3]


def test_contact_sheet_shows_every_slice(study: CineStudy, tmp_path: Path) -> None:
    figure = contact_sheet(study)
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 2 * (len(study.slices) + len(study.excluded))
    for item, axes in zip(study.slices, pictures[::2], strict=False):
        assert item.name in axes.get_title()
        shown = np.asarray(axes.images[0].get_array())
        assert shown.std() > 0
    write_contact_sheet(study, tmp_path / "sheet ä.png")
    assert (tmp_path / "sheet ä.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError):
        write_contact_sheet(study, tmp_path / "sheet ä.png" / "below a file.png")
