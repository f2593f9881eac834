"""The checks of a result: what each measures, when it is raised, what the verdict is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from NISFCore.analysis.quality import LIMITS, N_TIMES, Limits, measured_quality, quality_of
from NISFCore.analysis.rendering import uniform_cycle_fractions
from NISFCore.analysis.volumes import VentricularFunction, volume_curve
from NISFCore.data.study import CineStudy
from NISFCore.fitting.config import FitConfig, GaussNewtonConfig
from NISFCore.fitting.fit import fit_study
from NISFCore.fitting.quality import QualityFlag, QualityReport, Verdict
from NISFCore.fitting.result import FitResult, SliceMotion
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.model.shape_warp import ShapeWarp, WarpConfig, warp_modes
from NISFCore.views import View
from Testing.Core.fitting.teacher import teacher_prior, teacher_study

FAST = FitConfig(GaussNewtonConfig(voxels=(512,) * 8))


@pytest.fixture(scope="module")
def result() -> FitResult:
    study = teacher_study(seed=1, n_phases=6, n_psf_nodes=1).study
    found = fit_study(study, teacher_prior(), FAST, device="cpu")
    return replace(
        found,
        figures=found.figures | {"intersection_ncc_before": 0.8, "intersection_ncc_after": 0.9},
    )


def with_warp(result: FitResult, warp: ShapeWarp) -> FitResult:
    return replace(result, parameters=replace(result.parameters, warp=warp))


def limits(name: str) -> Limits:
    return next(limit for limit in LIMITS if limit.name == name)


def raised(result: FitResult) -> set[str]:
    return {flag.name for flag in quality_of(result).raised}


def test_levels() -> None:
    of = Limits("x", (1.0, 2.0), (0.0, 3.0), "here", "text")
    levels = {v: of.flag(v).level for v in (1.0, 2.0, 0.5, 2.5, -0.1, 3.1, float("nan"))}
    assert levels[1.0] is levels[2.0] is Verdict.RELIABLE
    assert levels[0.5] is levels[2.5] is Verdict.CHECK
    assert levels[-0.1] is levels[3.1] is Verdict.NOT_RELIABLE
    assert of.flag(float("nan")).level is Verdict.NOT_RELIABLE
    assert of.flag(None).level is Verdict.RELIABLE  # nothing was measured, nothing is wrong


def test_limits_are_nested_and_say_where_they_come_from() -> None:
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)
    for limit in LIMITS:
        assert limit.source and limit.text
        for k, sign in ((0, 1.0), (1, -1.0)):
            check, fail = limit.check[k], limit.fail[k]
            assert fail is None or (check is not None and sign * fail < sign * check)


def test_the_verdict_is_the_worst_check() -> None:
    good, check, fail = (
        QualityFlag("a", 1.0, (None, 2.0), level, "s", "t")
        for level in (Verdict.RELIABLE, Verdict.CHECK, Verdict.NOT_RELIABLE)
    )
    assert QualityReport(False, (good,)).verdict is Verdict.RELIABLE
    assert QualityReport(False, (good,)).kind == "result"
    both = QualityReport(False, (good, check, fail))
    assert both.verdict is Verdict.NOT_RELIABLE and both.raised == (fail, check)
    assert both.kind == "initialisation" and "an initialisation" in both.headline
    assert QualityReport(True, (check,)).kind == "result"
    assert "at most 2" in check.sentence and "check: a = 1" in check.sentence


def test_every_figure_is_measured(result: FitResult) -> None:
    values = measured_quality(result)
    assert set(values) == {limit.name for limit in LIMITS}
    assert all(np.isfinite(v) for v in values.values())


def test_volumes_are_those_of_the_volume_curve(result: FitResult) -> None:
    grid, t = result.field.box.grid(4.0), uniform_cycle_fractions(N_TIMES)
    fine = VentricularFunction.from_curve(volume_curve(result.field, grid, t)).to_dict()
    coarse = measured_quality(result)
    for name in ("edv_ml", "rv_edv_ml", "mass_g", "ef_percent"):
        assert coarse[name] == pytest.approx(fine[name], rel=0.05)


def test_a_strange_latent_is_noticed(result: FitResult) -> None:
    prior = result.prior
    direction = np.linalg.cholesky(prior.latent_covariance.numpy()) @ np.ones(3)
    far = (prior.latent_mean.numpy() + 5 * direction).astype(np.float32)
    strange = replace(result, parameters=replace(result.parameters, latent=far))
    assert measured_quality(strange)["latent_rms_sd"] == pytest.approx(5.0, rel=1e-4)
    flag = next(f for f in quality_of(strange).raised if f.name == "latent_rms_sd")
    assert flag.level is Verdict.NOT_RELIABLE


@pytest.mark.parametrize(("c", "level"), [(0.0, Verdict.RELIABLE), (9.0, Verdict.CHECK)])
def test_a_bent_shape_is_noticed(result: FitResult, c: float, level: Verdict) -> None:
    modes = warp_modes(result.prior.info.decoder.region, WarpConfig())
    coefficients = np.zeros((len(modes.sd_mm), 3), dtype=np.float32)
    coefficients[1, 0] = c  # across, one wave more along the longest axis
    bent = with_warp(result, ShapeWarp(modes, coefficients))
    value = measured_quality(bent)["shape_warp_mm"]
    assert limits("shape_warp_mm").flag(value).level is level
    assert value == pytest.approx(0.0, abs=1e-4) if c == 0 else 6.0 < value < 15.0


def test_a_shift_is_no_shape(result: FitResult) -> None:
    """The longest wave moves all of the heart nearly alike."""
    modes = warp_modes(result.prior.info.decoder.region, WarpConfig())
    coefficients = np.zeros((len(modes.sd_mm), 3), dtype=np.float32)
    coefficients[0, 0] = 1.0
    bent = with_warp(result, ShapeWarp(modes, coefficients))
    largest_mm = float(np.sqrt(8) * modes.sd_mm[0])
    assert 0 < measured_quality(bent)["shape_warp_mm"] < 0.35 * largest_mm


def test_poses_beyond_what_is_usual_are_noticed(result: FitResult) -> None:
    turn = rigid(rotation_from_rotvec(np.array([0.0, 0.0, 1.0])), [0.0, 0.0, 60.0])
    moved = replace(result, parameters=replace(result.parameters, global_pose=turn))
    assert {"global_shift_mm", "global_turn_deg"} <= raised(moved)
    motion = list(result.parameters.slice_motion)
    motion[2] = SliceMotion(np.zeros(3), np.array([0.0, 20.0, 0.0]))
    far = replace(result, parameters=replace(result.parameters, slice_motion=tuple(motion)))
    assert "largest_slice_motion_mm" in raised(far)


def test_images_that_are_not_explained_are_noticed(result: FitResult) -> None:
    bad = replace(
        result,
        figures={"psnr_db": 10.0, "intersection_ncc_before": 0.5, "intersection_ncc_after": 0.2},
    )
    assert {"psnr_db", "intersection_ncc_after", "intersection_ncc_gain"} <= raised(bad)
    assert quality_of(bad).verdict is Verdict.NOT_RELIABLE


def test_coverage(result: FitResult) -> None:
    """Slices of one end only, without long axes: the rest of the LV is nobody's measurement."""
    whole = measured_quality(result)
    assert whole["n_sa_slices"] == 6 and whole["n_la_views"] == 3 and whole["lv_seen_share"] == 1
    index = [k for k, s in enumerate(result.study.slices) if s.view is View.SA][:2]
    part = replace(
        result,
        study=replace(result.study, slices=tuple(result.study.slices[k] for k in index)),
        parameters=replace(
            result.parameters,
            slice_motion=tuple(result.parameters.slice_motion[k] for k in index),
        ),
    )
    values = measured_quality(part)
    assert values["n_sa_slices"] == 2 and values["n_la_views"] == 0
    assert 0.02 < values["lv_seen_share"] < 0.5
    assert {"n_sa_slices", "n_la_views", "lv_seen_share"} <= raised(part)


