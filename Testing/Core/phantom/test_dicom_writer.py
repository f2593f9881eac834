"""Simulated DICOM: read back through the reader, and looked at as any viewer would."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from NISFCore.data.read import read_study
from NISFCore.errors import OutputError
from NISFCore.phantom import HeartParameters, SimulatedStudy, simulate_study
from NISFCore.phantom.dicom_writer import write_dicom
from NISFCore.phantom.protocol import AcquisitionProtocol


@pytest.fixture(scope="module")
def simulated(quick: AcquisitionProtocol) -> SimulatedStudy:
    return simulate_study(HeartParameters(), replace(quick, n_phases=11), 14)


@pytest.fixture(scope="module")
def folder(simulated: SimulatedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("Böse Pfade") / "di com"
    write_dicom(simulated.study, path, 14)
    return path


def test_reader_finds_the_same_study(simulated: SimulatedStudy, folder: Path) -> None:
    study = read_study(folder)
    assert study.warnings == ()
    assert [(s.name, s.view) for s in study.slices] == [
        (s.name, s.view) for s in simulated.study.slices
    ]
    for read, made in zip(study.slices, simulated.study.slices, strict=True):
        assert np.abs(read.ras_from_ijk - made.ras_from_ijk).max() < 1e-4
        assert np.array_equal(read.frames, made.frames)
        assert read.thickness_mm == pytest.approx(made.thickness_mm)
        assert np.abs(read.trigger_times_ms - made.trigger_times_ms).max() < 1e-3
        assert abs(read.rr_interval_ms - made.rr_interval_ms) <= 0.5  # an integer in DICOM


def test_headers_are_complete_and_synthetic(simulated: SimulatedStudy, folder: Path) -> None:
    files = sorted(folder.rglob("*.dcm"))
    headers = [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
    assert len(headers) == sum(s.n_phases for s in simulated.study.slices)
    assert len({h.SOPInstanceUID for h in headers}) == len(headers)
    assert len({h.SeriesInstanceUID for h in headers}) == len(simulated.study.slices)
    assert len({h.StudyInstanceUID for h in headers}) == 1
    assert len({h.FrameOfReferenceUID for h in headers}) == 1
    assert all(str(h.PatientName).startswith("Simulated^") for h in headers)
    assert all(h.SOPClassUID == pydicom.uid.MRImageStorage for h in headers)
    descriptions = {h.SeriesDescription for h in headers}
    assert not any(word in d.lower() for d in descriptions for word in ("sa", "la_", "ch"))


def test_positions_are_lps(simulated: SimulatedStudy, folder: Path) -> None:
    item = simulated.study.slices[0]
    header = pydicom.dcmread(folder / "series_001" / "image_0001.dcm")
    corner = item.ras_from_ijk[:3, 3]
    assert np.allclose(header.ImagePositionPatient, corner * [-1, -1, 1], atol=1e-4)
    row = item.ras_from_ijk[:3, 0] / item.spacing_mm[0]
    assert np.allclose(header.ImageOrientationPatient[:3], row * [-1, -1, 1], atol=1e-6)


def test_equal_studies_give_equal_files(
    simulated: SimulatedStudy, folder: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    write_dicom(simulated.study, again, 14)
    first = sorted(p.relative_to(folder) for p in folder.rglob("*.dcm"))
    assert first == sorted(p.relative_to(again) for p in again.rglob("*.dcm"))
    for name in first[:: len(first) // 7]:
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_pixels_that_do_not_fit_are_an_error(simulated: SimulatedStudy, tmp_path: Path) -> None:
    item = simulated.study.slices[0]
    bright = replace(item, frames=item.frames * 1000)
    study = replace(simulated.study, slices=(bright,))
    with pytest.raises(OutputError, match="65535"):
        write_dicom(study, tmp_path / "x", 0)
    assert not (tmp_path / "x").exists()


def test_full_folder_is_an_error(simulated: SimulatedStudy, folder: Path) -> None:
    with pytest.raises(OutputError, match="not empty"):
        write_dicom(simulated.study, folder, 14)
