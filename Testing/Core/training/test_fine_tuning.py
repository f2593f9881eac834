"""Training from another prior on: what is taken over, what few subjects change, what it gains."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from NISFCore.labels import Label, either
from NISFCore.model.prior import MEAN_WORTH, Prior, updated_statistics
from NISFCore.training.run import TrainingFiles, train_prior
from Testing.Core.training.cohorts import CONFIG, write_cohort

STILL = replace(CONFIG, n_steps=1, weight_rate=0.0, muon_rate=0.0, latent_rate=0.0)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("fine tuning") / "cohort ä", 3)


@pytest.fixture(scope="module")
def start(cohort: Path) -> Prior:
    config = replace(CONFIG, n_steps=150)
    return train_prior(cohort, cohort.parent / "start.safetensors", config, device="cpu")


def psnr_db(out: Path) -> list[float]:
    with TrainingFiles(out).log.open(newline="", encoding="utf-8") as file:
        return [float(row["psnr_db"]) for row in csv.DictReader(file)]


def test_weights_are_taken_over(cohort: Path, start: Prior, tmp_path: Path) -> None:
    """And the decoder's configuration, whatever the training's says."""
    other = replace(STILL, decoder=replace(CONFIG.decoder, width=24))
    same = train_prior(cohort, tmp_path / "a.safetensors", other, start=start, device="cpu")
    for a, b in zip(same.decoder.parameters(), start.decoder.parameters(), strict=True):
        assert torch.equal(a, b)
    assert same.info.decoder == start.info.decoder
    assert same.info.training["start"] == start.info.name


def test_it_begins_better_than_from_nothing(cohort: Path, start: Prior, tmp_path: Path) -> None:
    config = replace(CONFIG, n_steps=20, open_bands_until=0.0, first_bands=1.0)
    train_prior(cohort, tmp_path / "new.safetensors", config, device="cpu")
    train_prior(cohort, tmp_path / "tuned.safetensors", config, start=start, device="cpu")
    new, tuned = psnr_db(tmp_path / "new.safetensors"), psnr_db(tmp_path / "tuned.safetensors")
    assert np.mean(tuned[:5]) > np.mean(new[:5]) + 2
    assert np.mean(tuned[-5:]) > np.mean(new[-5:]) + 1


def test_who_draws_the_lv_alone_keeps_the_rv_of_the_prior(start: Prior, tmp_path: Path) -> None:
    """Outside of the LV "background or RV" is said; "background" would teach that there is none."""
    config = replace(CONFIG, n_steps=60, open_bands_until=0.0, first_bands=1.0)
    n_rv = {"before": rv_points(start)}
    for name, outside in (
        ("open", either(Label.BACKGROUND, Label.RV_BLOOD_POOL)),
        ("background", int(Label.BACKGROUND)),
    ):
        cohort = write_cohort(tmp_path / name / "cohort", 2, outside)
        out = tmp_path / name / "tuned.safetensors"
        n_rv[name] = rv_points(train_prior(cohort, out, config, start=start, device="cpu"))
    assert n_rv["before"] > 100
    assert 0.5 * n_rv["before"] < n_rv["open"] < 3 * n_rv["before"]
    assert n_rv["background"] < 0.1 * n_rv["before"]


def rv_points(prior: Prior) -> int:
    """Of 20,000 points of the region, those that the mean heart takes for RV."""
    g = torch.Generator().manual_seed(3)
    region = prior.info.decoder.region
    x = (2 * torch.rand(20_000, 3, generator=g) - 1) * torch.tensor(region.semi_axes_mm)
    latent = prior.latent_mean.expand(len(x), -1)
    with torch.no_grad():
        found = prior.decoder(x + torch.tensor(region.centre_mm), torch.zeros(len(x)), latent)
    return int((found.label_logits.argmax(1) == Label.RV_BLOOD_POOL).sum())


def test_no_subject_changes_no_statistics_and_many_decide_them() -> None:
    g = torch.Generator().manual_seed(0)
    mean, C = torch.tensor([1.0, -2.0]), torch.tensor([[2.0, 0.3], [0.3, 1.0]])
    at_mean = mean.expand(3, 2)
    same_mean, smaller = updated_statistics(at_mean, mean, C)
    torch.testing.assert_close(same_mean, mean)
    torch.testing.assert_close(smaller, C * 2 / 5)
    many = torch.randn(4000, 2, generator=g) * torch.tensor([0.5, 3.0]) + 7.0
    new_mean, new_C = updated_statistics(many, mean, C)
    torch.testing.assert_close(new_mean, many.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(new_C, many.T.cov(), atol=0.15, rtol=0.02)


def test_one_subject_moves_the_mean_by_its_share() -> None:
    mean, C = torch.zeros(2), torch.eye(2)
    moved, spread = updated_statistics(torch.tensor([[6.0, 0.0]]), mean, C)
    torch.testing.assert_close(moved, torch.tensor([6.0 / (MEAN_WORTH + 1), 0.0]))
    between = MEAN_WORTH / (MEAN_WORTH + 1) * 36.0
    torch.testing.assert_close(spread, torch.diag(torch.tensor([(2 + between) / 3, 2 / 3])))
