"""A prior as the start of a fit, and its file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from NISFCore.errors import PriorError
from NISFCore.motion.config import DescentConfig
from NISFCore.motion.fit import fit_tagged_plane
from NISFCore.motion.priors.config import PriorKind
from NISFCore.motion.priors.file import (
    HEADER_KEY,
    MotionPrior,
    MotionPriorInfo,
    bundled_motion_prior,
    load_motion_prior,
)
from NISFCore.motion.priors.learning import Learning, learn_auto_decoder
from NISFCore.motion.priors.meta import inner_config, learn_meta
from NISFCore.motion.priors.weights import canonical_field
from NISFCore.progress import CancelToken, SilentProgress
from Testing.Core.motion.movies import Ring, RingMotion
from Testing.Core.motion.priors.rings import FIT, error_mm, rings, seen, small, subjects_of

UNSEEN = Ring(RingMotion(shrinking=0.13, turn_rad=0.02), n_phases=10, noise=0.05)


@pytest.fixture(scope="module")
def prior() -> MotionPrior:
    config = small(PriorKind.AUTO_DECODER)
    under_way = Learning(config, subjects_of(rings(), config), SilentProgress(), CancelToken())
    learned = learn_auto_decoder(under_way)
    info = MotionPriorInfo(config.kind, config.field, name="of rings")
    return MotionPrior(info, learned.base, learned.modes)


def test_a_code_finds_the_motion_of_an_unseen_heart(prior: MotionPrior) -> None:
    plane = seen(UNSEEN)
    base = replace(prior, modes=prior.modes[:0]).state(plane.field(FIT), plane)
    found = prior.state(plane.field(FIT), plane)
    still = error_mm(UNSEEN, plane, plane.field(FIT).flat_state())
    assert error_mm(UNSEEN, plane, found) < 0.35 * error_mm(UNSEEN, plane, base)
    assert error_mm(UNSEEN, plane, found) < 0.2 * still


def test_after_a_prior_every_weight_is_freed(prior: MotionPrior) -> None:
    plane = seen(UNSEEN)
    state = prior.state(plane.field(FIT), plane)
    slices = [UNSEEN.tagged(45.0), UNSEEN.tagged(135.0)]
    # no descent is asked for: a code alone is no result
    result = fit_tagged_plane(slices, FIT, initialisation=prior)
    assert bool((result.displacement_field.flat_state() != state).all())
    assert error_mm(UNSEEN, plane, result.displacement_field.flat_state()) < 0.4


def test_a_prior_of_another_network_is_refused(prior: MotionPrior) -> None:
    other = replace(FIT, start=replace(FIT.start, omega=3.0))
    config = replace(other, descent=DescentConfig(n_steps=1))
    with pytest.raises(PriorError, match="settings"):
        fit_tagged_plane([UNSEEN.tagged(45.0)], config, initialisation=prior)


def test_a_file_holds_the_prior(prior: MotionPrior, tmp_path: Path) -> None:
    path = tmp_path / "prior ä.safetensors"
    prior.save(path)
    read = load_motion_prior(path)
    assert read.info == prior.info
    torch.testing.assert_close(read.base, prior.base, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(read.modes, prior.modes, atol=2e-3, rtol=2e-3)


def test_wrong_files_are_refused(prior: MotionPrior, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="no motion prior at"):
        load_motion_prior(tmp_path / "absent.safetensors")
    path = tmp_path / "wrong.safetensors"
    replace(prior, base=prior.base[:-1]).save(path)
    with pytest.raises(PriorError, match="do not fit"):
        load_motion_prior(path)
    replace(prior, base=prior.base * torch.nan).save(path)
    with pytest.raises(PriorError, match="NaN"):
        load_motion_prior(path)
    save_file({"base": prior.base}, path, metadata={HEADER_KEY: json.dumps({"format_version": 9})})
    with pytest.raises(PriorError, match="format 9"):
        load_motion_prior(path)


@pytest.mark.parametrize("kind", list(PriorKind))
def test_every_kind_is_bundled_and_small(kind: PriorKind) -> None:
    path = bundled_motion_prior(kind)
    assert load_motion_prior(path).info.kind is kind
    assert path.stat().st_size < 1_000_000


def test_meta_learning_leads_farther_in_the_same_steps() -> None:
    config = small(PriorKind.META, n_iterations=12, inner_steps=8, inner_rate=3e-4)
    some = rings(5)
    # the first one is held out
    planes = [seen(some[k]) for k in (2, 1, 3)]
    start = canonical_field(config.field).flat_state()
    learned = learn_meta(start, planes, config, SilentProgress(), CancelToken())
    assert inner_config(config).n_steps == 8
    assert learned.curve[0][0] == 0 and learned.curve[-1][0] == 12
    assert learned.curve[-1][1] < 0.9 * learned.curve[0][1]
