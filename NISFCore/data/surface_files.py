"""Surfaces of a heart's structures over the cycle, as segmentation programs write them.

A folder or zip, in any nesting, of OBJ, PLY, STL, VTK or VTP files, one per structure and phase:

    <anything>_<structure>_<phase>.<ending>      e.g. patient1_LV_ENDOCARDIAL_007.obj

- structure: `LV_ENDOCARDIAL` (also LV_ENDO, LV_BLOOD_POOL, LV), `RV_ENDOCARDIAL` (RV_ENDO,
  RV_BLOOD_POOL, RV), `EPICARDIAL` (LV_EPICARDIAL, LV_EPI, EPI); case, `-` and `_` do not matter.
  Files of other structures are not used.
- phase: digits; none where there is one phase only. Phases are taken in the order of their numbers
  and stand for the phases of the study in the same order.

Coordinates are DICOM patient millimetres (LPS), as biv-me and most programs write them, or RAS if
the user says so. This is the one place that turns them into RAS.
"""

import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkObject
from vtkmodules.vtkCommonDataModel import vtkPolyData
from vtkmodules.vtkFiltersCore import vtkCleanPolyData, vtkPolyDataNormals, vtkTriangleFilter
from vtkmodules.vtkIOGeometry import vtkOBJReader, vtkSTLReader
from vtkmodules.vtkIOLegacy import vtkPolyDataReader
from vtkmodules.vtkIOPLY import vtkPLYReader
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import Points, apply_affine, ras_from_lps

SurfaceSpace = Literal["lps", "ras"]

MERGED_MM = 1e-3
"""Points nearer to each other are one."""

READERS: dict[str, Any] = {
    ".obj": vtkOBJReader,
    ".ply": vtkPLYReader,
    ".stl": vtkSTLReader,
    ".vtk": vtkPolyDataReader,
    ".vtp": vtkXMLPolyDataReader,
}


class Structure(Enum):
    """What a surface bounds."""

    LV = "lv_endocardial"
    RV = "rv_endocardial"
    EPI = "epicardial"


_NAMES = {
    Structure.LV: ("lv_endocardial", "lv_endocardium", "lv_endo", "lv_blood_pool", "lv"),
    Structure.RV: ("rv_endocardial", "rv_endocardium", "rv_endo", "rv_blood_pool", "rv"),
    Structure.EPI: (
        "lv_epicardial",
        "lv_epicardium",
        "lv_epi",
        "epicardial",
        "epicardium",
        "epi",
    ),
}
_ENDINGS = [
    (structure, re.compile(rf"(?:^|_){name}(?:_?(?P<phase>\d+))?$"))
    for structure, names in _NAMES.items()
    for name in names
]


@dataclass(frozen=True)
class ClosedSurface:
    """A closed triangle mesh in RAS mm, its triangles facing outwards.

    Attributes:
        points_ras: `(n_points, 3)`.
        triangles: `(n_triangles, 3)` indices of points.
        n_filled: triangles, at the end, that close holes of the file's surface (valves).
    """

    points_ras: Points
    triangles: npt.NDArray[np.int64]
    n_filled: int

    @property
    def volume_ml(self) -> float:
        """Enclosed volume (divergence theorem)."""
        return _signed_ml(self.points_ras, self.triangles)

    @property
    def open_volume_ml(self) -> float:
        """What the surface without its caps has instead of a volume: the cones from the mean of its
        vertices over its triangles. It lacks the cones over the valves; programs that sum over an
        open surface report this."""
        own = self.triangles[: len(self.triangles) - self.n_filled]
        return _signed_ml(self.points_ras - self.points_ras.mean(axis=0), own)


PhaseSurfaces = dict[Structure, ClosedSurface]


def read_surfaces(path: Path, space: SurfaceSpace = "lps") -> list[PhaseSurfaces]:
    """Closed surfaces of every phase, in the order of the phases' numbers.

    Raises:
        StudyError: if `path` holds no surfaces, none of the LV, or not the same in every phase; if
            a file is damaged or a surface does not close.
    """
    with _folder_of(path) as folder:
        files = _files_by_phase(folder)
        _check_complete(path.name, files)
        return [
            {structure: closed_surface(file, space) for structure, file in found.items()}
            for _, found in sorted(files.items())
        ]


def holds_surfaces(path: Path) -> bool:
    """Whether a folder or zip has any file of surfaces."""
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).suffix.lower() in READERS for name in archive.namelist())
    return path.is_dir() and any(p.suffix.lower() in READERS for p in path.rglob("*"))


def closed_surface(path: Path, space: SurfaceSpace = "lps") -> ClosedSurface:
    """The surface in a file, its holes filled.

    Raises:
        StudyError: if it cannot be read or closed.
    """
    with _silent_vtk():
        reader = READERS[path.suffix.lower()]()
        reader.SetFileName(str(path))
        reader.Update()
        mesh = reader.GetOutput()
        if mesh is None or not mesh.GetNumberOfPolys():
            raise StudyError(f"{path.name}: no surface could be read from it")
        return _closed(path.name, _cleaned(mesh), space)


