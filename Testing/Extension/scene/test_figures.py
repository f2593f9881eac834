"""Tables and plots: the numbers of the files, and the cursor that the browser moves."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NISFCore.labels import Label
from NISFCore.views import View
from NISFLib.scene import HeartScene, SceneError
from NISFLib.scene.nodes import Role
from NISFLib.scene.slices import SceneSlice
from NISFLib.scene.tables import motion_columns
from Testing.Extension.scene.folders import Folders
from Testing.Extension.scene.reading import column, column_names


def plotted(series: Any) -> tuple[list[float], list[float]]:
    """x and y of a plot series."""
    table = series.GetTableNode()
    return column(table, series.GetXColumnName()), column(table, series.GetYColumnName())


def series_of(chart: Any) -> dict[str, Any]:
    """Plot series by name."""
    count = chart.GetNumberOfPlotSeriesNodes()
    found = [chart.GetNthPlotSeriesNode(k) for k in range(count)]
    return {series.GetName(): series for series in found}


def test_the_function_table_holds_the_exports_figures(heart: HeartScene, folders: Folders) -> None:
    values = json.loads((folders.result / "function.json").read_text())
    for key in ("edv_ml", "esv_ml", "sv_ml", "ef_percent", "mass_g", "rv_edv_ml"):
        assert heart.figures[key] == values[key]
    table = heart.function_table
    names, found = column(table, "figure"), column(table, "value")
    assert found[names.index("LV ejection fraction")] == round(values["ef_percent"], 1)
    assert column(table, "unit")[names.index("LV mass at end-diastole")] == "g"


def test_standard_errors_are_shown_where_they_are_known(folders: Folders, tmp_path: Path) -> None:
    folder = tmp_path / "with errors"
    shutil.copytree(folders.result, folder)
    path = folder / "function.json"
    values = json.loads(path.read_text()) | {"standard_errors": {"edv_ml": 4.26}}
    path.write_text(json.dumps(values))
    path = folder / "slices" / "motion.json"
    motion = json.loads(path.read_text())
    motion["slices"][1] |= {"translation_sd_mm": [0.3, 0.4, 0], "rotation_sd_deg": [0, 0, 1.5]}
    motion["slices"][2]["outlier"] = "moved 30 mm"
    path.write_text(json.dumps(motion))
    heart = HeartScene()
    heart.load_result(folder)
    assert heart.figure_errors == {"edv_ml": 4.26}
    errors = column(heart.function_table, "± standard error")
    assert errors[0] == 4.3
    assert np.isnan(errors[1:]).all()
    known = heart.slices[1]
    assert (known.uncertainty_mm, known.uncertainty_deg) == pytest.approx((0.5, 1.5))
    assert heart.slices[0].uncertainty_mm is None
    assert heart.slices[2].is_outlier
    framed = [p.GetDisplayNode().GetEdgeVisibility() for p in heart.nodes.all(Role.SLICE_PLANE)]
    assert framed == [k == 2 for k in range(6)]
    assert column(heart.motion_table, "outlier")[2] == "moved 30 mm"
    assert column(heart.motion_table, "± shift (mm)")[1] == 0.5


def test_motion_columns_without_slices() -> None:
    assert motion_columns([])["slice"] == []
    still = SceneSlice("SA_00", View.SA, 20, (0, 0, 0), 0.0, 0.0, 1.0)
    columns = motion_columns([still, replace(still, uncertainty_mm=0.2)])
    assert np.isnan(columns["± shift (mm)"][0])
    assert "± rotation (°)" not in columns


def test_the_curve_is_that_of_the_heart(heart: HeartScene, folders: Folders) -> None:
    series = series_of(heart.curve_chart)
    percent, volumes = plotted(series["LV blood pool"])
    assert percent == pytest.approx(list(100 * np.arange(6) / 6), abs=1e-3)
    expected = [folders.fitted.field.volumes_ml(k / 6)[Label.LV_BLOOD_POOL] for k in range(6)]
    assert volumes == pytest.approx(expected, rel=0.06)
    assert set(series) == {"LV blood pool", "LV myocardium", "RV blood pool", "ED, ES", "phase"}


def test_ed_and_es_are_marked_on_the_curve(heart: HeartScene) -> None:
    marks = series_of(heart.curve_chart)["ED, ES"]
    percent, volumes = plotted(marks)
    assert percent == pytest.approx([0, 50])
    assert volumes == pytest.approx([heart.figures["edv_ml"], heart.figures["esv_ml"]], abs=1e-3)
    assert column(marks.GetTableNode(), marks.GetLabelColumnName()) == ["ED", "ES"]


def test_the_cursor_stands_at_the_phase(heart: HeartScene) -> None:
    cursor = series_of(heart.curve_chart)["phase"]
    for phase in (0, 4, 2):
        heart.phase = phase
        percent, height = plotted(cursor)
        assert percent == pytest.approx([100 * phase / 6] * 2)
        assert height[0] == 0
        assert height[1] >= heart.figures["edv_ml"] * 0.99


def test_pairs_of_slices_come_with_their_agreement(heart: HeartScene) -> None:
    pairs = heart.profile_pairs
    assert len(pairs) >= 5
    assert all(-1 <= pair.ncc_before <= 1 for pair in pairs)
    assert [p.ncc_before for p in pairs] == sorted(p.ncc_before for p in pairs)


def test_a_profile_shows_both_slices_before_and_after(heart: HeartScene, folders: Folders) -> None:
    values = json.loads((folders.result / "profiles.json").read_text())
    index = len(heart.profile_pairs) - 1
    heart.show_profile(index)
    pair = heart.profile_pairs[index]
    series = series_of(heart.profile_chart)
    assert set(series) == {f"{n} {when}" for n in (pair.a, pair.b) for when in ("before", "after")}
    for phase in (0, 3):
        heart.phase = phase
        for when in ("before", "after"):
            profile = values["pairs"][index][when]
            distance, found = plotted(series[f"{pair.a} {when}"])
            assert distance == pytest.approx(profile["distance_mm"])
            assert found == pytest.approx(profile["a"][phase])
            assert plotted(series[f"{pair.b} {when}"])[1] == pytest.approx(profile["b"][phase])


def test_choosing_another_profile_leaves_nothing_behind(heart: HeartScene, scene: Any) -> None:
    heart.show_profile(1)
    n_nodes = scene.GetNumberOfNodes()
    heart.show_profile(2)
    heart.show_profile(0)
    assert scene.GetNumberOfNodes() == n_nodes
    assert len(heart.nodes.all(Role.PROFILE_CHART)) == 1


def test_there_is_no_such_pair(heart: HeartScene) -> None:
    with pytest.raises(SceneError, match="there is no pair 100"):
        heart.show_profile(99)


def test_columns_of_the_volume_table(heart: HeartScene) -> None:
    table = heart.nodes.one(Role.VOLUME_TABLE)
    assert column_names(table) == [
        "cycle (%)",
        "LV blood pool (ml)",
        "LV myocardium (ml)",
        "RV blood pool (ml)",
    ]
