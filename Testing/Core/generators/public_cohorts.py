"""Blob hearts in the folder layouts of public data sets, written without the code under test."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.uid import UID

from Testing.Core.generators.blob_heart import Plane, blob_heart, la_plane, la_planes, sa_planes
from Testing.Core.generators.dicom_writer import (
    ROOT,
    DicomFile,
    changed,
    classic_files,
    classic_series,
    write_files,
)
from Testing.Core.generators.nifti_writer import blob_labels, ras_affine, save_nifti, volume
from Testing.Core.generators.odd_studies import HEART

STACK = [replace(p, rr_interval_ms=800.0) for p in sa_planes(HEART)]
N_PHASES = STACK[0].n_phases
ED, ES = 0, 3

Labels = npt.NDArray[np.uint8]


def truth(plane: Plane) -> Labels:
    """Labels of a plane by brightness, `(n_phases, rows, cols)`."""
    return np.transpose(blob_labels([plane], HEART)[:, :, 0], (2, 1, 0))


# ---------------------------------------------------------------- UK Biobank


def ukb_planes() -> tuple[list[Plane], list[Plane]]:
    """(short axis, long axis) with the series descriptions of UK Biobank."""
    sa = [replace(p, description=f"CINE_segmented_SAX_b{k}") for k, p in enumerate(STACK, 1)]
    la = [
        replace(p, description=f"CINE_segmented_LAX_{p.truth[3]}Ch") for p in la_planes(HEART, 21)
    ]
    return sa, la


def ukb_zip(path: Path, planes: Sequence[Plane], patient_id: str | None = None) -> Path:
    """A zip of DICOM files named by UIDs, without folders, and a manifest of misspelt name."""
    files = classic_files(planes, HEART)
    if patient_id is not None:
        changed(files, PatientID=patient_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent / "to be zipped"
    lines = ["filename,patientid,studyid,date,series discription"]
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            name = f"{file.dataset.SOPInstanceUID}.dcm"
            file.dataset.save_as(folder.with_suffix(".dcm"), enforce_file_format=True)
            archive.write(folder.with_suffix(".dcm"), name)
            lines.append(f"{name},{file.dataset.PatientID},1,,{file.dataset.SeriesDescription}")
        archive.writestr("manifest.cvs", "\n".join(lines))
    folder.with_suffix(".dcm").unlink()
    return path


def ukb_pair(folder: Path, eid: str) -> tuple[Path, Path]:
    """(long-axis zip, short-axis zip) of a participant, both whole."""
    sa, la = ukb_planes()
    return (
        ukb_zip(folder / f"{eid}_20208_2_0.zip", la),
        ukb_zip(folder / f"{eid}_20209_2_0.zip", sa),
    )


def save_sa_labels(path: Path, annotated: Sequence[int] | None = None) -> Path:
    """The stack's labels as a converter leaves them: apex first, unannotated phases empty."""
    labels = blob_labels(STACK[::-1], HEART)
    kept = range(N_PHASES) if annotated is None else annotated
    labels[..., [k for k in range(N_PHASES) if k not in kept]] = 0
    return save_nifti(path, labels, ras_affine(STACK[::-1]))


# ---------------------------------------------------------------- Data Science Bowl 2015


def kaggle_subject(folder: Path) -> list[Plane]:
    """`study/sax_N`, `2ch_N`, `4ch_N`; the third slice was filmed twice. Returns what is right."""
    la = [la_plane(HEART, "LA_2CH", 41), la_plane(HEART, "LA_4CH", 42)]
    again = replace(STACK[2], series=31)
    names = {"LA_2CH": "2ch", "LA_4CH": "4ch", "SA": "sax"}
    moved = blob_heart(centre_lps=HEART.centre + np.array([0.0, 3.0, 5.0]))
    for plane in [*STACK, again, *la]:
        heart = moved if plane is again else HEART  # another breath-hold
        files = classic_series(replace(plane, description="cine"), heart)
        for k, file in enumerate(files, start=1):
            series = f"study/{names[plane.truth]}_{plane.series}"
            file.name = f"{series}/IM-{4500 + plane.series}-{k:04d}.dcm"
        write_files(files, folder)
    return [*STACK[:2], again, *STACK[3:], *la]


# ---------------------------------------------------------------- Sunnybrook


