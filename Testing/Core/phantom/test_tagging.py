"""Tagged images: the modulation that is laid down, that it moves with the tissue, and fades."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from NISFCore.errors import Cancelled, ConfigError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.labels import Label
from NISFCore.phantom import HeartParameters
from NISFCore.phantom.protocol import TAGGED_2D, TAGGED_3D, TAGGED_3SA, AcquisitionProtocol
from NISFCore.phantom.tag_pattern import (
    TagKind,
    TagPattern,
    TagProfile,
    cosine_coefficients,
    lay_tags,
)
from NISFCore.phantom.tagging import SimulatedTagged, simulate_tagged_study
from NISFCore.progress import CancelToken

PROTOCOL = replace(
    TAGGED_2D,
    fov_mm=160.0,
    n_phases=4,
    n_profile=1,
    n_sub_pixels=1,
    is_blurred=False,
    noise_sd=0.0,
    coil_bias=0.0,
    intensity_scale_sd=0.0,
)
HEART = HeartParameters()


def simulated(
    pattern: TagPattern | None = None, protocol: AcquisitionProtocol = PROTOCOL
) -> SimulatedTagged:
    return simulate_tagged_study(HEART, pattern or TagPattern(), protocol, seed=3)


def wall_mask(study: SimulatedTagged, phase: int) -> npt.NDArray[np.bool_]:
    labels = study.study.slices[0].labels
    assert labels is not None
    return np.asarray(labels.values[phase] == Label.LV_MYOCARDIUM)


def contrast(values: npt.NDArray[np.float32]) -> float:
    low, high = np.percentile(values, (5, 95))
    return float((high - low) / (high + low))


def test_two_pulses_leave_the_closed_form() -> None:
    """1-1 SPAMM: M_z = cos^2 a - sin^2 a cos(phase), a the flip of one pulse."""
    a0, a1 = cosine_coefficients(math.radians(80.0), TagProfile.SINUSOIDAL)
    a = math.radians(40.0)
    assert a0 == pytest.approx(math.cos(a) ** 2)
    assert a1 == pytest.approx(-(math.sin(a) ** 2))


@pytest.mark.parametrize("profile", list(TagProfile))
def test_a_train_saturates_the_lines_and_spares_what_lies_between(profile: TagProfile) -> None:
    pattern = TagPattern(profile=profile)
    on_line, between = pattern.magnetisation(torch.tensor([0.0, math.pi], dtype=torch.float64))
    assert float(on_line) == pytest.approx(0.0, abs=1e-12)
    assert float(between) == pytest.approx(1.0, abs=1e-12)


def test_more_pulses_make_thinner_lines() -> None:
    phase = torch.linspace(-math.pi, math.pi, 1001, dtype=torch.float64)
    widths = {
        p: float((TagPattern(profile=p).magnetisation(phase) < 0.5).double().mean())
        for p in TagProfile
    }
    assert widths[TagProfile.SINUSOIDAL] == pytest.approx(0.5, abs=0.01)
    assert widths[TagProfile.SHARP] < 0.4


def test_lines_lie_in_the_plane_at_their_distance() -> None:
    heart_from_ijk = np.diag([1.4, 1.4, 8.0, 1.0])
    tags = lay_tags(TagPattern(spacing_mm=6.0), (30.0,), heart_from_ijk, np.random.default_rng(0))
    k = tags.waves[0, :3]
    assert np.linalg.norm(k) == pytest.approx(2 * np.pi / 6.0)
    assert k[2] == 0.0
    assert math.degrees(math.atan2(k[1], k[0])) == pytest.approx(30.0)
    across = torch.as_tensor(6.0 * k / np.linalg.norm(k))[None]
    start = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert float(tags.loss(start + across)) == pytest.approx(float(tags.loss(start)))
    assert float(tags.loss(start + across / 2)) != pytest.approx(float(tags.loss(start)), abs=0.05)


def test_a_grid_is_two_families_in_one_series_and_lines_are_two_series() -> None:
    grid = simulated(TagPattern(kind=TagKind.GRID)).study.slices
    lines = simulated(TagPattern(kind=TagKind.LINES)).study.slices
    assert [s.name for s in grid] == ["SA_01"]
    assert [s.name for s in lines] == ["SA_01_tags_1", "SA_01_tags_2"]
    assert [len(s.tags) for s in (*grid, *lines)] == [2, 1, 1]
    first, second = (np.array(s.tags[0].normal_ras) for s in lines)
    assert abs(float(first @ second)) < 1e-9
    assert abs(float(first @ lines[0].normal_ras)) < 1e-9


def test_the_header_says_what_the_image_shows() -> None:
    """Neighbouring lines along the stated normal look alike, points half-way do not."""
    item = simulated(TagPattern(kind=TagKind.LINES, spacing_mm=7.0)).study.slices[0]
    frame = item.frames[0].astype(np.float64)
    spectrum = np.abs(np.fft.fft2(frame - frame.mean(), s=(512, 512)))
    k = 2 * np.pi * np.fft.fftfreq(512) / item.spacing_mm[0]
    row, column = np.unravel_index(
        int(np.where(np.hypot(*np.meshgrid(k, k)) > 0.6, spectrum, 0).argmax()), spectrum.shape
    )
    found = np.array([k[column], k[row]])
    axes = item.ras_from_ijk[:3, :2] / np.array(item.spacing_mm)
    stated = np.array(item.tags[0].normal_ras) @ axes
    assert 2 * np.pi / np.linalg.norm(found) == pytest.approx(7.0, abs=0.15)
    assert abs(float(found @ stated)) / np.linalg.norm(found) == pytest.approx(1.0, abs=2e-3)


def test_tags_move_with_the_tissue() -> None:
    """At ES, the wall's pixels show the tags that lay at their material points at ED: they follow
    the truth much better than tags that stay in space."""
    study = simulated(protocol=replace(PROTOCOL, n_phases=3))  # the second is near ES
    item, truth = study.study.slices[0], study.truth
    phase, mask = 1, wall_mask(study, 1)
    time = float(item.cycle_fractions[phase])
    points = pixel_centres_ras(item.ras_from_ijk, item.shape)[mask]
    ijk = apply_affine(np.linalg.inv(item.ras_from_ijk), truth.material_from_spatial(points, time))
    at_ed = item.frames[0]
    i, j = np.rint(ijk[:, 0]).astype(int), np.rint(ijk[:, 1]).astype(int)
    carried = np.corrcoef(at_ed[j, i], item.frames[phase][mask])[0, 1]
    stayed = np.corrcoef(at_ed[mask], item.frames[phase][mask])[0, 1]
    assert carried > 0.6
    assert stayed < 0.3


def test_tags_fade_in_muscle_and_wash_out_of_blood() -> None:
    study = simulated(replace(TagPattern(), fading_ms=500.0))
    item = study.study.slices[0]
    assert item.labels is not None
    wall = [contrast(item.frames[k][wall_mask(study, k)]) for k in range(4)]
    assert wall[0] > wall[1] > wall[2] > wall[3]
    blood = item.labels.values[1] == Label.RV_BLOOD_POOL
    assert contrast(item.frames[1][blood]) < 0.5 * wall[1]


def test_fading_follows_its_time_constant() -> None:
    """Still tissue in a corner: the signal regained at t goes as 1 - exp(-t / fading)."""
    item = simulated(TagPattern(fading_ms=400.0)).study.slices[0]
    corner = item.frames[:, :12, :12].reshape(4, -1).astype(np.float64)
    regained = corner - corner[0]
    on_line = regained[:, int(regained[3].argmax())]
    expected = 1 - np.exp(-item.trigger_times_ms / 400.0)
    assert on_line[3] > 100
    assert np.allclose(on_line / on_line[3], expected / expected[3], atol=0.02)


@pytest.mark.parametrize(
    ("protocol", "n_sa", "n_la"), [(TAGGED_2D, 1, 0), (TAGGED_3SA, 3, 0), (TAGGED_3D, 6, 3)]
)
def test_presets_image_the_planes_that_they_say(
    protocol: AcquisitionProtocol, n_sa: int, n_la: int
) -> None:
    tiny = replace(protocol, n_phases=1, n_sub_pixels=1, n_profile=1, pixel_mm=5.0, fov_mm=120.0)
    study = simulated(protocol=tiny).study
    sa = [s for s in study.slices if s.view.value == "SA"]
    assert (len(sa), len(study.slices) - len(sa)) == (n_sa, n_la)
    for item in sa:
        assert item.labels is not None
        assert (item.labels.values == Label.LV_MYOCARDIUM).any()


def test_equal_seeds_give_equal_studies_and_noise_is_there() -> None:
    noisy = replace(PROTOCOL, noise_sd=0.03, n_phases=1)
    first, again = (simulated(protocol=noisy).study.slices[0] for _ in range(2))
    assert np.array_equal(first.frames, again.frames)
    assert first.tags == again.tags
    clean = simulated(protocol=replace(noisy, noise_sd=0.0)).study.slices[0]
    spread = (first.frames - clean.frames)[clean.frames > 200].std()
    assert float(spread) == pytest.approx(30.0, rel=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("spacing_mm", 0.5), ("flip_deg", 200.0), ("fading_ms", 1.0), ("washout_ms", 0.0)],
)
def test_wrong_settings_are_errors(name: str, value: float) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=name):
        TagPattern(**settings)


def test_tagging_can_be_cancelled() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        simulate_tagged_study(HEART, TagPattern(), PROTOCOL, seed=1, cancel=cancel)
