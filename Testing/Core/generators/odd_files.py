"""Damaged or unusually encoded DICOM files. Importing this module registers them."""

import zipfile
from pathlib import Path

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from Testing.Core.generators.dicom_writer import (
    PATIENT_ID,
    PATIENT_NAME,
    DicomFile,
    changed,
    classic_files,
    enhanced_file,
    write_files,
    zip_folder,
)
from Testing.Core.generators.odd_studies import HEART, OddStudy, odd_study, usual


def _files() -> list[DicomFile]:
    return classic_files(usual(), HEART)


def _truncate(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])


# ---------------------------------------------------------------- nothing there


@odd_study
def empty_folder(folder: Path) -> OddStudy:
    return OddStudy(folder, error=r"the folder is empty")


@odd_study
def missing_path(folder: Path) -> OddStudy:
    return OddStudy(folder / "nothing here", error=r"there is no .*nothing here")


@odd_study
def no_dicom_at_all(folder: Path) -> OddStudy:
    (folder / "notes.txt").write_text("hello " * 100, encoding="utf-8")
    (folder / "picture.jpg").write_bytes(bytes(range(256)) * 4)
    return OddStudy(folder, error=r"2 file\(s\) skipped that are not DICOM")


@odd_study
def empty_files(folder: Path) -> OddStudy:
    for k in range(3):
        (folder / f"{k}.dcm").write_bytes(b"")
    return OddStudy(folder, error=r"3 file\(s\) skipped that are not DICOM")


@odd_study
def not_a_zip(folder: Path) -> OddStudy:
    (folder / "study.zip").write_bytes(b"this is no zip" * 50)
    return OddStudy(folder / "study.zip", error=r"not a readable zip")


@odd_study
def damaged_zip_beside_the_files(folder: Path) -> OddStudy:
    write_files(_files(), folder)
    (folder / "old.zip").write_bytes(b"PK\x03\x04 cut off" * 20)
    return OddStudy(folder, usual(), says=[r"1 file\(s\) skipped that are not DICOM"])


@odd_study
def encrypted_zip_beside_the_files(folder: Path) -> OddStudy:
    """Named after the patient, as what a portal sends; the images lie there without it, too."""
    write_files(_files(), folder)
    path = folder / f"{PATIENT_NAME.split('^')[0]}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", b"x")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of an encrypted entry: in its own header and in the directory
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    return OddStudy(folder, usual(), says=[r"a zip inside .* left out: the zip is encrypted"])


@odd_study
def zip_bomb(folder: Path) -> OddStudy:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.dcm", bytes(32 * 2**20))
    return OddStudy(folder / "bomb.zip", error=r"possible zip bomb")


@odd_study
def damaged_zip_member(folder: Path) -> OddStudy:
    write_files(_files(), folder / "x")
    path = zip_folder(folder / "x", folder / "study.zip")
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[0]
    data = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    data[start : start + 40] = bytes(40)
    path.write_bytes(bytes(data))
    return OddStudy(path, usual(), says=[r"1 damaged file.*im_001"], lost_phases={1: 0})


# ---------------------------------------------------------------- damaged files


@odd_study
def truncated_pixels(folder: Path) -> OddStudy:
    write_files(_files(), folder)
    path = folder / "Se3" / "im_005.dcm"
    _truncate(path, path.stat().st_size - 500)
    says = [r"damaged file.*Se3/im_005.dcm", r"1 damaged image\(s\) are missing"]
    return OddStudy(folder, usual(), says=says, lost_phases={3: 4})


@odd_study
def damaged_file_in_a_folder_named_after_the_patient(folder: Path) -> OddStudy:
    write_files(_files(), folder / PATIENT_ID)
    path = folder / PATIENT_ID / "Se3" / "im_005.dcm"
    _truncate(path, path.stat().st_size - 500)
    says = [r"1 damaged file\(s\) skipped: \*\*\*/Se3/im_005.dcm"]
    return OddStudy(folder, usual(), says=says, lost_phases={3: 4})


@odd_study
def truncated_header(folder: Path) -> OddStudy:
    write_files(_files(), folder)
    _truncate(folder / "Se3" / "im_005.dcm", 500)
    return OddStudy(folder, usual(), says=[r"1 (image|damaged|object)"], lost_phases={3: 4})


@odd_study
def everything_truncated(folder: Path) -> OddStudy:
    write_files(_files(), folder)
    for path in folder.rglob("*.dcm"):
        _truncate(path, path.stat().st_size - 500)
    return OddStudy(folder, error=r"no cine series was found.*64 damaged file")


@odd_study
def pixel_data_missing_in_one_series(folder: Path) -> OddStudy:
    files = _files()
    changed([f for f in files if f.dataset.SeriesNumber == 5], PixelData=None)
    planes = [p for p in usual() if p.series != 5]
    path = write_files(files, folder)
    return OddStudy(path, planes, says=[r"series 5 left out: only 0 of 8 images"])


@odd_study
def image_of_zero_size(folder: Path) -> OddStudy:
    files = _files()
    zero = [f for f in files if f.dataset.SeriesNumber == 5]
    changed(zero, Rows=0, PixelData=b"")
    planes = [p for p in usual() if p.series != 5]
    return OddStudy(write_files(files, folder), planes, says=[r"MR without an image"])


