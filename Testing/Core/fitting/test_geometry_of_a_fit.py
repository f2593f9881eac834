"""What the forward model saw and what the result says are one geometry, and its gauge is fixed.

The solvers work in canonical space with a motion about each slice's centre and a global pose; the
result speaks of RAS, with the mean motion moved into the global pose. Everything that is exported
depends on the two being the same.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NISFCore.fitting.problem import Estimate
from NISFCore.geometry.planes import corners_ras, normal_ras
from NISFCore.geometry.rigid import invert_rigid, rigid, rotation_from_rotvec, rotvec_from_rotation
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.labels import N_LABELS
from NISFCore.model.decoder import Decoder
from NISFCore.model.forward_model import Prediction, predict
from NISFCore.model.motion_correction import Poses
from NISFCore.model.psf import NO_PSF, PsfConfig, PsfKind, gauss_hermite
from NISFCore.model.voxels import SliceTable, VoxelBatch
from Testing.Core.fitting.results import (
    Made,
    made_result,
    random_rigid,
    region_pixels,
    region_points_ras,
    result_of,
)

SEEDS = range(6)
TIME = 0.3


def predicted(made: Made, index: int, psf: PsfConfig = NO_PSF) -> Prediction:
    """The forward model's own view of all fitted pixels of a slice, at one time of the cycle."""
    own = made.table.slice_index == index
    n = int(own.sum())
    batch = VoxelBatch(
        position_mm=made.table.position_mm[own],
        slice_index=made.table.slice_index[own],
        cycle_fraction=torch.full((n,), TIME),
        intensity=torch.zeros(n),
        possible=torch.ones(n, N_LABELS, dtype=torch.bool),
    )
    estimate, decoder = made.estimate, made.result.prior.decoder
    with torch.no_grad():
        return predict(decoder, batch, made.table.slices, estimate.latent, estimate.poses, psf)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fitted_heart_on_corrected_pixels_is_what_the_forward_model_predicted(
    seed: int,
) -> None:
    """The end-to-end identity: everything exported is right only if this holds."""
    made = made_result(seed)
    heart, motions = made.result.field, made.result.slice_motions
    for index in range(len(made.result.study.slices)):
        gain = made.result.image_gain(index)[region_pixels(made, index)]
        prediction = predicted(made, index)
        corrected = apply_affine(motions[index], region_points_ras(made, index))
        inside = heart.contains(corrected)
        assert inside.mean() > 0.7  # the rest has left the modelled region
        samples = heart.evaluate(corrected, TIME)
        expected = prediction.intensity.numpy()
        assert expected[inside].std() > 0.05
        # float32 coordinates of about 100 mm, an encoding that turns by about 1 rad per 4 mm
        np.testing.assert_allclose(
            gain[inside] * samples.intensity[inside], expected[inside], atol=3e-5, rtol=0
        )
        np.testing.assert_allclose(
            samples.label_probabilities[inside],
            prediction.label_probabilities.numpy()[inside],
            atol=1e-4,
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_slice_profile_lies_along_the_corrected_normal(seed: int) -> None:
    made = made_result(seed)
    heart, index = made.result.field, seed % len(made.result.study.slices)
    cine = made.result.study.slices[index]
    prediction = predicted(made, index, PsfConfig(PsfKind.THROUGH_PLANE, 3)).intensity.numpy()
    nodes, weights = gauss_hermite(3)
    sigma_mm = cine.thickness_mm / (2 * np.sqrt(2 * np.log(2)))  # FWHM = thickness
    points = region_points_ras(made, index)
    total, inside = np.zeros(len(points)), np.ones(len(points), dtype=bool)
    for z, w in zip(nodes.numpy(), weights.numpy(), strict=True):
        sample = points + z * sigma_mm * normal_ras(cine.ras_from_ijk)
        corrected = apply_affine(made.result.slice_motions[index], sample)
        inside &= heart.contains(corrected)
        total += w * heart.evaluate(corrected, TIME).intensity
    assert inside.mean() > 0.6
    expected = made.result.image_gain(index)[region_pixels(made, index)] * total
    np.testing.assert_allclose(expected[inside], prediction[inside], atol=3e-5, rtol=0)
    without = predicted(made, index).intensity.numpy()
    assert np.abs(without - prediction)[inside].max() > 0.01  # the profile is no small matter


def canonical_motions(poses: Poses, slices: SliceTable) -> list[Affine]:
    """x -> R (x - c) + c + t of every slice, in canonical space."""
    motions = []
    for w, t, c in zip(
        poses.slice_rotvec, poses.slice_translation_mm, slices.centre_mm, strict=True
    ):
        R, c64 = rotation_from_rotvec(w.numpy()), c.double().numpy()
        motions.append(rigid(R, c64 - R @ c64 + t.double().numpy()))
    return motions


def with_common_motion(made: Made, common: Affine) -> Made:
    """Another estimate of the same: every slice moved by `common`, the heart moved back."""
    poses, slices = made.estimate.poses, made.table.slices
    rotvecs, shifts = [], []
    for motion, c in zip(canonical_motions(poses, slices), slices.centre_mm.double(), strict=True):
        moved = common @ motion
        rotvecs.append(rotvec_from_rotation(moved[:3, :3]))
        shifts.append(apply_affine(moved, c.numpy()) - c.numpy())
    R = rotation_from_rotvec(poses.global_rotvec[0].numpy())
    pose = rigid(R, poses.global_translation_mm[0].numpy()) @ invert_rigid(common)
    moved_poses = Poses(
        torch.from_numpy(rotvec_from_rotation(pose[:3, :3]))[None],
        torch.from_numpy(pose[:3, 3].copy())[None],
        torch.from_numpy(np.stack(rotvecs)),
        torch.from_numpy(np.stack(shifts)),
        poses.log_scale,
        poses.log_gain,
        poses.tissue_offset,
    )
    estimate, r = Estimate(made.estimate.latent, moved_poses), made.result
    return Made(result_of(estimate, r.study, r.frame, made.table, r.prior), estimate, made.table)


def in_double(made: Made) -> Made:
    """With a decoder and a table in float64, so that nothing is lost to rounding."""
    decoder = Decoder(made.result.prior.info.decoder)
    decoder.load_state_dict(made.result.prior.decoder.state_dict())
    prior = replace(made.result.prior, decoder=decoder.double())
    F, slices = made.result.frame.canonical_from_ras, made.table.slices
    centres = np.stack([apply_affine(F, s.centre_ras) for s in made.result.study.slices])
    table = replace(
        made.table,
        slices=replace(
            slices,
            centre_mm=torch.from_numpy(centres),
            axes=slices.axes.double(),
            sigma_mm=slices.sigma_mm.double(),
        ),
        position_mm=made.table.position_mm.double(),
    )
    return Made(replace(made.result, prior=prior), made.estimate, table)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_common_motion_changes_nothing(seed: int) -> None:
    """It cannot be seen in slices: it belongs to the global pose, whoever put it where."""
    made = in_double(made_result(seed, torch.float64))
    common = random_rigid(np.random.default_rng(seed + 100), 20.0)
    moved = with_common_motion(made, common)
    difference = (
        moved.estimate.poses.slice_translation_mm - made.estimate.poses.slice_translation_mm
    )
    assert difference.abs().max() > 5  # the test has something to find
    for index in range(len(made.result.study.slices)):
        before, after = predicted(made, index), predicted(moved, index)
        torch.testing.assert_close(after.intensity, before.intensity, atol=1e-9, rtol=0)
    a, b = made.result, moved.result
    np.testing.assert_allclose(b.canonical_from_ras, a.canonical_from_ras, atol=1e-7)
    np.testing.assert_allclose(b.slice_motions, a.slice_motions, atol=1e-7)
    np.testing.assert_allclose(b.parameters.global_pose, a.parameters.global_pose, atol=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_moved_slices_stay_as_a_whole_where_they_were_scanned(seed: int) -> None:
    """Neither a shift nor a turn is common to the fitted motions, each slice counted by its
    fitted pixels: the force and the torque that would pull them back vanish."""
    made = made_result(seed)
    force, torque, size = np.zeros(3), np.zeros(3), 0.0
    for index, (cine, motion) in enumerate(
        zip(made.result.study.slices, made.result.slice_motions, strict=True)
    ):
        weight = len(region_points_ras(made, index))
        rows, cols = cine.shape
        corners = apply_affine(
            cine.ras_from_ijk,
            [[i, j, 0] for i in (0, cols - 1) for j in (0, rows - 1)],
        )
        pull = apply_affine(motion, corners) - corners
        force += weight * pull.sum(axis=0)
        torque += weight * np.cross(corners, pull).sum(axis=0)
        size += weight * np.abs(pull).sum()
    assert size / len(made.table.slice_index) > 1  # mm: there is motion
    np.testing.assert_allclose(force / size, 0, atol=1e-9)
    np.testing.assert_allclose(torque / size, 0, atol=1e-6)  # arms of about 100 mm


def test_motions_are_about_the_slice_centres() -> None:
    made = made_result(1)
    for cine, motion, fitted in zip(
        made.result.study.slices,
        made.result.slice_motions,
        made.result.parameters.slice_motion,
        strict=True,
    ):
        centre = corners_ras(cine.ras_from_ijk, cine.shape).mean(axis=0)
        shift = apply_affine(motion, centre) - centre
        np.testing.assert_allclose(shift, fitted.translation_mm, atol=1e-9)
        turned = rotvec_from_rotation(motion[:3, :3])
        np.testing.assert_allclose(turned, fitted.rotvec_rad, atol=1e-9)
        assert fitted.distance_mm == pytest.approx(np.linalg.norm(shift))
        assert fitted.angle_deg == pytest.approx(np.rad2deg(np.linalg.norm(turned)))


def test_a_global_pose_alone_leaves_all_slices_where_they_are() -> None:
    made = made_result(2)
    poses = made.estimate.poses
    still = replace(
        poses,
        slice_rotvec=torch.zeros_like(poses.slice_rotvec),
        slice_translation_mm=torch.zeros_like(poses.slice_translation_mm),
    )
    r = made.result
    result = result_of(Estimate(made.estimate.latent, still), r.study, r.frame, made.table, r.prior)
    for motion in result.slice_motions:
        np.testing.assert_allclose(motion, np.eye(4), atol=1e-9)
    R = rotation_from_rotvec(poses.global_rotvec[0].numpy())
    expected = rigid(R, poses.global_translation_mm[0].numpy()) @ r.frame.canonical_from_ras
    np.testing.assert_allclose(result.canonical_from_ras, expected, atol=1e-9)