def test_one_phase_has_no_ejection_fraction(result: FitResult) -> None:
    slices = tuple(
        replace(s, frames=s.frames[:1], trigger_times_ms=s.trigger_times_ms[:1], labels=None)
        for s in result.study.slices
    )
    values = measured_quality(replace(result, study=replace(result.study, slices=slices)))
    assert "ef_percent" not in values and values["n_phases"] == 1 and values["edv_ml"] > 0


def test_labels_make_it_a_result(result: FitResult) -> None:
    bad = replace(result, figures={"psnr_db": 15.0})
    assert quality_of(bad).kind == "initialisation"
    guided = replace(bad, settings=bad.settings | {"labels": {"files": ["x"]}})
    assert quality_of(guided).kind == "result" and quality_of(guided).is_guided


@pytest.mark.parametrize("name", ["edv_ml", "rv_edv_ml", "mass_g", "ef_percent", "rv_ef_percent"])
def test_population_limits_hold_published_means(name: str) -> None:
    """UK Biobank (Petersen 2017), men and women 45 to 74 years: mean ± 3 sd raise no flag."""
    published = {
        "edv_ml": ((124, 21), (166, 32)),
        "rv_edv_ml": ((130, 24), (182, 36)),
        "mass_g": ((70, 13), (103, 21)),
        "ef_percent": ((61, 5), (58, 5)),
        "rv_ef_percent": ((58, 6), (54, 6)),
    }[name]
    for mean, sd in published:
        for value in (mean - 2 * sd, mean, mean + 3 * sd):
            assert limits(name).flag(value).level is Verdict.RELIABLE


