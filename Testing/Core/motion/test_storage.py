"""A motion folder holds all of a result, and nothing else passes for one."""

import json
from pathlib import Path

import numpy as np
import pytest

from NISFCore.errors import OutputError, ResultError
from NISFCore.motion.result import MotionFlag, MotionResult
from NISFCore.motion.storage import MOTION_FILE, TENSOR_FILE, load_motion, save_motion
from Testing.Core.motion.movies import CENTRE_RAS, lv_frame, small_field


def a_result() -> MotionResult:
    rng = np.random.default_rng(0)
    return MotionResult(
        displacement_field=small_field().float(),
        frame=lv_frame(),
        points_ras=CENTRE_RAS + 20 * rng.standard_normal((30, 3)),
        cycle_fractions=np.array([0.0, 0.3, 0.6]),
        has_longitudinal=False,
        flags=(MotionFlag("no_long_axis", "no longitudinal strain"),),
        settings={"start": {"n_features": 12}},
        seconds={"start": 0.5},
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder, result = tmp_path / "Bewegung ä", a_result()
    save_motion(result, folder)
    again = load_motion(folder)
    assert np.array_equal(
        again.displacement(result.points_ras, 0.4), result.displacement(result.points_ras, 0.4)
    )
    assert again.flags == result.flags and again.settings == result.settings
    np.testing.assert_array_equal(again.strain().whole, result.strain().whole)


def test_a_folder_is_not_replaced_unasked(tmp_path: Path) -> None:
    save_motion(a_result(), tmp_path / "m")
    with pytest.raises(OutputError):
        save_motion(a_result(), tmp_path / "m")
    save_motion(a_result(), tmp_path / "m", overwrite=True)


def test_what_is_no_motion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no motion folder"):
        load_motion(tmp_path)


@pytest.mark.parametrize("damage", ["version", "key", "json", "tensors", "truncated"])
def test_damage_is_noticed(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "m"
    save_motion(a_result(), folder)
    path = folder / MOTION_FILE
    values = json.loads(path.read_text(encoding="utf-8"))
    if damage == "version":
        path.write_text(json.dumps({**values, "schema_version": 99}), encoding="utf-8")
    elif damage == "key":
        path.write_text(json.dumps({**values, "surprise": 1}), encoding="utf-8")
    elif damage == "json":
        path.write_text("{", encoding="utf-8")
    elif damage == "tensors":
        (folder / TENSOR_FILE).unlink()
    else:
        (folder / TENSOR_FILE).write_bytes((folder / TENSOR_FILE).read_bytes()[:200])
    with pytest.raises(ResultError):
        load_motion(folder)
