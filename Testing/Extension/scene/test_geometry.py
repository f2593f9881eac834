"""Every node lies where NISFCore says, to 1e-4 mm, for oblique planes and an oblique grid."""

from pathlib import Path

import nrrd
import numpy as np
import pytest
import vtk

from NISFCore.export.borders import points_lps_from_ras
from NISFCore.geometry.planes import corners_ras
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.labels import FOREGROUND, LABEL_INFO
from NISFLib.scene import HeartScene, LoadSettings
from NISFLib.scene.cycle import now_of
from NISFLib.scene.nodes import Role
from Testing.Extension.scene.folders import SPACING_MM, Folders
from Testing.Extension.scene.reading import labels_of, points_of, ras_from_ijk_of

TOLERANCE_MM = 1e-4


def corners(ras_from_ijk: np.ndarray, shape_kji: tuple[int, ...]) -> np.ndarray:
    """All eight corner voxels in RAS."""
    n_k, n_j, n_i = shape_kji
    ijk = [[i, j, k] for i in (0, n_i - 1) for j in (0, n_j - 1) for k in (0, n_k - 1)]
    return apply_affine(ras_from_ijk, ijk)


def assert_same_place(found: np.ndarray, expected: np.ndarray, shape_kji: tuple[int, ...]) -> None:
    gap = corners(found, shape_kji) - corners(expected, shape_kji)
    assert np.linalg.norm(gap, axis=1).max() < TOLERANCE_MM


def test_the_planes_are_really_oblique(folders: Folders) -> None:
    for cine in folders.full.slices:
        axes = np.abs(cine.ras_from_ijk[:3, :3]) / np.linalg.norm(cine.ras_from_ijk[:3, :3], axis=0)
        assert axes.max() < 0.99


def test_slices_stand_as_scanned_before_a_fit(folders: Folders) -> None:
    heart = HeartScene()
    heart.load_study(folders.study)
    for cine in folders.full.slices:
        volume = now_of(heart.nodes, Role.SLICE_IMAGES, cine.name)
        assert_same_place(ras_from_ijk_of(volume), cine.ras_from_ijk, (1, *cine.shape))


@pytest.mark.parametrize("amount", [0.0, 1.0])
def test_slices_stand_scanned_or_corrected(
    heart: HeartScene, folders: Folders, amount: float
) -> None:
    heart.alignment = amount
    for cine, motion in zip(folders.full.slices, folders.fitted.slice_motions, strict=True):
        volume = now_of(heart.nodes, Role.SLICE_IMAGES, cine.name)
        expected = (motion if amount else np.eye(4)) @ cine.ras_from_ijk
        assert_same_place(ras_from_ijk_of(volume), expected, (1, *cine.shape))


def test_textured_planes_cover_the_pixels_of_their_slices(
    heart: HeartScene, folders: Folders
) -> None:
    for cine, motion in zip(folders.full.slices, folders.fitted.slice_motions, strict=True):
        plane = heart.nodes.one(Role.SLICE_PLANE, cine.name)
        expected = corners_ras(cine.ras_from_ijk, cine.shape)
        found = points_of(plane)  # first pixel, end of first row, end of first column, last pixel
        assert np.abs(found - expected[[0, 1, 3, 2]]).max() < TOLERANCE_MM
        coordinates = plane.GetPolyData().GetPointData().GetTCoords()
        textures = [coordinates.GetTuple2(k) for k in range(4)]
        assert textures == [(0, 0), (1, 0), (0, 1), (1, 1)]
        volume = now_of(heart.nodes, Role.SLICE_IMAGES, cine.name)
        assert plane.GetParentTransformNode() is volume.GetParentTransformNode()
        assert np.allclose(ras_from_ijk_of(volume), motion @ cine.ras_from_ijk, atol=TOLERANCE_MM)


def test_volumes_and_segmentation_lie_on_the_grid(folders: Folders) -> None:
    heart = HeartScene()
    heart.load_result(folders.result, settings=LoadSettings(labels=True))
    grid = folders.fitted.field.box.grid(SPACING_MM)
    for role in (Role.INTENSITY, Role.LABELS):
        found = ras_from_ijk_of(now_of(heart.nodes, role))
        assert_same_place(found, grid.ras_from_ijk, grid.shape)
    image = heart.segmentation.GetBinaryLabelmapInternalRepresentation("lv_myocardium")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    found = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
    assert_same_place(found, grid.ras_from_ijk, grid.shape)


def test_labels_and_surfaces_are_those_of_the_export(heart: HeartScene, folders: Folders) -> None:
    heart.phase = 2
    labels, _ = nrrd.read(str(folders.result / "sequences" / "labels.seq.nrrd"), index_order="C")
    assert np.array_equal(labels_of(heart.segmentation), labels[2])
    for label in FOREGROUND:
        key = LABEL_INFO[label].key
        found = points_of(heart.segmentation.GetClosedSurfaceInternalRepresentation(key))
        expected_lps = file_points(folders.result / "surfaces" / f"{key}_002.vtp")
        assert found.shape == expected_lps.shape
        assert np.abs(points_lps_from_ras(found) - expected_lps).max() < TOLERANCE_MM


def test_surfaces_lie_on_the_analytic_heart(heart: HeartScene, folders: Folders) -> None:
    """Whatever the files say: the blood pool's surface is an ellipsoid, cut at the base."""
    heart.phase = 0
    field = folders.fitted.field
    surface = heart.segmentation.GetClosedSurfaceInternalRepresentation("lv_blood_pool")
    points = apply_affine(invert_affine(field.ras_from_heart), points_of(surface))
    size = np.linalg.norm(points / field.semi_axes_mm(0.0)[0], axis=1)
    on_ellipsoid = points[:, 2] < 10  # clear of the cut
    assert np.abs(size[on_ellipsoid] - 1).max() < 0.1
    assert on_ellipsoid.sum() > 50


def file_points(path: Path) -> np.ndarray:
    """Points of a `.vtp`, as they stand in the file."""
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    return points_of(reader.GetOutput())


def test_cropped_slices_lie_where_the_full_ones_do(folders: Folders) -> None:
    heart = HeartScene()
    heart.load_result(folders.result)
    for cine, motion in zip(folders.fitted.study.slices, folders.fitted.slice_motions, strict=True):
        volume = now_of(heart.nodes, Role.SLICE_IMAGES, cine.name)
        assert_same_place(ras_from_ijk_of(volume), motion @ cine.ras_from_ijk, (1, *cine.shape))
