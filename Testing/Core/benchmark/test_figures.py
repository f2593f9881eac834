"""Headline figures, tables and pictures from parts with known numbers."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from NISFCore.benchmark.figures import FIGURES, headline, reasons
from NISFCore.benchmark.pictures import all_pictures
from NISFCore.benchmark.store import Arrays, plain
from NISFCore.benchmark.tables import all_tables
from Testing.Core.benchmark.parts import all_parts, speed_part

KEYS = [
    "speedup_paper",
    "speedup_adam",
    "process_seconds",
    "slice_error_mm_4mm",
    "slice_error_deg_4mm",
    "slice_error_mm_8mm",
    "invented_motion_mm",
    "dice_lv_blood_pool",
    "dice_lv_myocardium",
    "dice_rv_blood_pool",
    "dice_anchored",
    "psnr_gap_db",
    "volume_error_ml",
    "ef_error_points",
    "coverage_95",
    "export_speedup",
]


def test_the_figures_are_those_that_were_promised() -> None:
    assert [figure.key for figure in FIGURES] == KEYS
    assert all(figure.definition.endswith(".") for figure in FIGURES)


def test_figures_of_known_parts() -> None:
    values = headline(all_parts())
    expected = {
        "speedup_paper": 100.0,  # geometric mean of 200 and 50
        "speedup_adam": 10.0,
        "process_seconds": 6.0,
        "slice_error_mm_4mm": 2.0,
        "slice_error_deg_4mm": 0.75,
        "slice_error_mm_8mm": 2.0,
        "invented_motion_mm": 0.9,
        "dice_lv_myocardium": 0.85,
        "dice_anchored": 0.75,
        "psnr_gap_db": 4.0,
        "volume_error_ml": 2.0,
        "ef_error_points": 2.0,
        "coverage_95": 100 * (0.5 + 1 + 1) / 3,
        "export_speedup": 12.0,
    }
    assert {k: values[k] for k in expected} == pytest.approx(expected)
    assert reasons(all_parts(), values) == {}


def test_what_cannot_be_had_is_missing_with_a_reason() -> None:
    whole = all_parts()
    silent = [part | {"z": None} for part in whole.accuracy]
    parts = replace(
        whole,
        accuracy=silent,
        alignment={4.0: whole.alignment[4.0]},
        speed=[speed_part(400.0, None, 2.0)],
        export={"speedup": None, "reason": "not built"},
    )
    values = headline(parts)
    why = reasons(parts, values)
    missing = {"speedup_adam", "coverage_95", "export_speedup", "slice_error_mm_8mm"}
    assert {k for k, v in values.items() if v is None} == missing | {"invented_motion_mm"}
    assert why["export_speedup"] == "not built"
    assert "standard errors" in why["coverage_95"]
    assert all(why[key] for key in missing)
    json.dumps(values, allow_nan=False)


def test_tables_hold_the_same_in_every_format() -> None:
    tables = {table.name: table for table in all_tables(all_parts())}
    assert set(tables) == {
        "figures",
        "table_1",
        "dense",
        "volumes",
        "noise",
        "table_2",
        "speed",
        "paper_check",
        "held_out",
        "psf",
        "classical_alignment",
        "classical_hearts",
        "coverage",
        "export",
    }
    for table in tables.values():
        rows = list(csv.reader(io.StringIO(table.csv())))
        assert rows[0] == list(table.columns)
        assert len(rows) == len(table.rows) + 1
        assert all(len(row) == len(table.columns) for row in rows)
        assert table.markdown().count("\n| ") == len(table.rows) + 2
        values = json.loads(json.dumps(plain(table.to_json_object()), allow_nan=False))
        assert len(values["rows"]) == len(table.rows)


def test_table_2_is_by_level_before_and_after() -> None:
    (table,) = (t for t in all_tables(all_parts()) if t.name == "table_2")
    assert [(row[0], row[1]) for row in table.rows] == [
        (level, when) for level in (0.0, 4.0, 8.0) for when in ("before", "after")
    ]
    after_4_mm = table.rows[3]
    assert after_4_mm[4] == f"{2.0:.3f} ± {np.std([1, 2, 2, 3]):.3f}"


def test_an_empty_plan_has_no_empty_tables_or_pictures() -> None:
    parts = replace(all_parts(), classical=[], held_out=[], psf=[], speed=[])
    names = {table.name for table in all_tables(parts)}
    assert not names & {"speed", "held_out", "psf", "classical_alignment", "classical_hearts"}
    assert set(all_pictures(parts, {})) == {"table_2.png", "dice.png"}


def test_every_picture_can_be_drawn() -> None:
    image = np.random.default_rng(0).random((20, 24)).astype(np.float32)
    labels = np.zeros((20, 24), dtype=np.uint8)
    labels[5:15, 5:15] = 1
    profiles: Arrays = {
        f"SA_05 × LA_4CH/{when}/{key}": value
        for when in ("before", "after")
        for key, value in {"a": image, "b": image, "ncc": np.array(0.8)}.items()
    }
    view: Arrays = {
        "image": image,
        "predicted": image,
        "labels": labels,
        "predicted_labels": labels,
    }
    arrays: dict[str, Arrays] = {
        "profiles": profiles,
        "held_out": {f"SA only/{key}": value for key, value in view.items()},
        "psf": {"image": image, "none/plane": image},
    }
    pictures = all_pictures(all_parts(), arrays)
    assert len(pictures) == 6
    for png in pictures.values():
        pixels = imread(io.BytesIO(png))
        assert min(pixels.shape[:2]) > 200
        assert pixels[..., :3].std() > 0.02
