"""Crossing slices against finite differences, against known motions, and on the real study.

The scene is a smooth pulsing intensity in space, seen by five planes of different kinds; images are
computed from it in closed form, each where its plane really was.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from NISFCore.analysis.metrics import slice_motion_errors
from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.read import read_study
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.fitting.config import CrossingConfig, FitConfig
from NISFCore.fitting.crossing_images import CrossingImages, crossing_images
from NISFCore.fitting.crossing_slices import crossing_equations, differences
from NISFCore.fitting.gauss_newton import apply_step, damped_step, unknowns
from NISFCore.fitting.normal_equations import NormalEquations
from NISFCore.fitting.preparation import seen_in
from NISFCore.fitting.unknowns import GLOBAL, PER_SLICE
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.planes import centre_ras, intersection_line, pixel_centres_ras
from NISFCore.geometry.rigid import rigid_about
from NISFCore.geometry.spaces import Affine, apply_affine, invert_affine
from NISFCore.model.config import HeartRegion
from NISFCore.model.motion_correction import Poses
from NISFCore.model.prior import load_prior
from NISFCore.views import View

NORMALS = ((0, 0, 1), (0, 0, 1), (1, 0.2, 0), (0.5, 1, 0.1), (-0.6, 1, 0))
OFFSETS_MM = (-12.0, 14.0, 3.0, -2.0, 5.0)
ROWS, COLS, MM = 60, 64, 2.0
TIMES = np.arange(6) / 6
REGION = HeartRegion((2.0, -3.0, 1.0), (40.0, 44.0, 46.0))
BLUR_MM = (3.0, 0.0)
FRAME = CanonicalFrame(np.eye(4), ())
CONFIG = CrossingConfig(blur_mm=BLUR_MM)
SOME_COLUMNS = ((0, 0), (0, 1), (0, 3), (0, 4), (0, 5), (0, 6), (1, 2), (1, 5), (1, 6))


def intensity(x: npt.NDArray[np.float64], t: float) -> npt.NDArray[np.float32]:
    """Between 0.1 and 0.9, waves of several directions whose phase beats."""
    beat = 0.6 * np.sin(2 * np.pi * t)
    waves = np.sin(x @ [0.11, 0.05, 0.02] + beat) + np.cos(x @ [-0.04, 0.1, 0.07] - beat)
    waves += np.sin(x @ [0.03, -0.05, 0.12])
    return (0.5 + 0.13 * waves).astype(np.float32)


def plane(normal: tuple[float, float, float], offset_mm: float) -> Affine:
    n = np.array(normal) / np.linalg.norm(normal)
    i = np.cross(n, [0.2, 0.3, 1.0] if abs(n[2]) < 0.9 else [0.0, 1.0, 0.1])
    i /= np.linalg.norm(i)
    A = np.eye(4)
    A[:3, :3] = np.stack([i * MM, np.cross(n, i) * MM, n * 8.0], axis=1)
    A[:3, 3] = offset_mm * n - A[:3, :3] @ [(COLS - 1) / 2, (ROWS - 1) / 2, 0]
    return A


def study(motions: list[Affine], gains: npt.NDArray[np.float64]) -> CineStudy:
    """Slices that really were where `motions` take the planes that their headers say."""
    slices = []
    for k, (normal, offset) in enumerate(zip(NORMALS, OFFSETS_MM, strict=True)):
        A = plane(normal, offset)
        points = apply_affine(motions[k], pixel_centres_ras(A, (ROWS, COLS)))
        frames = np.stack([gains[k] * intensity(points, t) for t in TIMES])
        slices.append(
            CineSlice(
                name=f"slice_{k}",
                view=View.SA if k < 2 else View.LA_4CH,
                frames=frames.astype(np.float32),
                ras_from_ijk=A,
                thickness_mm=8.0,
                trigger_times_ms=TIMES * 900,
                rr_interval_ms=900.0,
            )
        )
    return CineStudy(tuple(slices))


def still() -> list[Affine]:
    return [np.eye(4)] * len(NORMALS)


def images_of(s: CineStudy) -> CrossingImages:
    images = crossing_images(s, FRAME, REGION, torch.ones(len(s.slices)), BLUR_MM)
    blurred = tuple(v.double() for v in images.blurred)
    doubles = {k: v.double() for k, v in vars(images).items() if v is not images.blurred}
    whole = {k: getattr(images, k) for k in ("size", "pairs")}
    return replace(images, **(doubles | whole | {"blurred": blurred}))


def random_poses(seed: int, deg: float, mm: float, log_scale: float) -> Poses:
    g = torch.Generator().manual_seed(seed)
    n = len(NORMALS)
    rows = [torch.randn(n, k, generator=g, dtype=torch.float64) for k in (3, 3, 1)]
    poses = Poses.identity(1, n)
    return replace(
        poses,
        global_rotvec=poses.global_rotvec.double(),
        global_translation_mm=poses.global_translation_mm.double(),
        slice_rotvec=rows[0] * np.deg2rad(deg),
        slice_translation_mm=rows[1] * mm,
        log_scale=rows[2][:, 0] * log_scale,
    )


def test_parallel_slices_do_not_cross() -> None:
    pairs = images_of(study(still(), np.ones(5))).pairs.tolist()
    assert [0, 1] not in pairs
    assert len(pairs) == 9  # all others of the ten


def test_slices_in_place_agree() -> None:
    """Not quite: pixels are 2 mm and times are interpolated."""
    found = differences(images_of(study(still(), np.ones(5))), random_poses(0, 0, 0, 0), 1, 2.0)
    assert set(found.pair.tolist()) == set(range(9))
    assert float(found.value.abs().max()) < 0.01


def random_motions(seed: int) -> list[Affine]:
    """About 2 degrees and 3 mm of each slice, about its own centre."""
    rng = np.random.default_rng(seed)
    planes = [plane(n, o) for n, o in zip(NORMALS, OFFSETS_MM, strict=True)]
    return [
        rigid_about(centre_ras(A, (ROWS, COLS)), rng.normal(0, 0.02, 3), rng.normal(0, 2, 3))
        for A in planes
    ]


def test_every_column_matches_finite_differences() -> None:
    """Of D at the point of the moved line nearest to where it was, in closed form: neither the
    images nor the line's points come from the code under test."""
    truth, gains = random_motions(1), np.array([1.0, 0.9, 1.1, 1.0, 0.95])
    images = images_of(study(truth, gains))
    poses = random_poses(3, 2.0, 2.0, 0.05)
    found = differences(images, poses, 1, 4.0)
    chosen = np.random.default_rng(0).choice(len(found.pair), 30, replace=False)
    for k in chosen:
        pair, x = images.pairs[found.pair[k]].tolist(), found.point_mm[k].numpy()
        for side, column in (
            (0, 0),
            (0, 1),
            (0, 3),
            (0, 4),
            (0, 5),
            (0, 6),
            (1, 2),
            (1, 5),
            (1, 6),
        ):
            step = torch.zeros(GLOBAL + PER_SLICE * 5, dtype=torch.float64)
            step[GLOBAL + PER_SLICE * pair[side] + column] = 1e-3
            none = torch.zeros(0, dtype=torch.float64)
            up, down = (
                exact_difference(apply_step(none, poses, sign * step)[1], pair, x, truth, gains)
                for sign in (1.0, -1.0)
            )
            expected = (up - down) / 2e-3
            got = found.jacobian[k, 0, PER_SLICE * side + column]
            # gradients of bilinear 2 mm pixels are those of the middle between two pixels
            assert float(got) == pytest.approx(expected, rel=0.1, abs=0.003 * scale_of(column))


