"""The `nisf` program: options, answers, exit codes, JSON lines, cancelling."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from NISFCore._version import __version__
from NISFCore.cli import main
from NISFCore.fitting.config import N_REFIT_STEPS
from NISFCore.fitting.storage import load_result
from Testing.Core.teacher_files import (
    ENDLESS_FIT,
    QUICK_FIT,
    QUICK_TRAINING,
    use_coarse_protocols,
    write_json,
    write_prior,
    write_study,
)

COMMANDS = ["demo", "inspect", "fit", "refit", "export", "batch", "evaluate", "simulate", "train"]
HEAVY = {"torch", "scipy", "vtkmodules", "matplotlib", "pydicom", "skimage", "nibabel"}
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals end a process on Windows")

Text = pytest.CaptureFixture[str]

BUSY_MACHINE_SECONDS = 10.0
"""A job that ignores its cancellation runs for minutes; on a quiet machine it ends within a second,
which a test on a busy one cannot measure."""


def nisf(*arguments: object) -> int:
    """Run the program in this process; its exit code."""
    try:
        return main([str(a) for a in arguments])
    except SystemExit as exit_:
        return int(exit_.code or 0)


def json_lines(text: str) -> list[dict[str, Any]]:
    """Every line must be one JSON object."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(line, dict) for line in lines)
    return lines


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study, a prior, and quick and endless settings."""
    folder = tmp_path_factory.mktemp("cli ä")
    write_study(folder / "study")
    write_prior(folder / "prior.safetensors")
    write_json(folder / "quick.json", QUICK_FIT)
    write_json(folder / "endless.json", ENDLESS_FIT)
    return folder


@pytest.fixture(autouse=True)
def few_voxels_for_the_psnr(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure at the end of a fit costs more than these small fits."""
    monkeypatch.setattr("NISFCore.fitting.fit.N_PSNR_VOXELS", 5000)


def fit_arguments(files: Path, out: Path, config: str = "quick.json") -> list[object]:
    prior = ["--prior", files / "prior.safetensors", "--config", files / config]
    return ["fit", files / "study", "--out", out, *prior, "--device", "cpu"]


