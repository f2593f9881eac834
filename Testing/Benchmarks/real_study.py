"""Fit a real study and compare its labels with reference surfaces.

    python -m Testing.Benchmarks.real_study STUDY SURFACES.zip --out DIR

`SURFACES.zip` holds `*_LV_ENDOCARDIAL_NNN.obj`, `*_RV_ENDOCARDIAL_NNN.obj`, `*_EPICARDIAL_NNN.obj`
in DICOM patient millimetres (LPS), NNN the phase, as biv-me writes them: a model's surfaces fitted
to a network's contours, so a reference and not a truth. They are open at the valves and closed by
filling the holes. Every slice is compared as scanned with the reference (which has its own slice
shifts), labels being those that the fit shows in the slice.
"""

import json
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tyro
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkFiltersCore import vtkMassProperties, vtkPolyDataNormals
from vtkmodules.vtkFiltersModeling import vtkFillHolesFilter, vtkSelectEnclosedPoints

from NISFCore.analysis.evaluation import evaluate
from NISFCore.analysis.fitted import corrected_ras_from_ijk
from NISFCore.analysis.metrics import DiceCounts
from NISFCore.analysis.rendering import render_plane
from NISFCore.files import write_text_atomically
from NISFCore.fitting.result import FitResult
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine, ras_from_lps
from NISFCore.labels import Label
from NISFCore.model.prior import load_prior
from NISFCore.workflows import StudyInput, fit_input

SURFACES = {"LV": "LV_ENDOCARDIAL", "RV": "RV_ENDOCARDIAL", "EPI": "EPICARDIAL"}
HOLE_SIZE_MM = 200.0


@dataclass(frozen=True)
class Settings:
    """What is run.

    Attributes:
        study: the study, as for `nisf fit`.
        surfaces: the zip of reference surfaces.
        out: folder for the result and the table.
        prior: a prior file; the bundled one by default.
        every: compare every n-th phase.
    """

    study: tyro.conf.Positional[Path]
    surfaces: tyro.conf.Positional[Path]
    out: Path
    prior: Path | None = None
    every: int = 2


def read_obj(text: str) -> vtkPolyData:
    """Vertices (LPS -> RAS) and triangles of an OBJ file, its holes filled."""
    rows = [line.split() for line in text.splitlines()]
    vertices = np.array([row[1:4] for row in rows if row[:1] == ["v"]], dtype=np.float64)
    faces = [[int(c.split("/")[0]) - 1 for c in row[1:]] for row in rows if row[:1] == ["f"]]
    points = vtkPoints()
    points.SetData(numpy_to_vtk(apply_affine(ras_from_lps(), vertices), deep=True))
    cells = vtkCellArray()
    for face in faces:
        cells.InsertNextCell(len(face), face)
    surface = vtkPolyData()
    surface.SetPoints(points)
    surface.SetPolys(cells)
    filler = vtkFillHolesFilter()
    filler.SetInputData(surface)
    filler.SetHoleSize(HOLE_SIZE_MM)
    normals = vtkPolyDataNormals()  # the caps must be wound as the rest, or volumes are wrong
    normals.SetInputConnection(filler.GetOutputPort())
    normals.ConsistencyOn()
    normals.SplittingOff()
    normals.AutoOrientNormalsOn()
    normals.Update()
    return normals.GetOutput()


def inside(surface: vtkPolyData, points_ras: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points `(..., 3)` a closed surface encloses."""
    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(points_ras.reshape(-1, 3)), deep=True))
    cloud = vtkPolyData()
    cloud.SetPoints(points)
    select = vtkSelectEnclosedPoints()
    select.SetInputData(cloud)
    select.SetSurfaceData(surface)
    select.Update()
    flags = vtk_to_numpy(select.GetOutput().GetPointData().GetArray("SelectedPoints"))
    return flags.astype(bool).reshape(points_ras.shape[:-1])


def volume_ml(surface: vtkPolyData) -> float:
    """Volume of a closed surface."""
    mass = vtkMassProperties()
    mass.SetInputData(surface)
    return float(mass.GetVolume()) / 1000.0


def reference_labels(
    surfaces: dict[str, vtkPolyData], points_ras: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Labels at points: LV over RV over the wall between epicardium and both."""
    labels = np.zeros(points_ras.shape[:-1], dtype=np.uint8)
    labels[inside(surfaces["EPI"], points_ras)] = Label.LV_MYOCARDIUM
    labels[inside(surfaces["RV"], points_ras)] = Label.RV_BLOOD_POOL
    labels[inside(surfaces["LV"], points_ras)] = Label.LV_BLOOD_POOL
    return labels


def read_surfaces(path: Path) -> list[dict[str, vtkPolyData]]:
    """Closed surfaces of every phase."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith(".obj")]
        phases = sorted({n.rsplit("_", 1)[1] for n in names})
        return [
            {
                key: read_obj(archive.read(_one(names, f"{stem}_{phase}")).decode())
                for key, stem in SURFACES.items()
            }
            for phase in phases
        ]


def _one(names: list[str], ending: str) -> str:
    return next(n for n in names if n.endswith(ending))


def compare(result: FitResult, reference: list[dict[str, vtkPolyData]], every: int) -> DiceCounts:
    """Dice counts over all slices and every n-th phase; phase k of n is at k / n of the cycle."""
    counts = DiceCounts()
    for k in range(0, len(reference), every):
        for index, cine in enumerate(result.study.slices):
            t = np.array([k / len(reference)])
            corrected = corrected_ras_from_ijk(result, index)
            estimate = render_plane(result.field, corrected, cine.shape, t).labels[0]
            points = pixel_centres_ras(cine.ras_from_ijk, cine.shape)
            counts.add(estimate, reference_labels(reference[k], points))
    return counts


def run(settings: Settings) -> dict[str, Any]:
    """Fit, compare and return all figures."""
    result = fit_input(
        StudyInput(settings.study),
        settings.out / "result",
        prior=load_prior(settings.prior),
        overwrite=True,
    )
    reference = read_surfaces(settings.surfaces)
    evaluation = evaluate(result).to_json_object()
    cavities = {key: [volume_ml(phase[key]) for phase in reference] for key in ("LV", "RV")}
    return {
        "dice_in_plane": compare(result, reference, settings.every).by_key(),
        "intersection_ncc": evaluation["intersection_ncc"],
        "psnr_db": evaluation["psnr_db"],
        "slice_motion_mm": [m.distance_mm for m in result.parameters.slice_motion],
        "volumes": {k: v["estimate"] for k, v in evaluation["volumes"].items()},
        "reference": {
            "edv_ml": max(cavities["LV"]),
            "esv_ml": min(cavities["LV"]),
            "rv_edv_ml": max(cavities["RV"]),
            "rv_esv_ml": min(cavities["RV"]),
        },
    }


def main() -> None:
    """Run, print and write `real_study.json`."""
    settings = tyro.cli(Settings)
    text = json.dumps(run(settings), indent=2)
    write_text_atomically(settings.out / "real_study.json", text)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