def structure_and_phase(stem: str) -> tuple[Structure, int] | None:
    """What a file's name without its ending says; None if it names no structure."""
    text = re.sub(r"[-_ ]+", "_", stem.lower())
    for structure, ending in _ENDINGS:
        match = ending.search(text)
        if match:
            return structure, int(match.group("phase") or 0)
    return None


@contextmanager
def _folder_of(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise StudyError(f"{path.name}: expected a folder or a zip of surfaces")
    with tempfile.TemporaryDirectory(prefix="nisf-") as temporary:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if Path(n).suffix.lower() in READERS]
            archive.extractall(temporary, names)
        yield Path(temporary)


def _files_by_phase(folder: Path) -> dict[int, dict[Structure, Path]]:
    files: dict[int, dict[Structure, Path]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in READERS):
        said = structure_and_phase(path.stem)
        if said is None:
            continue
        structure, phase = said
        if structure in files.setdefault(phase, {}):
            other = files[phase][structure].name
            raise StudyError(
                f"surfaces: {other} and {path.name} are both {structure.value} of phase {phase}; "
                "keep one of them"
            )
        files[phase][structure] = path
    return files


def _check_complete(name: str, files: dict[int, dict[Structure, Path]]) -> None:
    if not files:
        raise StudyError(
            f"{name}: no surface is named as expected, e.g. patient1_LV_ENDOCARDIAL_007.obj"
        )
    kinds = {frozenset(found) for found in files.values()}
    if len(kinds) > 1:
        raise StudyError(f"{name}: the phases do not have the same structures; complete them")
    if Structure.LV not in next(iter(kinds)):
        raise StudyError(f"{name}: no surface of the LV (…_LV_ENDOCARDIAL_NNN); it is needed")


@contextmanager
def _silent_vtk() -> Iterator[None]:
    """VTK would print what `closed_surface` says in its error."""
    before = vtkObject.GetGlobalWarningDisplay()
    vtkObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        vtkObject.SetGlobalWarningDisplay(before)


def _cleaned(mesh: vtkPolyData) -> vtkPolyData:
    """Triangles only, wound alike; points that coincide merged: a seam would look like a hole."""
    triangulate, clean, wind = vtkTriangleFilter(), vtkCleanPolyData(), vtkPolyDataNormals()
    triangulate.SetInputData(mesh)
    triangulate.PassVertsOff()
    triangulate.PassLinesOff()
    clean.SetInputConnection(triangulate.GetOutputPort())
    clean.ToleranceIsAbsoluteOn()
    clean.SetAbsoluteTolerance(MERGED_MM)
    wind.SetInputConnection(clean.GetOutputPort())
    wind.ConsistencyOn()
    wind.SplittingOff()
    wind.Update()
    return wind.GetOutput()


def _closed(name: str, mesh: vtkPolyData, space: SurfaceSpace) -> ClosedSurface:
    """The mesh with a fan about the mean of every rim: flat for a flat valve."""
    points = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64)
    own = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    rims = _rims(name, own)
    centres = np.array([points[rim].mean(axis=0) for rim in rims]).reshape(-1, 3)
    caps = [_fan(rim, len(points) + k) for k, rim in enumerate(rims)]
    triangles = np.concatenate([own, *caps])
    points = np.concatenate([points, centres])
    points = apply_affine(ras_from_lps(), points) if space == "lps" else points
    if _signed_ml(points, triangles) < 0:
        triangles = np.ascontiguousarray(triangles[:, ::-1])
    return ClosedSurface(points, triangles, len(triangles) - len(own))


def _fan(rim: list[int], centre: int) -> npt.NDArray[np.int64]:
    """Triangles `(n, 3)` that run along a rim against those of the mesh."""
    return np.stack([np.roll(rim, -1), rim, np.full(len(rim), centre)], axis=1).astype(np.int64)


def _rims(name: str, triangles: npt.NDArray[np.int64]) -> list[list[int]]:
    """The rims of a mesh's holes, each in the order in which the triangles run along it.

    Raises:
        StudyError: if an edge's end is no other's beginning: the mesh is torn.
    """
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    there = {(int(a), int(b)) for a, b in edges}
    following: dict[int, list[int]] = {}
    for a, b in sorted(there):
        if (b, a) not in there:
            following.setdefault(a, []).append(b)
    rims = []
    while following:
        first = next(iter(following))
        rim: list[int] = []
        point = first
        while not rim or point != first:
            if point not in following:
                raise StudyError(f"{name}: its surface is torn and cannot be closed")
            rim.append(point)
            after = following[point].pop()
            if not following[point]:
                del following[point]
            point = after
        rims.append(rim)
    return rims


def _signed_ml(points: Points, triangles: npt.NDArray[Any]) -> float:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6000
