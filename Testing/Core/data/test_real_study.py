"""The shared real study: geometry against its own headers, views, timing."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from NISFCore.analysis.inspect import inspect_study
from NISFCore.data.canonical import beating_centre_of_slice, canonical_frame_of
from NISFCore.data.read import read_study
from NISFCore.data.study import CineStudy
from NISFCore.geometry.planes import intersection_line
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.views import LONG_AXIS_VIEWS, View

STUDY = Path(__file__).resolve().parents[4] / "shared" / "data" / "bivme-patient1"
pytestmark = [
    pytest.mark.real_study,
    pytest.mark.skipif(
        not STUDY.is_dir(), reason="the shared real study is not beside the checkout"
    ),
]

SA_FOLDERS = ["Se11", "Se1", "Se2", "Se3", "Se4", "Se5"]
LA_FOLDERS = {View.LA_2CH: "Se8", View.LA_3CH: "Se7", View.LA_4CH: "Se6"}


@pytest.fixture(scope="module")
def study() -> CineStudy:
    return read_study(STUDY)


@pytest.fixture(scope="module")
def headers() -> dict[str, list[pydicom.Dataset]]:
    """By folder, in order of TriggerTime, read without NISFCore."""
    found: dict[str, list[pydicom.Dataset]] = {}
    with zipfile.ZipFile(STUDY / "dicom.zip") as archive:
        for name in archive.namelist():
            if name.endswith(".dcm"):
                dataset = pydicom.dcmread(io.BytesIO(archive.read(name)))
                found.setdefault(name.split("/")[-2], []).append(dataset)
    return {k: sorted(v, key=lambda d: float(d.TriggerTime)) for k, v in found.items()}


def folders(study: CineStudy, *views: View) -> list[str]:
    return [s.provenance.source.split("/")[-1] for s in study.of_view(*views)]


def test_views(study: CineStudy) -> None:
    assert folders(study, View.SA) == SA_FOLDERS
    for view, folder in LA_FOLDERS.items():
        assert folders(study, view) == [folder]
    left_out = {e.slice.provenance.source.split("/")[-1] for e in study.excluded}
    assert left_out == {"Se9", "Se10"}
    assert all(e.reason for e in study.excluded)


def test_zip_and_folder_are_the_same_study(study: CineStudy) -> None:
    other = read_study(STUDY / "dicom.zip")
    for a, b in zip(study.slices, other.slices, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.frames, b.frames)


def test_every_slice_against_its_headers(
    study: CineStudy, headers: dict[str, list[pydicom.Dataset]]
) -> None:
    rng = np.random.default_rng(0)
    for item in study.slices:
        files = headers[item.provenance.source.split("/")[-1]]
        first = files[0]
        assert item.rr_interval_ms == float(first.NominalInterval)
        np.testing.assert_allclose(item.trigger_times_ms, [float(d.TriggerTime) for d in files])
        np.testing.assert_array_equal(item.frames, [d.pixel_array for d in files])
        iop = np.array(first.ImageOrientationPatient, dtype=float)
        ipp = np.array(first.ImagePositionPatient, dtype=float)
        row_mm, col_mm = (float(v) for v in first.PixelSpacing)
        for column, row in rng.integers(0, 200, (20, 2)):
            lps = ipp + column * col_mm * iop[:3] + row * row_mm * iop[3:]
            ras = apply_affine(item.ras_from_ijk, [column, row, 0])
            np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-3)


def test_stack_spacing_and_heart_rates(study: CineStudy) -> None:
    rows = inspect_study(study)["slices"]
    positions = [r["position_mm"] for r in rows if r["view"] == "SA"]
    np.testing.assert_allclose(np.diff(positions), -17.7, atol=0.05)
    intervals = [r["rr_interval_ms"] for r in rows]
    assert min(intervals) == 776
    assert max(intervals) == 975
    assert len(set(intervals)) == 11


def test_long_axis_planes_meet_in_the_left_ventricle(study: CineStudy) -> None:
    """Each pair's common line runs along the LV axis and through the middle of the heart."""
    frame = canonical_frame_of(study)
    assert frame.assumptions == ()
    origin = invert_affine(frame.canonical_from_ras)[:3, 3]
    axis = frame.canonical_from_ras[2, :3]
    planes = study.of_view(*LONG_AXIS_VIEWS)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        line = intersection_line(planes[a].ras_from_ijk, planes[b].ras_from_ijk)
        assert line is not None
        point, direction = line
        assert abs(direction @ axis) > np.cos(np.deg2rad(10.0))
        offset = origin - point
        assert np.linalg.norm(offset - (offset @ direction) * direction) < 8.0


def test_beating_is_found_in_the_heart(study: CineStudy) -> None:
    """Mid-ventricular slices beat within a ventricle's width of the LV axis."""
    frame = canonical_frame_of(study)
    for item in study.of_view(View.SA)[1:5]:
        centre = beating_centre_of_slice(item)
        assert centre is not None
        x, y, _ = apply_affine(frame.canonical_from_ras, centre)
        assert np.hypot(x, y) < 30.0


def test_anterior_is_anterior_and_right_is_right(study: CineStudy) -> None:
    canonical_from_ras = canonical_frame_of(study).canonical_from_ras
    assert canonical_from_ras[0, 0] > 0.5  # the RV lies to the patient's right of the LV
    assert canonical_from_ras[1, 1] > 0.5  # the anterior wall lies in front
    assert canonical_from_ras[2, 0] > 0.3  # the base lies to the right of the apex
