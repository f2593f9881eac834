"""Every figure of an evaluation: perfect fits, known errors, and independence of the gauge."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from NISFCore.analysis.dense import common_grid
from NISFCore.analysis.evaluation import Evaluation, evaluate
from NISFCore.data.study import CineStudy, SliceLabels
from NISFCore.errors import Cancelled
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.progress import CancelToken
from Testing.Core.analysis.hearts import (
    EllipsoidHeart,
    Fitted,
    TrueHeart,
    small_case,
    true_motions,
    with_common_motion,
)

COMMON = rigid(rotation_from_rotvec([0.05, -0.08, 0.1]), [6.0, -4.0, 3.0])
KEYS = {
    "dice_3d",
    "dice_3d_anchored",
    "dice_in_plane",
    "slice_motion_mm",
    "slice_motion_deg",
    "intersection_ncc",
    "intersection_dice",
    "psnr_db",
    "ssim",
    "volumes",
    "seconds",
}


def _figures(fitted: Fitted, truth: TrueHeart | None) -> dict[str, Any]:
    return evaluate(fitted, truth, spacing_mm=4.0, n_phases=4).to_json_object()


def _imperfect() -> tuple[Fitted, TrueHeart]:
    """A fit with a smaller stroke, errors of motion and scales: every figure is off."""
    fitted, truth = small_case()
    centres = [cine.centre_ras for cine in fitted.study.slices]
    wrong = true_motions(centres, seed=9)
    motions = tuple(W @ E for W, E in zip(wrong, fitted.slice_motions, strict=True))
    heart = EllipsoidHeart(stroke=0.1)
    return replace(
        fitted, field=heart, slice_motions=motions, intensity_scale=np.full(6, 0.9)
    ), truth


def test_a_perfect_fit_is_perfect() -> None:
    fitted, truth = small_case()
    figures = _figures(fitted, truth)
    assert figures.keys() >= KEYS
    json.dumps(figures, allow_nan=False)
    for key in ("dice_3d", "dice_3d_anchored", "dice_in_plane"):
        assert figures[key] == {"lv_blood_pool": 1, "lv_myocardium": 1, "rv_blood_pool": 1}
    assert figures["slice_motion_mm"]["before"] > 2
    assert figures["slice_motion_mm"]["after"] < 1e-6
    assert figures["slice_motion_deg"]["after"] < 1e-4
    assert figures["intersection_ncc"]["after"] > figures["intersection_ncc"]["before"]
    assert figures["intersection_dice"]["after"] == 1 > figures["intersection_dice"]["before"]
    assert figures["ssim"] == pytest.approx(1)
    assert figures["psnr_db"] is None  # infinite
    for pair in figures["volumes"].values():
        assert pair["estimate"] == pair["truth"]
    assert figures["seconds"].keys() == {"fit", "evaluate"}


def test_figures_of_an_imperfect_fit_do_not_depend_on_the_gauge() -> None:
    fitted, truth = _imperfect()
    a, b = _figures(fitted, truth), _figures(with_common_motion(fitted, COMMON), truth)
    anchored_a, anchored_b = (f.pop("dice_3d_anchored") for f in (a, b))
    for figures in (a, b):
        figures.pop("seconds")
    assert _rounded(a) == _rounded(b)
    assert a["slice_motion_mm"]["after"] > 1
    assert 15 < a["psnr_db"] < 25
    assert a["dice_3d"]["lv_blood_pool"] < 0.97
    assert anchored_b["lv_myocardium"] < anchored_a["lv_myocardium"] - 0.05


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return round(value, 3) if isinstance(value, float) else value


def test_psnr_is_that_of_the_scale_error() -> None:
    fitted, truth = small_case()
    half = replace(fitted, intensity_scale=np.full(6, 0.5), intensity_reference=np.full(6, 2.0))
    assert _figures(half, truth)["psnr_db"] is None  # frames / 2 = 0.5 × field exactly
    figures = _figures(replace(fitted, intensity_scale=np.full(6, 0.9)), truth)
    squares = []
    for cine, motion in zip(fitted.study.slices, fitted.slice_motions, strict=True):
        region = fitted.field.contains(pixel_centres_ras(motion @ cine.ras_from_ijk, cine.shape))
        squares.append((0.1 * cine.frames[:, region].astype(np.float64).ravel()) ** 2)
    mse = np.concatenate(squares).mean()
    assert figures["psnr_db"] == pytest.approx(-10 * np.log10(mse), abs=1e-3)


def test_pixels_outside_the_fitted_region_do_not_count() -> None:
    fitted, truth = small_case()
    cine = fitted.study.slices[0]
    corrected = fitted.slice_motions[0] @ cine.ras_from_ijk
    region = fitted.field.contains(pixel_centres_ras(corrected, cine.shape))
    spoiled = replace(cine, frames=np.where(region, cine.frames, 0).astype(np.float32))
    study = CineStudy((spoiled, *fitted.study.slices[1:]))
    figures = _figures(replace(fitted, study=study), truth)
    assert figures["psnr_db"] is None
    assert figures["ssim"] == pytest.approx(1)
    assert 0.1 < region.mean() < 0.9


def test_volume_errors_are_those_of_the_hearts() -> None:
    fitted, truth = _imperfect()
    volumes = evaluate(fitted, truth, spacing_mm=2.0, n_phases=2).volumes
    heart = EllipsoidHeart(stroke=0.1)
    assert volumes["edv_ml"].truth == pytest.approx(truth.volumes_ml(0)[1], rel=0.01)
    assert volumes["esv_ml"].estimate == pytest.approx(heart.volumes_ml(0.5)[1], rel=0.01)
    assert volumes["rv_esv_ml"].truth == pytest.approx(truth.volumes_ml(0.5)[3], rel=0.01)
    assert volumes["mass_g"].truth == pytest.approx(1.05 * truth.volumes_ml(0)[2], rel=0.01)


def test_without_truth_what_needs_it_is_null() -> None:
    fitted, _ = small_case()
    figures = _figures(fitted, None)
    for key in ("dice_3d", "dice_3d_anchored", "dice_in_plane", "slice_motion_mm"):
        assert figures[key] is None
    assert figures["intersection_dice"] is None
    assert figures["intersection_ncc"]["after"] > 0.99
    assert figures["volumes"]["edv_ml"]["estimate"] > 0
    assert figures["volumes"]["edv_ml"]["truth"] is None


def test_reference_labels_stand_in_for_a_truth_in_plane() -> None:
    fitted, truth = small_case()
    cine = fitted.study.slices[1]
    values = np.zeros(cine.frames.shape, dtype=np.uint8)
    annotated = np.zeros(cine.n_phases, dtype=bool)
    annotated[0] = True
    labelled = replace(cine, labels=SliceLabels(values, annotated))
    slices = (fitted.study.slices[0], labelled, *fitted.study.slices[2:])
    evaluation = evaluate(
        replace(fitted, study=CineStudy(slices)), None, spacing_mm=8.0, n_phases=2
    )
    assert evaluation.dice_in_plane is not None
    assert evaluation.dice_in_plane["lv_blood_pool"] == 0
    assert evaluation.intersection_dice is not None
    assert evaluation.to_json_object()["intersection_dice"]["after"] is None
    assert truth is not None


def test_common_grid_holds_both_hearts_on_the_estimates_lattice() -> None:
    estimate, truth = EllipsoidHeart(), EllipsoidHeart().moved(COMMON)
    moved = rigid(np.eye(3), [0, 9.0, 0])
    grid = common_grid(estimate.box, truth.box, moved, 3.0)
    ijk_from_ras = invert_affine(grid.ras_from_ijk)
    for heart in (estimate, truth.moved(invert_affine(moved))):
        points = heart.box.grid(20.0).points_ras().reshape(-1, 3)
        labels = heart.evaluate(points, 0.0).labels
        ijk = apply_affine(ijk_from_ras, points[labels > 0])
        assert (ijk > -0.5).all()
        assert (ijk < np.array(grid.shape[::-1]) - 0.5).all()
    first = apply_affine(ijk_from_ras, estimate.box.grid(3.0).ras_from_ijk[:3, 3])
    assert np.allclose(first, np.round(first), atol=1e-6)


def test_cancel_stops_an_evaluation() -> None:
    fitted, truth = small_case()
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        evaluate(fitted, truth, cancel=cancel)


def test_slice_figures_are_named() -> None:
    fitted, truth = small_case()
    evaluation: Evaluation = evaluate(fitted, truth, spacing_mm=8.0, n_phases=2)
    assert [s.name for s in evaluation.slices] == [c.name for c in fitted.study.slices]
    means = [s.motion_mm.before for s in evaluation.slices if s.motion_mm is not None]
    assert evaluation.slice_motion_mm is not None
    assert np.mean([m for m in means if m is not None]) == pytest.approx(
        evaluation.slice_motion_mm.before
    )