@odd_study
def absurd_orientation_in_one_series(folder: Path) -> OddStudy:
    files = _files()
    absurd = [f for f in files if f.dataset.SeriesNumber == 4]
    changed(absurd, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    planes = [p for p in usual() if p.series != 4]
    path = write_files(files, folder)
    return OddStudy(path, planes, says=[r"8 image\(s\) skipped: ImageOrientationPatient"])


@odd_study
def absurd_orientation_everywhere(folder: Path) -> OddStudy:
    files = changed(_files(), ImageOrientationPatient=[0, 0, 0, 0, 0, 0])
    return OddStudy(write_files(files, folder), error=r"perpendicular unit vectors")


@odd_study
def missing_orientation(folder: Path) -> OddStudy:
    files = changed(_files(), ImageOrientationPatient=None)
    return OddStudy(write_files(files, folder), error=r"ImageOrientationPatient is missing")


@odd_study
def missing_pixel_spacing(folder: Path) -> OddStudy:
    files = changed(_files(), PixelSpacing=None)
    return OddStudy(write_files(files, folder), error=r"PixelSpacing is missing")


@odd_study
def zero_pixel_spacing(folder: Path) -> OddStudy:
    files = changed(_files(), PixelSpacing=[0, 1.5])
    return OddStudy(write_files(files, folder), error=r"PixelSpacing is 0 x 1.5 mm")


@odd_study
def position_beyond_any_scanner(folder: Path) -> OddStudy:
    files = _files()
    far = [f for f in files if f.dataset.SeriesNumber == 103]
    changed(far, ImagePositionPatient=[1e6, 0, 0])
    planes = [p for p in usual() if p.series != 103]
    path = write_files(files, folder)
    return OddStudy(path, planes, says=[r"series 103 left out:.*farther than any scanner"])


@odd_study
def absurd_thickness(folder: Path) -> OddStudy:
    files = changed(_files(), SliceThickness=400)
    return OddStudy(write_files(files, folder), error=r"thickness_mm: got 400")


# ---------------------------------------------------------------- encodings


@odd_study
def run_length_compressed(folder: Path) -> OddStudy:
    files = _files()
    for file in files:
        file.dataset.compress(RLELossless, generate_instance_uid=False)
    return OddStudy(write_files(files, folder), usual())


@odd_study
def enhanced_run_length_compressed(folder: Path) -> OddStudy:
    files = [enhanced_file(p, HEART) for p in usual()]
    for file in files:
        file.dataset.compress(RLELossless, generate_instance_uid=False)
    return OddStudy(write_files(files, folder), usual())


@odd_study
def compressed_without_a_decoder(folder: Path) -> OddStudy:
    """JPEG-LS needs the extra; where it is installed, these fake streams are damaged files."""
    files = _files()
    for file in files:
        file.dataset.PixelData = encapsulate([b"\xff\xd8\xff\xf7" + bytes(100)])
        file.dataset["PixelData"].is_undefined_length = True
        file.dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    error = r"NISFCore\[compressed\]|damaged file"
    return OddStudy(write_files(files, folder), error=error)


def _encoded_as(folder: Path, syntax: UID, big_endian: bool = False) -> OddStudy:
    files = _files()
    for file in files:
        ds = file.dataset
        ds.file_meta.TransferSyntaxUID = syntax
        if big_endian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        # pydicom looks at how the bytes are ordered, not only at the transfer syntax.
        ds["PixelData"].VR = "OW"
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        file.dataset.save_as(
            path, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian,
            enforce_file_format=True,
        )  # fmt: skip
    return OddStudy(folder, usual())


@odd_study
def implicit_vr_little_endian(folder: Path) -> OddStudy:
    return _encoded_as(folder, ImplicitVRLittleEndian)


@odd_study
def explicit_vr_big_endian(folder: Path) -> OddStudy:
    return _encoded_as(folder, ExplicitVRBigEndian, big_endian=True)


@odd_study
def deflated(folder: Path) -> OddStudy:
    return _encoded_as(folder, DeflatedExplicitVRLittleEndian)


@odd_study
def without_preamble(folder: Path) -> OddStudy:
    """Old exports start with the first element of group 0008."""
    for file in _files():
        ds = file.dataset
        del ds.file_meta
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(path, implicit_vr=True, little_endian=True)
    return OddStudy(folder, usual())


@odd_study
def rescale_slope_and_intercept(folder: Path) -> OddStudy:
    files = changed(_files(), RescaleSlope=2.5, RescaleIntercept=-100)
    return OddStudy(
        write_files(files, folder), usual(), intensities=lambda v: v.astype(np.float64) * 2.5 - 100
    )


@odd_study
def dark_means_much_signal(folder: Path) -> OddStudy:
    files = changed(_files(), PhotometricInterpretation="MONOCHROME1")
    return OddStudy(
        write_files(files, folder),
        usual(),
        intensities=lambda v: v.max(axis=(1, 2), keepdims=True).astype(np.float64) - v,
    )


@odd_study
def signed_pixels(folder: Path) -> OddStudy:
    files = _files()
    for file in files:
        pixels = np.frombuffer(file.dataset.PixelData, np.uint16).astype(np.int16) - 300
        file.dataset.PixelData = pixels.tobytes()
        file.dataset.PixelRepresentation, file.dataset.BitsStored, file.dataset.HighBit = 1, 16, 15
    path = write_files(files, folder)
    return OddStudy(path, usual(), intensities=lambda v: v.astype(np.int32) - 300)
