"""Surfaces as VTP and STL files, in LPS and marked so, as 3D Slicer does.

A VTP carries its label's value, name and colour as field data; STL holds bare triangles.
"""

from pathlib import Path

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkIntArray, vtkStringArray
from vtkmodules.vtkCommonDataModel import vtkPolyData
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

from NISFCore.analysis.surfaces import Surface
from NISFCore.export.borders import points_lps_from_ras
from NISFCore.labels import LABEL_INFO, Label

STL_HEADER = b"NISF surface, mm. SPACE=LPS"
STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])


def surface_in_lps(surface: Surface) -> Surface:
    """The same surface for a file: the map is a rotation, so triangles keep facing outwards."""
    return Surface(points_lps_from_ras(surface.points_ras), surface.triangles)


def write_vtp(path: Path, surface: Surface, label: Label) -> None:
    """Write a surface as VTK XML poly data."""
    polydata = surface_in_lps(surface).to_polydata()
    _add_field_data(polydata, label)
    writer = vtkXMLPolyDataWriter()
    writer.SetInputData(polydata)
    writer.SetDataModeToBinary()
    writer.WriteToOutputStringOn()
    writer.Write()
    # written by Python, so that paths of any script work and a full disk is an OSError
    path.write_text(writer.GetOutputString(), encoding="ascii")


def _add_field_data(polydata: vtkPolyData, label: Label) -> None:
    info = LABEL_INFO[label]
    for name, text in (("SPACE", "LPS"), ("Label", info.key), ("LabelName", info.name)):
        array = vtkStringArray()
        array.SetName(name)
        array.InsertNextValue(text)
        polydata.GetFieldData().AddArray(array)
    value = vtkIntArray()
    value.SetName("LabelValue")
    value.InsertNextValue(int(label))
    polydata.GetFieldData().AddArray(value)
    rgb = numpy_to_vtk(np.array([info.rgb], dtype=np.uint8), deep=True)
    rgb.SetName("LabelColor")
    polydata.GetFieldData().AddArray(rgb)


def write_stl(path: Path, surface: Surface) -> None:
    """Write a surface as binary STL."""
    corners = surface_in_lps(surface).points_ras[surface.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles = np.zeros(len(corners), dtype=STL_TRIANGLE)
    triangles["normal"] = normals / np.where(length > 0, length, 1)
    triangles["corners"] = corners
    count = np.array(len(corners), dtype="<u4").tobytes()
    path.write_bytes(STL_HEADER.ljust(80) + count + triangles.tobytes())
