"""Tag lines found in images: their direction and distance, and that no cine has any."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from NISFCore.data.read import read_study
from NISFCore.data.study import CineSlice, TagLines
from NISFCore.data.tags import are_same_families, found_tags, is_tagged, series_name
from NISFCore.phantom import CLINICAL, COHORT, Mode, sample_heart, simulate_study
from NISFCore.phantom.protocol import TAGGED_2D, AcquisitionProtocol
from NISFCore.phantom.tag_pattern import TagKind, TagPattern, TagProfile
from NISFCore.phantom.tagging import simulate_tagged_study

REAL = Path(__file__).parents[4] / "shared" / "data" / "bivme-patient1" / "dicom.zip"
QUICK: dict[str, Any] = {"n_profile": 1, "n_sub_pixels": 1, "is_blurred": False}
N_PHASES_APART = 8
"""Of the real study: first, systolic and diastolic frames, not all, to be quick."""
OBLIQUE = np.array(
    [
        [1.2, 0.0, 0.0, -90.0],
        [0.0, 1.2 * 0.8, -8.0 * 0.6, 10.0],
        [0.0, 1.2 * 0.6, 8.0 * 0.8, -40.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def disc() -> npt.NDArray[np.float32]:
    """A body with a bright hole and sharp edges, `(150, 130)`."""
    j, i = np.meshgrid(np.arange(150), np.arange(130), indexing="ij")
    body = (((i - 65) / 55) ** 2 + ((j - 75) / 65) ** 2 < 1) * 200.0
    hole = ((i - 70) ** 2 + (j - 60) ** 2 < 20**2) * 300.0
    return np.asarray(body + hole + 10, dtype=np.float32)


def lined(spacing_mm: float, angle_deg: float, depth: float = 0.8) -> npt.NDArray[np.float32]:
    """The body with cosine lines, pixels of 1.2 mm."""
    j, i = np.meshgrid(np.arange(150), np.arange(130), indexing="ij")
    angle = np.deg2rad(angle_deg)
    across = 1.2 * (i * np.cos(angle) + j * np.sin(angle))
    modulation = 1 - depth * (0.5 + 0.5 * np.cos(2 * np.pi * across / spacing_mm))
    return np.asarray(disc() * modulation, dtype=np.float32)


@pytest.mark.parametrize("angle_deg", [0.0, 17.0, 45.0, 90.0, 133.0])
@pytest.mark.parametrize("spacing_mm", [5.0, 7.0, 9.0])
def test_direction_and_distance_of_lines(angle_deg: float, spacing_mm: float) -> None:
    (tags,) = found_tags([lined(spacing_mm, angle_deg)] * 2, OBLIQUE)
    axes = OBLIQUE[:3, :2] / 1.2
    angle = np.deg2rad(angle_deg)
    expected = axes @ [np.cos(angle), np.sin(angle)]
    assert abs(float(np.dot(tags.normal_ras, expected))) > np.cos(np.deg2rad(0.5))
    assert tags.spacing_mm == pytest.approx(spacing_mm, rel=0.01)


def test_a_grid_has_two_families() -> None:
    product = lined(7.0, 30.0) * lined(7.0, 120.0) / np.maximum(disc(), 1)
    grid = product.astype(np.float32)
    families = found_tags([grid, grid], OBLIQUE)
    assert len(families) == 2
    assert abs(float(np.dot(families[0].normal_ras, families[1].normal_ras))) < 0.02


def test_edges_noise_and_emptiness_are_no_tags() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 150, 130)).astype(np.float32)
    for frames in ([disc()] * 2, list(100 + 20 * noise), [np.zeros((64, 64), np.float32)] * 2):
        assert found_tags(frames, OBLIQUE) == ()


def test_a_spike_of_one_read_out_is_no_tag() -> None:
    """Herringbone: one frame lined all over, the next one is not, or is in another way."""
    assert found_tags([lined(7.0, 40.0), disc()], OBLIQUE) == ()
    assert found_tags([lined(7.0, 40.0), lined(7.0, 100.0)], OBLIQUE) == ()


def test_families_compare_by_direction() -> None:
    x, y = TagLines((1.0, 0.0, 0.0), 7.0), TagLines((0.0, 1.0, 0.0), 7.0)
    opposite = TagLines((-1.0, 0.0, 0.0), 7.2)
    assert are_same_families([x], [opposite])
    assert not are_same_families([x], [y])
    assert are_same_families([x, y], [y, opposite])
    assert not are_same_families([x, y], [x])


def test_names_of_series() -> None:
    assert series_name("SA_03", 0, 1) == "SA_03"
    assert series_name("LA_4CH", 1, 2) == "LA_4CH_tags_2"


@pytest.mark.parametrize("kind", list(TagKind))
@pytest.mark.parametrize("profile", list(TagProfile))
def test_simulated_tags_are_found_as_they_were_laid(kind: TagKind, profile: TagProfile) -> None:
    protocol = replace(TAGGED_2D, n_phases=12, fov_mm=180.0, **QUICK)
    pattern = TagPattern(kind=kind, profile=profile, spacing_mm=6.5, angle_deg=25.0)
    for item in simulate_tagged_study(sample_heart(4), pattern, protocol, seed=6).study.slices:
        found = found_tags(list(item.frames), item.ras_from_ijk)
        assert len(found) == len(item.tags)
        for laid in item.tags:
            cosine = max(abs(float(np.dot(laid.normal_ras, f.normal_ras))) for f in found)
            assert cosine > np.cos(np.deg2rad(0.5))
        assert [f.spacing_mm for f in found] == pytest.approx([6.5] * len(found), rel=0.01)
        assert is_tagged(replace(item, tags=()))


@pytest.mark.parametrize(
    ("mode", "protocol"),
    [(Mode.DILATED, CLINICAL), (Mode.HYPERTROPHIC, CLINICAL), (Mode.NORMAL, COHORT)],
    ids=["dilated", "hypertrophic", "cohort"],
)
def test_no_simulated_cine_is_called_tagged(mode: Mode, protocol: AcquisitionProtocol) -> None:
    study = simulate_study(
        sample_heart(8, mode), replace(protocol, n_sa_slices=3, n_phases=2, **QUICK), 3
    ).study
    assert [s.name for s in study.slices if is_tagged(s)] == []


def test_no_slice_of_the_real_cine_study_is_called_tagged() -> None:
    if not REAL.is_file():
        pytest.skip("the shared real study is not beside this repository")
    study = read_study(REAL)
    slices: list[CineSlice] = [*study.slices, *(e.slice for e in study.excluded)]
    assert len(slices) >= 9
    called = [
        (item.name, k)
        for item in slices
        for k in range(0, item.n_phases - 1, N_PHASES_APART)
        if found_tags(list(item.frames[k : k + 2]), item.ras_from_ijk)
    ]
    assert called == []


def test_the_real_study_with_tags_drawn_on_it_is_called_tagged() -> None:
    """Its own anatomy, noise and contrast, with lines of modest depth."""
    if not REAL.is_file():
        pytest.skip("the shared real study is not beside this repository")
    for item in read_study(REAL).slices[::4]:
        rows, cols = item.shape
        j, i = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
        across = (i * item.spacing_mm[0] + j * item.spacing_mm[1]) / np.sqrt(2)
        lines = (1 - 0.5 * (0.5 + 0.5 * np.cos(2 * np.pi * across / 7.0))).astype(np.float32)
        (tags,) = found_tags(list(item.frames[:2] * lines), item.ras_from_ijk)
        assert tags.spacing_mm == pytest.approx(7.0, rel=0.01)
