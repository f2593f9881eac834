"""Comparing studies that were read with the planes that were written."""

import numpy as np

from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.geometry.planes import pixel_centres_ras
from Testing.Core.generators.blob_heart import Plane
from Testing.Core.generators.odd_studies import OddStudy

RAS_FROM_LPS = np.array([-1.0, -1.0, 1.0])


def assert_is_plane(item: CineSlice, plane: Plane, case: OddStudy) -> None:
    """Geometry by the header's own formula, every pixel and every time."""
    np.testing.assert_allclose(
        pixel_centres_ras(item.ras_from_ijk, item.shape), plane.points_lps() * RAS_FROM_LPS,
        atol=1e-4,
    )  # fmt: skip
    kept = case.kept_phases(plane)
    np.testing.assert_array_equal(item.frames, case.expected_frames(plane))
    np.testing.assert_allclose(item.trigger_times_ms, plane.times_ms[kept], atol=0.02)
    np.testing.assert_allclose(item.rr_interval_ms, plane.rr_interval_ms, rtol=1e-4)
    assert item.thickness_mm == plane.thickness_mm
    assert item.provenance.series == str(plane.series)


def assert_is_study(study: CineStudy, case: OddStudy) -> None:
    """The planes of the case, in order, and what was to be said."""
    assert [s.view.value for s in study.slices] == [p.truth for p in case.planes]
    for item, plane in zip(study.slices, case.planes, strict=True):
        assert_is_plane(item, plane, case)


def everything_said(study: CineStudy) -> list[str]:
    """Warnings, notes and reasons: all the text that reaches a user."""
    notes = [n for s in study.slices for n in s.provenance.notes]
    return [*study.warnings, *notes, *(e.reason for e in study.excluded)]


def assert_same_study(a: CineStudy, b: CineStudy, frames_of_excluded: bool = True) -> None:
    """Equal to the bit."""
    assert (a.subject, a.warnings) == (b.subject, b.warnings)
    assert a.has_patient_orientation == b.has_patient_orientation
    assert [e.reason for e in a.excluded] == [e.reason for e in b.excluded]
    for x, y in zip(a.slices, b.slices, strict=True):
        assert_same_slice(x, y)
    for x, y in zip((e.slice for e in a.excluded), (e.slice for e in b.excluded), strict=True):
        assert_same_slice(x, y, with_frames=frames_of_excluded)


def assert_same_slice(a: CineSlice, b: CineSlice, with_frames: bool = True) -> None:
    assert (a.name, a.view, a.provenance) == (b.name, b.view, b.provenance)
    assert (a.thickness_mm, a.rr_interval_ms) == (b.thickness_mm, b.rr_interval_ms)
    np.testing.assert_array_equal(a.ras_from_ijk, b.ras_from_ijk)
    np.testing.assert_array_equal(a.trigger_times_ms, b.trigger_times_ms)
    assert a.shape == b.shape and a.n_phases == b.n_phases
    if with_frames:
        np.testing.assert_array_equal(a.frames, b.frames)
        assert (a.labels is None) == (b.labels is None)
    if with_frames and a.labels is not None and b.labels is not None:
        np.testing.assert_array_equal(a.labels.values, b.labels.values)
        np.testing.assert_array_equal(a.labels.annotated, b.labels.annotated)
