"""The slice network's labels as evidence: what they change, and how a result keeps them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.data.study import CineStudy
from NISFCore.errors import ResultError
from NISFCore.evidence.network import SliceNetwork, load_slice_network
from NISFCore.fitting import fit
from NISFCore.fitting.config import FitConfig, GaussNewtonConfig, LabelTermConfig
from NISFCore.fitting.evidence_file import EVIDENCE_FILE, in_steps
from NISFCore.fitting.fit import fit_study, refit_study
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.storage import load_result, save_result
from NISFCore.geometry.spaces import Affine
from NISFCore.labels import N_LABELS
from Testing.Core.fitting.results import made_result
from Testing.Core.fitting.teacher import Teacher, teacher_prior, teacher_study
from Testing.Core.fitting.test_guided import SOME, dice_at, inverted, labels_of

ALL = tuple(s.name for s in teacher_study(seed=0).study.slices)


def random_entries(study: CineStudy, phases: tuple[int, ...] = (0, 2)) -> list[SliceGuidance]:
    rng = np.random.default_rng(0)
    entries = []
    for cine in study.slices[:2]:
        for phase in phases:
            known = rng.random(cine.shape) < 0.7
            p = rng.dirichlet(np.ones(N_LABELS), cine.shape[::-1]).astype(np.float32)
            p = p.transpose(1, 0, 2)  # networks' answers lie in memory in any order
            entries.append(SliceGuidance(cine.name, phase, p * known[..., None], known))
    return entries


@pytest.fixture
def teacher() -> Teacher:
    return inverted(teacher_study(seed=0))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> SliceNetwork:
    """One that knows the truth and softens it."""

    def knows(study: CineStudy, canonical_from_ras: Affine, *_: object, **__: object) -> object:
        hard = labels_of(study, ALL, (0, 2)).entries
        return [replace(e, probabilities=0.8 * e.probabilities + 0.2 / N_LABELS) for e in hard]

    monkeypatch.setattr(fit, "slice_evidence", knows)
    return load_slice_network()


def test_evidence_mends_what_intensities_mislead(teacher: Teacher, network: SliceNetwork) -> None:
    alone = fit_study(teacher.study, teacher_prior(), device="cpu")
    helped = fit_study(teacher.study, teacher_prior(), network=network, device="cpu")
    assert dice_at(helped, 1) > dice_at(alone, 1) + 0.08
    assert alone.evidence is None
    assert helped.evidence is not None
    assert helped.settings["slice_network"] == network.info.name


def test_evidence_of_no_worth_changes_nothing(teacher: Teacher, network: SliceNetwork) -> None:
    config = FitConfig(GaussNewtonConfig(evidence=LabelTermConfig(frame_worth=0)))
    alone = fit_study(teacher.study, teacher_prior(), device="cpu")
    deaf = fit_study(teacher.study, teacher_prior(), config, network=network, device="cpu")
    np.testing.assert_array_equal(deaf.parameters.latent, alone.parameters.latent)


def test_a_refit_still_hears_the_evidence(
    teacher: Teacher, network: SliceNetwork, tmp_path: Path
) -> None:
    """From memory and from its folder the same."""
    result = fit_study(teacher.study, teacher_prior(), network=network, device="cpu")
    save_result(result, tmp_path / "Ergebnis ä")
    few = labels_of(result.study, SOME[:1])
    here = refit_study(result, few, device="cpu")
    there = refit_study(load_result(tmp_path / "Ergebnis ä"), few, device="cpu")
    deaf = refit_study(replace(result, evidence=None), few, device="cpu")
    assert there.evidence is not None
    assert dice_at(there, 1) == pytest.approx(dice_at(here, 1), abs=1e-3)
    assert dice_at(here, 1) > dice_at(deaf, 1)


def test_uniform_probabilities_say_nothing() -> None:
    """However many: only what is sure of something counts."""
    teacher = teacher_study(seed=0)
    plain = fit_study(teacher.study, teacher_prior(), device="cpu")
    vague = [
        replace(e, probabilities=np.full_like(e.probabilities, 1 / N_LABELS))
        for e in labels_of(teacher.study, ALL).entries
    ]
    guided = fit_study(
        teacher.study, teacher_prior(), guidance=Guidance(tuple(vague)), device="cpu"
    )
    assert dice_at(guided, 0) == pytest.approx(dice_at(plain, 0), abs=0.005)


# -- the file ---------------------------------------------------------------------------------


@pytest.fixture
def result() -> FitResult:
    made = made_result(4).result
    return replace(made, evidence=in_steps(random_entries(made.study)))


def test_steps_are_near_and_stay(result: FitResult) -> None:
    entries = random_entries(result.study)
    once = in_steps(entries)
    for entry, stored in zip(entries, once.entries, strict=True):
        np.testing.assert_array_equal(stored.known, entry.known)
        np.testing.assert_allclose(stored.probabilities, entry.probabilities, atol=0.008)
    for a, b in zip(once.entries, in_steps(once.entries).entries, strict=True):
        np.testing.assert_array_equal(a.probabilities, b.probabilities)


def test_the_round_trip_is_exact(result: FitResult, tmp_path: Path) -> None:
    save_result(result, tmp_path / "r")
    loaded = load_result(tmp_path / "r").evidence
    assert loaded is not None and result.evidence is not None
    by_key = {(e.slice_name, e.phase): e for e in loaded.entries}
    assert len(by_key) == len(result.evidence.entries)
    for entry in result.evidence.entries:
        found = by_key[entry.slice_name, entry.phase]
        np.testing.assert_array_equal(found.probabilities, entry.probabilities)
        np.testing.assert_array_equal(found.known, entry.known)


@pytest.mark.parametrize("key", ["9.0", "0.99", "a.b", "00"])
def test_evidence_of_another_study_is_refused(result: FitResult, tmp_path: Path, key: str) -> None:
    save_result(result, tmp_path / "r")
    tensors = load_file(tmp_path / "r" / EVIDENCE_FILE)
    save_file({key: next(iter(tensors.values()))}, tmp_path / "r" / EVIDENCE_FILE)
    with pytest.raises(ResultError, match="incomplete or damaged"):
        load_result(tmp_path / "r")


def test_evidence_of_another_size_is_refused(result: FitResult, tmp_path: Path) -> None:
    save_result(result, tmp_path / "r")
    save_file({"0.0": np.zeros((3, 3, N_LABELS), np.uint8)}, tmp_path / "r" / EVIDENCE_FILE)
    with pytest.raises(ResultError, match="incomplete or damaged"):
        load_result(tmp_path / "r")
