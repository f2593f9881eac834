"""Studies of which not every pixel is labelled: unknown stays unknown, from file to training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.label_sets import is_open, possible_labels
from NISFCore.data.nifti_manifest import write_nifti_study
from NISFCore.data.read import read_study
from NISFCore.data.study import CineSlice, CineStudy, SliceLabels
from NISFCore.errors import StudyError
from NISFCore.labels import UNKNOWN, Label, either
from NISFCore.model.config import HeartRegion
from NISFCore.model.voxels import voxel_table
from Testing.Core.fitting.teacher import teacher_study


def partly_known(cine: CineSlice) -> CineSlice:
    """Nothing is known of every other column."""
    assert cine.labels is not None
    values = cine.labels.values.copy()
    values[:, :, ::2] = UNKNOWN
    return replace(cine, labels=SliceLabels(values, cine.labels.annotated))


@pytest.fixture(scope="module")
def whole() -> CineStudy:
    return teacher_study(seed=1, n_phases=2, n_psf_nodes=1).study


@pytest.fixture(scope="module")
def partial(whole: CineStudy) -> CineStudy:
    return replace(whole, slices=tuple(partly_known(s) for s in whole.slices))


def test_files_keep_what_is_unknown(partial: CineStudy, tmp_path: Path) -> None:
    write_nifti_study(partial, tmp_path / "Studie ä")
    read = read_study(tmp_path / "Studie ä")
    by_name = {s.name: s for s in read.slices}
    for cine in partial.slices:
        found = by_name[cine.name].labels
        assert found is not None and cine.labels is not None
        np.testing.assert_array_equal(found.values, cine.labels.values)


def test_unknown_pixels_teach_nothing(whole: CineStudy, partial: CineStudy) -> None:
    frame, region = canonical_frame_of(whole), HeartRegion()
    tables = [voxel_table(study, frame, region) for study in (whole, partial)]
    all_known, some = (t.sample(20_000, torch.Generator().manual_seed(0)) for t in tables)
    assert bool((all_known.possible.sum(dim=1) == 1).all())
    is_unknown = some.possible.all(dim=1)
    assert 0.4 < float(is_unknown.float().mean()) < 0.6
    assert torch.equal(some.possible[~is_unknown], all_known.possible[~is_unknown])
    hearts = [len(t.heart_pixels()) for t in tables]
    assert hearts[1] == pytest.approx(hearts[0] / 2, rel=0.1)


def test_sets_of_labels() -> None:
    table = possible_labels()
    no_lv = either(Label.BACKGROUND, Label.RV_BLOOD_POOL)
    assert table[no_lv].tolist() == [True, False, False, True]
    assert table[UNKNOWN].all() and either(*Label) == UNKNOWN
    assert table[list(Label)].tolist() == np.eye(4, dtype=bool).tolist()
    assert not table[4:240].any() and not table[either(Label.LV_MYOCARDIUM)].any()
    labels = np.array([3, no_lv, UNKNOWN, 0], dtype=np.uint8)
    assert is_open(labels, Label.RV_BLOOD_POOL).tolist() == [False, True, True, False]
    assert is_open(labels, Label.LV_MYOCARDIUM).tolist() == [False, False, True, False]


def test_sets_of_labels_reach_training_through_files(whole: CineStudy, tmp_path: Path) -> None:
    no_lv = either(Label.BACKGROUND, Label.RV_BLOOD_POOL)

    def lv_only(cine: CineSlice) -> CineSlice:
        assert cine.labels is not None
        v = cine.labels.values
        drawn = np.where((v == 0) | (v == Label.RV_BLOOD_POOL), np.uint8(no_lv), v)
        return replace(cine, labels=SliceLabels(drawn, cine.labels.annotated))

    write_nifti_study(replace(whole, slices=tuple(map(lv_only, whole.slices))), tmp_path / "LV")
    read = read_study(tmp_path / "LV")
    frame, region = canonical_frame_of(whole), HeartRegion()
    tables = [voxel_table(study, frame, region) for study in (whole, read)]
    known, partly = (t.sample(20_000, torch.Generator().manual_seed(0)).possible for t in tables)
    is_lv = known[:, Label.LV_BLOOD_POOL] | known[:, Label.LV_MYOCARDIUM]
    assert torch.equal(partly[is_lv], known[is_lv])
    outside = torch.tensor([True, False, False, True])
    assert bool((partly[~is_lv] == outside).all())


def test_other_numbers_are_refused(whole: CineStudy) -> None:
    cine = whole.slices[0]
    assert cine.labels is not None
    values = cine.labels.values.copy()
    values[0, 0, 0] = 200
    with pytest.raises(StudyError, match=r"got label 200, allowed: 0\.\.3, 255 for unknown"):
        replace(cine, labels=SliceLabels(values, cine.labels.annotated))
