"""Where a heart lies, from labels and from what a user says, in any orientation."""

import numpy as np
import pytest

from NISFCore.data.anatomy import (
    GivenOrientation,
    combined_hint,
    hint_from_labels,
    nearest_side,
    side_direction_ras,
)
from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import ConfigError
from NISFCore.geometry.frame import NO_HINT, RV_CENTROID_DEG, AnatomyHint
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, Points
from NISFCore.labels import N_LABELS
from NISFCore.views import IMAGE_SIDES, View

N_SLICES, SPACING_MM = 7, 10.0
SHAPE = (50, 60)


def stack(pose: Affine) -> CineStudy:
    """Seven SA slices of 2 mm pixels; the pose maps (i mm, j mm, k mm) about the middle to RAS."""
    slices = []
    for k in range(N_SLICES):
        ras_from_ijk = np.diag([2.0, 2.0, 8.0, 1.0])
        ras_from_ijk[:3, 3] = [-59.0, -49.0, (k - 3) * SPACING_MM]
        frames = np.zeros((1, *SHAPE), dtype=np.float32)
        name, times = f"SA_{k + 1:02d}", np.array([0.0])
        slices.append(CineSlice(name, View.SA, frames, pose @ ras_from_ijk, 8.0, times, 1000.0))
    return CineStudy(tuple(slices), has_patient_orientation=False)


def drawn(study: CineStudy, centre: Points, rv: Points, base: Points, *chosen: int) -> Guidance:
    """Round pools: the LV about an axis through `centre` along `base`, the RV 40 mm off towards
    `rv`, both growing towards the base."""
    entries = []
    for k in chosen:
        cine = study.slices[k]
        from_centre = pixel_centres_ras(cine.ras_from_ijk, cine.shape) - centre
        height = from_centre @ base
        across = from_centre - height[..., None] * base
        radius = 18.0 + 0.15 * height
        labels = np.zeros(cine.shape, dtype=np.uint8)
        labels[np.linalg.norm(across - 40.0 * rv, axis=-1) < radius] = 3
        labels[np.linalg.norm(across, axis=-1) < radius + 6] = 2
        labels[np.linalg.norm(across, axis=-1) < radius] = 1
        hard = np.eye(N_LABELS, dtype=np.float32)[labels]
        entries.append(SliceGuidance(cine.name, 0, hard, np.ones(cine.shape, dtype=np.bool_)))
    return Guidance(tuple(entries))


def random_pose(seed: int) -> Affine:
    rng = np.random.default_rng(seed)
    return rigid(rotation_from_rotvec(rng.normal(size=3)), rng.normal(size=3) * 30)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("up", [1.0, -1.0])
@pytest.mark.parametrize("chosen", [(0, 3, 6), (1, 4), tuple(range(7))])
def test_the_frame_of_a_labelled_heart(seed: int, up: float, chosen: tuple[int, ...]) -> None:
    """Whatever the file's axes mean, x, z and the axis' position follow from the labels."""
    pose = random_pose(seed)
    study, turn = stack(pose), np.deg2rad(70.0 * seed)
    rv = pose[:3, :3] @ [np.cos(turn), np.sin(turn), 0.0]
    base, centre = up * pose[:3, 2], pose[:3, 3] + pose[:3, :3] @ [4.0, -6.0, 0.0]
    hint = hint_from_labels(study, drawn(study, centre, rv, base, *chosen))
    assert hint.says_orientation
    frame = canonical_frame_of(study, hint)
    x, y, z = frame.canonical_from_ras[:3, :3]
    np.testing.assert_allclose(z, base, atol=1e-9)
    # the RV's centroid lies RV_CENTROID_DEG from x towards y
    assert np.rad2deg(np.arctan2(rv @ y, rv @ x)) == pytest.approx(RV_CENTROID_DEG, abs=2.0)
    origin = np.linalg.inv(frame.canonical_from_ras)[:3, 3]
    assert np.linalg.norm(origin - centre) < 0.5
    assert not any("swapped" in text for text in frame.assumptions)


def test_what_labels_do_not_show_is_not_said() -> None:
    study, x, z = stack(np.eye(4)), np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    one = hint_from_labels(study, drawn(study, np.zeros(3), x, z, 3))
    assert one.rv_centroid_ras is not None and one.base_ras is None and not one.says_orientation
    far_off = 200.0 * x  # beside the images: no RV is seen
    found = hint_from_labels(study, drawn(study, np.zeros(3), far_off, z, 0, 6))
    assert found.rv_centroid_ras is None and found.centre_ras is not None
    assert hint_from_labels(study, None) == NO_HINT


def test_sides_of_an_image() -> None:
    cine = stack(np.eye(4)).slices[0]
    np.testing.assert_allclose(side_direction_ras(cine, "right"), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(side_direction_ras(cine, "down"), [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(
        side_direction_ras(cine, "up-left"), [-np.sqrt(0.5), -np.sqrt(0.5), 0], atol=1e-12
    )
    for side in IMAGE_SIDES:
        assert nearest_side(cine, side_direction_ras(cine, side)) == side


def test_a_user_says_where_rv_and_base_are() -> None:
    study = stack(np.eye(4))
    hint = GivenOrientation("left", "SA_07").hint_for(study)
    frame = canonical_frame_of(study, hint)
    x, _, z = frame.canonical_from_ras[:3, :3]
    np.testing.assert_allclose(z, [0, 0, 1], atol=1e-9)
    assert np.rad2deg(np.arccos(-x[0])) == pytest.approx(RV_CENTROID_DEG)
    assert canonical_frame_of(
        study, GivenOrientation("left", "SA_01").hint_for(study)
    ).canonical_from_ras[2, 2] == pytest.approx(-1)
    with pytest.raises(ConfigError, match="SA_01 or SA_07"):
        GivenOrientation("left", "SA_03").hint_for(study)


def test_labels_are_more_exact_than_the_user_but_the_user_knows_the_base() -> None:
    a, b = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    both = combined_hint(AnatomyHint("labels", a, a, a), AnatomyHint("the user", b, b))
    assert both.rv_centroid_ras is a and both.base_ras is b and both.centre_ras is a
    assert combined_hint(NO_HINT, AnatomyHint("the user", b)).source == "the user"
    labels = AnatomyHint("labels", a)
    assert combined_hint(labels, NO_HINT) is labels