def sunnybrook_files(planes: Sequence[Plane], series: int) -> list[DicomFile]:
    """A whole stack in one series, images numbered slice by slice."""
    files = [f for p in planes for f in classic_series(replace(p, series=series), HEART)]
    for n, file in enumerate(files, start=1):
        ds = file.dataset
        ds.InstanceNumber, ds.SOPInstanceUID = n, f"{ROOT}.3.{series}.{n}"
        ds.file_meta.MediaStorageSOPInstanceUID = UID(ds.SOPInstanceUID)
        file.name = f"IM-{series:04d}-{n:04d}.dcm"
    return files


def sunnybrook_images(sa: Path, la: Path) -> None:
    """Short-axis and long-axis cines, whose images have the same numbers."""
    write_files(sunnybrook_files(STACK, 3), sa)
    write_files(sunnybrook_files([la_plane(HEART, "LA_4CH", 5)], 5), la)


def image_number(slice_index: int, phase: int) -> int:
    return slice_index * N_PHASES + phase + 1


def circle(radius_mm: float, plane: Plane, n: int = 360) -> npt.NDArray[np.float64]:
    """A circle about the LV axis in pixels, `(n, 2)` x and y; the axis meets the image's centre."""
    rows, cols = plane.shape
    angle = np.linspace(0.0, 2 * np.pi, n, endpoint=False)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.array([(cols - 1) / 2, (rows - 1) / 2]) + unit * radius_mm / plane.spacing_mm[0]


def contour_radii_mm(plane: Plane, phase: int) -> dict[str, float]:
    """Radii of the blob's blood pool and wall in a short-axis plane."""
    height = float((plane.centre_lps - HEART.centre) @ HEART.z)
    squeeze = np.exp(-(((phase / N_PHASES - 0.35) / 0.15) ** 2))
    return {
        "i": (24 - 8 * squeeze) * np.sqrt(1 - (height / 45) ** 2),
        "o": 34 * np.sqrt(1 - (height / 52) ** 2),
    }


def write_contours(folder: Path, drawn: Mapping[tuple[int, int], str]) -> Path:
    """Contour files; `drawn` names the kinds ("io") by (slice, phase)."""
    folder.mkdir(parents=True, exist_ok=True)
    for (k, phase), kinds in drawn.items():
        for kind in kinds:
            radius = contour_radii_mm(STACK[k], phase)[kind]
            save_contour(folder, image_number(k, phase), kind, circle(radius, STACK[k]))
    return folder


def save_contour(folder: Path, number: int, kind: str, points: npt.NDArray[np.float64]) -> Path:
    lines = [f"{x:.3f} {y:.3f}" for x, y in points]
    path = folder / f"IM-0001-{number:04d}-{kind}contour-manual.txt"
    path.write_text("\r\n".join(lines) + "\r\n", encoding="ascii")
    return path


# ---------------------------------------------------------------- NIfTI


def acdc_subject(folder: Path) -> None:
    """`patient001_4d`, `_frame01`, `_frame01_gt`, `Info.cfg`."""
    name, affine = folder.name, ras_affine(STACK)
    data = volume(STACK, HEART)
    labels = np.array([0, 3, 2, 1], dtype=np.uint8)[blob_labels(STACK, HEART)]
    save_nifti(folder / f"{name}_4d.nii.gz", data, affine)
    for phase in (ED, ES):
        stem = f"{name}_frame{phase + 1:02d}"
        save_nifti(folder / f"{stem}.nii.gz", data[..., phase], affine)
        save_nifti(folder / f"{stem}_gt.nii.gz", labels[..., phase], affine)
    (folder / "Info.cfg").write_text(f"ED: 1\nES: 4\nNbFrame: {N_PHASES}\n")


def mnms_subject(folder: Path) -> None:
    """`A0S9V9_sa`, `A0S9V9_sa_gt`."""
    affine, labels = ras_affine(STACK), blob_labels(STACK, HEART)
    labels[..., [k for k in range(N_PHASES) if k not in (ED, ES)]] = 0
    save_nifti(folder / f"{folder.name}_sa.nii.gz", volume(STACK, HEART), affine)
    save_nifti(folder / f"{folder.name}_sa_gt.nii.gz", labels, affine)


def mnms2_subject(folder: Path) -> None:
    """`001_SA_CINE`, `001_SA_ED`, `001_SA_ED_gt` and the same of ES."""
    affine, data, labels = ras_affine(STACK), volume(STACK, HEART), blob_labels(STACK, HEART)
    stem = f"{folder.name}_SA"
    save_nifti(folder / f"{stem}_CINE.nii.gz", data, affine)
    for tag, phase in (("ED", ED), ("ES", ES)):
        save_nifti(folder / f"{stem}_{tag}.nii.gz", data[..., phase], affine)
        save_nifti(folder / f"{stem}_{tag}_gt.nii.gz", labels[..., phase], affine)
