"""A whole benchmark, small and coarse: what it leaves, how it goes on, what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from NISFCore import cli
from NISFCore.benchmark import held_out, process, psf_ablation, run, speed, subjects
from NISFCore.benchmark.figures import FIGURES
from NISFCore.benchmark.plan import QUICK, BenchmarkPlan
from NISFCore.benchmark.run import run_benchmark
from NISFCore.errors import Cancelled, OutputError, StudyError
from NISFCore.fitting.config import FitConfig, GaussNewtonConfig
from NISFCore.model.psf import NO_PSF
from NISFCore.phantom.protocol import CLINICAL, AcquisitionProtocol
from NISFCore.progress import CancelToken, ProgressEvent
from NISFCore.views import View
from Testing.Core.teacher_files import write_prior

SMALL = replace(
    QUICK,
    n_subjects=1,
    n_phases=3,
    levels_mm=(0.0, 4.0),
    n_plane_phases=2,
    dense_spacing_mm=6.0,
    n_dense_phases=3,
    surface_spacing_mm=4.0,
    n_classical=1,
    n_held_out=1,
    n_psf=1,
    n_paper_steps=4,
    paper_voxels=128,
    n_paper_check_steps=1,
    export_spacing_mm=6.0,
    n_export_phases=4,
)
FAST = FitConfig(GaussNewtonConfig(voxels=(256,) * 2))
COARSE = replace(CLINICAL, n_sa_slices=5, pixel_mm=5.0, fov_mm=180.0, n_sub_pixels=1, n_profile=1)


def coarse(seed: object, name: str) -> AcquisitionProtocol:
    del seed, name
    return COARSE


class Keep:
    """Keeps the events of a job, and may ask it to stop."""

    def __init__(self, token: CancelToken | None = None, after: int = 0) -> None:
        self.events: list[ProgressEvent] = []
        self._token, self._after = token, after

    def report(self, event: ProgressEvent) -> None:
        self.events.append(event)
        if self._token is not None and event.step >= self._after:
            self._token.cancel()


@pytest.fixture(autouse=True)
def small_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every experiment once, as briefly as it can be."""
    monkeypatch.setattr(subjects, "sample_protocol", coarse)
    monkeypatch.setattr(held_out, "FITTED_VIEWS", {"SA only": (View.SA,)})
    monkeypatch.setattr(psf_ablation, "VARIANTS", {"none": NO_PSF})
    paper = replace(speed.PAPER, adam=replace(speed.adam_of(speed.PAPER), n_voxels=200))
    tuned = replace(speed.adam_of(speed.TUNED_ADAM), n_steps=2, n_voxels=128)
    monkeypatch.setattr(speed, "PAPER", paper)
    monkeypatch.setattr(speed, "TUNED_ADAM", replace(speed.TUNED_ADAM, adam=tuned))
    monkeypatch.setattr("NISFCore.fitting.fit.N_PSNR_VOXELS", 2000)
    monkeypatch.setattr(run, "process_seconds", lambda *a: {"seconds": [3.0]})
    # sources may be edited while tests run
    monkeypatch.setattr(run, "code_hash", lambda: "as it is")


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prior(tmp_path_factory.mktemp("prior") / "small ä.safetensors")


def bench(out: Path, prior: Path, plan: BenchmarkPlan = SMALL, **more: Any) -> dict[str, Any]:
    return run_benchmark(out, plan, prior=prior, config=FAST, **more)


