"""Slice motion in torch against the float64 geometry, and its gauge."""

import numpy as np
import pytest
import torch

from NISFCore.geometry.rigid import rigid, rigid_about, rotation_from_rotvec
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import N_LABELS
from NISFCore.model.forward_model import sample_points
from NISFCore.model.motion_correction import Poses
from NISFCore.model.motion_correction import rotation_from_rotvec as torch_rotation
from NISFCore.model.psf import NO_PSF
from NISFCore.model.receive_gain import N_GAIN
from Testing.Core.model.tables import random_table


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1e-3, 0.3, 2.0, 3.1])
def test_rotation_agrees_with_float64_geometry(angle: float) -> None:
    axis = np.array([0.36, -0.48, 0.8])
    ours = torch_rotation(torch.tensor(axis * angle)[None])[0].numpy()
    assert np.allclose(ours, rotation_from_rotvec(axis * angle), atol=1e-12)


def test_rotation_is_differentiable_at_zero() -> None:
    rotvec = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(torch_rotation, (rotvec + 0.0,))
    (gradient,) = torch.autograd.grad(torch_rotation(rotvec)[0, 1, 0], rotvec)
    assert torch.allclose(gradient, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))


def test_sample_points_are_global_pose_after_slice_motion_about_the_slice_centre() -> None:
    n_slices = 3
    table = random_table(n_slices, dtype=torch.float64)
    g = torch.Generator().manual_seed(5)
    r = [torch.randn(k, 3, generator=g, dtype=torch.float64) for k in (1, 1, n_slices, n_slices)]
    moved = (r[0] * 0.2, r[1] * 5, r[2] * 0.2, r[3] * 4)
    poses = Poses(*moved, torch.zeros(n_slices), torch.zeros(1, N_GAIN), torch.zeros(1, N_LABELS))
    batch = table.sample(50, g)
    points = sample_points(batch, table.slices, poses, NO_PSF).canonical_mm[:, 0].numpy()
    G = rigid(rotation_from_rotvec(poses.global_rotvec[0]), poses.global_translation_mm[0])
    for v in range(50):
        j = int(batch.slice_index[v])
        centre = table.slices.centre_mm[j].numpy()
        M = rigid_about(centre, poses.slice_rotvec[j].numpy(), poses.slice_translation_mm[j])
        expected = apply_affine(G @ M, batch.position_mm[v].numpy())
        assert np.allclose(points[v], expected, atol=1e-9)


def test_without_mean_centres_each_subject_on_its_own() -> None:
    subject = torch.tensor([0, 0, 1, 1, 1])
    values = torch.randn(5, 3)
    still = torch.zeros(2, 3)
    look = (torch.zeros(2, N_GAIN), torch.zeros(2, N_LABELS))
    poses = Poses(still, still, values, values * 2, torch.ones(5), *look)
    centred = poses.without_mean(subject)
    for n in (0, 1):
        assert torch.allclose(centred.slice_rotvec[subject == n].mean(0), torch.zeros(3), atol=1e-6)
        shifts = centred.slice_translation_mm[subject == n]
        assert torch.allclose(shifts.mean(0), torch.zeros(3), atol=1e-6)
    assert torch.equal(centred.log_scale, poses.log_scale)
