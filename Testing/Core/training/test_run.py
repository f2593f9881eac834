"""`train_prior`: from a cohort folder to a prior file, resumed to the bit, and clear refusals."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from NISFCore.errors import Cancelled, CohortError, ConfigError, OutputError
from NISFCore.model.prior import Prior, load_prior
from NISFCore.progress import CancelToken, ProgressEvent
from NISFCore.training import run
from NISFCore.training.config import TrainingConfig
from NISFCore.training.run import TrainingFiles, train_prior
from Testing.Core.events import Keep
from Testing.Core.training.cohorts import CONFIG, write_cohort

STATISTICS = ("psnr_db", "dice_lv_blood_pool", "dice_lv_myocardium", "dice_rv_blood_pool")


class KilledError(Exception):
    """The end of a process in the midst of its work."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohorts") / "cohort ä", 3)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "prior ä.safetensors"


def log_steps(out: Path) -> list[int]:
    with TrainingFiles(out).log.open(newline="", encoding="utf-8") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def assert_same(a: Prior, b: Prior) -> None:
    """Equal to the bit."""
    for x, y in zip(a.decoder.parameters(), b.decoder.parameters(), strict=True):
        assert torch.equal(x, y)
    assert torch.equal(a.latent_mean, b.latent_mean)
    assert torch.equal(a.latent_covariance, b.latent_covariance)


def test_a_prior_is_written_with_its_provenance_and_log(cohort: Path, out: Path) -> None:
    keep = Keep()
    config = replace(CONFIG, n_validation_subjects=1, validate_every=12)
    prior = train_prior(cohort, out, config, name="small", device="cpu", progress=keep)
    read = load_prior(out)
    assert_same(read, prior)
    assert read.info == prior.info
    assert (read.info.name, read.info.n_subjects) == ("small", 2)
    training = read.info.training
    assert training["cohort"] == cohort.name  # no path of this machine
    assert (training["n_training_subjects"], training["n_validation_subjects"]) == (2, 1)
    assert training["n_steps_done"] == 12
    assert training["config"]["n_steps"] == 12
    assert sorted(p.name for p in out.parent.iterdir()) == ["prior ä.log.csv", out.name]
    assert log_steps(out) == list(range(1, 13))
    stages = [(e.stage, e.step, e.total) for e in keep.events]
    assert stages[:3] == [("read", 1, 3), ("read", 2, 3), ("read", 3, 3)]
    assert stages[-1] == ("train", 12, 12)
    rows = TrainingFiles(out).log.read_text(encoding="utf-8").splitlines()
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert all(np.isfinite(float(last[f"validation_{key}"])) for key in STATISTICS)


def test_equal_seeds_give_equal_priors(cohort: Path, tmp_path: Path) -> None:
    first = train_prior(cohort, tmp_path / "a.safetensors", CONFIG, device="cpu")
    again = train_prior(cohort, tmp_path / "b.safetensors", CONFIG, device="cpu")
    assert_same(first, again)
    other = replace(CONFIG, seed=1)
    different = train_prior(cohort, tmp_path / "c.safetensors", other, device="cpu")
    assert not torch.equal(different.latent_mean, first.latent_mean)


