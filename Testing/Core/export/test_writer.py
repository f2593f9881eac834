"""The whole export: complete, consistent, all or nothing."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from NISFCore.analysis.coarse_to_fine import GridRenderer
from NISFCore.analysis.evaluation import DENSE_SPACING_MM
from NISFCore.analysis.lattice import Tolerance, sample_cycle
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.analysis.steps import Steps
from NISFCore.errors import Cancelled, ConfigError, OutputError
from NISFCore.export import writer
from NISFCore.export.estimate import estimate_export
from NISFCore.export.settings import STANDARD_FORMATS, ExportFormat, ExportSettings
from NISFCore.export.writer import INTENSITY_UNIT, export_result
from NISFCore.progress import CancelToken, ProgressEvent
from Testing.Core.analysis.hearts import small_case
from Testing.Core.export.nifti import load_nifti

COARSE = ExportSettings(
    spacing_mm=6.0,
    surface_spacing_mm=6.0,
    formats=tuple(f for f in STANDARD_FORMATS if f is not ExportFormat.REPORT),
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("export") / "Ergebnis für ♥" / "out"
    fitted, _ = small_case()
    return out, export_result(fitted, out, COARSE)


def _listed(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_manifest_lists_exactly_what_is_there(exported: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = exported
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert {f["path"] for f in manifest["files"]} | {"manifest.json"} == _listed(out)
    assert manifest["phases"] == [0, 1, 2, 3, 4, 5]
    assert (manifest["ed_phase"], manifest["es_phase"]) == (0, 3)
    assert manifest["labels"] == {"lv_blood_pool": 1, "lv_myocardium": 2, "rv_blood_pool": 3}
    assert "not a medical device" in manifest["note"].lower()


def test_every_volume_format_holds_the_same_heart(exported: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = exported
    fitted, _ = small_case()
    grid = fitted.field.box.grid(6.0)
    lattice, t = fitted.field.box.grid(DENSE_SPACING_MM), uniform_cycle_fractions(6)
    cycle = sample_cycle(fitted.field, lattice, t, Tolerance(), Steps("sample", len(t)))
    phase = GridRenderer(cycle, grid, Tolerance()).phase(2)
    A = np.array(manifest["ras_from_ijk"])
    image = load_nifti(out / "volumes" / "labels.nii.gz")
    assert np.allclose(image.affine, A, atol=1e-4)
    assert np.array_equal(np.asarray(image.dataobj)[..., 2].T, phase.labels)
    intensity = np.asarray(load_nifti(out / "volumes" / "intensity.nii.gz").dataobj)[..., 2].T
    assert np.abs(intensity / INTENSITY_UNIT - phase.intensity).max() <= 0.5 / INTENSITY_UNIT + 1e-6
    for name in ("volumes/labels_002.nrrd", "segmentations/heart_002.seg.nrrd"):
        assert np.array_equal(nrrd.read(str(out / name), index_order="C")[0], phase.labels)
    sequence, header = nrrd.read(str(out / "sequences" / "labels.seq.nrrd"), index_order="C")
    assert np.array_equal(sequence[2], phase.labels)
    assert header["axis 3 index values"].split()[2] == "33.3333"
    sequence, _ = nrrd.read(str(out / "sequences" / "intensity.seq.nrrd"), index_order="C")
    assert np.array_equal(sequence[2], intensity)


def test_motions_are_written_for_every_slice(exported: tuple[Path, dict[str, Any]]) -> None:
    out, _ = exported
    fitted, _ = small_case()
    records = json.loads((out / "slices" / "motion.json").read_text())["slices"]
    assert [r["name"] for r in records] == [c.name for c in fitted.study.slices]
    for record, motion in zip(records, fitted.slice_motions, strict=True):
        assert np.allclose(record["corrected_from_scanned_ras"], motion)
        assert (out / "slices" / f"{record['files']}.tfm").exists()


def test_tables_agree_with_the_closed_form(exported: tuple[Path, dict[str, Any]]) -> None:
    out, _ = exported
    fitted, truth = small_case()
    function = json.loads((out / "function.json").read_text())
    assert function["edv_ml"] == pytest.approx(truth.volumes_ml(0)[1], rel=0.01)
    assert function["esv_ml"] == pytest.approx(truth.volumes_ml(0.5)[1], rel=0.01)
    assert len((out / "volumes.csv").read_text().splitlines()) == 7
    assert fitted.study.slices


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    fitted, _ = small_case()
    settings = ExportSettings(
        spacing_mm=8.0, surface_spacing_mm=8.0, phases="ES", formats=(ExportFormat.STL,)
    )
    manifest = export_result(fitted, tmp_path / "o", settings)
    assert manifest["phases"] == [3]
    assert _listed(tmp_path / "o") == {
        "manifest.json",
        "surfaces/lv_blood_pool_003.stl",
        "surfaces/lv_myocardium_003.stl",
        "surfaces/rv_blood_pool_003.stl",
    }


def test_an_output_that_holds_something_is_refused_unless_asked(tmp_path: Path) -> None:
    fitted, _ = small_case()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        export_result(fitted, tmp_path, COARSE)
    assert _listed(tmp_path) == {"notes.txt"}
    only_tables = replace(COARSE, formats=(ExportFormat.TABLES,), overwrite=True)
    export_result(fitted, tmp_path / "x", only_tables)
    export_result(fitted, tmp_path / "x", only_tables)
    assert "function.csv" in _listed(tmp_path / "x")


class CancelAfter:
    """Cancels at the n-th event of a stage."""

    def __init__(self, stage: str, token: CancelToken) -> None:
        self._stage, self._token = stage, token
        self.stages: list[str] = []

    def report(self, event: ProgressEvent) -> None:
        self.stages.append(event.stage)
        if event.stage == self._stage and event.step == 2:
            self._token.cancel()


@pytest.mark.parametrize("stage", ["volume curve", "render", "aligned slices"])
def test_a_cancelled_export_leaves_nothing(tmp_path: Path, stage: str) -> None:
    fitted, _ = small_case()
    token = CancelToken()
    progress = CancelAfter(stage, token)
    with pytest.raises(Cancelled):
        export_result(fitted, tmp_path / "out", COARSE, progress=progress, cancel=token)
    assert stage in progress.stages
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, _ = small_case()

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.meshes, "write_stl", no_space)
    with pytest.raises(OutputError, match="No space left on device"):
        export_result(fitted, tmp_path / "out", COARSE)
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_said_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, _ = small_case()
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"0 MB free, the export may need up to \d+ MB"):
        export_result(fitted, tmp_path / "out", COARSE)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write anywhere"
)
def test_a_read_only_place_is_refused(tmp_path: Path) -> None:
    fitted, _ = small_case()
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot write"):
        export_result(fitted, tmp_path / "out", COARSE)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    fitted, _ = small_case()
    (tmp_path / "out").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        export_result(fitted, tmp_path / "out", COARSE)
    with pytest.raises(OutputError, match="cannot write"):
        export_result(fitted, tmp_path / "out" / "below", COARSE)


def test_a_wrong_phase_leaves_nothing(tmp_path: Path) -> None:
    fitted, _ = small_case()
    with pytest.raises(ConfigError, match="phases 0 to 5"):
        export_result(fitted, tmp_path / "out", replace(COARSE, phases="77"))
    assert list(tmp_path.iterdir()) == []


def test_the_estimate_bounds_what_is_written(exported: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = exported
    fitted, _ = small_case()
    estimate = estimate_export(fitted, COARSE)
    written = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    assert written < estimate.disk_bytes
    assert estimate.n_voxels == np.prod(manifest["shape_kji"])
    assert estimate.n_phases == 6
    volumes = replace(COARSE, formats=(ExportFormat.NIFTI,))
    fine, finer = (
        estimate_export(fitted, replace(volumes, spacing_mm=s)).memory_bytes for s in (0.6, 0.3)
    )
    assert 4 < finer / fine < 8  # what does not depend on the voxels counts less and less
    few = estimate_export(fitted, replace(COARSE, phases="ED,ES"))
    assert few.n_phases == 2
    assert few.disk_bytes < estimate.disk_bytes


def test_few_phases_are_those_of_the_whole_cycle(
    exported: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Measured over the whole cycle all the same: ED and ES are found, and look alike."""
    out, _ = exported
    fitted, _ = small_case()
    formats = (ExportFormat.SEQUENCE, ExportFormat.TABLES)
    manifest = export_result(fitted, tmp_path / "some", ExportSettings(6.0, "ES,ED", formats))
    assert manifest["phases"] == [0, 3]
    name = "sequences/labels.seq.nrrd"
    every, _ = nrrd.read(str(out / name), index_order="C")
    some, _ = nrrd.read(str(tmp_path / "some" / name), index_order="C")
    assert np.array_equal(some, every[[0, 3]])
    assert (tmp_path / "some" / "volumes.csv").read_text() == (out / "volumes.csv").read_text()
