"""Slices as scanned: every frame at its time of the cycle, exact geometry, excluded ones too."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from NISFCore.data.study import CineSlice, CineStudy, ExcludedSlice, Provenance
from NISFCore.errors import Cancelled
from NISFCore.export.borders import ras_from_ijk_of_lps
from NISFCore.export.scanned_slices import (
    SLICES_FILE,
    stored_frames,
    write_scanned_slices,
    write_slice_sequence,
)
from NISFCore.progress import CancelToken
from Testing.Core.analysis.hearts import small_case


def _study() -> CineStudy:
    study = small_case()[0].study
    first, last = study.slices[0], study.slices[-1]
    notes = Provenance(series="12", notes=("RR was assumed",))
    renamed = [replace(first, name="SA 1/2 é", provenance=notes), *study.slices[1:-1]]
    excluded = ExcludedSlice(replace(last, name="odd"), "one phase only")
    return replace(study, slices=tuple(renamed), excluded=(excluded,), warnings=("watch out",))


def _read(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    return nrrd.read(str(path), index_order="C")


def _late(cine: CineSlice) -> CineSlice:
    """The same slice, its last trigger times being beyond the RR interval."""
    times = cine.trigger_times_ms - cine.trigger_times_ms[0] + 0.55 * cine.rr_interval_ms
    return replace(cine, trigger_times_ms=times)


def test_every_slice_has_a_record_and_a_file(tmp_path: Path) -> None:
    study = _study()
    names = write_scanned_slices(study, tmp_path)
    assert set(names) == {p.name for p in tmp_path.iterdir()}
    values = json.loads((tmp_path / SLICES_FILE).read_text(encoding="utf-8"))
    assert values["warnings"] == ["watch out"]
    records = values["slices"]
    assert [r["name"] for r in records] == [s.name for s in study.slices] + ["odd"]
    assert [r["included"] for r in records] == [True] * len(study.slices) + [False]
    assert records[-1]["reason"] == "one phase only"
    assert (records[0]["series"], records[0]["notes"]) == ("12", ["RR was assumed"])
    assert {r["file"] for r in records} == set(names) - {SLICES_FILE}
    for record, cine in zip(records, study.slices, strict=False):
        assert np.array_equal(record["ras_from_ijk"], cine.ras_from_ijk)
        assert record["shape"] == list(cine.frames.shape)


def test_frames_and_geometry_are_those_of_the_slice(tmp_path: Path) -> None:
    cine = _study().slices[1]
    path = tmp_path / "a.seq.nrrd"
    write_slice_sequence(path, cine)
    values, header = _read(path)
    assert values.shape == (cine.n_phases, 1, *cine.shape)
    assert np.array_equal(values[:, 0], cine.frames)
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = header["space directions"][:3].T, header["space origin"]
    assert np.abs(ras_from_ijk_of_lps(lps) - cine.ras_from_ijk).max() < 1e-12


def test_frames_come_in_the_order_of_the_cycle(tmp_path: Path) -> None:
    cine = _late(_study().slices[0])
    assert (np.diff(cine.cycle_fractions) < 0).any()
    path = tmp_path / "a.seq.nrrd"
    write_slice_sequence(path, cine)
    values, header = _read(path)
    percent = np.array(header["axis 3 index values"].split(), dtype=float)
    assert (np.diff(percent) > 0).all()
    order = np.argsort(cine.cycle_fractions)
    assert percent == pytest.approx(100 * cine.cycle_fractions[order], rel=1e-5)
    assert np.array_equal(values[:, 0], cine.frames[order])


@pytest.mark.parametrize(
    ("frames", "dtype"),
    [([0.0, 4095.0, -3.0], np.int16), ([0.5, 1.0, 2.0], np.float32), ([40000.0], np.float32)],
)
def test_frames_are_stored_small_where_that_loses_nothing(frames: list[float], dtype: type) -> None:
    given = np.array(frames, dtype=np.float32)[:, None, None]
    stored = stored_frames(given)
    assert stored.dtype == dtype
    assert np.array_equal(stored, given)


def test_a_cancelled_job_stops_at_once(tmp_path: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        write_scanned_slices(_study(), tmp_path, cancel=cancel)
    assert list(tmp_path.iterdir()) == []
