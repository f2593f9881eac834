"""Batches: what is kept, redone, refused and said; with real processes."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from NISFCore.batch import run, subject
from NISFCore.batch.plan import LOCK_FILE, BatchSettings, Subject, plan_batch, subject_inputs
from NISFCore.batch.run import run_batch
from NISFCore.cli import main
from NISFCore.config import from_json_object
from NISFCore.errors import (
    Cancelled,
    CohortError,
    ConfigError,
    NoSeriesError,
    OutputError,
    PriorError,
    StudyError,
)
from NISFCore.files import locked
from NISFCore.fitting.config import FitConfig
from NISFCore.fitting.storage import load_result
from NISFCore.progress import CancelToken, ProgressEvent
from NISFCore.views import View
from Testing.Core.events import Keep
from Testing.Core.generators.blob_heart import blob_heart, usual_planes
from Testing.Core.generators.dicom_writer import changed, classic_files, write_files
from Testing.Core.teacher_files import (
    ENDLESS_FIT,
    QUICK_FIT,
    write_json,
    write_prior,
    write_study,
)

QUICK = from_json_object(FitConfig, QUICK_FIT)
ENDLESS = from_json_object(FitConfig, ENDLESS_FIT)
NAMES = ("Adler Anna", "Bär Bruno", "Cäsar Carla")
PATIENCE_SECONDS = 120.0
VIEWS = (View.LA_2CH, View.LA_4CH)
"""Few slices: quick fits."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies, the second of them unreadable, and a prior."""
    folder = tmp_path_factory.mktemp("batch ä")
    first = write_study(folder / "in" / NAMES[0])
    shutil.copytree(first, folder / "in" / NAMES[2] / "images")
    broken = folder / "in" / NAMES[1]
    broken.mkdir()
    (broken / f"{NAMES[1]}.dcm").write_bytes(b"no DICOM")
    write_prior(folder / "prior.safetensors")
    write_json(folder / "quick.json", QUICK_FIT)
    write_json(folder / "endless.json", ENDLESS_FIT)
    return folder


def settings(files: Path, **more: Any) -> BatchSettings:
    values: dict[str, Any] = {"prior": files / "prior.safetensors", "config": QUICK} | more
    defaults: dict[str, Any] = {"device": "cpu", "formats": (), "views": VIEWS}
    return BatchSettings(**{**defaults, **values})


def times(out: Path) -> dict[str, int]:
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.rglob("result.json")}


def everything_said(out: Path) -> str:
    texts = [p.read_text(encoding="utf-8") for p in out.rglob("*.json")]
    names = [str(p.relative_to(out)) for p in out.rglob("*")]
    return "\n".join([*texts, *names, (out / "summary.csv").read_text(encoding="utf-8")])


