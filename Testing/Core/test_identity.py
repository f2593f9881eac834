"""Nothing that the program writes or says identifies a patient.

A DICOM study with a name, an ID and dates in its headers and in the names of its folders and files
goes through every command; then every word and every byte that came out is searched.
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from NISFCore.cli import main
from NISFCore.data.dicom_files import DicomHeader, FolderSource
from NISFCore.data.dicom_frames import frame_records
from NISFCore.data.dicom_identity import DATE, pseudonym, redacted
from Testing.Core.generators.blob_heart import blob_heart, usual_planes
from Testing.Core.generators.dicom_writer import (
    BIRTH_DATE,
    PATIENT_ID,
    PATIENT_NAME,
    STUDY_DATE,
    changed,
    classic_files,
    write_files,
)
from Testing.Core.teacher_files import QUICK_FIT, write_json, write_prior

SECRETS = [*PATIENT_NAME.split("^"), PATIENT_ID, BIRTH_DATE, STUDY_DATE, "2024-02-29"]
NUMBER_OF_THE_ID = re.compile(rb"(?<![\d.])4711(?!\d)")  # but not inside 0.3471193
INNER_FOLDER = "Mustermann_Erika_SECRET-4711/20240229_MR/born 19610812"

LONG_AXIS = ["LA_2CH", "LA_3CH", "LA_4CH"]  # few slices: a short report
COARSE_EXPORT = ["--spacing-mm", 8, "--phases", "ED", "--formats", "nifti,slices,tables,report"]

Text = pytest.CaptureFixture[str]


def found_in(data: bytes) -> list[str]:
    found = [secret for secret in SECRETS if secret.lower().encode() in data.lower()]
    return found + (["4711"] if NUMBER_OF_THE_ID.search(data) else [])


def leaks(folder: Path) -> dict[str, list[str]]:
    """Files below a folder whose content or name says something."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert files
    said = {p: found_in(p.read_bytes() + str(p.relative_to(folder)).encode()) for p in files}
    return {p.name: secrets for p, secrets in said.items() if secrets}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One patient; some files are damaged, so that messages have something to name."""
    root = tmp_path_factory.mktemp("identity") / "input"
    heart = blob_heart()
    folder = write_files(classic_files(usual_planes(heart), heart), root / INNER_FOLDER)
    damaged = sorted(folder.rglob("*.dcm"))[3]
    damaged.write_bytes(damaged.read_bytes()[:700])
    (folder / "Mustermann report.pdf").write_bytes(b"%PDF")
    return root


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    write_prior(folder / "prior.safetensors")
    write_json(folder / "quick.json", QUICK_FIT)
    return folder


def say(capsys: Text, *arguments: object) -> tuple[int, str]:
    """Run a command; its exit code and all that it printed."""
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def fit_options(out: Path, name: str) -> Sequence[object]:
    options = ["--prior", out / "prior.safetensors", "--config", out / "quick.json"]
    return ["--out", out / name, *options, "--device", "cpu"]


def test_headers_hold_what_must_not_come_out(study: Path) -> None:
    """The search finds what it looks for."""
    name = next(study.rglob("*.dcm"))
    assert set(found_in(name.read_bytes())) >= {*SECRETS[:3], BIRTH_DATE, STUDY_DATE}
    assert leaks(study)


@pytest.mark.parametrize(
    ("name", "is_date"),
    [
        ("20240229", True),
        ("MR 2024-02-29", True),
        ("29.02.1961", True),
        ("1.2.826.20240229101530.7", True),
        ("Se12", False),
        ("study 2019", False),
        ("subject_0001", False),
        ("20241399", False),
    ],
)
def test_dates_in_names(name: str, is_date: bool) -> None:
    assert (DATE.search(name) is not None) == is_date


@pytest.mark.parametrize(
    ("name", "folder", "tells"),
    [
        ("Müller^Jürgen", unicodedata.normalize("NFD", "MÜLLER_MR"), True),  # as macOS keeps it
        ("Müller^Jürgen", "Muller", True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田", True),
        ("王^伟", "王伟的心脏", True),
        ("Li^Na", "Li_Na", True),
        ("Li^Na", "slice_final", False),
        ("Doe^J", "JPEG_J", False),
    ],
)
def test_names_of_any_script_are_cut(name: str, folder: str, tells: bool) -> None:
    heart = blob_heart()
    file = changed(classic_files(usual_planes(heart)[:1], heart)[:1], PatientName=name)[0]
    (record,) = frame_records(DicomHeader("im.dcm", file.dataset))
    assert redacted(f"MR/{folder}", [record]) == ("MR/***" if tells else f"MR/{folder}")


def test_the_pseudonym_is_nobodys_name(study: Path) -> None:
    """Of several patients in a folder that is named after one."""
    heart = blob_heart()
    one, two = classic_files(usual_planes(heart)[:1], heart)[:2]
    changed([one], PatientName="Doe^John", PatientID="1")
    records = [r for f in (one, two) for r in frame_records(DicomHeader("im.dcm", f.dataset))]
    assert pseudonym(study / "Mustermann", records) == "subject"
    assert pseudonym(study / "heart 7", records) == "heart 7"


def test_no_command_tells_who_it_was(study: Path, out: Path, capsys: Text) -> None:
    sheet = ["--contact-sheet", out / "sheet.png"]
    runs = [
        ["inspect", study, *sheet],
        ["inspect", study, "--json", *sheet],
        ["fit", study, *fit_options(out, "result"), "--views", *LONG_AXIS],
        ["fit", study, *fit_options(out, "again"), "--progress", "json"],
        ["export", out / "result", "--out", out / "export", *COARSE_EXPORT],
        ["evaluate", out / "result", "--json"],
    ]
    for arguments in runs:
        code, text = say(capsys, *arguments)
        assert code == 0, text
        assert text
        assert found_in(text.encode()) == [], f"{arguments[0]}: {text}"
    assert {"result", "again", "export", "sheet.png"} <= {p.name for p in out.iterdir()}
    assert leaks(out) == {}


def test_a_folder_that_is_named_after_the_patient(study: Path, out: Path, capsys: Text) -> None:
    """What the user typed is the user's; the result still has a pseudonym."""
    named = study / INNER_FOLDER.split("/")[0]
    code, text = say(capsys, "fit", named, *fit_options(out, "named"), "--progress", "json")
    assert code == 0
    assert found_in(text.encode()) == []
    assert leaks(out / "named") == {}


