"""Where the heart lies before a fit: the slice network finds it where planes do not say."""

from dataclasses import replace

import numpy as np
import pytest

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.study import CineSlice, CineStudy, SliceLabels
from NISFCore.evidence.network import load_slice_network
from NISFCore.fitting.frame import heart_as_seen, planes_say
from NISFCore.geometry.frame import NO_HINT
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import Label
from NISFCore.phantom import CLINICAL, sample_heart, simulate_study
from NISFCore.progress import CancelToken
from NISFCore.views import View

SEED = 7_654_321


@pytest.fixture(scope="module")
def whole() -> CineStudy:
    """A simulated examination at one phase, still images, that no training has seen."""
    protocol = replace(
        CLINICAL,
        n_sa_slices=6,
        slice_spacing_mm=16.0,
        pixel_mm=2.0,
        fov_mm=260.0,
        n_phases=2,
        n_profile=1,
        n_sub_pixels=1,
    )
    study = simulate_study(sample_heart(SEED), protocol, SEED).study
    return replace(study, slices=tuple(_at_ed(cine) for cine in study.slices))


def _at_ed(cine: CineSlice) -> CineSlice:
    assert cine.labels is not None
    return replace(
        cine,
        frames=cine.frames[:1],
        trigger_times_ms=cine.trigger_times_ms[:1],
        labels=SliceLabels(cine.labels.values[:1], cine.labels.annotated[:1]),
    )


def _without_columns(cine: CineSlice, n: int) -> CineSlice:
    """The image with its first `n` columns cut off, so that the heart is beside its centre."""
    assert cine.labels is not None
    A = cine.ras_from_ijk.copy()
    A[:3, 3] = apply_affine(A, [n, 0, 0])
    labels = SliceLabels(cine.labels.values[:, :, n:], cine.labels.annotated)
    return replace(cine, frames=cine.frames[:, :, n:], labels=labels, ras_from_ijk=A)


def lv_from_axis_mm(study: CineStudy, canonical_from_ras: np.ndarray) -> float:
    """How far the LV pools' centroids lie from the z axis, mean over slices."""
    found = []
    for cine in study.of_view(View.SA):
        assert cine.labels is not None
        pool = cine.labels.values[0] == Label.LV_BLOOD_POOL
        if pool.sum() > 30:
            centroid = pixel_centres_ras(cine.ras_from_ijk, cine.shape)[pool].mean(axis=0)
            found.append(np.linalg.norm(apply_affine(canonical_from_ras, centroid)[:2]))
    return float(np.mean(found))


def test_the_network_finds_the_heart_beside_the_images_centre(whole: CineStudy) -> None:
    stack = tuple(_without_columns(cine, 35) for cine in whole.of_view(View.SA))
    study = replace(whole, slices=stack)
    assert not planes_say(study)
    alone = canonical_frame_of(study).canonical_from_ras
    seen = heart_as_seen(study, NO_HINT, load_slice_network(), "cpu", CancelToken())
    found = canonical_frame_of(study, seen)
    assert lv_from_axis_mm(study, alone) > 25
    assert lv_from_axis_mm(study, found.canonical_from_ras) < 10
    assert seen.base_ras is None
    assert any("comes from the slice network" in text for text in found.assumptions)


def test_long_axis_planes_alone_are_not_looked_at(whole: CineStudy) -> None:
    study = replace(whole, slices=tuple(s for s in whole.slices if s.view is not View.SA))
    network = load_slice_network()
    assert heart_as_seen(study, NO_HINT, network, "cpu", CancelToken()) == NO_HINT


def test_planes_with_two_long_axes_say_it_themselves(whole: CineStudy) -> None:
    assert planes_say(whole)
    assert not planes_say(replace(whole, slices=whole.of_view(View.SA)))
    assert not planes_say(replace(whole, has_patient_orientation=False))
