"""The centre of the beating and the canonical frame of whole studies."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.data.canonical import (
    beating_amplitude,
    beating_centre_of_slice,
    beating_centre_ras,
    canonical_frame_of,
)
from NISFCore.data.read import read_study
from NISFCore.data.study import CineStudy
from NISFCore.errors import StudyError
from NISFCore.geometry.spaces import apply_affine
from NISFCore.views import View
from Testing.Core.data.comparing import RAS_FROM_LPS
from Testing.Core.generators.dicom_writer import classic_files, write_files
from Testing.Core.generators.odd_studies import HEART, usual

CENTRE_RAS = HEART.centre * RAS_FROM_LPS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> CineStudy:
    folder = tmp_path_factory.mktemp("study")
    return read_study(write_files(classic_files(usual(), HEART), folder))


def test_frame_of_a_known_heart(study: CineStudy) -> None:
    frame = canonical_frame_of(study)
    assert frame.assumptions == ()
    R = frame.canonical_from_ras[:3, :3]
    for row, axis in zip(R, (HEART.x, HEART.y, HEART.z), strict=True):
        assert row @ (axis * RAS_FROM_LPS) > np.cos(np.deg2rad(0.5))
    np.testing.assert_allclose(apply_affine(frame.canonical_from_ras, CENTRE_RAS), 0.0, atol=1.5)


def test_centre_without_long_axis_views(study: CineStudy) -> None:
    """SA alone: the beating of both ventricles, between their axes (0 and +32 mm along x)."""
    frame = canonical_frame_of(study.restricted_to((View.SA,)))
    assert any("beat" in text for text in frame.assumptions)
    centre = beating_centre_ras(study.of_view(View.SA))
    assert centre is not None
    offset = centre - CENTRE_RAS
    axes = [a * RAS_FROM_LPS for a in (HEART.x, HEART.y)]
    assert 0.0 < offset @ axes[0] < 32.0
    assert abs(offset @ axes[1]) < 6.0


def test_centre_ignores_a_bright_artefact(study: CineStudy) -> None:
    """A strongly changing pixel block far from the heart moves the centre by millimetres only."""
    clean = beating_centre_ras(study.of_view(View.SA))
    slices = list(study.of_view(View.SA))
    frames = slices[2].frames.copy()
    frames[::2, :4, :4] += 3000
    slices[2] = replace(slices[2], frames=frames)
    dirty = beating_centre_ras(slices)
    assert clean is not None
    assert dirty is not None
    assert np.linalg.norm(clean - dirty) < 5.0


def test_one_spoilt_slice_does_not_matter(study: CineStudy) -> None:
    """A slice that beats in a corner only is outvoted by the others."""
    slices = list(study.of_view(View.SA))
    clean = beating_centre_ras(slices)
    frames = np.zeros_like(slices[2].frames)
    frames[:, :8, :8] = slices[2].cycle_fractions[:, None, None]
    slices[2] = replace(slices[2], frames=frames)
    spoilt = beating_centre_of_slice(slices[2])
    dirty = beating_centre_ras(slices)
    assert clean is not None
    assert dirty is not None
    assert spoilt is not None
    across = np.eye(3) - np.outer(slices[0].normal_ras, slices[0].normal_ras)
    assert np.linalg.norm(across @ (spoilt - clean)) > 80.0
    # no farther than the centres of the good slices lie from each other
    good = [beating_centre_of_slice(s) for k, s in enumerate(slices) if k != 2]
    spread = max(float(np.linalg.norm(across @ (c - clean))) for c in good if c is not None)
    assert np.linalg.norm(across @ (dirty - clean)) <= spread + 1e-6


def test_still_images_do_not_beat(study: CineStudy) -> None:
    item = study.slices[0]
    still = replace(item, frames=np.repeat(item.frames[:1], item.n_phases, axis=0))
    assert beating_centre_of_slice(still) is None
    assert beating_centre_ras([still]) is None
    short = replace(item, frames=item.frames[:2], trigger_times_ms=item.trigger_times_ms[:2])
    assert not beating_amplitude(short).any()


def test_amplitude_is_that_of_the_first_harmonic(study: CineStudy) -> None:
    item = study.slices[0]
    phase = 2 * np.pi * item.cycle_fractions
    wave = 100 + 7.0 * np.cos(phase - 0.8) + 3.0 * np.cos(3 * phase)
    frames = np.broadcast_to(wave[:, None, None], item.frames.shape).astype(np.float32)
    np.testing.assert_allclose(beating_amplitude(replace(item, frames=frames)), 7.0, rtol=1e-4)


def test_one_long_axis_plane_is_not_enough(study: CineStudy) -> None:
    with pytest.raises(StudyError, match="do not determine the LV axis"):
        canonical_frame_of(study.restricted_to((View.LA_4CH,)))
