"""Arrays `[k, j, i]` as VTK images, and sequence files as arrays and images.

A file is read in a scene of its own, so that a damaged one leaves no trace in the user's scene.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk, vtk_to_numpy

from NISFLib.scene.nodes import SceneError, array_of, vtk_matrix


@dataclass(frozen=True)
class Phases:
    """The images of a sequence file.

    Attributes:
        cycle_fractions: `(n_phases,)`.
        ras_from_ijk: `(4, 4)`, the geometry of every phase.
        images: vtkImageData of every phase, without geometry of their own.
    """

    cycle_fractions: npt.NDArray[np.float64]
    ras_from_ijk: npt.NDArray[np.float64]
    images: tuple[Any, ...]

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        i, j, k = self.images[0].GetDimensions()
        return k, j, i

    @property
    def n_bytes(self) -> int:
        """Of all images, in memory."""
        return sum(1024 * image.GetActualMemorySize() for image in self.images)


def vtk_image(values: npt.NDArray[Any]) -> Any:
    """A copy of an array `(n_k, n_j, n_i)` as vtkImageData with spacing 1 and origin 0."""
    image = vtk.vtkImageData()
    return _filled(image, values)


def oriented_image(values: npt.NDArray[Any], ras_from_ijk: npt.ArrayLike) -> Any:
    """A copy of an array `(n_k, n_j, n_i)` as vtkOrientedImageData, as segmentations hold it."""
    image = _filled(slicer.vtkOrientedImageData(), values)
    image.SetGeometryFromImageToWorldMatrix(vtk_matrix(ras_from_ijk))
    return image


def _filled(image: Any, values: npt.NDArray[Any]) -> Any:
    n_k, n_j, n_i = values.shape
    flat = np.ascontiguousarray(values).ravel()
    scalars = numpy_to_vtk(flat, deep=True, array_type=get_vtk_array_type(values.dtype))
    scalars.SetName("ImageScalars")
    image.SetDimensions(n_i, n_j, n_k)
    image.GetPointData().SetScalars(scalars)
    return image


def array_of_image(image: Any) -> npt.NDArray[Any]:
    """The voxels of an image as `(n_k, n_j, n_i)`, sharing its memory."""
    n_i, n_j, n_k = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(n_k, n_j, n_i)


def read_phases(path: Path) -> Phases:
    """Read a `.seq.nrrd`.

    Raises:
        SceneError: if it is missing or damaged.
    """
    if not path.is_file():
        raise SceneError(f"{path.name} is missing in {path.parent}; export the result again")
    scene = slicer.vtkMRMLScene()
    sequence, storage = slicer.vtkMRMLSequenceNode(), slicer.vtkMRMLVolumeSequenceStorageNode()
    scene.AddNode(sequence)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    n_phases = sequence.GetNumberOfDataNodes() if storage.ReadData(sequence) else 0
    if n_phases == 0:
        raise SceneError(f"{path} is damaged or no sequence; export the result again")
    volumes = [sequence.GetNthDataNode(k) for k in range(n_phases)]
    percent = [float(sequence.GetNthIndexValue(k)) for k in range(n_phases)]
    matrix = vtk.vtkMatrix4x4()
    volumes[0].GetIJKToRASMatrix(matrix)
    images = tuple(volume.GetImageData() for volume in volumes)
    return Phases(np.array(percent) / 100, array_of(matrix), images)


def read_surface(path: Path) -> Any:
    """Read a `.vtp` in LPS as vtkPolyData in RAS, with normals for smooth shading.

    Raises:
        SceneError: if it is missing or damaged.
    """
    if not path.is_file():
        raise SceneError(f"{path.name} is missing in {path.parent}; export the result again")
    reader = vtk.vtkXMLPolyDataReader()
    # read by Python: paths of any script work on every platform
    reader.ReadFromInputStringOn()
    reader.SetInputString(path.read_bytes().decode("utf-8", errors="replace"))
    turned = vtk.vtkTransformPolyDataFilter()
    turned.SetTransform(_ras_from_lps())
    turned.SetInputConnection(reader.GetOutputPort())
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(turned.GetOutputPort())
    normals.SplittingOff()
    normals.ConsistencyOff()
    normals.Update()
    surface = vtk.vtkPolyData()
    surface.ShallowCopy(normals.GetOutput())
    if surface.GetNumberOfPoints() == 0:
        raise SceneError(f"{path} is damaged or holds no surface; export the result again")
    surface.GetFieldData().Initialize()  # "SPACE=LPS" among it would be wrong now
    return surface


def _ras_from_lps() -> Any:
    transform = vtk.vtkTransform()
    transform.Scale(-1, -1, 1)
    return transform
