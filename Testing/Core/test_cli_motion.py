"""`nisf motion`: from a fitted heart to a motion folder, and what is refused."""

import csv
import json
from dataclasses import replace
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkPolyData
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

from NISFCore import motion_workflow
from NISFCore.cli import main
from NISFCore.data.study import CineStudy
from NISFCore.errors import ResultError
from NISFCore.export.motion_section import (
    copy_motion_tables,
    motion_folder_of,
    motion_section,
)
from NISFCore.geometry.rigid import rigid
from NISFCore.motion.config import MotionConfig, NetworkConfig, SpaceConfig
from NISFCore.motion.storage import load_motion
from NISFCore.phantom.dicom_writer import write_dicom
from NISFCore.views import View
from Testing.Core.motion.beating_tube import CENTRE_RAS, RAS_FROM_TUBE, BeatingTube

TWISTED = BeatingTube(n_phases=8)
TUBE = BeatingTube(turn_rad_per_mm=0.0, n_phases=8)
SMALL = MotionConfig(
    network=NetworkConfig(width=8),
    space=SpaceConfig(n_features=60, n_image_points=100, n_volume_points=300),
)
Text = pytest.CaptureFixture[str]


def fitted_tube(folder: Path) -> Any:
    """What `load_result` gives, for a heart that is known."""
    del folder
    study = TUBE.cine()
    return SimpleNamespace(
        study=study,
        field=TUBE,
        slice_motions=tuple(np.eye(4) for _ in study.slices),
        canonical_from_ras=rigid(RAS_FROM_TUBE.T, -RAS_FROM_TUBE.T @ CENTRE_RAS),
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result folder with its motion."""
    folder = tmp_path_factory.mktemp("motion ä") / "result ü"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motion_workflow, "load_result", fitted_tube)
        patch.setattr(motion_workflow.fit_motion, "__kwdefaults__", _small_defaults())
        assert main(["motion", "fit", str(folder), "--progress", "none"]) == 0
    return folder


def _small_defaults() -> dict[str, Any]:
    return {**(motion_workflow.fit_motion.__kwdefaults__ or {}), "config": SMALL}


def _in_dicom(study: CineStudy) -> CineStudy:
    """With values that whole numbers hold."""
    slices = (replace(s, frames=1000 * s.frames.clip(0, None)) for s in study.slices)
    return replace(study, slices=tuple(slices))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def model(result: Path, phase: int) -> vtkPolyData:
    reader = vtkXMLPolyDataReader()
    reader.ReadFromInputStringOn()
    path = result / "motion" / "models" / f"phase_{phase:03d}.vtp"
    reader.SetInputString(path.read_text(encoding="ascii"))
    reader.Update()
    return reader.GetOutput()


def test_a_motion_folder_is_complete(result: Path) -> None:
    names = {p.name for p in (result / "motion").iterdir()}
    assert names == {
        "motion.json",
        "motion.safetensors",
        "strain.csv",
        "segments.csv",
        "segment_curves.csv",
        "models",
        "bullseye.png",
        "curves.png",
        "es_strain.png",
    }
    assert len(list((result / "motion" / "models").iterdir())) == TUBE.n_phases


def test_tables_tell_the_strain(result: Path) -> None:
    strain = rows(result / "motion" / "strain.csv")
    assert [float(r["time_ms"]) for r in strain] == pytest.approx((900 * TUBE.times).tolist(), 1e-4)
    middle = strain[TUBE.n_phases // 2]
    assert float(middle["gls_percent"]) == pytest.approx(50 * (0.88**2 - 1), abs=3)
    assert float(middle["gcs_percent"]) == pytest.approx(50 * (1 / 0.88 - 1), abs=3)
    segments = rows(result / "motion" / "segments.csv")
    assert [int(r["segment"]) for r in segments] == list(range(1, 18))
    assert len(rows(result / "motion" / "segment_curves.csv")) == 17 * TUBE.n_phases


def test_models_share_vertices_that_move_with_the_tissue(result: Path) -> None:
    first, middle = model(result, 0), model(result, TUBE.n_phases // 2)
    before, after = (vtk_to_numpy(m.GetPoints().GetData()) for m in (first, middle))
    u = vtk_to_numpy(middle.GetPointData().GetArray("displacement_mm"))
    np.testing.assert_allclose(after - before, u, atol=1e-3)
    error = u - TUBE.displacement(before.astype(np.float64), 0.5)
    assert np.sqrt((error**2).sum(axis=1).mean()) < 1.0 < np.linalg.norm(u, axis=1).mean()
    names = ("radial_strain", "circumferential_strain", "longitudinal_strain", "segment")
    values = [vtk_to_numpy(middle.GetPointData().GetArray(n)) for n in names]
    assert all(len(v) == len(before) for v in values)
    assert set(np.unique(values[3])) == set(range(1, 18))


def test_the_folder_is_read_and_shown(result: Path, capsys: Text) -> None:
    assert load_motion(result / "motion").has_longitudinal
    assert main(["motion", "show", str(result / "motion"), "--progress", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["event"] == "result" and answer["flags"] == ["cine_only"]
    assert answer["gls_percent"] == pytest.approx(50 * (0.88**2 - 1), abs=3)


def test_a_tagged_series_is_read_from_the_folder_that_is_given(
    result: Path, tmp_path: Path, capsys: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tagged and cine series in one folder, as an examination comes."""
    monkeypatch.setattr(motion_workflow, "load_result", fitted_tube)
    monkeypatch.setattr(motion_workflow.fit_motion, "__kwdefaults__", _small_defaults())
    given, out = tmp_path / "tagged série ü", tmp_path / "motion"
    tagged = (s for s in TWISTED.tagged().slices if s.view is View.SA)
    slices = (*TUBE.cine().slices, *(replace(s, name=f"tagged_{s.name}") for s in tagged))
    write_dicom(_in_dicom(CineStudy(slices)), given)
    command = ["motion", "fit", str(result), "--tagged", str(given), "--out", str(out)]
    assert main([*command, "--progress", "json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["flags"] == ["axis_from_borders"]
    turns = np.rad2deg(TWISTED.turn_rad_per_mm) * 40
    assert answer["torsion_deg"] == pytest.approx(turns, rel=0.3)
    assert answer["gls_percent"] == pytest.approx(50 * (0.88**2 - 1), abs=3)
    assert len(rows(out / "strain.csv")) == TUBE.n_phases


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "there is no"),
        (lambda p: p.mkdir(), "no usable DICOM"),
        (lambda p: write_dicom(_in_dicom(TUBE.cine()), p), "no tagged series was found"),
    ],
)
def test_a_folder_without_tags_is_refused(
    result: Path,
    tmp_path: Path,
    capsys: Text,
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
    says: str,
) -> None:
    monkeypatch.setattr(motion_workflow, "load_result", fitted_tube)
    make(tmp_path / "given")
    out = tmp_path / "motion"
    command = ["motion", "fit", str(result), "--tagged", str(tmp_path / "given")]
    assert main([*command, "--out", str(out)]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert says in error and "Simulated^" not in error
    assert not out.exists()


def test_an_earlier_motion_is_not_replaced_unasked(
    result: Path, capsys: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(motion_workflow, "load_result", fitted_tube)
    before = (result / "motion" / "strain.csv").read_bytes()
    assert main(["motion", "fit", str(result)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert (result / "motion" / "strain.csv").read_bytes() == before


def test_a_folder_without_a_result_is_refused(tmp_path: Path, capsys: Text) -> None:
    assert main(["motion", "fit", str(tmp_path)]) == 2
    assert "nisf fit" in capsys.readouterr().err
    assert main(["motion", "show", str(tmp_path)]) == 2
    assert "no motion folder" in capsys.readouterr().err


def test_report_and_export_take_the_strain_over(result: Path, tmp_path: Path) -> None:
    folder = motion_folder_of(result)
    assert folder is not None
    html = motion_section(folder)
    assert html.count("data:image/png;base64,") == 3
    assert escape(load_motion(folder).warnings[0]) in html
    for name in copy_motion_tables(folder, tmp_path):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_report_without_motion_says_how_to_get_it(tmp_path: Path) -> None:
    assert motion_folder_of(tmp_path) is None
    assert "nisf motion fit" in motion_section(None)
    with pytest.raises(ResultError, match=r"no strain\.csv"):
        copy_motion_tables(tmp_path, tmp_path)
