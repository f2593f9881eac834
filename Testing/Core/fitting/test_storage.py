"""Result folders: exact round trip, all or nothing, and a clear word for everything damaged."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from NISFCore.errors import OutputError, ResultError
from NISFCore.fitting import storage
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.storage import (
    PARAMETER_FILE,
    PRIOR_FILE,
    RESULT_FILE,
    load_result,
    result_summary,
    save_result,
)
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.model.shape_warp import ShapeWarp, WarpConfig, warp_modes
from Testing.Core.fitting.results import made_result

FILES = [PARAMETER_FILE, PRIOR_FILE, RESULT_FILE, "study.json", "study.safetensors"]


@pytest.fixture(scope="module")
def result() -> FitResult:
    return made_result(4).result


@pytest.fixture
def saved(result: FitResult, tmp_path: Path) -> Path:
    folder = tmp_path / "Ergebnis ä 心 (1)"
    save_result(result, folder)
    return folder


def test_the_round_trip_is_exact(result: FitResult, saved: Path) -> None:
    loaded = load_result(saved)
    assert loaded.parameters.warp is None
    for name, value in vars(result.parameters).items():
        if name not in ("slice_motion", "warp"):
            np.testing.assert_array_equal(getattr(loaded.parameters, name), value)
            assert getattr(loaded.parameters, name).dtype == value.dtype
    np.testing.assert_array_equal(loaded.slice_motions, result.slice_motions)
    np.testing.assert_array_equal(loaded.canonical_from_ras, result.canonical_from_ras)
    assert loaded.uncertainty is not None and result.uncertainty is not None
    for name, value in vars(result.uncertainty).items():
        np.testing.assert_array_equal(getattr(loaded.uncertainty, name), value)
    assert loaded.frame.assumptions == result.frame.assumptions
    assert loaded.history == result.history
    assert loaded.settings == result.settings
    assert loaded.figures == result.figures
    assert loaded.seconds == result.seconds
    assert loaded.prior.info == result.prior.info
    assert loaded.study.subject == result.study.subject
    for a, b in zip(loaded.study.slices, result.study.slices, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.ras_from_ijk, b.ras_from_ijk)


def test_the_loaded_heart_is_the_same_to_the_bit(result: FitResult, saved: Path) -> None:
    loaded = load_result(saved)
    points = result.field.box.grid(9.0).points_ras().reshape(-1, 3)
    before, after = result.field.evaluate(points, 0.4), loaded.field.evaluate(points, 0.4)
    assert before.intensity.std() > 0.05
    np.testing.assert_array_equal(after.intensity, before.intensity)
    np.testing.assert_array_equal(after.label_probabilities, before.label_probabilities)


def test_a_fit_without_uncertainty_keeps_none(result: FitResult, tmp_path: Path) -> None:
    save_result(replace(result, uncertainty=None), tmp_path / "r")
    assert load_result(tmp_path / "r").uncertainty is None
    rows = json.loads((tmp_path / "r" / RESULT_FILE).read_text(encoding="utf-8"))["slices"]
    assert all("translation_sd_mm" not in row for row in rows)


def test_a_folder_can_be_moved(saved: Path, tmp_path: Path, result: FitResult) -> None:
    """It holds all that it needs, the prior too."""
    (tmp_path / "else where").mkdir()
    moved = saved.rename(tmp_path / "else where" / "心")
    np.testing.assert_array_equal(load_result(moved).slice_motions, result.slice_motions)
    assert sorted(p.name for p in moved.iterdir()) == sorted(FILES)


def test_a_warp_is_part_of_the_heart(result: FitResult, tmp_path: Path) -> None:
    modes = warp_modes(result.prior.info.decoder.region, WarpConfig(shortest_mm=60.0))
    draw = np.random.default_rng(3).standard_normal((len(modes.sd_mm), 3)).astype(np.float32)
    assert result.uncertainty is not None
    n_code = len(result.parameters.latent) + modes.n_coefficients
    warped = replace(
        result,
        parameters=replace(result.parameters, warp=ShapeWarp(modes, 0.2 * draw)),
        uncertainty=replace(result.uncertainty, code_covariance=np.eye(n_code)),
    )
    save_result(warped, tmp_path / "warped")
    loaded = load_result(tmp_path / "warped")
    np.testing.assert_array_equal(loaded.parameters.code, warped.parameters.code)
    canonical = np.random.default_rng(4).uniform(-40, 40, (50, 3))
    points = apply_affine(invert_affine(result.frame.canonical_from_ras), canonical)
    found, expected = (r.field.evaluate(points, 0.3) for r in (loaded, warped))
    np.testing.assert_array_equal(found.label_probabilities, expected.label_probabilities)
    unwarped = result.field.evaluate(points, 0.3).label_probabilities
    assert np.abs(found.label_probabilities - unwarped).max() > 1e-3


def test_the_summary_is_json_for_people(result: FitResult, saved: Path) -> None:
    values = json.loads((saved / RESULT_FILE).read_text(encoding="utf-8"))
    assert values == json.loads(json.dumps(result_summary(result)))
    assert values["schema_version"] == 4
    assert values["research_use_only"] is True
    assert values["prior"] == {"name": "random", "n_subjects": 3}
    assert [s["name"] for s in values["slices"]] == [s.name for s in result.study.slices]
    motion = result.parameters.slice_motion[0]
    row = values["slices"][0]
    assert row["distance_mm"] == pytest.approx(motion.distance_mm)
    np.testing.assert_allclose(np.deg2rad(row["rotation_ras_deg"]), motion.rotvec_rad)
    assert values["history"][1] == vars(result.history[1])


def test_nothing_is_written_over(result: FitResult, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not empty"):
        save_result(result, saved)
    other = made_result(5).result
    save_result(other, saved, overwrite=True)
    np.testing.assert_array_equal(load_result(saved).slice_motions, other.slice_motions)
    diary = tmp_path / "home"
    diary.mkdir()
    (diary / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match="not ours to delete"):
        save_result(result, diary, overwrite=True)
    assert (diary / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize("after", range(4))
def test_a_kill_while_writing_leaves_nothing_that_looks_whole(
    result: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """A process that dies runs no clean-up: after any file, there is no result folder."""

    class Killed(BaseException):
        pass

    names: list[str] = []

    def dying(path: Path, data: Any) -> None:
        if len(names) == after:
            raise Killed
        names.append(path.name)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())

    monkeypatch.setattr(storage, "write_bytes_atomically", dying)
    monkeypatch.setattr(storage, "write_text_atomically", dying)
    monkeypatch.setattr("NISFCore.data.storage.write_bytes_atomically", dying)
    monkeypatch.setattr("NISFCore.data.storage.write_text_atomically", dying)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(Killed):
        save_result(result, tmp_path / "result")
    assert len(names) == after
    assert not (tmp_path / "result").exists()
    with pytest.raises(ResultError, match="no result folder"):
        load_result(tmp_path / "result")


def test_a_full_disk_leaves_nothing(
    result: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_result(result, tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "garbage"])
def test_damaged_files_are_named(saved: Path, name: str, how: str) -> None:
    path = saved / name
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "cut": data[: len(data) // 2], "garbage": b"\xff\x00x"}[how]
        )
    with pytest.raises(ResultError) as error:
        load_result(saved)
    text = str(error.value)
    assert saved.name in text
    assert "no result folder" in text or "damaged" in text or "missing" in text


def edited_json(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    values = edit(values) or values
    (folder / RESULT_FILE).write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda v: v.update(schema_version=99), "schema 99, this software reads 4"),
        (lambda v: v.__delitem__("schema_version"), "schema None"),
        (lambda v: v.__delitem__("history"), "'history' is missing"),
        (lambda v: v.update(history=[{"stage": "fit"}]), "FitStep"),
        (lambda v: v.update(history=[{**v["history"][0], "step": "one"}]), "FitStep.step"),
        (lambda v: v.update(history=7), "history: got 7"),
        (lambda v: v.update(figures={"psnr_db": "high"}), "psnr_db"),
        (lambda v: v.update(figures={"psnr_db": float("nan")}), "NaN"),
        (lambda v: v.update(seconds=None), "seconds"),
        (lambda v: v.update(assumptions="none"), "assumptions"),
        (lambda v: [v], "no JSON object"),
    ],
)
def test_wrong_json_is_explained(
    saved: Path, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    edited_json(saved, edit)
    with pytest.raises(ResultError, match=message):
        load_result(saved)


Tensors = dict[str, np.ndarray]


def rotated(t: Tensors) -> None:
    t["global_pose"][0, 0] *= 1.01


def mirrored(t: Tensors) -> None:
    t["canonical_from_ras"][:3, :3] *= -1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("latent"), "'latent' is missing"),
        (lambda t: t.update(latent=t["latent"][:-1]), r"latent has shape \(3,\)"),
        (lambda t: t.update(latent=t["latent"].astype(np.float64)), "float64, expected"),
        (lambda t: t.update(intensity_scale=t["intensity_scale"][1:]), "intensity_scale has shape"),
        (lambda t: t.update(slice_rotvec_rad=t["slice_rotvec_rad"].T.copy()), "slice_rotvec_rad"),
        (lambda t: t["slice_translation_mm"].fill(np.nan), "slice_translation_mm holds NaN"),
        (lambda t: t["intensity_reference"].fill(0.0), "intensity_reference holds values"),
        (rotated, "global_pose is no rigid motion"),
        (mirrored, "canonical_from_ras is no rigid motion"),
    ],
)
def test_wrong_tensors_are_explained(
    saved: Path, edit: Callable[[Tensors], None], message: str
) -> None:
    tensors = load_file(saved / PARAMETER_FILE)
    edit(tensors)
    save_file(tensors, saved / PARAMETER_FILE)
    with pytest.raises(ResultError, match=message):
        load_result(saved)


def test_parts_of_two_results_do_not_mix(result: FitResult, saved: Path, tmp_path: Path) -> None:
    fewer = replace(
        result,
        study=replace(result.study, slices=result.study.slices[:-1]),
        parameters=replace(
            result.parameters,
            slice_motion=result.parameters.slice_motion[:-1],
            intensity_scale=result.parameters.intensity_scale[:-1],
            intensity_reference=result.parameters.intensity_reference[:-1],
        ),
    )
    save_result(fewer, tmp_path / "fewer")
    shutil.copy(tmp_path / "fewer" / PARAMETER_FILE, saved / PARAMETER_FILE)
    with pytest.raises(ResultError, match=r"expected \(4, 3\)"):
        load_result(saved)


def test_a_prior_of_another_version_inside_is_explained(saved: Path) -> None:
    data = (saved / PRIOR_FILE).read_bytes()
    old, new = rb"\"format_version\": 1", rb"\"format_version\": 7"
    assert old in data
    (saved / PRIOR_FILE).write_bytes(data.replace(old, new))
    with pytest.raises(ResultError, match="prior format 7, this software reads 1"):
        load_result(saved)


def test_what_is_no_result_folder(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", Path(__file__)):
        with pytest.raises(ResultError, match="make one by `nisf fit`"):
            load_result(path)
