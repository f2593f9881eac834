"""Studies of which not every pixel is labelled: unknown stays unknown, from file to training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.nifti_manifest import write_nifti_study
from NISFCore.data.read import read_study
from NISFCore.data.study import CineSlice, CineStudy, SliceLabels
from NISFCore.errors import StudyError
from NISFCore.labels import N_LABELS, UNKNOWN
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
    assert all_known.has_label.all()
    assert 0.4 < float(some.has_label.float().mean()) < 0.6
    assert torch.equal(some.label[some.has_label], all_known.label[some.has_label])
    assert int(some.label.max()) < N_LABELS
    hearts = [len(t.heart_pixels()) for t in tables]
    assert hearts[1] == pytest.approx(hearts[0] / 2, rel=0.1)


def test_other_numbers_are_refused(whole: CineStudy) -> None:
    cine = whole.slices[0]
    assert cine.labels is not None
    values = cine.labels.values.copy()
    values[0, 0, 0] = 254
    with pytest.raises(StudyError, match=r"got label 254, allowed: 0\.\.3 and 255 for unknown"):
        replace(cine, labels=SliceLabels(values, cine.labels.annotated))