# Help and mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["--version"], ["fit"]])
def test_help_and_mistakes_load_no_large_library(arguments: list[str], tmp_path: Path) -> None:
    """They are answered at once: torch alone takes seconds to load."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['nisf', *{arguments!r}]\n"
        "try:\n"
        "    runpy.run_module('NISFCore', run_name='__main__')\n"
        "finally:\n"
        "    print('\\nLOADED', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.returncode == (2 if arguments == ["fit"] else 0), run.stderr
    loaded = set(run.stdout.rsplit("LOADED", 1)[1].split())
    assert "tyro" in loaded
    assert not loaded & HEAVY


def test_version(capsys: Text) -> None:
    assert nisf("--version") == 0
    assert capsys.readouterr().out == f"nisf {__version__}\n"


def test_threads_do_not_spin_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert nisf("--version") == 0
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert nisf("--version") == 0
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_all_its_options(command: str, capsys: Text) -> None:
    assert nisf(command, "--help") == 0
    text = capsys.readouterr().out
    options = {
        "demo": ["--out", "--seed", "--device", "--overwrite"],
        "inspect": ["--json", "--contact-sheet", "--slices", "--views", "--view", "--select"],
        "fit": ["--out", "--prior", "--config", "--device", "--views", "--view", "--labels"],
        "refit": ["--out", "--labels", "--partial", "--numbers", "--device", "--overwrite"],
        "export": ["--out", "--spacing-mm", "--phases", "--formats", "--truth", "--overwrite"],
        "batch": ["--prior", "--views", "--formats", "--workers", "--keep-names"],
        "evaluate": ["--truth", "--json"],
        "simulate": ["--subjects", "--seed", "--preset", "--tags", "--format", "--workers"],
        "train": ["--out", "--config", "--name", "--device", "--resume", "--overwrite"],
    }
    for option in [*options[command], "--progress", "--cancel-file"]:
        assert option in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected one of {demo, inspect, fit"),
        (["fitt"], "fitt"),
        (["fit", "study"], "--out"),
        (["fit", "study", "--out", "r", "--device", "tpu"], "tpu"),
        (["fit", "study", "--out", "r", "--views", "LA_5CH"], "LA_5CH"),
        (["fit", "study", "--out", "r", "--nonsense"], "--nonsense"),
        (["simulate", "out", "--subjects", "many"], "many"),
        (["export", "r", "--out", "e", "--spacing-mm", "fine"], "fine"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], message: str, capsys: Text) -> None:
    assert nisf(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "nowhere", "--out", "r"], "there is no nowhere"),
        (["inspect", "nowhere"], "there is no nowhere"),
        (["export", "nowhere", "--out", "e"], "no result folder"),
        (["evaluate", "nowhere"], "no result folder"),
        (["fit", "nowhere", "--out", "r", "--view", "1=LA_5CH"], "expected NAME=VIEW"),
        (["fit", "nowhere", "--out", "r", "--config", "papr"], "allowed: default, paper"),
        (["fit", "nowhere", "--out", "r", "--prior", "nowhere"], "no prior file at nowhere"),
        (["export", "nowhere", "--out", "e", "--formats", "dicom"], "formats: got 'dicom'"),
        (["export", "nowhere", "--out", "e", "--spacing-mm", "0"], "spacing_mm: got 0"),
        (["export", "nowhere", "--out", "e", "--phases", "XX"], "phases: got 'XX'"),
        (["train", "nowhere", "--out", "p.safetensors"], "no folder nowhere"),
        (["train", "nowhere", "--out", "p"], "must end with .safetensors"),
        (["simulate", "out", "--subjects", "0"], "n_subjects 0"),
    ],
)
def test_errors_are_one_message_or_one_line_of_json(
    arguments: list[str],
    message: str,
    capsys: Text,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "fit" and "--prior" not in arguments:
        arguments = [*arguments, "--prior", str(files / "prior.safetensors")]
    assert nisf(*arguments) == 2
    captured = capsys.readouterr()
    (line,) = [x for x in captured.err.splitlines() if x.startswith("nisf: ")]
    assert message in line
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert nisf(*arguments, "--progress", "json") == 2
    captured = capsys.readouterr()
    last = json_lines(captured.out)[-1]
    assert set(last) == {"event", "message"}
    assert last["event"] == "error"
    assert message in last["message"]
    assert captured.err == ""
    assert list(tmp_path.iterdir()) == []


# One study ---------------------------------------------------------------------------------------


def test_a_fit_says_what_it_found_and_what_comes_next(
    files: Path, tmp_path: Path, capsys: Text
) -> None:
    out = tmp_path / "my result"
    assert nisf(*fit_arguments(files, out)) == 0
    text = capsys.readouterr().out
    assert "SA_01" in text
    assert "intersection NCC" in text
    assert f"result: {out}\n" in text
    assert "next: nisf export " in text
    assert f"{out}-export" in text
    assert len(load_result(out).study.slices) == 9


def test_a_fit_reports_every_step_as_json(files: Path, tmp_path: Path, capsys: Text) -> None:
    assert nisf(*fit_arguments(files, tmp_path / "result"), "--progress", "json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    *progress, result = json_lines(captured.out)
    assert {line["event"] for line in progress} == {"progress"}
    assert all({"stage", "step", "total", "seconds"} <= set(line) for line in progress)
    steps = [line for line in progress if line["stage"] == "fit"]
    assert [(s["step"], s["total"]) for s in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(isinstance(s["loss"], float) and s["psnr_db"] > 5 for s in steps)
    assert [p["step"] for p in progress if p["stage"] == "read"] == [0, 1]
    assert result["event"] == "result"
    assert result["folder"] == str(tmp_path / "result")
    assert result["warnings"] == []
    assert result["psnr_db"] == load_result(tmp_path / "result").figures["psnr_db"]


def test_what_was_assumed_is_told(files: Path, tmp_path: Path, capsys: Text) -> None:
    arguments = [*fit_arguments(files, tmp_path / "result"), "--views", "SA"]
    assert nisf(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    (note,) = [line for line in lines if line.startswith("! no 4-chamber view")]
    assert nisf(*arguments, "--overwrite", "--progress", "json") == 0
    assert note[2:] in json_lines(capsys.readouterr().out)[-1]["warnings"]


def test_silence_can_be_asked_for(files: Path, tmp_path: Path, capsys: Text) -> None:
    assert nisf(*fit_arguments(files, tmp_path / "result"), "--progress", "none") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "result: " in captured.out


def test_views_can_be_chosen_and_corrected(files: Path, tmp_path: Path, capsys: Text) -> None:
    """`--view` before the input, and twice: options must not swallow what follows."""
    first, *rest = fit_arguments(files, tmp_path / "result")
    views = ["--view", "LA_2CH=OTHER", "--view", "SA_01=OTHER"]
    assert nisf(first, *views, *rest, "--views", "SA", "LA_2CH", "LA_4CH") == 0
    names = [s.name for s in load_result(tmp_path / "result").study.slices]
    assert len(names) == 6
    assert {s.view.value for s in load_result(tmp_path / "result").study.slices} == {"SA", "LA_4CH"}


def test_slices_can_be_left_out(files: Path, tmp_path: Path, capsys: Text) -> None:
    first, *rest = fit_arguments(files, tmp_path / "result")
    assert nisf(first, "--leave-out", "SA_01", "--leave-out", "LA_3CH", *rest) == 0
    assert len(load_result(tmp_path / "result").study.slices) == 7


def test_labels_guide_a_fit_and_a_refit(files: Path, tmp_path: Path, capsys: Text) -> None:
    drawn = files / "study" / "SA_03_seg.nii"
    labels = ["--labels", f"{drawn}"]
    assert nisf(*fit_arguments(files, tmp_path / "fit"), *labels, "--progress", "json") == 0
    given = load_result(tmp_path / "fit").settings["labels"]
    assert given["files"] == [drawn.name]
    assert given["frames"] == [{"slice": "SA_03", "phase": k} for k in range(4)]
    refit = ["refit", tmp_path / "fit", "--out", tmp_path / "refit ä", "--device", "cpu"]
    assert nisf(*refit, *labels, "--labels", files / "study" / "LA_4CH_seg.nii") == 0
    assert "refit ä" in capsys.readouterr().out
    second = load_result(tmp_path / "refit ä")
    assert second.settings["labels"]["files"] == [drawn.name, "LA_4CH_seg.nii"]
    assert len(second.history) <= N_REFIT_STEPS


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "needs --labels"),
        (["--labels", "none.nii@0"], "none.nii"),
        (["--labels", "SA_03_seg.nii@ED"], "zero-based"),
    ],
)
def test_a_refit_explains_what_it_lacks(
    more: list[str], message: str, files: Path, tmp_path: Path, capsys: Text
) -> None:
    assert nisf(*fit_arguments(files, tmp_path / "fit"), "--progress", "none") == 0
    assert nisf("refit", tmp_path / "fit", "--out", tmp_path / "again", *more) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "again").exists()


def test_what_exists_is_not_replaced_unasked(files: Path, tmp_path: Path, capsys: Text) -> None:
    arguments = fit_arguments(files, tmp_path / "result")
    assert nisf(*arguments) == 0
    before = (tmp_path / "result" / "result.json").read_bytes()
    capsys.readouterr()
    assert nisf(*arguments) == 2
    assert "not empty" in capsys.readouterr().err
    assert (tmp_path / "result" / "result.json").read_bytes() == before
    assert nisf(*arguments, "--overwrite") == 0
    assert (tmp_path / "result" / "result.json").read_bytes() != before  # other seconds
    (tmp_path / "diary").write_text("mine")
    assert nisf(*fit_arguments(files, tmp_path), "--overwrite") == 2
    assert "not ours to delete" in capsys.readouterr().err
    assert (tmp_path / "diary").read_text() == "mine"


def test_a_place_that_cannot_be_written(files: Path, tmp_path: Path, capsys: Text) -> None:
    (tmp_path / "file").write_text("x")
    assert nisf(*fit_arguments(files, tmp_path / "file" / "result")) == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_full_disk(
    files: Path, tmp_path: Path, capsys: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert nisf(*fit_arguments(files, tmp_path / "result"), "--progress", "json") == 2
    last = json_lines(capsys.readouterr().out)[-1]
    assert last["event"] == "error"
    assert "No space left on device" in last["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_prior_of_another_version(files: Path, tmp_path: Path, capsys: Text) -> None:
    data = (files / "prior.safetensors").read_bytes()
    old, new = rb"\"format_version\": 1", rb"\"format_version\": 9"
    assert old in data
    (tmp_path / "old.safetensors").write_bytes(data.replace(old, new))
    arguments = fit_arguments(files, tmp_path / "result")
    assert nisf(*arguments, "--prior", tmp_path / "old.safetensors") == 2
    assert "prior format 9, this software reads 1" in capsys.readouterr().err


def test_a_misspelt_setting(files: Path, tmp_path: Path, capsys: Text) -> None:
    config = write_json(tmp_path / "c.json", {"gauss_newton": {"voxel": [5]}})
    assert nisf(*fit_arguments(files, tmp_path / "result"), "--config", config) == 2
    assert "unknown setting voxel; allowed: voxels, " in capsys.readouterr().err


def test_inspect_as_json(files: Path, tmp_path: Path, capsys: Text) -> None:
    sheet = tmp_path / "sheet.png"
    assert nisf("inspect", files / "study", "--json", "--contact-sheet", sheet) == 0
    found = json.loads(capsys.readouterr().out)
    keys = {"subject", "slices", "warnings", "assumptions", "missing", "contact_sheet"}
    assert keys <= set(found)
    assert len(found["slices"]) == 9
    for row in found["slices"]:
        assert {"view", "series", "n_phases", "rr_interval_ms", "position_mm"} <= set(row)
        assert row["view"] in ("SA", "LA_2CH", "LA_3CH", "LA_4CH")
        assert (row["n_phases"], row["rr_interval_ms"]) == (4, 900.0)
    assert found["contact_sheet"] == str(sheet)
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_inspect_writes_the_slices_as_sequences(files: Path, tmp_path: Path, capsys: Text) -> None:
    out = tmp_path / "slices ä"
    words = ["inspect", files / "study", "--contact-sheet", "None", "--slices", out]
    for _ in range(2):  # an earlier folder of its own is replaced
        assert nisf(*words, "--progress", "json") == 0
        lines = json_lines(capsys.readouterr().out)
        assert {line["event"] for line in lines[:-1]} == {"progress"}
        assert lines[-1]["event"] == "result"
        names = [row["name"] for row in lines[-1]["slices"]]
        records = json.loads((out / "slices.json").read_text(encoding="utf-8"))["slices"]
        assert [record["name"] for record in records] == names
        assert {r["file"] for r in records} | {"slices.json"} == {p.name for p in out.iterdir()}
    (out / "slices.json").unlink()
    assert nisf(*words) == 2
    assert "holds files that are not ours to delete" in capsys.readouterr().err


def test_inspect_fits_into_eighty_columns(
    files: Path, tmp_path: Path, capsys: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a folder that cannot be written, if no picture is asked for."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    arguments = ["inspect", files / "study", "--view", "SA_02=OTHER", "--contact-sheet", "None"]
    assert nisf(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "LA_4CH" in line]
    assert len(rows) == 1  # no cell is broken
    assert "900" in rows[0]
    (reason,) = [line for line in lines if line.startswith("left out: ")]
    assert "OTHER" in reason
    assert list(tmp_path.iterdir()) == []


# A whole chain -----------------------------------------------------------------------------------


def test_from_simulated_hearts_to_figures(
    tmp_path: Path, capsys: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    """simulate, train, inspect, fit, export, evaluate: each reads what the one before wrote."""
    use_coarse_protocols(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "training.json", QUICK_TRAINING)
    write_json(tmp_path / "fit.json", QUICK_FIT)

    def answer(*arguments: object) -> dict[str, Any]:
        assert nisf(*arguments, "--progress", "json") == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        *progress, last = json_lines(captured.out)
        assert all(line["event"] == "progress" for line in progress)
        assert progress
        assert last["event"] == "result"
        return last

    made = answer("simulate", "cohort", "--subjects", 2, "--preset", "cohort", "--format", "nifti")
    assert made["subjects"] == ["subject_0001", "subject_0002"]
    trained = answer(
        "train", "cohort", "--out", "p.safetensors", "--config", "training.json", "--device", "cpu"
    )
    assert trained == {"event": "result", "file": "p.safetensors"}
    answer("simulate", "patients", "--seed", 5)
    subject = Path("patients", "subject_0001")
    assert nisf("inspect", subject / "dicom", "--json") == 0
    views = [row["view"] for row in json.loads(capsys.readouterr().out)["slices"]]
    assert sorted(set(views)) == ["LA_2CH", "LA_3CH", "LA_4CH", "SA"]
    assert Path("contact-sheet.png").is_file()
    fit = answer(
        "fit", subject / "dicom", "--out", "result", "--prior", "p.safetensors",
        "--config", "fit.json", "--device", "cpu",
    )  # fmt: skip
    assert fit["folder"] == "result"
    coarse = ["--spacing-mm", 8, "--phases", "ED,ES", "--formats", "nifti,tables"]
    exported = answer("export", "result", "--out", "export", *coarse)
    manifest = json.loads(Path("export", "manifest.json").read_text(encoding="utf-8"))
    assert exported["n_files"] == len(manifest["files"]) >= 3
    assert list(Path("export").rglob("*.nii.gz"))
    assert nisf("evaluate", "result", "--truth", subject / "truth", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures["dice_3d"]) == {"lv_blood_pool", "lv_myocardium", "rv_blood_pool"}
    assert figures["slice_motion_mm"]["before"] > 1
    assert figures["volumes"]["ef_percent"]["truth"] > 10
    assert nisf("evaluate", "result") == 0
    text = capsys.readouterr().out
    assert f"{figures['psnr_db']:.3f}" in text
    assert "dice_3d" not in text  # without a truth


@POSIX
@pytest.mark.parametrize("words", [["--version"], ["benchmark", "--help"]])
def test_a_reader_that_had_enough_hears_no_complaint(words: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "NISFCore", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()  # as head does
    assert process.communicate()[1] == b""
    assert process.returncode in (1, 2)  # not all of it was said


def test_people_are_told_where_things_are(
    tmp_path: Path, capsys: Text, monkeypatch: pytest.MonkeyPatch, files: Path
) -> None:
    use_coarse_protocols(monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert nisf("simulate", "hearts", "--progress", "none") == 0
    assert capsys.readouterr().out == "1 subject(s) in hearts\n"
    assert nisf(*fit_arguments(files, Path("result"))) == 0
    coarse = ["--spacing-mm", 9, "--phases", "ED", "--formats", "tables"]
    assert nisf("export", "result", "--out", "export", *coarse) == 0
    assert "files in export" in capsys.readouterr().out


# Cancelling --------------------------------------------------------------------------------------


def cancelled_fit(files: Path, out: Path, ask: Callable[[], None], *more: object) -> float:
    """Run a fit without end in this process, `ask` it to stop, and tell how long that took."""
    asked: list[float] = []

    def later() -> None:
        asked.append(time.monotonic())
        ask()

    timer = threading.Timer(1.5, later)
    timer.start()
    assert nisf(*fit_arguments(files, out, "endless.json"), *more) == 130
    timer.join()
    return time.monotonic() - asked[0]


@pytest.mark.timed
def test_cancel_by_file(files: Path, tmp_path: Path, capsys: Text) -> None:
    stop, out = tmp_path / "stop ä", tmp_path / "out" / "result"
    options = ["--cancel-file", stop, "--progress", "json"]
    assert cancelled_fit(files, out, stop.touch, *options) < BUSY_MACHINE_SECONDS
    *progress, last = json_lines(capsys.readouterr().out)
    assert any(line["stage"] == "fit" for line in progress)
    assert last["event"] == "cancelled"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.timed
@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_cancel_by_signal(
    files: Path, tmp_path: Path, capsys: Text, number: signal.Signals
) -> None:
    out = tmp_path / "out" / "result"
    seconds = cancelled_fit(files, out, lambda: os.kill(os.getpid(), number), "--progress", "none")
    assert seconds < BUSY_MACHINE_SECONDS
    assert "nisf: cancelled by the user" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.timed
@POSIX
def test_an_interrupt_in_a_terminal(files: Path, tmp_path: Path) -> None:
    """The real thing: a process of its own, Ctrl-C in the midst of the fit."""
    out = tmp_path / "out" / "result"
    arguments = [str(a) for a in fit_arguments(files, out, "endless.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "NISFCore", *arguments, "--progress", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        while json.loads(process.stdout.readline()).get("stage") != "fit":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        last = [json.loads(line) for line in process.stdout][-1]
        seconds = time.monotonic() - asked
        assert process.wait(60) == 130
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()
    assert last["event"] == "cancelled"
    assert seconds < BUSY_MACHINE_SECONDS
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_before_the_job_began(
    files: Path, tmp_path: Path, capsys: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while libraries load, or in a command that is no job: no traceback either."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("NISFCore.workflows.read_study", interrupted)
    assert nisf("inspect", files / "study") == 130
    assert capsys.readouterr().err == "nisf: cancelled by the user\n"
