"""Fits guided by labels: what they change, and that a refit goes on where a fit ended."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.analysis.metrics import DiceCounts
from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.data.study import CineStudy
from NISFCore.errors import ConfigError, StudyError
from NISFCore.fitting.config import N_REFIT_STEPS, PAPER, FitConfig
from NISFCore.fitting.fit import fit_study, refit_study
from NISFCore.fitting.label_evidence import label_evidence
from NISFCore.fitting.preparation import seen_in
from NISFCore.fitting.problem import fitted_parameters
from NISFCore.fitting.result import FitResult
from NISFCore.fitting.warm_start import estimate_of
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import N_LABELS
from Testing.Core.fitting.results import made_result
from Testing.Core.fitting.teacher import Teacher, teacher_prior, teacher_study


def labels_of(study: CineStudy, names: tuple[str, ...], phases: tuple[int, ...] = (0,)) -> Guidance:
    """The true labels of some slices, complete."""
    entries = []
    for cine in study.slices:
        if cine.name in names:
            assert cine.labels is not None
            for phase in phases:
                hard = np.eye(N_LABELS, dtype=np.float32)[cine.labels.values[phase]]
                known = np.ones(cine.shape, dtype=np.bool_)
                entries.append(SliceGuidance(cine.name, phase, hard, known))
    return Guidance(tuple(entries), ("drawn.nii.gz",), ())


def inverted(teacher: Teacher) -> Teacher:
    """The same study as another kind of scan: dark is bright, which no heart of the prior is."""
    slices = tuple(replace(s, frames=s.frames.max() - s.frames + 1) for s in teacher.study.slices)
    return replace(teacher, study=replace(teacher.study, slices=slices))


def dice_at(result: FitResult, phase: int, left_out: tuple[str, ...] = ()) -> float:
    """Mean Dice of the labels on the slices where the fit put them, but for some slices."""
    counts = DiceCounts()
    for cine, motion in zip(result.study.slices, result.slice_motions, strict=True):
        if cine.name not in left_out:
            points = apply_affine(motion, pixel_centres_ras(cine.ras_from_ijk, cine.shape))
            t = float(cine.cycle_fractions[phase])
            found = result.field.evaluate(points.reshape(-1, 3), t).labels
            assert cine.labels is not None
            counts.add(found, cine.labels.values[phase].reshape(-1))
    return counts.mean()


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return teacher_study(seed=0)


@pytest.fixture(scope="module")
def misled() -> tuple[Teacher, FitResult]:
    """A fit to images that the prior does not understand. Of some such studies labels mend little,
    as the draws of voxels have it; not of this one."""
    other = inverted(teacher_study(seed=1))
    return other, fit_study(other.study, teacher_prior(), device="cpu")


SOME = ("SA_02", "SA_04", "LA_4CH")


def test_labels_of_some_slices_mend_the_others(misled: tuple[Teacher, FitResult]) -> None:
    """And other phases: the labels are those of the first."""
    other, unguided = misled
    guidance = labels_of(other.study, SOME)
    guided = fit_study(other.study, teacher_prior(), guidance=guidance, device="cpu")
    for phase in (0, 1):
        assert dice_at(unguided, phase, SOME) < 0.8
        assert dice_at(guided, phase, SOME) > dice_at(unguided, phase, SOME) + 0.08
    assert guided.settings["labels"]["files"] == ["drawn.nii.gz"]
    assert guided.settings["labels"]["frames"] == [{"slice": n, "phase": 0} for n in SOME]


def test_a_refit_goes_on_where_the_fit_ended(misled: tuple[Teacher, FitResult]) -> None:
    _, unguided = misled
    guidance = labels_of(unguided.study, SOME)
    refitted = refit_study(unguided, guidance, device="cpu")
    assert len(refitted.history) <= N_REFIT_STEPS
    assert dice_at(refitted, 0, SOME) > dice_at(unguided, 0, SOME) + 0.08
    assert [s.shape for s in refitted.study.slices] == [s.shape for s in unguided.study.slices]
    assert len(set(refitted.study.warnings)) == len(refitted.study.warnings)


def test_right_labels_leave_a_right_fit_alone(teacher: Teacher) -> None:
    """Pixels are labelled with the likeliest label, not with its probability: a bias below half a
    tenth of a millimetre."""
    result = fit_study(teacher.study, teacher_prior(), device="cpu")
    refitted = refit_study(result, labels_of(result.study, SOME), device="cpu")
    for before, after in zip(result.slice_motions, refitted.slice_motions, strict=True):
        assert np.abs(after - before)[:3, 3].max() < 0.05
    assert dice_at(refitted, 0) > 0.99


def test_only_known_pixels_are_used(teacher: Teacher) -> None:
    frame, region = canonical_frame_of(teacher.study), teacher_prior().info.decoder.region
    whole = labels_of(teacher.study, SOME)
    partly = replace(whole, entries=tuple(every_sixth(entry) for entry in whole.entries))
    fitted, _ = seen_in(teacher.study, frame, teacher_prior(), FitConfig(), "cpu")
    n_all, n_some = (
        len(label_evidence(g, teacher.study, fitted, frame, region, 5.0).target)
        for g in (whole, partly)
    )
    assert n_some == pytest.approx(n_all / 6, rel=0.02)


def every_sixth(entry: SliceGuidance) -> SliceGuidance:
    """The labels of every sixth pixel; nothing is known of the others."""
    known = np.zeros_like(entry.known)
    known[::3, ::2] = True
    return replace(entry, known=known, probabilities=entry.probabilities * known[..., None])


def test_labels_beside_the_heart_are_refused(teacher: Teacher) -> None:
    whole = labels_of(teacher.study, ("SA_02",))
    nothing = np.zeros_like(whole.entries[0].known)
    nothing[0, 0] = True  # a corner of the image
    corner = whole.entries[0].probabilities * nothing[..., None]
    entry = replace(whole.entries[0], known=nothing, probabilities=corner)
    beside = replace(whole, entries=(entry,))
    with pytest.raises(StudyError, match="heart region"):
        fit_study(teacher.study, teacher_prior(), guidance=beside, device="cpu")


def test_the_adam_solvers_refuse_labels(teacher: Teacher) -> None:
    with pytest.raises(ConfigError, match="default"):
        fit_study(teacher.study, teacher_prior(), PAPER, guidance=labels_of(teacher.study, SOME))


def test_a_warm_start_is_the_fit_itself() -> None:
    """Parameters to unknowns and back, for motions and poses of any size."""
    made = made_result(3)
    result = made.result
    back = fitted_parameters(estimate_of(result), result.study, result.frame, made.table)
    np.testing.assert_allclose(back.global_pose, result.parameters.global_pose, atol=1e-4)
    np.testing.assert_allclose(back.log_gain, result.parameters.log_gain, atol=1e-6)
    np.testing.assert_allclose(back.tissue_offset, result.parameters.tissue_offset, atol=1e-6)
    for ours, theirs in zip(back.slice_motion, result.parameters.slice_motion, strict=True):
        np.testing.assert_allclose(ours.rotvec_rad, theirs.rotvec_rad, atol=1e-5)
        np.testing.assert_allclose(ours.translation_mm, theirs.translation_mm, atol=1e-3)
