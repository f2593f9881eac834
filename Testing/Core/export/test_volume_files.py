"""NIfTI, NRRD, sequences and segmentations: written, read again by their own libraries."""

from pathlib import Path

import nrrd
import numpy as np
import pytest

from NISFCore.export.borders import ras_from_ijk_of_lps
from NISFCore.export.nifti_files import nifti_stream
from NISFCore.export.nrrd_files import (
    LABEL_VOLUME,
    label_fields,
    nrrd_sequence_stream,
    write_segmentation_nrrd,
    write_volume_nrrd,
)
from NISFCore.export.phase_stream import PhaseStream
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine
from NISFCore.labels import FOREGROUND, LABEL_INFO
from Testing.Core.export.nifti import load_nifti

OBLIQUE = rigid(rotation_from_rotvec([0.3, -0.5, 0.7]), [11.0, -22, 33]) @ np.diag([1.5, 2, 3, 1.0])
SHAPE = (4, 5, 6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "Hérz mit Leerzeichen 心"
    path.mkdir()
    return path


def _phases(dtype: type, n: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (n, *SHAPE)).astype(dtype)


def _ras_of(header: dict) -> Affine:
    lps = np.eye(4)
    directions = np.asarray(header["space directions"], dtype=float)
    lps[:3, :3] = directions[~np.isnan(directions).any(axis=1)].T
    lps[:3, 3] = header["space origin"]
    return ras_from_ijk_of_lps(lps)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_nifti_round_trip(folder: Path, dtype: type) -> None:
    phases = _phases(dtype)
    path = folder / "a b.nii.gz"
    with nifti_stream(path, SHAPE, OBLIQUE, 3, 0.04, dtype, "words") as stream:
        for phase in phases:
            stream.write(phase)
    image = load_nifti(path)
    values = np.asarray(image.dataobj)
    assert values.dtype == dtype
    assert np.array_equal(values, phases.transpose(3, 2, 1, 0))
    assert np.allclose(image.affine, OBLIQUE, atol=1e-5)
    qform, code = image.header.get_qform(coded=True)
    assert np.allclose(qform, OBLIQUE, atol=1e-4)
    assert code == 1
    assert image.header.get_zooms() == pytest.approx((1.5, 2, 3, 0.04))
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert bytes(image.header["descrip"]).rstrip(b"\0") == b"words"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_volume_round_trip(folder: Path, dtype: type) -> None:
    values = _phases(dtype)[0]
    path = folder / "v.nrrd"
    write_volume_nrrd(path, values, OBLIQUE, label_fields())
    read, header = nrrd.read(str(path), index_order="C")
    assert read.dtype == dtype
    assert np.array_equal(read, values)
    assert header["space"] == "left-posterior-superior"
    assert np.allclose(_ras_of(header), OBLIQUE)
    assert header["Label2_Name"] == "LV myocardium"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_sequence_round_trip(folder: Path, dtype: type) -> None:
    phases = _phases(dtype)
    t = np.array([0.0, 0.25, 0.7])
    path = folder / "heart.seq.nrrd"
    fields = {"Label1_Name": "LV blood pool"}
    with nrrd_sequence_stream(path, SHAPE, OBLIQUE, t, dtype, LABEL_VOLUME, fields) as stream:
        for phase in phases:
            stream.write(phase)
    read, header = nrrd.read(str(path), index_order="C")
    assert read.dtype == dtype
    assert np.array_equal(read, phases)  # C order: the list axis comes first
    assert np.allclose(_ras_of(header), OBLIQUE)
    assert header["kinds"] == ["domain", "domain", "domain", "list"]
    assert header["labels"][3] == "cycle"
    assert header["units"][3] == "%"
    assert header["axis 3 index type"] == "numeric"
    assert header["axis 3 index values"] == "0 25 70"
    assert header["DataNodeClassName"] == "vtkMRMLLabelMapVolumeNode"
    assert header["Label1_Name"] == "LV blood pool"


def test_segmentation_names_every_label(folder: Path) -> None:
    labels = _phases(np.uint8)[0]
    path = folder / "heart.seg.nrrd"
    write_segmentation_nrrd(path, labels, OBLIQUE)
    read, header = nrrd.read(str(path), index_order="C")
    assert np.array_equal(read, labels)
    assert np.allclose(_ras_of(header), OBLIQUE)
    for index, label in enumerate(FOREGROUND):
        info = LABEL_INFO[label]
        assert header[f"Segment{index}_ID"] == info.key
        assert header[f"Segment{index}_Name"] == info.name
        assert header[f"Segment{index}_LabelValue"] == str(int(label))
        assert header[f"Segment{index}_Layer"] == "0"
        assert header[f"Segment{index}_Extent"] == "0 5 0 4 0 3"
        colour = [float(c) for c in header[f"Segment{index}_Color"].split()]
        assert [round(255 * c) for c in colour] == list(info.rgb)
        assert f"SCT^{info.snomed_code}^{info.snomed_meaning}~" in header[f"Segment{index}_Tags"]
    assert header["Segmentation_MasterRepresentation"] == "Binary labelmap"
    name, value, _ = header["Segmentation_ConversionParameters"].rstrip("&").split("|")
    numbers = [float(x) for x in value.rstrip(";").split(";")]
    assert name == "Reference image geometry"
    assert np.allclose(np.reshape(numbers[:16], (4, 4)), OBLIQUE)
    assert numbers[16:] == [0, 5, 0, 4, 0, 3]


def test_stream_refuses_wrong_shapes_and_counts(folder: Path) -> None:
    phase = np.zeros(SHAPE, dtype=np.uint8)
    stream = PhaseStream(folder / "x.gz", SHAPE, 1, np.dtype(np.uint8))
    with pytest.raises(ValueError, match=r"got shape \(5, 6\), expected \(4, 5, 6\)"), stream:
        stream.write(phase[0])
    with (
        pytest.raises(ValueError, match="1 phases were announced"),
        PhaseStream(folder / "y.gz", SHAPE, 1, np.dtype(np.uint8)),
    ):
        pass
    with PhaseStream(folder / "z.gz", SHAPE, 1, np.dtype(np.uint8)) as stream:
        stream.write(phase)
        with pytest.raises(ValueError, match="0 phases left"):
            stream.write(phase)


def test_equal_contents_give_equal_files(folder: Path) -> None:
    for name in ("a", "b"):
        with nifti_stream(folder / name, SHAPE, OBLIQUE, 1, 1.0, np.uint8) as stream:
            stream.write(np.ones(SHAPE, dtype=np.uint8))
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
