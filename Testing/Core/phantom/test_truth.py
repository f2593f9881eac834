"""The truth of a study: stored, read again, and used as a heart field."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from NISFCore.errors import ConfigError, ResultError
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.spaces import apply_affine
from NISFCore.phantom import PhantomTruth, SimulatedStudy, simulate_study
from NISFCore.phantom.protocol import AcquisitionProtocol
from Testing.Core.phantom.conftest import scarred_heart


@pytest.fixture(scope="module")
def simulated(quick: AcquisitionProtocol) -> SimulatedStudy:
    return simulate_study(scarred_heart(), replace(quick, n_phases=1), 12)


def test_saved_truth_is_read_exactly(simulated: SimulatedStudy, tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner – ü"
    path = simulated.truth.save(folder)
    assert PhantomTruth.load(folder) == simulated.truth
    assert PhantomTruth.load(path) == simulated.truth
    assert [p.name for p in folder.iterdir()] == ["truth.json"]


def test_other_versions_and_unknown_keys_are_errors(
    simulated: SimulatedStudy, tmp_path: Path
) -> None:
    path = simulated.truth.save(tmp_path)
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "schema_version": 99}), encoding="utf-8")
    with pytest.raises(ResultError, match="99"):
        PhantomTruth.load(tmp_path)
    path.write_text(json.dumps({**values, "sead": 1}), encoding="utf-8")
    with pytest.raises(ConfigError, match="sead"):
        PhantomTruth.load(tmp_path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ResultError, match="JSON"):
        PhantomTruth.load(tmp_path)
    with pytest.raises(ResultError, match="cannot read"):
        PhantomTruth.load(tmp_path / "absent")


def test_truth_is_a_heart_field(simulated: SimulatedStudy) -> None:
    """Counting labels on the box's grid gives the stated volumes."""
    field: HeartField = simulated.truth
    grid = field.box.grid(2.0)
    points = grid.points_ras().reshape(-1, 3)
    samples = field.evaluate(points, 0.0)
    assert samples.label_probabilities.shape == (len(points), 4)
    assert np.allclose(samples.label_probabilities.sum(axis=1), 1)
    counted = np.bincount(samples.labels, minlength=4) * grid.voxel_volume_ml
    volumes = simulated.truth.volumes
    assert counted[1] == pytest.approx(volumes.edv_ml, rel=0.02)
    assert counted[3] == pytest.approx(volumes.rv_edv_ml, rel=0.02)
    assert 1.05 * counted[2] == pytest.approx(volumes.mass_g, rel=0.02)
    assert np.array_equal(simulated.truth.labels(points, 0.0), samples.labels)


def test_volumes_are_those_of_the_parameters(simulated: SimulatedStudy) -> None:
    v, p = simulated.truth.volumes, simulated.truth.parameters
    assert v.edv_ml == pytest.approx(p.lv.edv_ml)
    assert v.ef_percent == pytest.approx(p.lv.ef_percent)
    assert v.mass_g == pytest.approx(p.lv.mass_g)
    assert v.rv_ef_percent == pytest.approx(p.rv.ef_percent, abs=0.1)


def test_displacement_carries_labels_along(simulated: SimulatedStudy) -> None:
    """Tissue keeps its label where it moves: RAS displacement, labels and volumes agree."""
    truth = simulated.truth
    es = truth.parameters.motion.es_fraction
    rng = np.random.default_rng(0)
    points = apply_affine(truth.ras_from_heart, rng.uniform(-60, 60, (4000, 3)))
    labels = truth.labels(points, 0.0)
    moved = points + truth.displacement(points, es)
    agree = truth.labels(moved, es) == labels
    assert agree.mean() > 0.999
    assert np.abs(moved - points).max() > 8.0


def test_unknown_slice_is_an_error(simulated: SimulatedStudy) -> None:
    with pytest.raises(ResultError, match="SA_99"):
        simulated.truth.slice_truth("SA_99")
