"""The motion benchmark: subjects, scores, figures, and one run of the smallest plan."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from NISFCore.benchmark import motion
from NISFCore.benchmark.motion import run_motion
from NISFCore.benchmark.motion_arms import best_rates
from NISFCore.benchmark.motion_figures import MotionParts, dysfunction_ratio, headline
from NISFCore.benchmark.motion_plan import Arm, Group, MotionPlan
from NISFCore.benchmark.motion_truth import PlaneTruth
from NISFCore.errors import ConfigError
from NISFCore.motion.config import DEFAULT
from NISFCore.motion.plane import plane_of
from NISFCore.motion.priors.subjects import drawn_plane, simulated_plane
from NISFCore.phantom.motion_population import MotionKind

SMALLEST = MotionPlan(
    groups=(Group.DYSFUNCTIONAL,),
    n_per_group=1,
    n_tuning=1,
    budgets=(20,),
    tuned_at=(2,),
    rates=(1e-4,),
    n_cine=1,
    n_space=0,
)


def arm(rmse: float, seconds: float = 0.1) -> dict[str, Any]:
    scores = {
        "rmse_mm": rmse,
        "gcs_points": 0.2,
        "segmental_points": 0.3,
        "grs_points": 2.0,
        "dysfunctional_points": None,
        "healthy_points": 0.3,
        "n_dysfunctional": 0.0,
    }
    return {"start_seconds": seconds, "0": scores, "20": scores | {"descent_seconds": seconds}}


def parts(values: dict[Arm, float], in_space: list[dict[str, Any]]) -> MotionParts:
    arms = {a.value: arm(values.get(a, 1.0)) for a in Arm}
    usual = arm(0.3)["0"] | {"group": Group.HEALTHY.value, "seconds": 0.6, "flags": []}
    sick = usual | {"n_dysfunctional": 2.0, "dysfunctional_points": 0.9}
    return MotionParts(
        {}, [usual, sick], [{"group": Group.HEALTHY.value, "arms": arms}], [], in_space
    )


def test_ratios_are_of_the_best_learned_prior_and_the_start() -> None:
    of_arms = {Arm.RANDOM: 2.0, Arm.META: 0.8, Arm.MODES: 0.1, Arm.PHASE: 0.4}
    figures = headline(parts(of_arms, in_space=[]))
    # modes are solved for, as the Gauss-Newton start is: they are none of the four
    assert figures["best_prior_ratio_20"] == pytest.approx(0.4)
    assert figures["gn_start_ratio"] == pytest.approx(0.2)
    assert figures["seconds_per_subject"] == pytest.approx(0.6)
    assert figures["cine_rmse_mm"] is None and figures["tagged_3d_rmse_mm"] is None
    assert figures["dysfunction_ratio"] is None
    assert figures["dysfunction_ratio_plane"] == pytest.approx(3.0)


def test_dysfunction_is_a_matter_of_fits_in_space() -> None:
    in_space = {"rmse_mm": 0.2, "n_dysfunctional": 1.0}
    in_space |= {"dysfunctional_points": 0.4, "healthy_points": 0.5}
    figures = headline(parts({}, [in_space]))
    assert figures["dysfunction_ratio"] == pytest.approx(0.8)
    assert figures["tagged_3d_rmse_mm"] == pytest.approx(0.2)


def test_hearts_in_space_are_the_first_of_their_groups() -> None:
    chosen = list(MotionPlan().in_space())
    assert [s.group for s in chosen] == 8 * [Group.HEALTHY, Group.DYSFUNCTIONAL]
    assert {s.round for s in chosen} == set(range(8))


def test_dysfunction_is_compared_within_hearts_that_have_it() -> None:
    sick = {"n_dysfunctional": 2.0, "dysfunctional_points": 1.2, "healthy_points": 0.6}
    well = {"n_dysfunctional": 0.0, "dysfunctional_points": None, "healthy_points": 90.0}
    assert dysfunction_ratio([sick, well]) == pytest.approx(2.0)
    assert dysfunction_ratio([well]) is None


def test_rates_are_those_of_least_mean_error() -> None:
    plan = replace(SMALLEST, rates=(1.0, 2.0, 3.0))
    first = {"a": {"20": [3.0, 1.0, 2.0]}, "b": {"20": [1.0, 9.0, 9.0]}}
    second = {"a": {"20": [3.0, 2.0, 0.5]}, "b": {"20": [1.0, 0.0, 9.0]}}
    assert best_rates([first, second], plan) == {"a": {"20": 3.0}, "b": {"20": 1.0}}


def test_budgets_take_the_nearest_tuned_rate() -> None:
    assert [MotionPlan().tuned_budget(n) for n in (5, 20, 50, 100)] == [20, 20, 50, 50]
    with pytest.raises(ConfigError):
        MotionPlan(n_per_group=0)


def test_groups_are_what_they_say() -> None:
    subjects = {s.group: s for s in MotionPlan().subjects() if s.round == 1}
    assert len(list(MotionPlan().subjects())) == 96
    half, usual = subjects[Group.HALF_RATE], subjects[Group.HALF_RATE]
    before = drawn_plane(usual.seed, usual.kind).protocol
    assert half.drawn().protocol.n_phases == before.n_phases // 2
    noise = subjects[Group.NOISE]
    quiet = drawn_plane(noise.seed, noise.kind).protocol
    assert noise.drawn().protocol.noise_sd == pytest.approx(3 * quiet.noise_sd)
    distant = subjects[Group.DISTANT].drawn()
    assert distant.heart.mode.value == "rv_overload"
    assert not 0.4 <= distant.protocol.sa_levels[0] <= 0.7
    assert subjects[Group.LARGE].kind is MotionKind.LARGE


@pytest.fixture(scope="module")
def truth() -> PlaneTruth:
    simulated = simulated_plane(11, MotionKind.DYSFUNCTIONAL)
    return PlaneTruth.of(simulated.truth, plane_of(simulated.study.slices[0], None))


def test_no_motion_is_wrong_by_all_of_it(truth: PlaneTruth) -> None:
    field = truth.plane.field(DEFAULT, truth.plane.times().tolist(), is_cyclic=False)
    scores = truth.scores(field)
    rms = np.sqrt((truth.displacement**2).sum(axis=-1).mean())
    assert scores["rmse_mm"] == pytest.approx(rms) == truth.rmse_mm(field)
    assert scores["gcs_points"] == pytest.approx(100 * abs(truth.strain[:, 1].mean()))


def test_the_truth_has_no_error(truth: PlaneTruth) -> None:
    # features enough for the exact motion, so that what is left is what they cannot show
    config = replace(DEFAULT, start=replace(DEFAULT.start, n_features=300))
    field = truth.plane.field(config, truth.plane.times().tolist(), is_cyclic=False)
    with torch.no_grad():
        h, _ = field.features((truth.plane.local_points() / field.placement.radius_mm, None))
        u = torch.tensor(truth.displacement @ field.placement.axes.T, dtype=torch.float64)
        steps = torch.diff(u, dim=0).transpose(0, 1).flatten(1) / field.placement.radius_mm
        found = torch.linalg.lstsq(h.double(), steps, driver="gelsd").solution
        field.coefficients.copy_(found.float())
    scores = truth.scores(field)
    assert scores["rmse_mm"] is not None and scores["rmse_mm"] < 0.05
    assert scores["gcs_points"] is not None and scores["gcs_points"] < 0.3
    assert scores["segmental_points"] is not None and scores["segmental_points"] < 0.5


def test_a_run_writes_figures_and_goes_on_from_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # parts of changed sources are not used: they must not change between the two runs
    monkeypatch.setattr(motion, "code_hash", lambda layers: "fixed")
    content = run_motion(tmp_path / "out", SMALLEST)
    figures = content["figures"]
    assert figures["tagged_rmse_mm"] < 1.0 and figures["gn_start_ratio"] < 0.5
    assert set(content["missing"]) == {"tagged_3d_rmse_mm", "dysfunction_ratio"}
    stored = json.loads((tmp_path / "out" / "benchmark.json").read_text(encoding="utf-8"))
    assert stored["figures"] == figures
    assert (tmp_path / "out" / "figures" / "trajectory.png").read_bytes()[:4] == b"\x89PNG"
    text = (tmp_path / "out" / "benchmark.md").read_text(encoding="utf-8")
    assert "auto-decoder" in text and "Research use only" in text
    part = tmp_path / "out" / "parts" / "arms-1.json"
    written = part.stat().st_mtime_ns
    assert run_motion(tmp_path / "out", SMALLEST)["figures"] == figures
    assert part.stat().st_mtime_ns == written
