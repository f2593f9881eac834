"""What may be asked of an export, and tables."""

import csv
import io
import json

import numpy as np
import pytest

from NISFCore.analysis.volumes import VentricularFunction, VolumeCurve
from NISFCore.config import from_json_object, to_json_object
from NISFCore.errors import ConfigError
from NISFCore.export.settings import (
    ALL_FORMATS,
    STANDARD_FORMATS,
    ExportFormat,
    ExportSettings,
    parse_formats,
)
from NISFCore.export.tables import function_csv, function_json, volumes_csv
from NISFCore.function_names import FUNCTION_NAMES

LV_ML = [90.0, 120.0, 80.0, 50.0, 70.0]


def _curve() -> VolumeCurve:
    volumes = np.zeros((5, 4))
    volumes[:, 1] = LV_ML
    volumes[:, 2] = 100
    volumes[:, 3] = [130, 140, 100, 60, 80]
    return VolumeCurve(np.arange(5) / 5, volumes)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ("all", (0, 1, 2, 3, 4)),
        ("ED,ES", (1, 3)),
        ("es, 0", (0, 3)),
        ("4,4,ED", (1, 4)),
        ("ED,all", (0, 1, 2, 3, 4)),
    ],
)
def test_phases(phases: str, expected: tuple[int, ...]) -> None:
    settings = ExportSettings(phases=phases)
    assert settings.phase_indices(_curve()) == expected
    assert settings.max_phases(5) >= len(expected)


@pytest.mark.parametrize("phases", ["", "ED;ES", "-1", "systole", "1.5"])
def test_phases_that_are_not_understood(phases: str) -> None:
    with pytest.raises(ConfigError, match="allowed: all, or a list of ED, ES and phase indices"):
        ExportSettings(phases=phases)


def test_a_phase_beyond_the_cycle() -> None:
    with pytest.raises(ConfigError, match="got 9, but this heart has phases 0 to 4"):
        ExportSettings(phases="9").phase_indices(_curve())


@pytest.mark.parametrize("spacing_mm", [0.0, -1.0, 0.1, 50.0, float("nan")])
def test_spacing(spacing_mm: float) -> None:
    with pytest.raises(ConfigError, match=r"allowed: 0\.3 to 10 mm"):
        ExportSettings(spacing_mm=spacing_mm)


def test_formats() -> None:
    assert parse_formats("all") == STANDARD_FORMATS
    assert set(parse_formats("all, confidence, motion")) == set(ALL_FORMATS)
    assert parse_formats("nifti, STL,nifti") == (ExportFormat.NIFTI, ExportFormat.STL)
    for text in ("", "dicom", "nifti,dcm"):
        with pytest.raises(ConfigError, match="allowed: all, nifti"):
            parse_formats(text)
    with pytest.raises(ConfigError, match="none given"):
        ExportSettings(formats=())
    settings = ExportSettings(formats=(ExportFormat.STL,))
    assert settings.wants(ExportFormat.VTP, ExportFormat.STL)
    assert not settings.wants(ExportFormat.NIFTI)


def test_settings_survive_json() -> None:
    settings = ExportSettings(2.0, "ED,ES", (ExportFormat.SEQUENCE,), 3.0, True)
    text = json.dumps(to_json_object(settings))
    assert from_json_object(ExportSettings, json.loads(text)) == settings


def test_volume_table() -> None:
    rows = list(csv.DictReader(io.StringIO(volumes_csv(_curve()))))
    assert [float(r["lv_blood_pool_ml"]) for r in rows] == LV_ML
    assert [float(r["cycle_fraction"]) for r in rows] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


ERRORS = {"edv_ml": 2.5}


def test_function_tables_agree() -> None:
    curve = _curve()
    function = VentricularFunction.from_curve(curve)
    values = json.loads(function_json(function, curve, ERRORS))
    rows = {r["figure"]: r for r in csv.DictReader(io.StringIO(function_csv(function, ERRORS)))}
    assert rows.keys() == FUNCTION_NAMES.keys() == function.to_dict().keys()
    for key, row in rows.items():
        assert float(row["value"]) == pytest.approx(values[key], rel=1e-5)
    assert (values["ed_phase"], values["es_phase"], values["n_phases"]) == (1, 3, 5)
    assert rows["mass_g"]["unit"] == "g"
    assert float(rows["edv_ml"]["standard_error"]) == 2.5
    assert rows["mass_g"]["standard_error"] == ""
    assert values["standard_errors"] == ERRORS
