"""Mesh files, read again by VTK."""

from pathlib import Path

import numpy as np
import pytest
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkPolyData
from vtkmodules.vtkFiltersCore import vtkMassProperties
from vtkmodules.vtkIOGeometry import vtkSTLReader
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

from NISFCore.analysis.surfaces import EMPTY_SURFACE, Surface, label_surfaces
from NISFCore.export.meshes import surface_in_lps, write_stl, write_vtp
from NISFCore.labels import Label
from Testing.Core.analysis.hearts import EllipsoidHeart


@pytest.fixture
def surface() -> Surface:
    surfaces = label_surfaces(EllipsoidHeart(), 0.0, 4.0, [Label.RV_BLOOD_POOL])
    return surfaces[Label.RV_BLOOD_POOL]


def _read_vtp(path: Path) -> vtkPolyData:
    reader = vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def _volume_ml(polydata: vtkPolyData) -> float:
    mass = vtkMassProperties()
    mass.SetInputData(polydata)
    return float(mass.GetVolume()) / 1000


def test_vtp_round_trip(tmp_path: Path, surface: Surface) -> None:
    path = tmp_path / "Œdème 1.vtp"
    write_vtp(path, surface, Label.RV_BLOOD_POOL)
    polydata = _read_vtp(path)
    points = vtk_to_numpy(polydata.GetPoints().GetData())
    assert np.allclose(points * [-1, -1, 1], surface.points_ras, atol=1e-4)
    triangles = vtk_to_numpy(polydata.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    assert np.array_equal(triangles, surface.triangles)
    assert _volume_ml(polydata) == pytest.approx(surface.volume_ml, rel=1e-4)
    fields = polydata.GetFieldData()
    assert fields.GetAbstractArray("SPACE").GetValue(0) == "LPS"
    assert fields.GetAbstractArray("LabelName").GetValue(0) == "RV blood pool"
    assert fields.GetAbstractArray("Label").GetValue(0) == "rv_blood_pool"
    assert fields.GetArray("LabelValue").GetValue(0) == 3
    assert fields.GetArray("LabelColor").GetTuple(0) == (66, 122, 214)


def test_stl_round_trip(tmp_path: Path, surface: Surface) -> None:
    path = tmp_path / "a b ü.stl"
    write_stl(path, surface)
    assert b"SPACE=LPS" in path.read_bytes()[:80]
    reader = vtkSTLReader()
    reader.SetFileName(str(path))
    reader.Update()
    polydata = reader.GetOutput()
    assert polydata.GetNumberOfPolys() == len(surface.triangles)
    assert _volume_ml(polydata) == pytest.approx(surface.volume_ml, rel=1e-4)
    assert np.allclose(
        np.array(polydata.GetBounds()).reshape(3, 2),
        np.sort(
            np.stack([surface.points_ras.min(axis=0), surface.points_ras.max(axis=0)], axis=1)
            * [[-1], [-1], [1]]
        ),
        atol=1e-3,
    )


def test_stl_normals_face_outwards(tmp_path: Path, surface: Surface) -> None:
    path = tmp_path / "s.stl"
    write_stl(path, surface)
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])
    triangles = np.frombuffer(path.read_bytes()[84:], dtype=record)
    centre = triangles["corners"].mean(axis=(0, 1))
    outward = triangles["corners"].mean(axis=1) - centre
    assert (np.einsum("ij,ij->i", outward, triangles["normal"]) > 0).mean() > 0.99
    assert np.allclose(np.linalg.norm(triangles["normal"], axis=1), 1, atol=1e-5)


def test_faces_stay_outwards_in_lps(surface: Surface) -> None:
    assert surface_in_lps(surface).volume_ml == pytest.approx(surface.volume_ml)
    assert surface.volume_ml > 0


def test_empty_surfaces_are_valid_files(tmp_path: Path) -> None:
    write_vtp(tmp_path / "e.vtp", EMPTY_SURFACE, Label.LV_BLOOD_POOL)
    assert _read_vtp(tmp_path / "e.vtp").GetNumberOfCells() == 0
    write_stl(tmp_path / "e.stl", EMPTY_SURFACE)
    assert len((tmp_path / "e.stl").read_bytes()) == 84
