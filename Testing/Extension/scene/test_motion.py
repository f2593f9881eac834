"""The LV wall's motion: it moves with the heart, in colours that mean what the files say."""

import csv
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from NISFCore.errors import Cancelled
from NISFLib.scene import HeartScene, Part, SceneError, Strain, save_bundle
from NISFLib.scene.cycle import nearest_phases, now_of
from NISFLib.scene.motion import ARROW_SPACING_MM, N_COLORS
from NISFLib.scene.motion_plots import WHOLE_WALL
from NISFLib.scene.nodes import Role
from Testing.Extension.scene.folders import Folders, write_result
from Testing.Extension.scene.motions import N_TIMES, WARNING, write_motion
from Testing.Extension.scene.reading import column, column_names, our_names, points_of
from Testing.Harness.scene_pictures import heart_centre
from Testing.Harness.views import OffscreenThreeDView


@pytest.fixture(scope="module")
def made(folders: Folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_motion(folders.fitted.field, tmp_path_factory.mktemp("Bewegung ♥") / "motion")


@pytest.fixture
def moving(heart: HeartScene, made: Path) -> HeartScene:
    heart.load_motion(made)
    return heart


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A motion that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def table_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def file_points(made: Path, time: int) -> np.ndarray:
    """Read by VTK alone."""
    reader = vtk.vtkXMLPolyDataReader()
    reader.ReadFromInputStringOn()
    reader.SetInputString((made / "models" / f"phase_{time:03d}.vtp").read_text(encoding="ascii"))
    reader.Update()
    return points_of(reader.GetOutput())


def point_array(model: Any, name: str) -> np.ndarray:
    return np.asarray(vtk_to_numpy(model.GetPolyData().GetPointData().GetArray(name)))


def time_of(heart: HeartScene, phase: int) -> int:
    """The time of the motion that a phase of the scene shows."""
    times = np.arange(N_TIMES) / N_TIMES
    return int(nearest_phases(np.array([heart.cycle_fractions[phase]]), times)[0])


def test_the_wall_is_where_the_file_says_at_every_phase(moving: HeartScene, made: Path) -> None:
    shown = set()
    for phase in range(moving.n_phases):
        moving.phase = phase
        time = time_of(moving, phase)
        shown.add(time)
        wall = now_of(moving.nodes, Role.WALL)
        assert points_of(wall) == pytest.approx(file_points(made, time), abs=1e-3)
    assert shown == set(range(N_TIMES))


def test_arrows_lead_from_ed_to_now(moving: HeartScene) -> None:
    moving.phase = 2
    wall = points_of(now_of(moving.nodes, Role.WALL))
    moved_mm = point_array(now_of(moving.nodes, Role.WALL), "displacement_mm")
    arrows = points_of(now_of(moving.nodes, Role.ARROWS))
    n_each = vtk_arrow_points()
    arrows = arrows.reshape(-1, n_each, 3)
    assert 20 < len(arrows) < len(wall) / 2
    lengths = np.linalg.norm(moved_mm, axis=1)
    found = []
    for arrow in arrows:  # tail and tip of an arrow are on a line from ED to now
        reach = np.linalg.norm(arrow[:, None] - wall[None], axis=2).min(axis=0)
        vertex = int(np.argmin(reach))
        assert reach[vertex] < 1e-2
        tail = wall[vertex] - moved_mm[vertex]
        along = (arrow - tail) @ moved_mm[vertex] / lengths[vertex]
        assert along.min() == pytest.approx(0, abs=0.05)
        assert along.max() == pytest.approx(lengths[vertex], abs=0.05)
        found.append(tail)
    gaps = np.linalg.norm(np.array(found)[:, None] - np.array(found)[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    assert np.median(gaps.min(axis=1)) > 0.3 * ARROW_SPACING_MM


def vtk_arrow_points() -> int:
    arrow = vtk.vtkArrowSource()
    arrow.SetShaftResolution(6)
    arrow.SetTipResolution(6)
    arrow.Update()
    return int(arrow.GetOutput().GetNumberOfPoints())


def test_colours_are_symmetric_around_no_strain(moving: HeartScene) -> None:
    for direction, end in ((Strain.CIRCUMFERENTIAL, 30), (Strain.RADIAL, 80)):
        moving.color_wall(direction)
        display = now_of(moving.nodes, Role.WALL).GetDisplayNode()
        assert display.GetActiveScalarName() == f"{direction.value}_strain"
        assert display.GetScalarRange() == (-end, end) and display.GetScalarVisibility()
        assert moving.motion is not None and moving.motion.direction is direction
    colors = moving.nodes.one(Role.STRAIN_COLORS)
    assert display.GetColorNode() is colors
    rgb = np.zeros((N_COLORS, 4))
    for k in range(N_COLORS):
        colors.GetColor(k, rgb[k])
    assert rgb[0, 2] > rgb[0, 0] and rgb[-1, 0] > rgb[-1, 2]  # shorter is blue, longer is red
    assert rgb[N_COLORS // 2, :3].min() > 0.9
    legend = moving.nodes.one(Role.STRAIN_LEGEND)
    assert legend.GetPrimaryDisplayNode() is display
    assert legend.GetTitleText() == "radial strain (%)"


def test_the_colouring_stays_when_the_phase_changes(moving: HeartScene) -> None:
    moving.color_wall(Strain.LONGITUDINAL)
    display = now_of(moving.nodes, Role.WALL).GetDisplayNode()
    moving.phase = 4
    wall = now_of(moving.nodes, Role.WALL)
    assert wall.GetDisplayNode() is display
    assert display.GetActiveScalarName() == "longitudinal_strain"
    assert wall.GetNumberOfDisplayNodes() == 2  # with the legend


def test_the_table_holds_what_the_files_say(moving: HeartScene, made: Path) -> None:
    motion = moving.motion
    assert motion is not None and motion.warnings == (WARNING,)
    assert motion.directions == tuple(Strain) and len(motion.peaks) == 18
    gcs = [float(row["gcs_percent"]) for row in table_of(made / "strain.csv")]
    assert motion.peaks[WHOLE_WALL][Strain.CIRCUMFERENTIAL] == max(gcs, key=abs) != 0
    table = moving.nodes.one(Role.PEAK_TABLE)
    rows = table_of(made / "segments.csv")
    assert column(table, "segment")[1:] == [f"{r['segment']} {r['name']}" for r in rows]
    for direction in Strain:
        texts = [r[f"peak_{direction.value}_percent"] for r in rows]
        expected = pytest.approx([float(t) if t else math.nan for t in texts], nan_ok=True)
        assert sum(bool(t) for t in texts) > 10
        assert column(table, f"{direction.value} (%)")[1:] == expected
        assert [motion.peaks[n][direction] for n in column(table, "segment")[1:]] == expected
    assert motion.bullseye == (made / "bullseye.png").read_bytes()


def test_curves_and_their_cursor(moving: HeartScene, made: Path) -> None:
    chart = moving.nodes.one(Role.STRAIN_CHART)
    series = [chart.GetNthPlotSeriesNode(k) for k in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [s.GetName() for s in series] == [*(d.value for d in Strain), "phase"]
    rows = table_of(made / "strain.csv")
    for item, key in zip(series, ("gcs", "grs", "gls"), strict=False):
        values = column(item.GetTableNode(), item.GetYColumnName())
        assert values == [float(row[f"{key}_percent"]) for row in rows]
    for phase in (0, 3, 5):
        moving.phase = phase
        cursor = series[-1].GetTableNode()
        percent = 100 * moving.cycle_fractions[phase]
        assert column(cursor, series[-1].GetXColumnName()) == pytest.approx([percent] * 2)
        low, high = column(cursor, series[-1].GetYColumnName())
        assert low < 0 < high


def test_the_segments_curves_are_of_the_direction_shown(moving: HeartScene, made: Path) -> None:
    moving.color_wall(Strain.RADIAL)
    chart = moving.nodes.one(Role.SEGMENT_CHART)
    assert chart.GetNumberOfPlotSeriesNodes() == 18 and "radial" in chart.GetYAxisTitle()
    seventh = chart.GetNthPlotSeriesNode(6)
    assert seventh.GetName() == "7 mid anterior"
    expected = [
        float(row["radial_percent"])
        for row in table_of(made / "segment_curves.csv")
        if row["segment"] == "7"
    ]
    assert column(seventh.GetTableNode(), seventh.GetYColumnName()) == expected


def test_longitudinal_strain_that_was_not_seen_is_not_shown(
    heart: HeartScene, folders: Folders, tmp_path: Path
) -> None:
    heart.load_motion(
        write_motion(folders.fitted.field, tmp_path / "short", has_longitudinal=False)
    )
    motion = heart.motion
    assert motion is not None and motion.directions == (Strain.CIRCUMFERENTIAL, Strain.RADIAL)
    assert math.isnan(motion.peaks[WHOLE_WALL][Strain.LONGITUDINAL])
    with pytest.raises(SceneError, match="no longitudinal strain"):
        heart.color_wall(Strain.LONGITUDINAL)
    names = column_names(heart.nodes.one(Role.STRAIN_TABLE))
    assert "longitudinal (%)" not in names and "circumferential (%)" in names


def test_the_wall_takes_the_place_of_the_surfaces(heart: HeartScene, made: Path) -> None:
    assert not heart.visible(Part.WALL) and heart.visible(Part.SURFACES)
    heart.load_motion(made)
    assert heart.visible(Part.WALL) and not heart.visible(Part.SURFACES)
    assert not heart.visible(Part.ARROWS)
    heart.set_visible(Part.ARROWS, True)
    heart.set_visible(Part.WALL, False)
    assert heart.visible(Part.ARROWS) and not heart.visible(Part.WALL)
    legend = heart.nodes.one(Role.STRAIN_LEGEND)
    assert not legend.GetVisibility()
    heart.set_visible(Part.WALL, True)
    assert legend.GetVisibility()


def names_of_ours(heart: HeartScene) -> list[str]:
    return sorted(node.GetName() for node in heart.nodes.all())


def test_loading_twice_replaces(moving: HeartScene, made: Path, scene: Any) -> None:
    once, classes = names_of_ours(moving), sorted(n.split()[0] for n in our_names(scene))
    moving.color_wall(Strain.RADIAL)
    moving.load_motion(made)
    assert names_of_ours(moving) == once
    assert sorted(n.split()[0] for n in our_names(scene)) == classes
    assert moving.motion is not None and moving.motion.direction is Strain.CIRCUMFERENTIAL


def test_a_motion_goes_with_its_heart(
    folders: Folders, made: Path, scene: Any, tmp_path: Path
) -> None:
    heart = HeartScene()
    heart.load_result(folders.result, study=folders.study)
    without = sorted(name.split()[0] for name in our_names(scene))
    heart.load_motion(made)
    heart.load_result(folders.result, study=folders.study)
    assert heart.motion is None
    assert sorted(name.split()[0] for name in our_names(scene)) == without
    heart.load_motion(made)
    heart.update_result(write_result(folders.fitted, tmp_path / "refit"))
    assert heart.motion is None and heart.visible(Part.SURFACES)
    assert not [n for n in heart.nodes.all() if "strain" in n.GetName().lower()]
    heart.load_motion(made)
    heart.remove()
    assert our_names(scene) == []


def test_a_bundle_opens_with_its_motion(moving: HeartScene, made: Path, tmp_path: Path) -> None:
    moving.color_wall(Strain.RADIAL)
    moving.set_visible(Part.ARROWS, True)
    before = moving.motion
    save_bundle(moving, tmp_path / "Hérz.mrb")
    scene = moving.nodes.scene
    scene.Clear(0)
    assert moving.motion is None
    assert scene.ReadFromMRB(str(tmp_path / "Hérz.mrb"))
    moving.restore()
    assert moving.motion == before and moving.visible(Part.ARROWS)
    display = now_of(moving.nodes, Role.WALL).GetDisplayNode()
    assert display.GetColorNode() is moving.nodes.one(Role.STRAIN_COLORS)
    assert display.GetColorNode().GetNumberOfColors() == N_COLORS
    for phase in (1, 4):
        moving.phase = phase
        expected = file_points(made, time_of(moving, phase))
        assert points_of(now_of(moving.nodes, Role.WALL)) == pytest.approx(expected, abs=1e-2)
    moving.color_wall(Strain.CIRCUMFERENTIAL)


def test_a_deleted_browser_is_made_again(moving: HeartScene, made: Path) -> None:
    moving.nodes.remove_node(moving.browser)
    moving.restore()
    assert moving.motion is not None
    moving.phase = 3
    expected = file_points(made, time_of(moving, 3))
    assert points_of(now_of(moving.nodes, Role.WALL)) == pytest.approx(expected, abs=1e-3)


def test_a_motion_needs_a_heart(folders: Folders, made: Path) -> None:
    heart = HeartScene()
    with pytest.raises(SceneError, match="fit a study first"):
        heart.load_motion(made)
    heart.load_study(folders.study)
    with pytest.raises(SceneError, match="fit a study first"):
        heart.load_motion(made)
    assert heart.motion is None


def without_a_row(path: Path) -> None:
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")


def without_radial(path: Path) -> None:
    text = path.read_text(encoding="ascii")
    assert "radial_strain" in text
    path.write_text(text.replace("radial_strain", "other"), encoding="ascii")


def of_unknown_space(path: Path) -> None:
    text = path.read_text(encoding="ascii")
    assert "SPACE" in text
    path.write_text(text.replace("SPACE", "PLACE"), encoding="ascii")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "motion.json": lambda path: path.write_text("{}"),
    "segments.csv": without_a_row,
    "segment_curves.csv": without_a_row,
    "strain.csv": lambda path: path.write_text("cycle_fraction\nsoon\n"),
    "bullseye.png": Path.unlink,
    "models/phase_002.vtp": Path.unlink,
    "models/phase_001.vtp": without_radial,
    "models/phase_000.vtp": of_unknown_space,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_changes_nothing(moving: HeartScene, copy: Path, name: str) -> None:
    before = sorted(our_names(moving.nodes.scene))
    DAMAGES[name](copy / name)
    with pytest.raises(SceneError):
        moving.load_motion(copy)
    assert sorted(our_names(moving.nodes.scene)) == before and moving.motion is not None


def test_a_cancelled_load_leaves_the_heart(heart: HeartScene, made: Path) -> None:
    before = sorted(our_names(heart.nodes.scene))

    def stop(stage: str, step: int, total: int) -> None:
        assert stage == "motion" and total == 2 * heart.n_phases
        if step == 8:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        heart.load_motion(made, progress=stop)
    assert sorted(our_names(heart.nodes.scene)) == before and heart.has_result


def test_the_3d_view_shows_the_strain(heart: HeartScene, made: Path) -> None:
    view = OffscreenThreeDView("1", (320, 320))
    try:
        heart.load_motion(made)
        heart.set_visible(Part.PLANES, False)
        heart.phase = 3
        view.look(heart_centre(heart), np.array([0.0, -1.0, 0.2]), 300)
        pictures = []
        for direction in (Strain.CIRCUMFERENTIAL, Strain.RADIAL):
            heart.color_wall(direction)
            pictures.append(view.picture().astype(int))
        legend = heart.nodes.one(Role.STRAIN_LEGEND)
        legend.SetVisibility(False)
        pictures.append(view.picture().astype(int))
        legend.SetVisibility(True)
        heart.set_visible(Part.WALL, False)
        pictures.append(view.picture().astype(int))
    finally:
        view.close()
    assert (np.abs(pictures[0] - pictures[1]).max(axis=2) > 3).sum() > 100
    assert (np.abs(pictures[1] - pictures[2]).max(axis=2) > 30).sum() > 100  # the legend
    assert (np.abs(pictures[0] - pictures[3]).max(axis=2) > 30).sum() > 1000
