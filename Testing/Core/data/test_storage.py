"""`study.json` and `study.safetensors`."""

import json
from pathlib import Path

import numpy as np
import pytest

from NISFCore.data.storage import ARRAYS_NAME, JSON_NAME, load_study, save_study
from NISFCore.errors import OutputError, ResultError
from Testing.Core.data.comparing import assert_same_study
from Testing.Core.data.test_nifti import labelled_study
from Testing.Core.generators.dicom_writer import BIRTH_DATE, PATIENT_ID, PATIENT_NAME, STUDY_DATE


def test_exact_round_trip(tmp_path: Path) -> None:
    study = labelled_study(tmp_path / "dicom")
    save_study(study, tmp_path / "a b ä")
    loaded = load_study(tmp_path / "a b ä")
    assert_same_study(loaded, study, frames_of_excluded=False)
    assert not np.any(loaded.excluded[0].slice.frames)


def test_nothing_identifies_the_patient(tmp_path: Path) -> None:
    save_study(labelled_study(tmp_path / "dicom"), tmp_path / "out")
    stored = b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir())
    for word in (PATIENT_ID, *PATIENT_NAME.split("^"), BIRTH_DATE, STUDY_DATE):
        assert word.encode() not in stored


@pytest.mark.parametrize("name", [JSON_NAME, ARRAYS_NAME])
def test_missing_or_damaged_files(tmp_path: Path, name: str) -> None:
    save_study(labelled_study(tmp_path / "dicom"), tmp_path)
    path = tmp_path / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ResultError, match="damaged"):
        load_study(tmp_path)
    path.unlink()
    with pytest.raises(ResultError, match="missing"):
        load_study(tmp_path)


def test_other_versions_are_refused(tmp_path: Path) -> None:
    save_study(labelled_study(tmp_path / "dicom"), tmp_path)
    values = json.loads((tmp_path / JSON_NAME).read_text(encoding="utf-8"))
    (tmp_path / JSON_NAME).write_text(json.dumps({**values, "version": 2}), encoding="utf-8")
    with pytest.raises(ResultError, match="version"):
        load_study(tmp_path)


def test_missing_arrays_are_found(tmp_path: Path) -> None:
    save_study(labelled_study(tmp_path / "dicom"), tmp_path)
    values = json.loads((tmp_path / JSON_NAME).read_text(encoding="utf-8"))
    values["slices"][0]["key"] = "slice_99"
    (tmp_path / JSON_NAME).write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ResultError, match="damaged"):
        load_study(tmp_path)


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    study = labelled_study(tmp_path / "dicom")
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(OutputError):
        save_study(study, blocker / "folder")
