"""Slices are cropped to the heart region before they are fitted; nothing moves by it."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.data.study import MIN_FRAME_PIXELS, CineSlice, CineStudy
from NISFCore.errors import StudyError
from NISFCore.fitting.preparation import CROP_MARGIN_PIXELS, cropped_to_region
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine, invert_affine
from NISFCore.model.config import HeartRegion
from NISFCore.model.voxels import inside_region, voxel_table
from NISFCore.views import View
from Testing.Core.fitting.results import random_rigid, random_slice

REGION = HeartRegion()
SMALL = HeartRegion(semi_axes_mm=(30.0, 30.0, 30.0))


def frame_of(seed: int) -> CanonicalFrame:
    return CanonicalFrame(random_rigid(np.random.default_rng(seed), 50.0))


def slice_of(seed: int, name: str = "SA_01") -> CineSlice:
    rng = np.random.default_rng(seed)
    return random_slice(rng, name, View.SA, frame_of(seed).canonical_from_ras)


def inside_of(item: CineSlice, frame: CanonicalFrame, region: HeartRegion) -> np.ndarray:
    points = pixel_centres_ras(item.ras_from_ijk, item.shape)
    return inside_region(apply_affine(frame.canonical_from_ras, points), region)


@pytest.mark.parametrize("seed", range(5))
def test_pixels_keep_their_place_and_value(seed: int) -> None:
    whole, frame = slice_of(seed), frame_of(seed)
    (part,) = cropped_to_region(CineStudy((whole,)), frame, SMALL).slices
    assert part.shape[0] < whole.shape[0]
    assert part.shape[1] < whole.shape[1]
    ijk = apply_affine(
        invert_affine(whole.ras_from_ijk), pixel_centres_ras(part.ras_from_ijk, part.shape)
    )
    i, j, k = np.rint(ijk).astype(int).transpose(2, 0, 1)
    np.testing.assert_allclose(ijk, np.stack([i, j, k], axis=-1), atol=1e-9)
    assert (k == 0).all()
    np.testing.assert_array_equal(part.frames, whole.frames[:, j, i])
    assert part.labels is not None
    assert whole.labels is not None
    np.testing.assert_array_equal(part.labels.values, whole.labels.values[:, j, i])
    assert part.thickness_mm == whole.thickness_mm


@pytest.mark.parametrize("seed", range(5))
def test_no_pixel_of_the_region_is_lost_and_the_margin_is_kept(seed: int) -> None:
    whole, frame = slice_of(seed), frame_of(seed)
    (part,) = cropped_to_region(CineStudy((whole,)), frame, SMALL).slices
    inside = inside_of(part, frame, SMALL)
    assert inside.sum() == inside_of(whole, frame, SMALL).sum()
    margin = CROP_MARGIN_PIXELS
    assert not inside[:margin].any()
    assert not inside[-margin:].any()
    assert inside[margin].any()
    assert inside[:, margin].any()
    assert inside[:, -margin - 1].any()


def test_the_fitted_voxels_are_those_of_the_whole_slice() -> None:
    whole, frame = CineStudy((slice_of(1),)), frame_of(1)
    cropped = cropped_to_region(whole, frame, SMALL)
    a, b = voxel_table(whole, frame, SMALL), voxel_table(cropped, frame, SMALL)
    np.testing.assert_allclose(a.position_mm, b.position_mm, atol=1e-4)
    np.testing.assert_array_equal(a.values, b.values)


def test_a_slice_outside_the_region_is_left_out_and_named() -> None:
    frame = frame_of(2)
    away = frame.canonical_from_ras.copy()
    away[:3, 3] += 300.0
    far = random_slice(np.random.default_rng(0), "SA_09", View.SA, away)
    study = CineStudy((slice_of(2), far), warnings=("earlier",))
    cropped = cropped_to_region(study, frame, REGION)
    assert [s.name for s in cropped.slices] == ["SA_01"]
    assert cropped.warnings == ("earlier", "not fitted, outside the heart region: SA_09")
    with pytest.raises(StudyError, match="no slice passes through the heart region"):
        cropped_to_region(CineStudy((far,)), frame, REGION)


@pytest.mark.parametrize("row_axis", [True, False])
@pytest.mark.parametrize("at_the_end", [True, False])
def test_a_slice_that_shows_the_region_at_its_edge_only(row_axis: bool, at_the_end: bool) -> None:
    """Three rows or columns are in the region: with the margin seven, and a frame needs eight."""
    axis = 1 if row_axis else 0
    spacing = np.array([2.4, 2.4])
    spacing[axis] = 3.0
    whole = slice_of(3)
    half_mm = spacing * [whole.shape[1] - 1, whole.shape[0] - 1] / 2
    A = np.diag([*spacing, whole.thickness_mm, 1.0])
    A[:3, 3] = np.array(REGION.centre_mm) - [*half_mm, 0.0]
    shift_mm = REGION.semi_axes_mm[axis] + half_mm[axis] - 8.5
    A[axis, 3] += -shift_mm if at_the_end else shift_mm
    placed, frame = replace(whole, ras_from_ijk=A), CanonicalFrame(np.eye(4))
    inside = inside_of(placed, frame, REGION)
    assert inside.any(axis=axis).sum() == 3
    (part,) = cropped_to_region(CineStudy((placed,)), frame, REGION).slices
    assert min(part.shape) == MIN_FRAME_PIXELS
    assert inside_of(part, frame, REGION).sum() == inside.sum()
