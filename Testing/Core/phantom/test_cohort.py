"""Cohorts on disk: layout, resuming, refusing, cancelling."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from NISFCore.data.read import read_study, read_tagged
from NISFCore.errors import Cancelled, ConfigError, OutputError
from NISFCore.phantom import DisplacementTruth, PhantomTruth, TagKind, cohort, protocol
from NISFCore.phantom.cohort import CohortSettings, StudyFormat, simulate_cohort, simulate_subject
from NISFCore.progress import CancelToken, ProgressEvent
from Testing.Core.events import Keep


@pytest.fixture(autouse=True)
def coarse_cohort(monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = replace(protocol.COHORT, pixel_mm=5.0, n_phases=6, n_sa_slices=3, n_radial_planes=2)
    monkeypatch.setitem(protocol.PRESETS, "cohort", coarse)


SETTINGS = CohortSettings(2, seed=9, preset="cohort", format=StudyFormat.NIFTI)


def test_subjects_hold_images_and_truth(tmp_path: Path) -> None:
    recorder = Keep()
    folders = simulate_cohort(tmp_path, SETTINGS, recorder)
    assert [f.name for f in folders] == ["subject_0001", "subject_0002"]
    assert [(e.step, e.total) for e in recorder.events] == [(1, 2), (2, 2)]
    for number, folder in enumerate(folders, start=1):
        simulated = simulate_subject(number, SETTINGS)
        assert PhantomTruth.load(folder / "truth") == simulated.truth
        study = read_study(folder / "images")
        for read, made in zip(study.slices, simulated.study.slices, strict=True):
            assert np.array_equal(read.frames, made.frames)
            assert read.labels is not None
            assert made.labels is not None
            assert np.array_equal(read.labels.values, made.labels.values)
            assert np.allclose(read.ras_from_ijk, made.ras_from_ijk)


def test_dicom_cohort_is_readable(tmp_path: Path) -> None:
    settings = replace(SETTINGS, n_subjects=1, format=StudyFormat.DICOM)
    (folder,) = simulate_cohort(tmp_path, settings)
    assert len(read_study(folder / "dicom").slices) >= 4


@pytest.mark.parametrize(("tags", "n_series"), [(TagKind.GRID, 1), (TagKind.LINES, 2)])
def test_a_tagged_cohort_is_read_as_tagged(
    tags: TagKind, n_series: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(protocol.TAGGED_2D, fov_mm=150.0, n_profile=1, n_sub_pixels=1)
    monkeypatch.setattr(cohort, "sample_protocol", lambda *_: replace(small, n_phases=8))
    settings = CohortSettings(1, seed=5, preset="tagged-2d", tags=tags)
    (folder,) = simulate_cohort(tmp_path, settings)
    study = read_tagged(folder / "dicom")
    assert len(study.slices) == n_series
    truth = DisplacementTruth.load(folder / "truth")
    assert truth.phantom.tags is not None
    assert truth.phantom.tags.kind is tags
    spacings = [t.spacing_mm for s in study.slices for t in s.tags]
    assert spacings == pytest.approx([truth.phantom.tags.spacing_mm] * 2, rel=0.01)
    assert simulate_cohort(tmp_path, settings) == [folder]


def test_an_examination_holds_cine_and_tagged_slices_of_one_heart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cine = replace(protocol.CLINICAL, pixel_mm=3.0, fov_mm=200.0, n_phases=5, n_sub_pixels=1)
    cine = replace(cine, sa_levels=(0.8, 0.5), n_profile=1)
    tagged = replace(protocol.TAGGED_3SA, fov_mm=150.0, n_phases=8, n_profile=1, n_sub_pixels=1)
    presets = {"clinical": cine, "tagged-3sa": tagged}
    monkeypatch.setattr(cohort, "sample_protocol", lambda _, name: presets[name])
    settings = CohortSettings(1, seed=5, tagged="tagged-3sa")
    (folder,) = simulate_cohort(tmp_path, settings)
    plain, lined = read_study(folder / "dicom"), read_tagged(folder / "dicom")
    assert [len(s.slices) for s in (plain, lined)] == [5, 3]
    truth, beside = (PhantomTruth.load(folder / n) for n in ("truth", "truth-tagged"))
    assert truth.parameters == beside.parameters
    assert truth.ras_from_heart_rows == beside.ras_from_heart_rows
    # every slice has a breath-hold of its own, and tags end before the cycle does
    shifts = {s.translation_mm for s in (*truth.slices, *beside.slices)}
    assert len(shifts) == 8
    ends = [float(s.cycle_fractions[-1]) for s in lined.slices]
    assert ends == pytest.approx([protocol.TAGGED_SHARE * 7 / 8] * 3, abs=0.01)
    assert simulate_cohort(tmp_path, settings) == [folder]
    with pytest.raises(OutputError, match="preset"):
        simulate_cohort(tmp_path, replace(settings, tagged=None))


@pytest.mark.parametrize("preset", ["tagged-2d", "cohort"])
def test_tagged_slices_lie_beside_untagged_ones_only(preset: str) -> None:
    tagged = "tagged-3sa" if preset == "tagged-2d" else "clinical"
    with pytest.raises(ConfigError, match="beside"):
        CohortSettings(1, seed=1, preset=preset, tagged=tagged)


def test_tagged_cohorts_are_dicom_only() -> None:
    with pytest.raises(ConfigError, match="DICOM only"):
        CohortSettings(1, seed=1, preset="tagged-2d", format=StudyFormat.NIFTI)


def test_complete_subjects_are_kept_and_the_rest_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_cohort(tmp_path, replace(SETTINGS, n_subjects=1))
    made: list[int] = []
    original = cohort._make

    def counting(out: Path, number: int, *rest: object) -> int:
        made.append(number)
        return original(out, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(cohort, "_make", counting)
    simulate_cohort(tmp_path, SETTINGS)
    assert made == [2]


def test_subjects_depend_on_seed_and_number_only() -> None:
    first = simulate_subject(2, SETTINGS).truth
    more = simulate_subject(2, replace(SETTINGS, n_subjects=50)).truth
    assert first == more
    assert first.parameters != simulate_subject(2, replace(SETTINGS, seed=10)).truth.parameters
    assert first.parameters != simulate_subject(1, SETTINGS).truth.parameters


def test_another_cohort_is_not_continued(tmp_path: Path) -> None:
    simulate_cohort(tmp_path, replace(SETTINGS, n_subjects=1))
    with pytest.raises(OutputError, match="seed"):
        simulate_cohort(tmp_path, replace(SETTINGS, seed=10))
    with pytest.raises(OutputError, match="format"):
        simulate_cohort(tmp_path, replace(SETTINGS, format=StudyFormat.DICOM))


def test_cancelling_keeps_what_is_complete(tmp_path: Path) -> None:
    token = CancelToken()

    class CancelAfterFirst:
        def report(self, event: ProgressEvent) -> None:
            token.cancel()

    with pytest.raises(Cancelled, match="1 of 2 subjects are complete"):
        simulate_cohort(tmp_path, SETTINGS, CancelAfterFirst(), token)
    assert [p.name for p in tmp_path.iterdir()] == ["subject_0001"]


def test_impossible_settings_are_errors() -> None:
    with pytest.raises(ConfigError, match="n_subjects"):
        CohortSettings(0, seed=1)
    with pytest.raises(ConfigError, match="preset"):
        CohortSettings(1, seed=1, preset="unknown")


@pytest.mark.slow
def test_several_processes_make_the_same_cohort(tmp_path: Path) -> None:
    """Spawned workers see the real presets, so this compares two ways of making real subjects."""
    settings = CohortSettings(2, seed=3, preset="cohort", format=StudyFormat.NIFTI, n_workers=2)
    folders = simulate_cohort(tmp_path, settings)
    truths = [PhantomTruth.load(f / "truth") for f in folders]
    assert truths[0].protocol.name == protocol.COHORT.name
    assert truths[0].seed != truths[1].seed
    for folder, truth in zip(folders, truths, strict=True):
        planned = truth.protocol.n_sa_slices + truth.protocol.n_radial_planes
        assert len(read_study(folder / "images").slices) == planned == len(truth.slices)
