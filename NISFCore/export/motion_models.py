"""The LV wall's surface carried by the motion: one VTP per phase, the same vertices in each."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkStringArray
from vtkmodules.vtkCommonDataModel import vtkPolyData
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

from NISFCore.analysis.surfaces import Surface
from NISFCore.motion.cardiac_frame import CIRCUMFERENTIAL, LONGITUDINAL, RADIAL
from NISFCore.motion.result import MotionResult
from NISFCore.motion.strain import strain_in_wall

MODEL_PATTERN = "phase_{:03d}.vtp"
STRAIN_ARRAYS = {
    "radial_strain": RADIAL,
    "circumferential_strain": CIRCUMFERENTIAL,
    "longitudinal_strain": LONGITUDINAL,
}

Array = npt.NDArray[np.float64]


def moved_model(result: MotionResult, wall: Surface, cycle_fraction: float) -> vtkPolyData:
    """The wall's surface at a time, in RAS mm, with the arrays of `docs/motion.md`, "Files"."""
    u = result.displacement(wall.points_ras, cycle_fraction)
    polydata = Surface(wall.points_ras + u, wall.triangles).to_polydata()
    strain = vertex_strain_percent(result, wall, cycle_fraction)
    _add(polydata, "displacement_mm", u.astype(np.float32))
    for name, direction in STRAIN_ARRAYS.items():
        _add(polydata, name, strain[:, direction].astype(np.float32))
    _add(polydata, "segment", result.frame.segments(wall.points_ras))
    space = vtkStringArray()
    space.SetName("SPACE")
    space.InsertNextValue("RAS")
    polydata.GetFieldData().AddArray(space)
    return polydata


def vertex_strain_percent(result: MotionResult, wall: Surface, cycle_fraction: float) -> Array:
    """`(n, 3)` radial, circumferential, longitudinal; NaN where a direction is not known."""
    F = result.deformation_gradient(wall.points_ras, cycle_fraction)
    return 100 * strain_in_wall(F, result.frame, wall.points_ras, result.has_longitudinal)


def write_models(result: MotionResult, wall: Surface, folder: Path) -> None:
    """`phase_000.vtp` and so on, one per time of the result.

    Raises:
        OSError: if they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for j, t in enumerate(result.cycle_fractions):
        writer = vtkXMLPolyDataWriter()
        writer.SetInputData(moved_model(result, wall, float(t)))
        writer.SetDataModeToBinary()
        writer.WriteToOutputStringOn()
        writer.Write()
        path = folder / MODEL_PATTERN.format(j)
        path.write_text(writer.GetOutputString(), encoding="ascii")


def _add(polydata: vtkPolyData, name: str, values: npt.NDArray[np.generic]) -> None:
    array = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
    array.SetName(name)
    polydata.GetPointData().AddArray(array)