def test_a_benchmark_from_nothing_to_its_end_with_a_stop_between(
    tmp_path: Path, prior: Path
) -> None:
    out, token = tmp_path / "out ä", CancelToken()
    with pytest.raises(Cancelled, match=r"4 of \d+ parts are finished: run it again"):
        bench(out, prior, progress=Keep(token, after=4), cancel=token)
    assert not (out / "benchmark.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in (out / "parts").glob("*.json")}
    assert len(finished) == 4

    keep = Keep()
    content = bench(out, prior, progress=keep)
    assert [e.step for e in keep.events] == list(range(keep.events[0].total + 1))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert json.loads((out / "benchmark.json").read_text(encoding="utf-8")) == content
    check_content(content)
    check_files(out)

    again = Keep()
    assert bench(out, prior, progress=again)["figures"] == content["figures"]
    assert again.events[-1].seconds < 0.2 * keep.events[-1].seconds


def check_content(content: dict[str, Any]) -> None:
    assert list(content["figures"]) == [figure.key for figure in FIGURES]
    measured = {key for key, value in content["figures"].items() if value is not None}
    # two steps need not reach the plateau, and this plan has no level of 8 mm
    assert measured >= set(content["figures"]) - {
        "speedup_paper",
        "speedup_adam",
        "slice_error_mm_8mm",
    }
    assert set(content["missing"]) == set(content["figures"]) - measured
    assert content["figures"]["process_seconds"] == 3.0
    assert content["machine"]["n_cores"] >= 1 and content["machine"]["cpu"]
    assert {"NISFCore", "python", "torch", "sources"} <= set(content["versions"])
    assert content["definitions"].keys() == content["figures"].keys()
    assert content["plan"]["seed"] == QUICK.seed


def check_files(out: Path) -> None:
    tables = {path.stem for path in (out / "tables").glob("*.csv")}
    assert tables >= {"figures", "table_1", "table_2", "speed", "held_out", "psf", "export"}
    assert tables == {path.stem for path in (out / "tables").glob("*.json")}
    pictures = {path.name for path in (out / "figures").glob("*.png")}
    assert pictures >= {"figure_2a.png", "table_2.png", "appendix_b.png", "appendix_c.png"}
    text = (out / "benchmark.md").read_text(encoding="utf-8")
    assert "Table 1" in text and "Research use only" in text
    assert not list(out.rglob("*.part"))


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, prior: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="not ours"):
        bench(tmp_path, prior)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_the_key_follows_everything_that_decides(
    prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(plan: BenchmarkPlan = SMALL, file: Path = prior, config: FitConfig = FAST) -> str:
        return run.Bench(plan, file, config, CancelToken()).key()

    other = tmp_path / "other.safetensors"
    other.write_bytes(prior.read_bytes())
    assert key() == key(SMALL.with_subjects(7)) == key(file=other)
    assert key() != key(replace(SMALL, n_phases=4))
    assert key() != key(config=replace(FAST, seed=1))
    before = key()
    monkeypatch.setattr(run, "code_hash", lambda: "changed")
    assert key() != before


def test_the_process_is_timed_or_its_error_told(
    tmp_path: Path, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "N_PHASES", 3)
    with pytest.raises(StudyError, match="no prior file"):
        process.process_seconds(SMALL, tmp_path / "missing.safetensors")
    token = CancelToken()
    monkeypatch.setattr(process, "_wait", lambda p: token.cancel())
    with pytest.raises(Cancelled):
        process.process_seconds(SMALL, prior, token)


def test_the_command_passes_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def pretend(out: Path, plan: BenchmarkPlan, **more: Any) -> dict[str, Any]:
        seen.update(out=out, plan=plan, **more)
        return {
            "figures": {"speedup_paper": 123.456, "coverage_95": None},
            "missing": {"coverage_95": "no standard errors"},
            "plan": {"name": plan.name},
        }

    monkeypatch.setattr(run, "run_benchmark", pretend)
    arguments = ["benchmark", "quick", "--out", str(tmp_path / "b"), "--subjects", "2"]
    assert cli.main([*arguments, "--progress", "none"]) == cli.EXIT_DONE
    assert seen["plan"] == QUICK.with_subjects(2)
    assert seen["out"] == tmp_path / "b" and seen["prior"] is None
    output = capsys.readouterr().out
    assert "123.456" in output and "no standard errors" in output
    assert cli.main([*arguments, "--progress", "json"]) == cli.EXIT_DONE
    last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert last["event"] == "result" and last["figures"]["speedup_paper"] == 123.456