def scale_of(column: int) -> float:
    """Rotations turn about centres that are some 40 mm away."""
    return 40.0 if column < 3 else 1.0


def exact_difference(
    poses: Poses,
    pair: list[int],
    x: npt.NDArray[np.float64],
    truth: list[Affine],
    gains: npt.NDArray[np.float64],
) -> float:
    """D at time 0 at the point nearest to x of the line in which two moved slices meet."""
    planes = [plane(n, o) for n, o in zip(NORMALS, OFFSETS_MM, strict=True)]
    moved, scanned_from_moved = [], []
    for k in pair:
        motion = rigid_about(
            centre_ras(planes[k], (ROWS, COLS)),
            poses.slice_rotvec[k].numpy(),
            poses.slice_translation_mm[k].numpy(),
        )
        moved.append(motion @ planes[k])
        scanned_from_moved.append(invert_affine(motion))
    line = intersection_line(moved[0], moved[1])
    assert line is not None
    point, direction = line
    nearest = point + direction * (direction @ (x - point))
    a, b = (
        gains[k] * float(intensity(apply_affine(truth[k] @ S, nearest[None]), 0.0)[0])
        for k, S in zip(pair, scanned_from_moved, strict=True)
    )
    ratio = float(torch.exp((poses.log_scale[pair[1]] - poses.log_scale[pair[0]]) / 2))
    return a * ratio - b / ratio


