"""The commands as functions: what they read, write, refuse, and leave behind."""

import json
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NISFCore import workflows
from NISFCore.analysis import checked as checking
from NISFCore.analysis.intersections import PairStatistics
from NISFCore.errors import Cancelled, ConfigError, OutputError, PriorError, StudyError
from NISFCore.export.settings import ExportFormat, ExportSettings
from NISFCore.fitting.config import DEFAULT, PAPER, FitConfig, GaussNewtonConfig
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.storage import load_result
from NISFCore.progress import CancelToken
from NISFCore.training import config as training_configs
from NISFCore.views import CARDIAC_VIEWS, LONG_AXIS_VIEWS, View
from NISFCore.workflows import StudyInput
from Testing.Core.events import Keep
from Testing.Core.fitting.teacher import teacher_prior, teacher_study
from Testing.Core.teacher_files import (
    QUICK_FIT,
    QUICK_TRAINING,
    small_prior,
    use_coarse_protocols,
    write_json,
    write_prior,
    write_study,
)

QUICK = FitConfig(GaussNewtonConfig(voxels=(512,) * 3))
NCC_FIGURES = {"intersection_ncc_before", "intersection_ncc_after"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("workflows") / "study ä")


def fitted(source: StudyInput, out: Path, **more: Any) -> FitResult:
    """`fit_input` with quick settings, on the CPU."""
    options: dict[str, Any] = {"prior": small_prior(), "config": QUICK, "device": "cpu"} | more
    return workflows.fit_input(source, out, **options)


@pytest.fixture(scope="module")
def result_folder(study: Path) -> Path:
    folder = study.parent / "result"
    fitted(StudyInput(study), folder)
    return folder


