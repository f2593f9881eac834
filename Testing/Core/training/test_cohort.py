"""`read_cohort`: cohorts in public layouts become voxel tables, and what is left out is said."""

from dataclasses import replace
from pathlib import Path

import pytest

from NISFCore.data.sunnybrook_contours import NO_LV, NO_LV_BLOOD
from NISFCore.errors import CohortError
from NISFCore.labels import Label
from NISFCore.model.config import HeartRegion
from NISFCore.training.cohort import read_cohort, study_folders
from NISFCore.training.config import DEFAULT
from NISFCore.training.run import train_prior
from Testing.Core.generators.public_cohorts import (
    ED,
    ES,
    kaggle_subject,
    save_sa_labels,
    sunnybrook_images,
    ukb_pair,
    write_contours,
)

REGION = HeartRegion()


def test_biobank_zips_with_one_damaged(tmp_path: Path) -> None:
    """The layout is told once; who cannot be read is told in turn, without a number."""
    root = tmp_path / "Bänke und Zips"
    eids = ("1000001", "1000002")
    for eid in eids:
        ukb_pair(root, eid)
    save_sa_labels(root / "1000002_label_sa.nii.gz", annotated=(ED, ES))
    (root / "1000001_20209_2_0.zip").write_bytes(b"download broken off")
    said: list[tuple[int, int, str]] = []
    tables = read_cohort(root, REGION, lambda *event: said.append(event))
    assert [(index, total) for index, total, _ in said] == [(1, 2), (2, 2)]
    assert said[0][2] == (
        "recognised 2 subjects as UK Biobank zips; participant 1 (in order of name): the "
        "short-axis zip (field 20209): not a readable zip file; copy it again"
    )
    assert said[1][2] == ""
    assert len(tables) == 1
    assert int(tables[0].has_label.sum()) == 2 * 5  # ED and ES of five slices
    assert study_folders(root) == [root / f"{eid}_20209_2_0.zip" for eid in eids]


def test_a_sunnybrook_cohort_trains_the_left_ventricle(tmp_path: Path) -> None:
    subject = tmp_path / "challenge_training" / "SC-N-3"
    sunnybrook_images(subject, subject)
    drawn = {(k, ED): "io" for k in range(5)} | {(k, ES): "i" for k in range(5)}
    place = tmp_path / "TrainingDataContours" / "SC-N-03" / "contours-manual" / "IRCCI-expert"
    write_contours(place, drawn)
    said: list[str] = []
    (table,) = read_cohort(tmp_path, REGION, lambda _i, _n, message: said.append(message))
    assert int(table.has_label.sum()) == 10
    numbers = set(table.labels[table.labels > 0].unique().tolist())
    assert numbers == {Label.LV_BLOOD_POOL, Label.LV_MYOCARDIUM, NO_LV, NO_LV_BLOOD}
    assert "show no right ventricle" in said[0]
    out = tmp_path / "from-nothing.safetensors"
    with pytest.raises(CohortError, match=r"no subject has a labelled RV blood pool: .* bundled"):
        train_prior(tmp_path, out, replace(DEFAULT, n_validation_subjects=0), device="cpu")


def test_a_cohort_without_labels_is_refused(tmp_path: Path) -> None:
    """The Data Science Bowl has none: its studies can be fitted, not trained on alone."""
    kaggle_subject(tmp_path / "train" / "1")
    with pytest.raises(CohortError, match="no subject has label maps"):
        read_cohort(tmp_path, REGION)