def test_questions_and_errors_name_nobody(
    study: Path, out: Path, capsys: Text, tmp_path: Path
) -> None:
    heart = blob_heart()
    other = changed(
        classic_files(usual_planes(heart), heart), PatientID="SECRET-4712", PatientName="Doe^Erika"
    )
    two = tmp_path / "two"
    write_files(classic_files(usual_planes(heart), heart), two / INNER_FOLDER)
    write_files(other, two / "Doe_Erika")
    broken = tmp_path / "broken"
    (broken / INNER_FOLDER).mkdir(parents=True)
    image = sorted(study.rglob("*.dcm"))[0].read_bytes()
    (broken / INNER_FOLDER / "Mustermann.dcm").write_bytes(image[:900])
    few = tmp_path / "few"
    write_files(classic_files(usual_planes(heart)[:1], heart)[:1], few / INNER_FOLDER)
    for arguments, expected in (
        (["fit", two, *fit_options(out, "two")], "which one is meant"),
        (["fit", two, *fit_options(out, "two"), "--select", "7"], "matches nothing"),
        (["fit", broken, *fit_options(out, "broken")], "no usable DICOM"),
        (["fit", few, *fit_options(out, "few")], "no cine"),
        (["fit", study, *fit_options(out, "few"), "--view", "99=SA"], "no series 99"),
        (["inspect", two], "which one is meant"),
    ):
        code, text = say(capsys, *arguments)
        assert code == 2, text
        assert expected in text
        assert found_in(text.encode()) == [], text
        assert "doe" not in text.lower()


def test_folders_that_cannot_be_opened_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their slices would be missing without a word. Their names are not told."""
    (tmp_path / "Mustermann").mkdir()
    (tmp_path / "a.dcm").touch()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("Mustermann"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    source = FolderSource(tmp_path)
    assert source.names() == ["a.dcm"]
    assert source.problems == [
        "1 folder(s) inside could not be opened (Permission denied): not searched"
    ]
