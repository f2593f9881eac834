"""Prior files: exact round trip, and a clear error for everything that is not one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from NISFCore.errors import OutputError, PriorError
from NISFCore.model.config import DecoderConfig
from NISFCore.model.decoder import Decoder
from NISFCore.model.prior import HEADER_KEY, Prior, PriorInfo, latent_statistics, load_prior

SMALL = DecoderConfig(n_latent=4, width=8, n_blocks=1, layers_per_block=1)


def _prior() -> Prior:
    torch.manual_seed(0)
    info = PriorInfo(SMALL, 3, {"cohort": "x"}, "Prüfstück")
    return Prior(info, Decoder(SMALL), torch.randn(4), torch.eye(4))


def test_round_trip_is_exact(tmp_path: Path) -> None:
    prior, path = _prior(), tmp_path / "mit Leerzeichen ü" / "p.safetensors"
    prior.save(path)
    again = load_prior(path)
    assert again.info == prior.info
    assert torch.equal(again.latent_mean, prior.latent_mean)
    points, t, h = torch.randn(9, 3) * 30, torch.rand(9), torch.randn(1, 4)
    for ours, theirs in zip(prior.decoder(points, t, h), again.decoder(points, t, h), strict=True):
        assert torch.equal(ours, theirs)
    assert [p.name for p in path.parent.iterdir()] == ["p.safetensors"]


def test_missing_file() -> None:
    with pytest.raises(PriorError, match="no prior file"):
        load_prior(Path("nowhere.safetensors"))


def test_garbage_and_pickles_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    torch.save({"weights": torch.ones(2)}, path)
    with pytest.raises(PriorError, match="not a readable prior"):
        load_prior(path)


def test_other_safetensors_file(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(PriorError, match="not a NISF prior"):
        load_prior(tmp_path / "a.safetensors")


def test_other_version_says_what_to_do(tmp_path: Path) -> None:
    prior = _prior()
    replace(prior, info=replace(prior.info, format_version=99)).save(tmp_path / "p")
    with pytest.raises(PriorError, match=r"format 99.*train it again"):
        load_prior(tmp_path / "p")


def test_other_labels(tmp_path: Path) -> None:
    prior = _prior()
    replace(prior, info=replace(prior.info, labels=("background", "liver"))).save(tmp_path / "p")
    with pytest.raises(PriorError, match="liver"):
        load_prior(tmp_path / "p")


def test_misspelt_setting_in_the_header(tmp_path: Path) -> None:
    header = json.dumps({"format_version": 1, "decoder": {"widht": 3}, "n_subjects": 1})
    save_file({"a": torch.ones(2)}, tmp_path / "p", metadata={HEADER_KEY: header})
    with pytest.raises(PriorError, match="widht"):
        load_prior(tmp_path / "p")


def test_weights_that_do_not_fit_the_configuration(tmp_path: Path) -> None:
    prior = _prior()
    replace(prior, info=replace(prior.info, decoder=replace(SMALL, width=9))).save(tmp_path / "p")
    with pytest.raises(PriorError, match="do not fit"):
        load_prior(tmp_path / "p")


def test_nan_weights(tmp_path: Path) -> None:
    prior = _prior()
    replace(prior, latent_mean=torch.full((4,), torch.nan)).save(tmp_path / "p")
    with pytest.raises(PriorError, match="NaN"):
        load_prior(tmp_path / "p")


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        _prior().save(tmp_path / "file" / "p.safetensors")


def test_latent_statistics_of_known_gaussian() -> None:
    g = torch.Generator().manual_seed(0)
    A = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    latents = torch.randn(20_000, 2, generator=g) @ A.T + torch.tensor([1.0, -1.0])
    mean, covariance = latent_statistics(latents, shrinkage=0.0)
    assert torch.allclose(mean, torch.tensor([1.0, -1.0]), atol=0.05)
    assert torch.allclose(covariance, A @ A.T, atol=0.12)


def test_latent_covariance_of_few_subjects_has_an_inverse() -> None:
    _, covariance = latent_statistics(torch.randn(3, 16))
    assert torch.linalg.eigvalsh(covariance).min() > 1e-3
