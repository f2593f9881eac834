"""The exported map of confidence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from NISFCore.errors import ConfigError
from NISFCore.export.confidence import REACH_MM, confidence_percent, near_other_labels
from NISFCore.export.settings import ExportFormat, ExportSettings
from NISFCore.export.writer import export_result
from NISFCore.fitting.result import FitUncertainty
from Testing.Core.analysis.hearts import Fitted, small_case
from Testing.Core.export.nifti import load_nifti

SETTINGS = ExportSettings(
    spacing_mm=6.0, phases="0,3", formats=(ExportFormat.NIFTI, ExportFormat.CONFIDENCE)
)


def unsure(confidence: float) -> Fitted:
    fitted, _ = small_case()
    n = len(fitted.study.slices)
    uncertainty = FitUncertainty(np.eye(2), np.stack([np.eye(6)] * n))
    return replace(fitted, uncertainty=uncertainty, confidence=confidence)


def test_what_is_near_another_label_is_found_by_brute_force() -> None:
    labels = np.random.default_rng(0).integers(0, 40, (7, 8, 9)) // 39
    near = near_other_labels(labels.astype(np.uint8), 2.0)
    for k, j, i in np.ndindex(labels.shape):
        box = labels[max(0, k - 2) : k + 3, max(0, j - 2) : j + 3, max(0, i - 2) : i + 3]
        assert near[k, j, i] == (box.min() != box.max())


def test_only_where_labels_meet_the_fit_is_asked() -> None:
    fitted = unsure(0.73)
    grid = fitted.field.box.grid(6.0)
    samples = fitted.field.evaluate(grid.points_ras().reshape(-1, 3), 0.0)
    labels = samples.labels.reshape(grid.shape)
    percent = confidence_percent(fitted, labels, grid, 0.0)
    inside = fitted.field.contains(grid.points_ras())
    near = near_other_labels(labels, REACH_MM / 6.0)
    assert near.any() and not near.all()
    np.testing.assert_array_equal(percent, np.where(near & inside, 73, 100))


def test_it_is_exported_on_the_grid_of_the_labels(tmp_path: Path) -> None:
    manifest = export_result(unsure(0.6), tmp_path / "out", SETTINGS)
    assert "volumes/confidence.nii.gz" in {f["path"] for f in manifest["files"]}
    confidence = load_nifti(tmp_path / "out/volumes/confidence.nii.gz")
    labels = load_nifti(tmp_path / "out/volumes/labels.nii.gz")
    assert confidence.shape == labels.shape
    assert confidence.shape[3] == 2
    np.testing.assert_array_equal(confidence.affine, labels.affine)
    assert set(np.unique(confidence.dataobj)) == {60, 100}


def test_a_fit_that_does_not_tell_is_refused(tmp_path: Path) -> None:
    fitted, _ = small_case()
    with pytest.raises(ConfigError, match="does not tell how sure it is"):
        export_result(fitted, tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()
