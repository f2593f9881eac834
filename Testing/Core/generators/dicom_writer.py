"""A minimal DICOM writer: planes of a blob heart as classic or enhanced MR images.

`PatientName` and `PatientID` are set to words that must never come out of the program again.
"""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from Testing.Core.generators.blob_heart import BlobHeart, Plane

PATIENT_NAME = "Mustermann^Erika"
PATIENT_ID = "SECRET-4711"
BIRTH_DATE = "19610812"
STUDY_DATE = "20240229"

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
ROOT = "1.2.826.0.1.3680043.10.999"


@dataclass
class DicomFile:
    """A dataset and where it goes."""

    name: str
    dataset: Dataset


def classic_files(planes: Sequence[Plane], heart: BlobHeart) -> list[DicomFile]:
    """One file per plane and phase."""
    return [file for plane in planes for file in classic_series(plane, heart)]


def classic_series(plane: Plane, heart: BlobHeart) -> list[DicomFile]:
    """The files of one plane, in order of time."""
    files = []
    for k, (image, time) in enumerate(zip(plane.images(heart), plane.times_ms, strict=True)):
        ds = common_dataset(plane, MR_IMAGE, f"{plane.series}.{k + 1}")
        ds.InstanceNumber = k + 1
        ds.TriggerTime = float(time)
        ds.NominalInterval = round(plane.rr_interval_ms)
        ds.CardiacNumberOfImages = plane.n_phases
        ds.SliceThickness = plane.thickness_mm
        ds.PixelSpacing = list(plane.spacing_mm)
        ds.ImagePositionPatient = [round(float(v), 6) for v in plane.position_lps]
        ds.ImageOrientationPatient = orientation(plane)
        ds.PixelData = image.tobytes()
        files.append(DicomFile(f"Se{plane.series}/im_{k + 1:03d}.dcm", ds))
    return files


def orientation(plane: Plane) -> list[float]:
    return [round(float(v), 9) for v in (*plane.i_lps, *plane.j_lps)]


def common_dataset(plane: Plane, sop_class: str, uid: str) -> Dataset:
    """What classic and enhanced files share."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(f"{ROOT}.3.{uid}")
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = f"{ROOT}.3.{uid}"
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.Modality = "MR"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "RETRO"]
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PATIENT_NAME, PATIENT_ID, BIRTH_DATE
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = STUDY_DATE
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2.{plane.series}"
    ds.FrameOfReferenceUID = f"{ROOT}.4"
    ds.SeriesNumber, ds.SeriesDescription = plane.series, plane.description
    minutes, seconds = divmod(20 * (plane.series % 150), 60)
    ds.AcquisitionTime = f"10{minutes:02d}{seconds:02d}.000000"
    ds.AcquisitionNumber = 1
    set_pixel_format(ds, plane.shape)
    return ds


def set_pixel_format(ds: Dataset, shape: tuple[int, int]) -> None:
    ds.Rows, ds.Columns = shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0


def enhanced_file(plane: Plane, heart: BlobHeart, order: Sequence[int] | None = None) -> DicomFile:
    """All phases of a plane as one enhanced multi-frame file, frames stored in `order`."""
    order = list(range(plane.n_phases)) if order is None else list(order)
    ds = common_dataset(plane, ENHANCED_MR_IMAGE, f"{plane.series}.900")
    ds.InstanceNumber = 1
    ds.NumberOfFrames = plane.n_phases
    shared, measures, planes = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(plane.spacing_mm), plane.thickness_mm
    planes.ImageOrientationPatient = orientation(plane)
    shared.PixelMeasuresSequence = DicomSequence([measures])
    shared.PlaneOrientationSequence = DicomSequence([planes])
    ds.SharedFunctionalGroupsSequence = DicomSequence([shared])
    ds.PerFrameFunctionalGroupsSequence = DicomSequence([_frame_group(plane, k) for k in order])
    ds.PixelData = plane.images(heart)[order].tobytes()
    return DicomFile(f"enhanced_{plane.series}.dcm", ds)


def enhanced_stack(planes: Sequence[Plane], heart: BlobHeart) -> DicomFile:
    """A whole stack of parallel planes in one enhanced file, phase by phase."""
    file = enhanced_file(planes[0], heart)
    n_phases = planes[0].n_phases
    groups = [_frame_group(p, k) for k in range(n_phases) for p in planes]
    file.dataset.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    file.dataset.NumberOfFrames = len(groups)
    images = np.stack([p.images(heart) for p in planes], axis=1)
    file.dataset.PixelData = images.tobytes()
    return file


def _frame_group(plane: Plane, phase: int) -> Dataset:
    group, position, cardiac, content, value = (Dataset() for _ in range(5))
    position.ImagePositionPatient = [round(float(v), 6) for v in plane.position_lps]
    cardiac.NominalCardiacTriggerDelayTime = float(plane.times_ms[phase])
    cardiac.RRIntervalTimeNominal = plane.rr_interval_ms
    content.TemporalPositionIndex = phase + 1
    value.RescaleSlope, value.RescaleIntercept, value.RescaleType = 1.0, 0.0, "US"
    group.PlanePositionSequence = DicomSequence([position])
    group.CardiacSynchronizationSequence = DicomSequence([cardiac])
    group.FrameContentSequence = DicomSequence([content])
    group.PixelValueTransformationSequence = DicomSequence([value])
    return group


def write_files(files: Iterable[DicomFile], folder: Path) -> Path:
    """Save under their names below `folder`; returns it."""
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        file.dataset.save_as(path, enforce_file_format=True)
    return folder


def zip_folder(folder: Path, path: Path, prefix: str = "") -> Path:
    """All files of a folder as a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def changed(files: Sequence[DicomFile], **values: object) -> list[DicomFile]:
    """The files with attributes set, or deleted where the value is None."""
    for file in files:
        for name, value in values.items():
            if value is not None:
                setattr(file.dataset, name, value)
            elif name in file.dataset:
                delattr(file.dataset, name)
    return list(files)