def test_a_killed_training_is_resumed_to_the_bit(
    cohort: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed two steps after a checkpoint: these are done again, and logged once."""

    def kill(event: ProgressEvent) -> None:
        if event.stage == "train" and event.step == 10:
            raise KilledError

    with pytest.raises(KilledError):
        train_prior(cohort, out, CONFIG, device="cpu", progress=Keep(kill))
    files = TrainingFiles(out)
    assert files.checkpoint.exists()
    assert not out.exists()
    assert log_steps(out)[-1] == 10
    with pytest.raises(OutputError, match="resume it"):
        train_prior(cohort, out, CONFIG, device="cpu")
    keep = Keep()
    resumed = train_prior(cohort, out, CONFIG, device="cpu", resume=True, progress=keep)
    assert [e.step for e in keep.events if e.stage == "train"] == [9, 10, 11, 12]
    assert log_steps(out) == list(range(1, 13))
    assert not files.checkpoint.exists()
    whole = train_prior(cohort, tmp_path / "whole.safetensors", CONFIG, device="cpu")
    assert_same(resumed, whole)


def test_a_kill_while_the_checkpoint_is_written_keeps_the_one_before(
    cohort: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    original = run.write_bytes_atomically

    def second_time_dying(path: Path, data: bytes) -> None:
        if written:
            path.with_name(f".{path.name}.part").write_bytes(data[: len(data) // 2])
            raise KilledError
        written.append(data)
        original(path, data)

    monkeypatch.setattr(run, "write_bytes_atomically", second_time_dying)
    with pytest.raises(KilledError):
        train_prior(cohort, out, CONFIG, device="cpu")
    monkeypatch.undo()
    keep = Keep()
    train_prior(cohort, out, CONFIG, device="cpu", resume=True, progress=keep)
    first = next(e.step for e in keep.events if e.stage == "train")
    assert first == CONFIG.checkpoint_every + 1


def test_a_cancelled_training_can_be_resumed(cohort: Path, out: Path) -> None:
    token = CancelToken()

    def cancel(event: ProgressEvent) -> None:
        if event.stage == "train" and event.step == 6:
            token.cancel()

    with pytest.raises(Cancelled, match="after step 6; its checkpoint is kept"):
        train_prior(cohort, out, CONFIG, device="cpu", progress=Keep(cancel), cancel=token)
    assert not out.exists()
    keep = Keep()
    train_prior(cohort, out, CONFIG, device="cpu", resume=True, progress=keep)
    assert [e.step for e in keep.events if e.stage == "train"] == list(range(7, 13))


def test_a_cancel_while_validating_leaves_a_checkpoint(cohort: Path, out: Path) -> None:
    """Validation takes minutes on a large cohort: it is left at once."""

    class WhenValidating(CancelToken):
        n_checks = 0

        def check(self) -> None:
            self.n_checks += 1
            if self.n_checks == 3 + 5:  # three subjects were read
                self.cancel()
            super().check()

    token = WhenValidating()
    config = replace(CONFIG, n_validation_subjects=1, validate_every=3, checkpoint_every=1000)
    with pytest.raises(Cancelled, match="after step 3"):
        train_prior(cohort, out, config, device="cpu", cancel=token)
    assert token.n_checks == 8
    assert TrainingFiles(out).checkpoint.exists()


def test_a_cancel_while_reading(cohort: Path, out: Path) -> None:
    token, keep = CancelToken(), Keep(lambda _: token.cancel())
    with pytest.raises(Cancelled):
        train_prior(cohort, out, CONFIG, device="cpu", progress=keep, cancel=token)
    assert [e.step for e in keep.events] == [1]
    assert list(out.parent.iterdir()) == []


def test_without_a_checkpoint_resume_begins(cohort: Path, out: Path) -> None:
    """So that one command can be repeated until it is through."""
    train_prior(cohort, out, CONFIG, device="cpu", resume=True)
    assert out.exists()


def test_a_prior_is_never_replaced_unasked(cohort: Path, out: Path) -> None:
    train_prior(cohort, out, CONFIG, device="cpu")
    before = out.read_bytes()
    for resume in (False, True):
        with pytest.raises(OutputError, match="exists; choose another file"):
            train_prior(cohort, out, CONFIG, device="cpu", resume=resume)
    assert out.read_bytes() == before
    other = replace(CONFIG, seed=5)
    train_prior(cohort, out, other, device="cpu", overwrite=True)
    assert out.read_bytes() != before
    assert log_steps(out) == list(range(1, 13))  # a new log, not a longer one


def test_outputs_are_refused_before_any_work(cohort: Path, tmp_path: Path) -> None:
    keep = Keep()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        train_prior(cohort, tmp_path / "file" / "p.safetensors", CONFIG, progress=keep)
    with pytest.raises(ConfigError, match=r"must end with \.safetensors"):
        train_prior(cohort, tmp_path / "prior.v1", CONFIG, progress=keep)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        train_prior(cohort, tmp_path / "folder.safetensors", CONFIG, progress=keep)
    assert keep.events == []


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_checkpoint_is_explained(cohort: Path, out: Path, damage: bytes | None) -> None:
    path = TrainingFiles(out).checkpoint
    path.parent.mkdir()
    torch.save({"something": "else"}, path)
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(ConfigError, match="cannot be resumed"):
        train_prior(cohort, out, CONFIG, device="cpu", resume=True)


def test_a_cut_checkpoint_is_explained(cohort: Path, out: Path) -> None:
    path = TrainingFiles(out).checkpoint
    path.parent.mkdir()
    torch.save({"config": {}, "state": torch.zeros(1000)}, path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle - 1500 : middle] = b"\xff" * 1500
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        train_prior(cohort, out, CONFIG, device="cpu", resume=True)


def test_a_checkpoint_of_another_training_is_refused(
    cohort: Path, out: Path, tmp_path: Path
) -> None:
    def kill(event: ProgressEvent) -> None:
        if event.stage == "train" and event.step == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train_prior(cohort, out, CONFIG, device="cpu", progress=Keep(kill))
    other = replace(CONFIG, weight_rate=1e-3)
    with pytest.raises(ConfigError, match="another configuration: weight_rate"):
        train_prior(cohort, out, other, device="cpu", resume=True)
    fewer = write_cohort(tmp_path / "fewer", 2)
    with pytest.raises(ConfigError, match="does not belong to this cohort"):
        train_prior(fewer, out, CONFIG, device="cpu", resume=True)


def test_a_subject_that_cannot_be_used_is_named_and_left_out(tmp_path: Path, out: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", 2)
    (cohort / "subject_0003" / "images").mkdir(parents=True)
    (cohort / "subject_0003" / "images" / "SA.nii").write_bytes(b"damaged")
    keep = Keep()
    prior = train_prior(cohort, out, CONFIG, device="cpu", progress=keep)
    assert prior.info.n_subjects == 2
    messages = [e.message for e in keep.events if e.stage == "read"]
    assert messages[:2] == [None, None]
    assert (messages[2] or "").startswith("subject_0003/images: ")


def test_cohorts_that_cannot_be_used(tmp_path: Path, out: Path) -> None:
    def refused(cohort: Path, message: str, config: TrainingConfig = CONFIG) -> None:
        with pytest.raises(CohortError, match=message):
            train_prior(cohort, out, config, device="cpu")
        assert not out.exists()

    refused(tmp_path / "nowhere", "no folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no subject folders")
    unusable = tmp_path / "unusable" / "subject_0001"
    unusable.mkdir(parents=True)
    (unusable / "readme.txt").write_text("nothing here")
    refused(tmp_path / "unusable", "none of 1 subjects is usable; first: ")
    unlabelled = write_cohort(tmp_path / "unlabelled", 1)
    images = unlabelled / "subject_0001" / "images"
    for path in images.glob("*_seg.nii"):
        path.unlink()
    manifest = next(images.glob("*.json"))
    values = json.loads(manifest.read_text(encoding="utf-8"))
    for file in values["files"]:
        file["labels"] = file["annotated"] = None
    manifest.write_text(json.dumps(values), encoding="utf-8")
    refused(unlabelled, "no subject has label maps")
    small = write_cohort(tmp_path / "small", 2)
    refused(small, "at least one", replace(CONFIG, n_validation_subjects=2))
