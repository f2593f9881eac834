"""What nodes hold, as arrays, by the shortest way there is."""

from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from NISFCore.geometry.spaces import Affine, Points


def ras_from_ijk_of(volume: Any) -> Affine:
    """Geometry of a volume node, with the transform under which it stands."""
    ras_from_ijk, to_world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(ras_from_ijk)
    transform = volume.GetParentTransformNode()
    if transform is not None:
        transform.GetMatrixTransformToWorld(to_world)
    product = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Multiply4x4(to_world, ras_from_ijk, product)
    return slicer.util.arrayFromVTKMatrix(product)


def points_of(model: Any) -> Points:
    """Points of a model or a polydata `(n, 3)`, as stored."""
    polydata = model.GetPolyData() if hasattr(model, "GetPolyData") else model
    return np.asarray(vtk_to_numpy(polydata.GetPoints().GetData()), dtype=np.float64)


def labels_of(segmentation: Any) -> npt.NDArray[np.uint8]:
    """The shared label map of a segmentation node `(n_k, n_j, n_i)`."""
    image = segmentation.GetBinaryLabelmapInternalRepresentation(
        segmentation.GetSegmentation().GetNthSegmentID(0)
    )
    i, j, k = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k, j, i)


def column(table: Any, name: str) -> list[Any]:
    """A column of a table node."""
    values = table.GetTable().GetColumnByName(name)
    return [values.GetValue(k) for k in range(values.GetNumberOfValues())]


def column_names(table: Any) -> list[str]:
    """The names of a table node's columns."""
    return [table.GetTable().GetColumnName(k) for k in range(table.GetNumberOfColumns())]


def our_names(scene: Any) -> list[str]:
    """Every node that the application does not have by itself, as `class name`."""
    nodes = scene.GetNodes()
    found = [nodes.GetItemAsObject(k) for k in range(nodes.GetNumberOfItems())]
    return [
        f"{node.GetClassName()} {node.GetName()}"
        for node in found
        if not node.IsA("vtkMRMLColorNode") and not node.GetSingletonTag()
    ]