def test_a_common_scale_changes_nothing() -> None:
    images, poses = images_of(study(random_motions(1), np.ones(5))), random_poses(3, 1, 1, 0.0)
    brighter = replace(poses, log_scale=poses.log_scale + 0.7)
    one, other = (differences(images, p, 0, 2.0).value for p in (poses, brighter))
    assert torch.allclose(one, other)


def solved(images: CrossingImages, n_slices: int, n_steps: int = 12) -> Poses:
    """The slices brought together by nothing but this term and a weak prior."""
    none = images.centre_mm.new_zeros(0)
    identity = Poses.identity(1, n_slices)
    poses = Poses(**{name: value.to(none) for name, value in vars(identity).items()})
    deviations = torch.tensor([0.05] * 3 + [5.0] * 3 + [0.2], dtype=torch.float64)
    prior = torch.cat([torch.ones(GLOBAL).double(), deviations.repeat(n_slices) ** -2]).diag()
    for k in range(n_steps):
        theta, blur = unknowns(none, poses), int(k >= n_steps // 2)
        H, b = crossing_equations(images, poses, theta, GLOBAL, blur, CONFIG)
        step = damped_step(NormalEquations(H, b, 0.0, 1.0), theta, prior, 0.0)
        poses = apply_step(none, poses, step)[1]
    return poses


def test_slices_that_were_moved_come_together_again() -> None:
    """A motion common to all slices is not seen by this term, so errors are without it."""
    truth, gains = random_motions(5), np.array([1.0, 0.9, 1.1, 1.05, 0.95])
    images = images_of(study(truth, gains))
    poses = solved(images, 5)
    centres = [
        centre_ras(plane(n, o), (ROWS, COLS)) for n, o in zip(NORMALS, OFFSETS_MM, strict=True)
    ]
    estimate = [
        rigid_about(c, w.numpy(), t.numpy())
        for c, w, t in zip(centres, poses.slice_rotvec, poses.slice_translation_mm, strict=True)
    ]
    grids = [
        apply_affine(np.eye(4), c + np.random.default_rng(0).uniform(-25, 25, (50, 3)))
        for c in centres
    ]
    before = slice_motion_errors(still(), truth, grids)
    after = slice_motion_errors(estimate, truth, grids)
    assert before.mean_mm > 2.0
    assert after.mean_mm < 0.25 * before.mean_mm
    relative = torch.exp(poses.log_scale - poses.log_scale.mean()).numpy()
    assert np.allclose(relative, gains / np.exp(np.log(gains).mean()), atol=0.03)


def test_fewer_points_of_a_blurred_line_say_as_much() -> None:
    whole = study(random_motions(5), np.ones(5))
    images = crossing_images(whole, FRAME, REGION, torch.ones(5), (8.0,))
    poses = Poses.identity(1, 5)
    theta = torch.zeros(GLOBAL + 5 * PER_SLICE, dtype=torch.float64)
    (H, b), (H_all, b_all) = (
        crossing_equations(images, poses, theta, GLOBAL, 0, CrossingConfig(blur_mm=(said,)))
        for said in (8.0, 0.0)
    )
    assert float((H - H_all).norm() / H_all.norm()) < 0.1
    assert float((b - b_all).norm() / b_all.norm()) < 0.1


def test_without_crossing_slices_nothing_is_said() -> None:
    whole = study(still(), np.ones(5))
    images = images_of(replace(whole, slices=whole.slices[:2]))
    theta = torch.zeros(GLOBAL + 2 * PER_SLICE, dtype=torch.float64)
    H, b = crossing_equations(images, Poses.identity(1, 2), theta, GLOBAL, 0, CONFIG)
    assert not H.any() and not b.any()


@pytest.mark.real_study
def test_real_slices_come_together(real_study_folder: Path) -> None:
    study, prior = read_study(real_study_folder), load_prior()
    frame = canonical_frame_of(study)
    cropped, problem = seen_in(study, frame, prior, FitConfig(), "cpu")
    assert problem.crossing is not None
    poses = solved(problem.crossing, len(cropped.slices))
    still = Poses.identity(1, len(cropped.slices))
    rms = [
        float(differences(problem.crossing, p, 1, 2.0).value.square().mean().sqrt())
        for p in (still, poses)
    ]
    assert rms[1] < 0.9 * rms[0]