# ---------------------------------------------------------------- provoked failures

MODEL_FLAGS = {"latent_rms_sd", "psnr_db", "global_shift_mm", "global_turn_deg"}


def noise(study: CineStudy) -> CineStudy:
    """Something that is no heart at all."""
    rng = np.random.default_rng(0)
    slices = tuple(
        replace(s, labels=None, frames=rng.uniform(0, 900, s.frames.shape).astype(np.float32))
        for s in study.slices
    )
    return replace(study, slices=slices)


def inverted(study: CineStudy) -> CineStudy:
    """Another kind of scan: blood is dark and muscle is bright."""
    slices = tuple(
        replace(s, labels=None, frames=s.frames.max() - s.frames + 1) for s in study.slices
    )
    return replace(study, slices=slices)


def views_exchanged(study: CineStudy) -> CineStudy:
    """The 2-chamber view called 4-chamber and the other way round."""
    names = {View.LA_2CH: View.LA_4CH, View.LA_4CH: View.LA_2CH}
    slices = tuple(s.renamed(s.name, names.get(s.view, s.view)) for s in study.slices)
    return replace(study, slices=slices)


def apical_half(study: CineStudy) -> CineStudy:
    """Half of the stack is missing, and all long-axis views."""
    return replace(study, slices=study.of_view(View.SA)[3:])


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (noise, {"psnr_db"}),
        (inverted, {"psnr_db", "latent_rms_sd"}),
        (views_exchanged, {"psnr_db", "latent_rms_sd", "global_turn_deg"}),
        (apical_half, {"n_sa_slices", "n_la_views", "lv_seen_share"}),
    ],
)
def test_provoked_failures_raise_flags(
    spoil: Callable[[CineStudy], CineStudy], expected: set[str], result: FitResult
) -> None:
    """What the untouched study does not raise."""
    assert not raised(result) & (MODEL_FLAGS | {"n_sa_slices", "n_la_views", "lv_seen_share"})
    study = teacher_study(seed=1, n_phases=6, n_psf_nodes=1).study
    found = fit_study(spoil(study), teacher_prior(), FAST, device="cpu")
    assert raised(found) & expected
