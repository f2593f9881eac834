"""Triangle meshes of known volume, closed or open at the top, as files of any kind."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkIOGeometry import vtkOBJWriter, vtkSTLWriter
from vtkmodules.vtkIOLegacy import vtkPolyDataWriter
from vtkmodules.vtkIOPLY import vtkPLYWriter
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

from NISFCore.geometry.spaces import Affine, apply_affine, lps_from_ras

Points = npt.NDArray[np.float64]
Triangles = npt.NDArray[np.int64]

WRITERS: dict[str, Any] = {
    ".obj": vtkOBJWriter,
    ".ply": vtkPLYWriter,
    ".stl": vtkSTLWriter,
    ".vtk": vtkPolyDataWriter,
    ".vtp": vtkXMLPolyDataWriter,
}


def ellipsoid(
    semi_axes_mm: npt.ArrayLike, top: float = 1.0, n: int = 40
) -> tuple[Points, Triangles]:
    """An ellipsoid about the origin, cut off flat at `top` of its third semi-axis (1: closed)."""
    latitudes = np.linspace(-np.pi / 2, np.arcsin(top), n + 1)[1:]
    turns = 2 * np.pi * np.arange(2 * n) / (2 * n)
    rings = latitudes if top < 1 else latitudes[:-1]
    grid = np.array(
        [[(np.cos(a) * np.cos(t), np.cos(a) * np.sin(t), np.sin(a)) for t in turns] for a in rings]
    )
    points = [*grid.reshape(-1, 3), (0.0, 0.0, -1.0)]
    apex, m = len(points) - 1, 2 * n
    triangles = [(apex, (k + 1) % m, k) for k in range(m)]
    for ring in range(len(rings) - 1):
        for k in range(m):
            a, b = ring * m + k, ring * m + (k + 1) % m
            triangles += [(a, b, b + m), (a, b + m, a + m)]
    if top >= 1:
        points.append((0.0, 0.0, 1.0))
        first = (len(rings) - 1) * m
        triangles += [(first + k, first + (k + 1) % m, apex + 1) for k in range(m)]
    return np.array(points) * np.asarray(semi_axes_mm), np.array(triangles, dtype=np.int64)


def write_mesh(
    path: Path, points_ras: Points, triangles: Triangles, file_from_ras: Affine | None = None
) -> Path:
    """Write a mesh, in LPS unless another map is given; the ending decides the format."""
    A = lps_from_ras() if file_from_ras is None else file_from_ras
    vtk_points, cells, mesh = vtkPoints(), vtkCellArray(), vtkPolyData()
    vtk_points.SetData(numpy_to_vtk(apply_affine(A, points_ras), deep=True))
    for triangle in triangles:
        cells.InsertNextCell(3, [int(k) for k in triangle])
    mesh.SetPoints(vtk_points)
    mesh.SetPolys(cells)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = WRITERS[path.suffix]()
    writer.SetFileName(str(path))
    writer.SetInputData(mesh)
    writer.Write()
    return path