@pytest.fixture(autouse=True)
def few_voxels_for_the_psnr(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure at the end of a fit costs more than these small fits."""
    monkeypatch.setattr("NISFCore.fitting.fit.N_PSNR_VOXELS", 5000)


def test_a_fit_is_written_as_it_is_returned(study: Path, tmp_path: Path) -> None:
    keep = Keep()
    result = fitted(StudyInput(study), tmp_path / "new" / "result ä", progress=keep)
    loaded = load_result(tmp_path / "new" / "result ä")
    np.testing.assert_array_equal(loaded.slice_motions, result.slice_motions)
    assert loaded.figures == result.figures
    assert loaded.seconds == result.seconds
    assert set(result.figures) == {"psnr_db", *NCC_FIGURES}
    assert list(result.seconds) == ["read", "prepare", "fit"]
    ends = [(e.stage, e.step, e.total) for e in keep.events]
    before = [(stage, k, 1) for stage in ("read", "evidence") for k in (0, 1)]
    assert ends == [*before, *[("fit", k, 3) for k in (1, 2, 3)]]
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_a_better_fit_makes_slices_agree(study: Path, tmp_path: Path) -> None:
    result = fitted(StudyInput(study), tmp_path / "result", prior=teacher_prior(), config=DEFAULT)
    figures = result.figures
    assert figures["intersection_ncc_after"] > figures["intersection_ncc_before"] + 0.02
    assert figures["intersection_ncc_after"] > 0.95
    assert not any("agree less" in warning for warning in result.study.warnings)


@pytest.mark.parametrize(
    ("after", "warns"), [(0.7, True), (0.815, False), (0.9, False), (float("nan"), False)]
)
def test_slices_that_agree_less_after_the_fit_are_a_warning(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: float, warns: bool
) -> None:
    def statistics(_: FitResult) -> tuple[PairStatistics, PairStatistics]:
        return PairStatistics(0.82, 0.1, 9), PairStatistics(after, 0.1, 9)

    monkeypatch.setattr(checking, "intersection_ncc_before_after", statistics)
    fitted(StudyInput(study), tmp_path / "result")
    warnings = load_result(tmp_path / "result").study.warnings
    assert any("NCC 0.82 before, 0.70 after" in w for w in warnings) == warns


@pytest.mark.parametrize("views", [(View.SA,), LONG_AXIS_VIEWS], ids=["SA", "LA"])
def test_studies_of_one_kind_of_view(study: Path, tmp_path: Path, views: tuple[View, ...]) -> None:
    """Parallel slices never cross: there is no agreement to tell of, and no NaN in the JSON."""
    result = fitted(StudyInput(study, views=views), tmp_path / "result")
    assert {s.view for s in result.study.slices} == set(views)
    assert NCC_FIGURES & set(result.figures) == (set() if views == (View.SA,) else NCC_FIGURES)
    assert load_result(tmp_path / "result").figures == result.figures
    json.loads((tmp_path / "result" / "result.json").read_text(), parse_constant=pytest.fail)


def test_the_user_corrects_a_view(study: Path) -> None:
    read = StudyInput(study, {"LA_2CH": View.OTHER}).read()
    assert View.LA_2CH not in {s.view for s in read.slices}
    with pytest.raises(StudyError, match="no series LA_5CH in this study; it has"):
        StudyInput(study, {"LA_5CH": View.SA}).read()
    with pytest.raises(StudyError, match="no slice has view OTHER"):
        StudyInput(study, views=(View.OTHER,)).read()


def test_the_user_leaves_slices_out(study: Path) -> None:
    whole = StudyInput(study).read()
    read = StudyInput(study, leave_out=("SA_02", "LA_3CH")).read()
    assert len(read.slices) == len(whole.slices) - 2
    assert {e.slice.name for e in read.excluded} == {"SA_02", "LA_3CH"}
    assert {e.reason for e in read.excluded} == {"left out by the user"}
    with pytest.raises(StudyError, match="leave out: no slice SA_99; this study has SA_01"):
        StudyInput(study, leave_out=("SA_99",)).read()
    with pytest.raises(StudyError, match="every slice is left out"):
        StudyInput(study, leave_out=tuple(s.name for s in whole.slices)).read()


def test_a_prior_may_be_a_file(study: Path, tmp_path: Path) -> None:
    prior = write_prior(tmp_path / "prior ä.safetensors")
    result = fitted(StudyInput(study), tmp_path / "result", prior=prior)
    assert result.prior.info.name == "teacher"
    with pytest.raises(PriorError, match=r"no prior file at .*nowhere"):
        fitted(StudyInput(study), tmp_path / "other", prior=tmp_path / "nowhere")
    assert not (tmp_path / "other").exists()


def test_outputs_are_refused_before_anything_is_read(study: Path, tmp_path: Path) -> None:
    keep = Keep()
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        fitted(StudyInput(study), tmp_path, progress=keep)
    with pytest.raises(OutputError, match="not ours to delete"):
        fitted(StudyInput(study), tmp_path, overwrite=True, progress=keep)
    with pytest.raises(OutputError, match="is a file"):
        fitted(StudyInput(study), tmp_path / "mine", progress=keep)
    assert keep.events == []
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_full_disk_leaves_nothing(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device"):
        fitted(StudyInput(study), tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


def test_reading_is_left_at_once_when_cancelled(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, token = threading.Event(), CancelToken()

    def slow(*_: object, **__: object) -> None:
        finish.wait(60)

    monkeypatch.setattr(workflows, "read_study", slow)
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.monotonic())
        token.cancel()

    threading.Timer(0.2, ask).start()
    with pytest.raises(Cancelled):
        fitted(StudyInput(study), tmp_path / "result", cancel=token)
    assert time.monotonic() - asked[0] < 1.0
    assert list(tmp_path.iterdir()) == []
    finish.set()


def test_a_cancel_after_the_last_step_counts(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = CancelToken()
    original = checking.intersection_ncc_before_after

    def cancelling(fitted_study: Any) -> Any:
        token.cancel()
        return original(fitted_study)

    monkeypatch.setattr(checking, "intersection_ncc_before_after", cancelling)
    with pytest.raises(Cancelled):
        fitted(StudyInput(study), tmp_path / "result", cancel=token)
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_input_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no"):
        fitted(StudyInput(tmp_path / "nowhere"), tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


def test_export_and_evaluation_of_a_folder(result_folder: Path, tmp_path: Path) -> None:
    settings = ExportSettings(spacing_mm=8.0, phases="ED", formats=(ExportFormat.TABLES,))
    manifest = workflows.export_folder(result_folder, tmp_path / "export", settings)
    for file in manifest["files"]:
        assert (tmp_path / "export" / file["path"]).is_file()
    evaluation = workflows.evaluate_folder(result_folder)
    assert evaluation.dice_3d is None  # there is no truth
    assert evaluation.intersection_ncc.after is not None
    assert evaluation.psnr_db is not None
    assert evaluation.seconds["fit"] == load_result(result_folder).seconds["fit"]


def test_configurations_by_name_and_from_a_file(tmp_path: Path) -> None:
    assert workflows.fit_config("default") == DEFAULT
    assert workflows.fit_config("paper") == PAPER
    assert workflows.fit_config(str(write_json(tmp_path / "ä.json", QUICK_FIT))) == QUICK
    assert workflows.training_config("paper") == training_configs.PAPER
    training = workflows.training_config(str(write_json(tmp_path / "t.json", QUICK_TRAINING)))
    assert training.decoder.width == 16
    assert training.weight_rate == training_configs.DEFAULT.weight_rate


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeed": 1}, "unknown setting seeed; allowed: gauss_newton, adam, seed"),
        ({"gauss_newton": {"voxel": [1]}}, "GaussNewtonConfig: unknown setting voxel"),
        ({"gauss_newton": {"voxels": 5}}, "voxels: got 5, expected a list"),
        ({"gauss_newton": {"psf": {"kind": "box"}}}, "kind: got 'box', allowed: none, "),
        ({"adam": {"n_steps": 5}}, "set the other to null"),
        ({"gauss_newton": None, "adam": {"n_steps": 0}}, "n_steps"),
        ({"seed": "one"}, "seed: got 'one', expected int"),
        ([1], "holds no JSON object"),
    ],
)
def test_wrong_settings_of_a_fit(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        workflows.fit_config(str(write_json(tmp_path / "c.json", values)))


def test_wrong_configuration_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"allowed: default, .*paper, or a JSON file"):
        workflows.training_config("papr")
    with pytest.raises(ConfigError, match="allowed: default, paper, tuned-adam, or a JSON file"):
        workflows.fit_config(str(tmp_path))
    (tmp_path / "broken.json").write_bytes(b"{\xff")
    with pytest.raises(ConfigError, match=r"cannot read .*broken\.json"):
        workflows.fit_config(str(tmp_path / "broken.json"))
    misspelt = write_json(tmp_path / "t.json", {"decoder": {"witdh": 5}})
    with pytest.raises(ConfigError, match="DecoderConfig: unknown setting witdh"):
        workflows.training_config(str(misspelt))


def test_view_overrides() -> None:
    found = workflows.view_overrides(("12=LA_3CH", "b=SA", "7=OTHER"))
    assert found == {"12": View.LA_3CH, "b": View.SA, "7": View.OTHER}
    for text in ("12", "12=", "12=LA_5CH", "12=la_3ch", "a=b=SA"):
        with pytest.raises(ConfigError, match="NAME=VIEW with VIEW of SA, LA_2CH"):
            workflows.view_overrides((text,))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole demo, coarse, with a prior that knows no phantom: run, not good."""
    out = tmp_path_factory.mktemp("demo") / "demo ä"
    with pytest.MonkeyPatch.context() as patch:
        use_coarse_protocols(patch)
        formats = (ExportFormat.NIFTI, ExportFormat.TABLES, ExportFormat.REPORT)
        coarse = ExportSettings(spacing_mm=6.0, surface_spacing_mm=6.0, formats=formats)
        patch.setattr(workflows, "ExportSettings", lambda **_: coarse)
        workflows.run_demo(out, prior=small_prior(), device="cpu")
    return out


def test_the_demo_leaves_everything_and_its_figures(demo: Path) -> None:
    assert sorted(p.name for p in demo.iterdir()) == [
        "export", "result", "simulated", "summary.json"
    ]  # fmt: skip
    assert (demo / "export" / "report.html").is_file()
    assert list((demo / "simulated" / "subject_0001" / "dicom").rglob("*.dcm"))
    figures = json.loads((demo / "summary.json").read_text(encoding="utf-8"))
    labels = {"lv_blood_pool", "lv_myocardium", "rv_blood_pool"}
    for key in ("dice_3d", "dice_3d_anchored", "dice_in_plane"):
        assert set(figures[key]) == labels
    pairs = ("slice_motion_mm", "slice_motion_deg", "intersection_ncc", "intersection_dice")
    for key in pairs:
        assert set(figures[key]) == {"before", "after"}
    assert figures["slice_motion_mm"]["before"] > 1.0
    assert {"psnr_db", "ssim"} <= set(figures)
    volumes = {"edv_ml", "esv_ml", "ef_percent", "mass_g", "rv_edv_ml"}
    assert volumes <= set(figures["volumes"])
    assert all(set(v) == {"estimate", "truth", "sd"} for v in figures["volumes"].values())
    assert figures["volumes"]["edv_ml"]["truth"] > 50
    assert {"read", "fit", "export", "evaluate"} <= set(figures["seconds"])
    assert load_result(demo / "result").seconds["fit"] == figures["seconds"]["fit"]


def test_a_demo_replaces_only_a_demo(demo: Path, tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    (tmp_path / "diary").write_text("mine")
    run = partial(workflows.run_demo, prior=small_prior(), cancel=token)
    with pytest.raises(OutputError, match="not ours to delete"):
        run(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="not empty"):
        run(demo)
    before = sorted(p.name for p in demo.iterdir())
    with pytest.raises(Cancelled):
        run(demo, overwrite=True)
    assert sorted(p.name for p in demo.iterdir()) == before  # a cancelled demo leaves the old one
    assert [p.name for p in demo.parent.iterdir()] == [demo.name]


def test_evaluation_with_a_truth(demo: Path) -> None:
    """The same figures again, from the folders alone."""
    truth = demo / "simulated" / "subject_0001" / "truth"
    again = workflows.evaluate_folder(demo / "result", truth).to_json_object()
    figures = json.loads((demo / "summary.json").read_text(encoding="utf-8"))
    for key in ("dice_in_plane", "slice_motion_mm", "intersection_ncc", "psnr_db", "ssim"):
        assert again[key] == figures[key]


def test_the_teacher_study_survives_its_files(study: Path) -> None:
    """What these tests fit is what the exact tests of the solver fit."""
    read, made = StudyInput(study).read(), teacher_study(n_psf_nodes=1, n_phases=4).study
    assert {s.name for s in read.slices} == {s.name for s in made.slices}
    assert {s.view for s in read.slices} == set(CARDIAC_VIEWS)
    by_name = {s.name: s for s in made.slices}
    for s in read.slices:
        np.testing.assert_allclose(s.frames, by_name[s.name].frames, rtol=1e-6)
        np.testing.assert_allclose(s.ras_from_ijk, by_name[s.name].ras_from_ijk, atol=1e-6)