def test_one_failure_stops_nothing_else_and_names_nobody(files: Path, tmp_path: Path) -> None:
    out, keep = tmp_path / "out", Keep()
    summary = run_batch(files / "in", out, settings(files, n_workers=2), progress=keep)
    assert summary.counts == {"done": 2, "kept": 0, "failed": 1}
    rows = {row["subject"]: row for row in summary.rows}
    assert list(rows) == ["subject_0001", "subject_0002", "subject_0003"]
    assert rows["subject_0002"]["status"] == "failed"
    assert "no usable DICOM" in rows["subject_0002"]["message"]
    for name in ("subject_0001", "subject_0003"):
        assert len(load_result(out / name / "result").study.slices) == 2
        assert rows[name]["n_slices"] == 2
        assert rows[name]["psnr_db"] > 5
        assert rows[name]["edv_ml"] is None  # nothing was exported
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["subject_0001", "subject_0003"]
    said = everything_said(out) + "\n".join(str(e.message) for e in keep.events)
    assert not [word for name in NAMES for word in name.split() if word in said]
    assert [(e.step, e.total) for e in keep.events] == [(1, 3), (2, 3), (3, 3)]
    with (out / "summary.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["status"] for row in table] == ["done", "failed", "done"]
    stored = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert stored["subjects"] == list(summary.rows)


def test_complete_results_are_kept_and_partial_ones_redone(files: Path, tmp_path: Path) -> None:
    """What a kill can leave: a hidden folder half written, a result without its export."""
    out = tmp_path / "out"
    wanted = settings(files, formats=BatchSettings().formats, keep_names=True)
    run_batch(files / "in", out, wanted)
    assert run_batch(files / "in", out, wanted).counts == {"done": 0, "kept": 2, "failed": 1}
    first, third = out / NAMES[0], out / NAMES[2]
    before = times(out)
    shutil.rmtree(first / "export")
    partial = first / ".export.0123abcd.part"
    partial.mkdir()
    (partial / "volumes.csv").write_text("half")
    (third / "result" / "parameters.safetensors").write_bytes(b"half")
    summary = run_batch(files / "in", out, wanted)
    assert summary.counts == {"done": 2, "kept": 0, "failed": 1}
    assert not partial.exists()
    after = times(out)
    (kept, redone) = sorted(before)
    assert before[kept] == after[kept]  # only its export was missing
    assert before[redone] != after[redone]
    rows = {row["subject"]: row for row in summary.rows}
    for name in (NAMES[0], NAMES[2]):
        function = json.loads((out / name / "export" / "function.json").read_text())
        assert rows[name]["ef_percent"] == function["ef_percent"]


def test_a_new_subject_does_not_shift_the_others(files: Path, tmp_path: Path) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    for name in ("m", "z"):
        (inputs / name).mkdir(parents=True)
        (inputs / name / "x").touch()
    wanted = settings(files)
    before = {s.study.name: s.name for s in plan_batch(inputs, out, wanted)}
    (inputs / "a").mkdir()
    (inputs / "a" / "x").touch()
    after = {s.study.name: s.name for s in plan_batch(inputs, out, wanted)}
    assert before == {"m": "subject_0001", "z": "subject_0002"}
    assert after == {**before, "a": "subject_0003"}


def test_what_counts_as_a_subject(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in ("b", ".hidden", "empty", "out"):
        (root / name).mkdir(parents=True)
    (root / "b" / "x").touch()
    (root / "out" / "batch.json").touch()
    for name in ("a.zip", "notes.txt"):
        (root / name).touch()
    assert [p.name for p in subject_inputs(root, root / "out")] == ["a.zip", "b"]


def test_the_two_zips_of_a_uk_biobank_examination_are_one_subject(tmp_path: Path) -> None:
    """Beside each other, or in a folder for each field; each would be read with the other."""
    names = [f"{eid}_{field}_2_0.zip" for eid in (1000011, 1000012) for field in (20208, 20209)]
    short_axes = [name for name in names if "20209" in name]
    for name in (*names, "1000013_20208_2_0.zip"):
        flat, apart = tmp_path / "flat" / name, tmp_path / "apart" / name.split("_")[1] / name
        for path in (flat, apart):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for root in (tmp_path / "flat", tmp_path / "apart"):
        found = [p.name for p in subject_inputs(root, tmp_path / "out")]
        assert found == [*short_axes, "1000013_20208_2_0.zip"]


def test_a_folder_that_cannot_be_opened_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    iterdir = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert [p.name for p in subject_inputs(tmp_path, tmp_path / "out")] == ["a", "b"]


def test_a_table_that_takes_long_or_is_in_use_does_not_hold_up_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of complete subjects, as when a batch is gone on with; at its end all are told."""
    subjects = [Subject(f"subject_{k:04d}", tmp_path, tmp_path / f"{k}") for k in range(200)]
    n_tried = 0

    def write_slowly(path: Path, text: str) -> None:
        nonlocal n_tried
        n_tried += 1
        time.sleep(0.01)
        if "subject_0199" not in text:
            raise OutputError(f"cannot write {path}: in use")
        path.write_text(text, encoding="utf-8")

    monkeypatch.setattr(run, "write_text_atomically", write_slowly)
    monkeypatch.setattr(run, "is_complete", lambda subject, settings: True)
    run._Batch(subjects, tmp_path, Keep()).run(BatchSettings(), CancelToken())
    assert n_tried < 50
    assert (tmp_path / "summary.csv").read_text(encoding="utf-8").count("kept") == 200


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prior": Path("nowhere")}, PriorError, "no prior file at nowhere"),
        ({"input": "nowhere"}, CohortError, "no folder .*nowhere"),
        ({"input": "in/Adler Anna"}, CohortError, "holds no subjects"),
        ({"out": "in"}, OutputError, "no batch was made there"),
        ({"out": "quick.json"}, OutputError, "not empty"),
    ],
)
def test_what_cannot_begin_is_refused(
    files: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    options = {k: v for k, v in change.items() if k == "prior"}
    inputs = files / change.get("input", "in")
    out = files / change["out"] if "out" in change else tmp_path / "out"
    with pytest.raises(error, match=message):
        run_batch(inputs, out, settings(files, **options))
    assert not list(tmp_path.iterdir())


def test_results_of_different_settings_are_not_mixed(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan_batch(files / "in", out, settings(files))
    plan_batch(files / "in", out, settings(files, n_workers=5, device="auto"))
    with pytest.raises(ConfigError, match=r"other settings \(config\)"):
        plan_batch(files / "in", out, settings(files, config=ENDLESS))
    with pytest.raises(ConfigError, match=r"other settings \(prior\)"):
        plan_batch(files / "in", out, settings(files, prior=None))
    (out / "batch.json").write_text("{")
    with pytest.raises(OutputError, match="damaged"):
        plan_batch(files / "in", out, settings(files))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="workers: got 0"):
        BatchSettings(n_workers=0)
    with pytest.raises(ConfigError, match="spacing_mm: got 0"):
        BatchSettings(spacing_mm=0.0)


def test_messages_do_not_repeat_the_input() -> None:
    study = Path("in") / "Anna (1)" / "images"
    said = (str(study), str(study.parent), "Anna (1)")
    subject = Subject("subject_0001", study, Path("out"), said)
    assert subject.anonymous(f"ANNA (1): nothing in {study}") == (
        "subject_0001: nothing in subject_0001"
    )


@pytest.mark.parametrize(
    ("name", "message", "shown"),
    [
        ("8", "need at least 8 x 8 pixels", "need at least 8 x 8 pixels"),
        ("8", "8: nothing in in/8/x", "subject_0001: nothing in in/subject_0001/x"),
        ("c", "no cine series", "no cine series"),
        ("Li", "Li/im_1.dcm is damaged", "subject_0001/im_1.dcm is damaged"),
        ("李", "李的心脏.nii.gz: empty", "subject_0001的心脏.nii.gz: empty"),
    ],
)
def test_a_short_name_is_not_sought_within_words(name: str, message: str, shown: str) -> None:
    assert Subject("subject_0001", Path(name), Path("out"), (name,)).anonymous(message) == shown


def test_results_are_not_called_after_folders(files: Path, tmp_path: Path) -> None:
    """Of images whose headers name nobody, or somebody else."""
    heart = blob_heart()
    images = changed(classic_files(usual_planes(heart), heart), PatientName="x", PatientID="x")
    study = write_files(images, tmp_path / "in" / NAMES[0])
    damaged = study / "Se101" / f"{NAMES[0]} 3.dcm"
    (study / "Se101" / "im_003.dcm").rename(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-500])
    out = tmp_path / "out"
    assert run_batch(tmp_path / "in", out, settings(files)).counts["done"] == 1
    result = load_result(out / "subject_0001" / "result")
    assert result.study.subject == "subject_0001"
    assert any("Se101/subject_0001 3.dcm" in text for text in result.study.warnings)
    assert not [p for p in out.rglob("*") if p.is_file() and NAMES[0].encode() in p.read_bytes()]


def test_cancel_keeps_what_is_complete(files: Path, tmp_path: Path) -> None:
    out, token = tmp_path / "out", CancelToken()

    class CancelAfterFirst(Keep):
        def report(self, event: ProgressEvent) -> None:
            super().report(event)
            token.cancel()

    wanted = settings(files)
    with pytest.raises(Cancelled, match=r"1 of 3 subjects are complete: run it again"):
        run_batch(files / "in", out, wanted, progress=CancelAfterFirst(), cancel=token)
    before = times(out)
    assert list(before) == [str(Path("subject_0001", "result", "result.json"))]
    assert not list(out.rglob("*.part"))
    stored = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in stored["subjects"]] == ["done"]
    assert run_batch(files / "in", out, wanted).counts == {"done": 1, "kept": 1, "failed": 1}
    assert times(out)[next(iter(before))] == before[next(iter(before))]


# The program -------------------------------------------------------------------------------------


def arguments(files: Path, out: Path, config: str = "quick.json") -> list[str]:
    options = ["--prior", files / "prior.safetensors", "--config", files / config]
    words = ["batch", files / "in", out, *options, "--device", "cpu", "--formats", "none"]
    words += ["--views", *(v.value for v in VIEWS), "--progress", "json"]
    return [str(w) for w in words]


def start(words: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "NISFCore", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


def wait_for_children(process: subprocess.Popen[bytes], n: int) -> list[int]:
    """Process ids of spawned subjects (Linux only)."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        pids = [int(pid) for pid in children.read_text().split()]
        subjects = [pid for pid in pids if b"spawn_main" in _command_line(pid)]
        if len(subjects) >= n:
            return subjects
        time.sleep(0.05)
    raise AssertionError("no subject was begun")


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_until_gone(pids: list[int]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while any(_command_line(pid) for pid in pids):
        assert time.monotonic() < until, "a process was left behind"
        time.sleep(0.05)


def test_exit_codes_and_the_last_line(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(arguments(files, out)) == 1  # one subject cannot be read
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last == {
        "event": "result",
        "folder": str(out),
        "summary": str(out / "summary.csv"),
        "done": 2,
        "kept": 0,
        "failed": 1,
    }
    words = arguments(files, out)
    words[words.index(str(files / "in"))] = str(tmp_path / "nowhere")
    assert main(words) == 2
    stop = tmp_path / "stop"
    stop.touch()
    assert main([*arguments(files, tmp_path / "other"), "--cancel-file", str(stop)]) == 130


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_a_killed_batch_leaves_no_process_and_goes_on(files: Path, tmp_path: Path) -> None:
    """Killed after the first subject is complete, in the midst of another."""
    out = tmp_path / "out"
    process = start(arguments(files, out))
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["message"] == "subject_0001: done"
    subjects = wait_for_children(process, 1)
    process.kill()
    process.communicate()
    wait_until_gone(subjects)
    before = times(out)
    assert main(arguments(files, out)) == 1
    after = times(out)
    assert {k: after[k] for k in before} == before
    assert len(after) == 2
    assert not list(out.rglob("*.part"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_two_batches_do_not_work_in_one_folder(files: Path, tmp_path: Path) -> None:
    """Each would take the other's half-written results away and report its subjects as failed."""
    out = tmp_path / "out"
    process = start(arguments(files, out, "endless.json"))
    try:
        wait_for_children(process, 1)
        with pytest.raises(OutputError, match="another batch is running in it"):
            run_batch(files / "in", out, settings(files, config=ENDLESS))
    finally:
        process.kill()
        process.communicate()
    with locked(out / LOCK_FILE, "free again"):
        pass


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_a_killed_subject_fails_alone(files: Path, tmp_path: Path) -> None:
    """As when memory runs out: its process dies, the others go on."""
    inputs = tmp_path / "in"
    shutil.copytree(files / "in" / NAMES[0], inputs / "a")
    words = arguments(files, tmp_path / "out", "endless.json")
    words[words.index(str(files / "in"))] = str(inputs)
    process = start(words)
    (subject,) = wait_for_children(process, 1)
    os.kill(subject, 9)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    message = json.loads(output.splitlines()[0])["message"]
    assert message == ("subject_0001: failed: its process ended with exit code -9; out of memory?")


# Motion ------------------------------------------------------------------------------------------


def strain_file(folder: Path) -> None:
    """As `fit_motion` leaves it, so far as a batch reads it."""
    folder.mkdir()
    rows = "cycle_fraction,gcs_percent,grs_percent,gls_percent\n0,0,0,\n0.4,-19.5,41,\n0.8,-7,9,\n"
    (folder / "strain.csv").write_text(rows, encoding="utf-8")
    flags = [{"code": "no_longitudinal", "text": "…"}, {"code": "sparse", "text": "…"}]
    write_json(folder / "motion.json", {"flags": flags})
    for name in ("segments.csv", "segment_curves.csv"):
        (folder / name).write_text("segment\n1\n", encoding="utf-8")


def test_strain_stands_in_the_row(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(files, motion=True, formats=BatchSettings().formats)
    one = Subject("subject_0001", files / "in" / NAMES[0], tmp_path / "subject_0001")
    asked: list[tuple[Path, Path | None]] = []

    def follow(result: Path, cancel: CancelToken | None, tagged: Path | None = None) -> None:
        asked.append((result, tagged))
        if tagged is not None:  # as for most studies
            raise NoSeriesError("no tagged series was found")
        strain_file(result / "motion")

    monkeypatch.setattr(subject, "fit_motion", follow)
    subject.treat_subject(one, wanted)
    assert subject.is_complete(one, wanted)
    row = subject.figures_of(one)
    assert (row["gcs_percent"], row["grs_percent"], row["gls_percent"]) == (-19.5, 41.0, None)
    assert row["motion_flags"] == "no_longitudinal; sparse"
    assert (one.folder / "export" / "strain.csv").is_file()
    subject.treat_subject(one, wanted)
    assert asked == [(one.folder / "result", one.study), (one.folder / "result", None)]


def test_tagged_series_are_used_where_there_are_any(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(files, motion=True)
    one = Subject("subject_0001", files / "in" / NAMES[0], tmp_path / "subject_0001")
    asked: list[Path] = []

    def follow(result: Path, cancel: CancelToken | None, tagged: Path) -> None:
        asked.append(tagged)
        strain_file(result / "motion")

    monkeypatch.setattr(subject, "fit_motion", follow)
    subject.treat_subject(one, wanted)
    assert subject.is_complete(one, wanted) and asked == [one.study]


def test_tags_that_cannot_be_followed_are_no_cine(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose tags are broken has no strain rather than another kind of it, and is told why."""
    wanted = settings(files, motion=True)
    one = Subject("subject_0001", files / "in" / NAMES[0], tmp_path / "subject_0001")

    def refuse(result: Path, cancel: CancelToken | None, tagged: Path | None = None) -> None:
        if tagged is not None:
            raise StudyError("the tagged images stand still")
        strain_file(result / "motion")

    monkeypatch.setattr(subject, "fit_motion", refuse)
    with pytest.raises(StudyError, match="stand still"):
        subject.treat_subject(one, wanted)
    assert not subject.is_complete(one, wanted)


def test_what_cannot_be_followed_is_exported_all_the_same(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(files, motion=True, formats=BatchSettings().formats)
    one = Subject("subject_0001", files / "in" / NAMES[0], tmp_path / "subject_0001")

    def refuse(result: Path, cancel: CancelToken | None, tagged: Path | None = None) -> None:
        raise StudyError("the heart has no LV wall at ED")

    monkeypatch.setattr(subject, "fit_motion", refuse)
    with pytest.raises(StudyError, match="no LV wall"):
        subject.treat_subject(one, wanted)
    assert not subject.is_complete(one, wanted)
    row = subject.figures_of(one)
    assert row["edv_ml"] > 0 and row["gcs_percent"] is None
    before = times(tmp_path)
    monkeypatch.setattr(
        subject, "fit_motion", lambda result, cancel, tagged: strain_file(result / "motion")
    )
    subject.treat_subject(one, wanted)
    assert subject.is_complete(one, wanted) and times(tmp_path) == before
    assert (one.folder / "export" / "strain.csv").is_file()
