"""Real studies with reference labels on their own pixels, for `slice_network`."""

import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
import numpy.typing as npt

from NISFCore.benchmark.reference import section_labels
from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.read import read_study
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.data.surface_files import Structure, read_surfaces
from NISFCore.evidence.phases import nearest_phase
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.labels import Label
from NISFCore.views import View

AUTOFD_LABELS = {1: Label.LV_BLOOD_POOL, 2: Label.LV_MYOCARDIUM, 4: Label.RV_BLOOD_POOL}


@dataclass(frozen=True)
class Case:
    """A study whose labels are known, at least at ED (phase 0) and ES.

    Attributes:
        name: of the data set.
        labels: slice name -> `(n_phases, rows, cols)` uint8, right at ED and ES.
        es_fraction: None for a single phase.
    """

    name: str
    study: CineStudy
    canonical_from_ras: Affine
    labels: dict[str, npt.NDArray[np.uint8]]
    es_fraction: float | None


def surface_case(folder: Path) -> Case:
    """The study of `dicom.zip` with the surfaces of `meshes.zip` (see `surface_files`)."""
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(folder / "dicom.zip") as archive:
            archive.extractall(scratch)
        study = read_study(Path(scratch))
    surfaces = read_surfaces(folder / "meshes.zip")
    volumes = [s[Structure.LV].volume_ml for s in surfaces]
    es_fraction = int(np.argmin(volumes)) / len(surfaces)
    labels = {}
    for cine in study.slices:
        values = np.zeros(cine.frames.shape, dtype=np.uint8)
        for fraction in (0.0, es_fraction):
            surface = surfaces[round(fraction * len(surfaces)) % len(surfaces)]
            labels_there = section_labels(surface, cine.ras_from_ijk, cine.shape)
            values[nearest_phase(cine, fraction)] = labels_there
        labels[cine.name] = values
    frame = canonical_frame_of(study).canonical_from_ras
    return Case(folder.name, study, frame, labels, es_fraction)


def autofd_cases(folder: Path) -> Iterator[Case]:
    """Stacks of one phase, apex to base along k, with masks."""
    for subject in sorted(p for p in folder.iterdir() if (p / "sa_ED.nii.gz").is_file()):
        yield _autofd_case(subject)


def _autofd_case(folder: Path) -> Case:
    image, A = _volume(folder / "sa_ED.nii.gz")
    mask, mask_affine = _volume(folder / "seg_sa_ED.nii.gz")
    first = round(float((np.linalg.inv(mask_affine) @ A[:, 3])[2]))
    frames = image.astype(np.float32)
    labels, slices = {}, []
    for k in range(frames.shape[2]):
        cine = _still_slice(f"SA_{k + 1:02d}", frames[:, :, k], A, k)
        slices.append(cine)
        labels[cine.name] = _our_labels(mask[:, :, first + k])[None]
    study = CineStudy(tuple(slices), folder.name, has_patient_orientation=False)
    return Case("autofd", study, _frame_of_masks(study, labels, A), labels, None)


def _volume(path: Path) -> tuple[npt.NDArray[np.generic], Affine]:
    """Voxels `[i, j, k]` and ras_from_ijk of a NIfTI file."""
    image = cast(nib.Nifti1Image, nib.load(path))
    values = np.asanyarray(image.dataobj)
    return values.reshape(values.shape[:3]), np.asarray(image.affine, dtype=np.float64)


def _still_slice(name: str, image_ij: npt.NDArray[np.float32], A: Affine, k: int) -> CineSlice:
    """Plane `k` of a volume `[i, j]` as a cine of one phase."""
    ras_from_ijk = A.copy()
    ras_from_ijk[:3, 3] = apply_affine(A, [0, 0, k])
    thickness_mm = float(np.linalg.norm(A[:3, 2]))
    ras_from_ijk[:3, 2] = np.cross(A[:3, 0], A[:3, 1])
    ras_from_ijk[:3, 2] *= thickness_mm / np.linalg.norm(ras_from_ijk[:3, 2])
    frames = np.ascontiguousarray(image_ij.T)[None]
    return CineSlice(name, View.SA, frames, ras_from_ijk, thickness_mm, np.zeros(1), 900.0)


def _our_labels(mask_ij: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    labels = np.zeros(mask_ij.T.shape, dtype=np.uint8)
    for number, label in AUTOFD_LABELS.items():
        labels[number == mask_ij.T] = label
    return labels


def _frame_of_masks(
    study: CineStudy, labels: dict[str, npt.NDArray[np.uint8]], A: Affine
) -> Affine:
    """canonical_from_ras: z along the stack, x from LV to RV, origin on the LV axis, mid-stack."""
    z = A[:3, 2] / np.linalg.norm(A[:3, 2])
    points = {label: _points_of(study, labels, label) for label in AUTOFD_LABELS.values()}
    lv = points[Label.LV_BLOOD_POOL].mean(axis=0)
    x = points[Label.RV_BLOOD_POOL].mean(axis=0) - lv
    x = x - (x @ z) * z
    x = x / np.linalg.norm(x)
    heights = [float(c.centre_ras @ z) for c in study.slices]
    origin = lv + ((min(heights) + max(heights)) / 2 - lv @ z) * z
    rotation = np.stack([x, np.cross(z, x), z])
    return rigid(rotation, -rotation @ origin)


def _points_of(
    study: CineStudy, labels: dict[str, npt.NDArray[np.uint8]], label: Label
) -> npt.NDArray[np.float64]:
    """RAS points of all pixels with a label."""
    parts = [
        pixel_centres_ras(c.ras_from_ijk, c.shape)[labels[c.name][0] == label] for c in study.slices
    ]
    return np.concatenate(parts)
