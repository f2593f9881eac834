"""Simulated studies as real DICOM: one MR Image Storage file per frame, one series per slice.

Nothing but geometry and times says what view a series shows: series have plain names, as a
scanner's, which do say whether they are tagged.
The patient is plainly synthetic. UIDs are made from the seed: equal studies give equal files.
"""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import OutputError
from NISFCore.files import new_folder, write_bytes_atomically
from NISFCore.geometry.spaces import lps_from_ras

STUDY_DATE = "20000101"
START_OF_STUDY_S = 9 * 3600.0
BREATH_HOLD_INTERVAL_S = 30.0
MAX_PIXEL = 65535


def write_dicom(study: CineStudy, folder: Path, seed: int = 0) -> None:
    """Write a study as DICOM files into a new or empty folder, one sub-folder per series.

    Args:
        study: whole-numbered intensities from 0 to 65535 are stored exactly, others rounded.
        folder: appears only when all is written.
        seed: of the UIDs, beside the subject's pseudonym.

    Raises:
        OutputError: if the folder is not empty or cannot be written, or a pixel value is too
            large for 16 bits.
    """
    uids = _Uids(f"{study.subject}/{seed}")
    with new_folder(folder) as temporary:
        for number, item in enumerate(study.slices, start=1):
            series = temporary / f"series_{number:03d}"
            for phase in range(item.n_phases):
                dataset = _frame_dataset(item, study.subject, number, phase, uids)
                write_bytes_atomically(series / f"image_{phase + 1:04d}.dcm", _file_bytes(dataset))


class _Uids:
    """UIDs that depend on nothing but names."""

    def __init__(self, study: str) -> None:
        self._study = study

    def of(self, *parts: object) -> UID:
        # pydicom joins the parts without a separator: ("1", "11") and ("11", "1") would agree.
        return generate_uid(entropy_srcs=["/".join([self._study, *(str(p) for p in parts)])])


def _file_bytes(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _frame_dataset(
    item: CineSlice, subject: str, number: int, phase: int, uids: _Uids
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = uids.of("image", number, phase)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    _set_patient(dataset, subject)
    _set_series(dataset, item, number, phase, uids)
    _set_timing(dataset, item, number, phase)
    _set_geometry(dataset, item)
    _set_pixels(dataset, item, phase)
    return dataset


def _set_patient(dataset: Dataset, subject: str) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = f"Simulated^{subject}"
    dataset.PatientID = f"SIM-{subject}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.PatientPosition = "HFS"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Simulated data, no patient"


def _set_series(dataset: Dataset, item: CineSlice, number: int, phase: int, uids: _Uids) -> None:
    dataset.Modality = "MR"
    dataset.Manufacturer = "NISF simulated scanner"
    dataset.StudyInstanceUID = uids.of("study")
    dataset.StudyID = "1"
    dataset.StudyDescription = "Simulated cardiac MR"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.SeriesInstanceUID = uids.of("series", number)
    dataset.SeriesNumber = number
    _set_sequence(dataset, item)
    dataset.FrameOfReferenceUID = uids.of("frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.InstanceNumber = phase + 1
    dataset.AcquisitionNumber = 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.EchoTrainLength = 1
    dataset.MagneticFieldStrength = 1.5
    dataset.ImagedNucleus = "1H"


def _set_sequence(dataset: Dataset, item: CineSlice) -> None:
    """Balanced SSFP for a cine, spoiled gradient echo behind SPAMM for a tagged slice."""
    name = f"cine_GRE_SPAMM_{len(item.tags)}" if item.tags else "cine_bSSFP_retro"
    dataset.SeriesDescription = dataset.ProtocolName = name
    dataset.ScanningSequence = "GR"
    dataset.SequenceVariant = ["SP"] if item.tags else ["SS", "SK"]
    dataset.EchoTime = 3.9 if item.tags else 1.4
    dataset.FlipAngle = 12 if item.tags else 55
    if item.tags:
        dataset.Tagging = "GRID" if len(item.tags) > 1 else "LINE"
        dataset.TagSpacingFirstDimension = item.tags[0].spacing_mm


def _set_timing(dataset: Dataset, item: CineSlice, number: int, phase: int) -> None:
    start = _time_of_day(START_OF_STUDY_S + number * BREATH_HOLD_INTERVAL_S)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = STUDY_DATE
    dataset.ContentDate = STUDY_DATE
    dataset.StudyTime = _time_of_day(START_OF_STUDY_S)
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = start
    rr_ms = item.rr_interval_ms
    dataset.TriggerTime = _decimal(float(item.trigger_times_ms[phase]))
    dataset.NominalInterval = round(rr_ms)
    dataset.HeartRate = round(60_000.0 / rr_ms)
    dataset.CardiacNumberOfImages = item.n_phases
    dataset.RepetitionTime = _decimal(rr_ms / item.n_phases)


def _time_of_day(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}{whole // 60 % 60:02d}{whole % 60:02d}.000000"


def _set_geometry(dataset: Dataset, item: CineSlice) -> None:
    """DICOM PS3.3 C.7.6.2: LPS, PixelSpacing = (between rows, between columns)."""
    A = lps_from_ras() @ item.ras_from_ijk
    spacing_i, spacing_j = item.spacing_mm
    orientation = [*(A[:3, 0] / spacing_i), *(A[:3, 1] / spacing_j)]
    dataset.ImagePositionPatient = [_decimal(v) for v in A[:3, 3]]
    dataset.ImageOrientationPatient = [_decimal(v) for v in orientation]
    dataset.PixelSpacing = [_decimal(spacing_j), _decimal(spacing_i)]
    dataset.SliceThickness = _decimal(item.thickness_mm)


def _set_pixels(dataset: Dataset, item: CineSlice, phase: int) -> None:
    pixels = _whole_pixels(item, phase)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.SmallestImagePixelValue = int(pixels.min())
    dataset.LargestImagePixelValue = int(pixels.max())
    low, high = np.percentile(item.frames[0], (1, 99.5))
    dataset.WindowCenter = _decimal(float(low + high) / 2)
    dataset.WindowWidth = _decimal(max(1.0, float(high - low)))
    dataset.PixelData = pixels.tobytes()


def _whole_pixels(item: CineSlice, phase: int) -> npt.NDArray[np.uint16]:
    pixels = np.rint(item.frames[phase])
    if pixels.min() < 0 or pixels.max() > MAX_PIXEL:
        raise OutputError(
            f"slice {item.name!r}: pixel values from {pixels.min():g} to {pixels.max():g}, DICOM "
            f"holds 0 to {MAX_PIXEL}; scale the study first"
        )
    return pixels.astype("<u2")


def _decimal(value: float) -> str:
    """A DICOM decimal string: at most 16 characters, as precise as they allow."""
    for digits in range(14, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{value:.6e}"
