"""The base of a heart from two points: an analytic one, whose base plane is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NISFCore.data.guidance import read_guidance
from NISFCore.data.label_files import LabelFile, parse_label_file
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.data.valve_points import read_valve_points, valve_pixels
from NISFCore.errors import StudyError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Points, apply_affine, lps_from_ras
from NISFCore.labels import Label
from NISFCore.views import View
from Testing.Core.analysis.hearts import BASE_MM, LV_SEMI_AXES_MM
from Testing.Core.generators.labelled_heart import HEART, drawn_on, heart_study, truth, write_nifti

STUDY = heart_study()
LA = STUDY.of_view(View.LA_4CH)[0]


def hinges_ras(aside_mm: float = 0.0, height_mm: float = BASE_MM) -> Points:
    """Of the mitral valve in the four-chamber slice, whose plane holds the heart's x and z axes."""
    a, _, c = LV_SEMI_AXES_MM
    reach = a * np.sqrt(1 - (BASE_MM / c) ** 2) + aside_mm
    local = np.array([[-reach, 0, height_mm], [reach, 0, height_mm]])
    return apply_affine(HEART.ras_from_heart, local)


def write_line(path: Path, points_ras: Points, space: str = "LPS") -> Path:
    """As 3D Slicer's Markups module stores it."""
    points = apply_affine(lps_from_ras(), points_ras) if space == "LPS" else points_ras
    controls = [{"id": str(k), "position": p} for k, p in enumerate(points.tolist(), start=1)]
    markup = {"type": "Line", "coordinateSystem": space, "controlPoints": controls}
    path.write_text(json.dumps({"@schema": "…", "markups": [markup]}), encoding="utf-8")
    return path


@pytest.fixture
def line(tmp_path: Path) -> Path:
    folder = tmp_path / "Klappe ä"
    folder.mkdir()
    return write_line(folder / "valve.mrk.json", hinges_ras())


def said(study: CineStudy, *files: LabelFile) -> dict[tuple[str, int], Any]:
    return {(e.slice_name, e.phase): e for e in read_guidance(study, files).entries}


def height_mm(cine: CineSlice) -> Points:
    """Over the heart's centre, of every pixel."""
    points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
    return apply_affine(np.linalg.inv(HEART.ras_from_heart), points)[..., 2]


@pytest.mark.parametrize("space", ["LPS", "RAS"])
def test_points_are_read_in_both_systems(tmp_path: Path, space: str) -> None:
    path = write_line(tmp_path / "l.mrk.json", hinges_ras(), space)
    np.testing.assert_allclose(read_valve_points(path), hinges_ras(), atol=1e-9)


def test_what_a_line_says_is_true(line: Path) -> None:
    ((key, entry),) = said(STUDY, LabelFile(line, 0)).items()
    assert key == ("LA_4CH", 0)
    labels, true = entry.probabilities.argmax(axis=-1), truth(LA)
    assert (labels == true)[entry.known].all()
    blood = entry.known & (labels == Label.LV_BLOOD_POOL)
    behind = entry.known & (labels == Label.BACKGROUND)
    assert blood.sum() > 10 and behind.sum() > 20
    assert height_mm(LA)[blood].max() < BASE_MM < height_mm(LA)[behind].min()


def test_the_order_of_the_points_does_not_matter(line: Path, tmp_path: Path) -> None:
    other = write_line(tmp_path / "other.mrk.json", hinges_ras()[::-1])
    ((_, a),) = said(STUDY, LabelFile(line, 2)).items()
    ((_, b),) = said(STUDY, LabelFile(other, 2)).items()
    np.testing.assert_array_equal(a.probabilities, b.probabilities)


def test_labels_that_were_drawn_go_first(line: Path, tmp_path: Path) -> None:
    drawing = drawn_on([LA])
    drawing.data[drawing.data == Label.BACKGROUND] = Label.RV_BLOOD_POOL  # what no line would say
    path = write_nifti(tmp_path / "drawn.nii.gz", drawing)
    alone = said(STUDY, LabelFile(path, 0, keeps_background=True))["LA_4CH", 0]
    both = said(STUDY, LabelFile(line, 0), LabelFile(path, 0, keeps_background=True))
    np.testing.assert_array_equal(both["LA_4CH", 0].probabilities, alone.probabilities)


def test_hinges_are_found_in_labels() -> None:
    pixels = valve_pixels(truth(LA))
    assert pixels is not None
    ijk = np.stack([pixels[:, 1], pixels[:, 0], np.zeros(2)], axis=1)
    found = apply_affine(LA.ras_from_ijk, ijk)
    expected = hinges_ras()
    apart = np.linalg.norm(found[:, None] - expected[None], axis=-1)
    assert apart.min(axis=1).max() < 2.1  # a pixel


def test_no_hinges_where_there_is_no_open_end() -> None:
    assert valve_pixels(np.zeros((8, 8), dtype=np.uint8)) is None
    closed = np.full((9, 9), Label.LV_MYOCARDIUM)
    closed[3:6, 3:6] = Label.LV_BLOOD_POOL
    assert valve_pixels(closed) is None


def test_as_it_is_named_on_the_command_line() -> None:
    file = parse_label_file("a b/valve.mrk.json@LA_4CH:7")
    assert (file.path.name, file.slice_name, file.phase) == ("valve.mrk.json", "LA_4CH", 7)
    assert LabelFile(Path("valve_frame03.mrk.json")).phase_in_name == 2


def along_the_lv() -> Points:
    local = np.array([[0.0, 0, -20.0], [0.0, 0, 15.0]])
    return apply_affine(HEART.ras_from_heart, local)


WRONG: list[tuple[str, Any, str]] = [
    ("along the LV", along_the_lv, "runs along the LV"),
    ("too near", lambda: hinges_ras(aside_mm=-18.0), "mm apart"),
    ("beside the slice", lambda: hinges_ras() + 30 * LA.normal_ras, "off LA_"),
    ("three points", lambda: np.vstack([hinges_ras(), hinges_ras()[:1]]), "got 3 point"),
    ("not a number", lambda: np.full((2, 3), np.nan), "two hinges"),
]


@pytest.mark.parametrize(("name", "points", "message"), WRONG, ids=[w[0] for w in WRONG])
def test_what_is_no_valve_is_refused(tmp_path: Path, name: str, points: Any, message: str) -> None:
    path = write_line(tmp_path / "wrong.mrk.json", points())
    with pytest.raises(StudyError, match=message):
        said(STUDY, LabelFile(path, 0))


def test_other_wrong_uses(line: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="which phase"):
        said(STUDY, LabelFile(line))
    with pytest.raises(StudyError, match="belong to a long-axis slice, this study has LA_4CH"):
        said(STUDY, LabelFile(line, 0, slice_name="SA_00"))
    twin = write_line(tmp_path / "twin.mrk.json", hinges_ras())
    with pytest.raises(StudyError, match="a valve has one line"):
        said(STUDY, LabelFile(line, 0), LabelFile(twin, 0))
    damaged = tmp_path / "damaged.mrk.json"
    damaged.write_text('{"markups": []}')
    with pytest.raises(StudyError, match="no line of 3D Slicer's Markups"):
        said(STUDY, LabelFile(damaged, 0))
    sa_only = CineStudy(STUDY.of_view(View.SA))
    with pytest.raises(StudyError, match="this study has none"):
        said(sa_only, LabelFile(line, 0))
