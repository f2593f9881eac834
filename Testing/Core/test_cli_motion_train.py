"""`nisf motion train` and what `nisf benchmark motion` refuses."""

import json
from pathlib import Path

import pytest

from NISFCore.cli import main
from NISFCore.motion.priors.config import PriorKind
from NISFCore.motion.priors.file import load_motion_prior


def test_a_prior_is_trained_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "my prior ä.safetensors"
    asked = ["--prior", "consensus", "--subjects", "2", "--iterations", "3", "--out", str(out)]
    assert main(["motion", "train", *asked, "--progress", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["event"] == "result" and lines[-1]["file"] == str(out)
    assert {line.get("stage") for line in lines[:-1]} == {"simulate", "train"}
    info = load_motion_prior(out).info
    assert info.kind is PriorKind.CONSENSUS and info.name == "my prior ä"
    assert info.training["config"]["n_subjects"] == 2
    assert main(["motion", "train", *asked, "--progress", "none"]) == 2


def test_a_prior_of_one_heart_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--prior", "modes", "--subjects", "1", "--out", str(tmp_path / "p.safetensors")]
    assert main(["motion", "train", *asked]) == 2
    assert "needs 2 at least" in " ".join(capsys.readouterr().err.split())


def test_the_motion_benchmark_takes_no_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "motion", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "takes no study" in " ".join(capsys.readouterr().err.split())
