"""The quality report in a result folder: an exact round trip, and results without one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from NISFCore.errors import ResultError
from NISFCore.fitting.quality import QualityFlag, QualityReport, Verdict
from NISFCore.fitting.storage import RESULT_FILE, load_result, save_result
from Testing.Core.fitting.results import made_result

REPORT = QualityReport(
    False,
    (
        QualityFlag("psnr_db", 21.5, (17.0, None), Verdict.RELIABLE, "simulated ä", "fine"),
        QualityFlag("edv_ml", None, (50.0, 400.0), Verdict.NOT_RELIABLE, "cohort", "no heart"),
        QualityFlag("n_phases", 8.0, (12.0, None), Verdict.CHECK, "protocol", "few"),
    ),
)


def test_the_report_is_kept(tmp_path: Path) -> None:
    save_result(replace(made_result(1).result, quality=REPORT), tmp_path / "r")
    assert load_result(tmp_path / "r").quality == REPORT
    stored = json.loads((tmp_path / "r" / RESULT_FILE).read_text(encoding="utf-8"))["quality"]
    assert stored["verdict"] == "not reliable" and stored["kind"] == "initialisation"
    assert [c["name"] for c in stored["checks"]] == ["psnr_db", "edv_ml", "n_phases"]
    assert stored["checks"][0]["allowed"] == [17.0, None]


def test_results_without_checks_can_be_read(tmp_path: Path) -> None:
    save_result(made_result(1).result, tmp_path / "r")
    assert load_result(tmp_path / "r").quality is None
    file = tmp_path / "r" / RESULT_FILE
    values = json.loads(file.read_text(encoding="utf-8"))
    assert values.pop("quality") is None
    file.write_text(json.dumps(values), encoding="utf-8")  # as versions before wrote it
    assert load_result(tmp_path / "r").quality is None


@pytest.mark.parametrize("damage", [{"checks": []}, {"is_guided": "no", "checks": []}])
def test_a_damaged_report_is_an_error(tmp_path: Path, damage: dict[str, object]) -> None:
    save_result(replace(made_result(1).result, quality=REPORT), tmp_path / "r")
    file = tmp_path / "r" / RESULT_FILE
    values = json.loads(file.read_text(encoding="utf-8")) | {"quality": damage}
    file.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ResultError, match="incomplete or damaged"):
        load_result(tmp_path / "r")
