"""Labels and signal against the closed-form heart."""

import numpy as np
import pytest
import torch
from torch import Tensor

from NISFCore.labels import Label
from NISFCore.phantom import BeatingHeart


def dense_grid(heart: BeatingHeart, spacing_mm: float) -> Tensor:
    low, high = heart.box_mm()
    axes = [torch.arange(a, b, spacing_mm) + 0.37 for a, b in zip(low, high, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3).float()


def counted_ml(labels: Tensor, label: Label, spacing_mm: float) -> float:
    return float((labels == int(label)).sum()) * spacing_mm**3 / 1000


@pytest.mark.parametrize("at_es", [False, True], ids=["ED", "ES"])
def test_counting_voxels_gives_the_stated_volumes(any_heart: BeatingHeart, at_es: bool) -> None:
    spacing = 1.25
    time = any_heart.parameters.motion.es_fraction if at_es else 0.0
    labels = any_heart.labels(dense_grid(any_heart, spacing), time)
    lv_ml, rv_ml = any_heart.volumes_ml(time)
    p = any_heart.parameters
    assert counted_ml(labels, Label.LV_BLOOD_POOL, spacing) == pytest.approx(lv_ml, rel=0.01)
    assert counted_ml(labels, Label.RV_BLOOD_POOL, spacing) == pytest.approx(rv_ml, rel=0.01)
    mass_g = 1.05 * counted_ml(labels, Label.LV_MYOCARDIUM, spacing)
    assert mass_g == pytest.approx(p.lv.mass_g, rel=0.01)
    if at_es:
        assert lv_ml == pytest.approx(p.lv.edv_ml * (1 - p.lv.ef_percent / 100), rel=1e-9)
        assert rv_ml == pytest.approx(p.rv.edv_ml * (1 - p.rv.ef_percent / 100), rel=2e-3)


def test_blood_is_wrapped_in_muscle_below_the_base(any_heart: BeatingHeart) -> None:
    """Every ray from the LV axis outwards leaves blood into myocardium, and muscle only once."""
    shape = any_heart.shape
    radius = torch.arange(0.25, 80.0, 0.25)
    angles = torch.arange(0, 2 * np.pi, 0.2)
    for level in (0.25, 0.5, 0.75):
        z = shape.endo.z_apex_mm + level * (shape.z_base_mm - shape.endo.z_apex_mm)
        for time in (0.0, any_heart.parameters.motion.es_fraction):
            centre = any_heart.spatial_from_material(torch.tensor([[0.0, 0.0, z]]).double(), time)
            rays = torch.stack(
                [
                    radius * angles.cos()[:, None],
                    radius * angles.sin()[:, None],
                    torch.zeros(len(angles), len(radius)),
                ],
                dim=-1,
            )
            points = (rays.reshape(-1, 3) + centre.float()).contiguous()
            labels = any_heart.labels(points, time).reshape(len(angles), len(radius))
            for ray in labels:
                seen = [int(v) for v in torch.unique_consecutive(ray)]
                assert seen[:2] == [1, 2]
                assert 1 not in seen[2:]
                assert 2 not in seen[2:]


def test_both_ventricles_stay_inside_the_box(any_heart: BeatingHeart) -> None:
    low, high = any_heart.box_mm()
    wide = [torch.arange(a - 30, b + 30, 3.0) for a, b in zip(low, high, strict=True)]
    points = torch.stack(torch.meshgrid(*wide, indexing="ij"), dim=-1).reshape(-1, 3).float()
    outside = ((points < torch.tensor(low)) | (points > torch.tensor(high))).any(dim=1)
    for time in (0.0, 0.15, any_heart.parameters.motion.es_fraction, 0.7):
        assert not bool((any_heart.labels(points[outside].contiguous(), time) > 0).any())


def test_one_time_per_point_equals_one_time_for_all(average_heart: BeatingHeart) -> None:
    points = (torch.rand(40_000, 3, generator=torch.Generator().manual_seed(1)) - 0.5) * 140
    times = torch.full((len(points),), 0.31)
    signal, labels = average_heart.evaluate_heart(points, 0.31)
    signal_each, labels_each = average_heart.evaluate_heart(points, times)
    assert torch.equal(labels, labels_each)
    assert torch.allclose(signal, signal_each, atol=1e-6)


def test_single_and_double_precision_agree(average_heart: BeatingHeart) -> None:
    points = (torch.rand(20_000, 3, generator=torch.Generator().manual_seed(2)) - 0.5) * 140
    single, labels_single = average_heart.evaluate_heart(points, 0.3)
    double, labels_double = average_heart.evaluate_heart(points.double(), 0.3)
    assert double.dtype == torch.float64
    assert float((single - double).abs().mean()) < 1e-4
    assert float((labels_single != labels_double).double().mean()) < 1e-3


def test_signal_looks_like_balanced_ssfp(any_heart: BeatingHeart) -> None:
    """Blood is bright, muscle is dark, at ED and ES; nothing is negative or far above blood."""
    look = any_heart.parameters.appearance
    points = dense_grid(any_heart, 3.0)
    for time in (0.0, any_heart.parameters.motion.es_fraction):
        signal, labels = any_heart.evaluate_heart(points, time, edge_mm=0.1)
        assert float(signal.min()) >= 0
        assert float(signal.max()) < 1.3
        median = [float(signal[labels == label].median()) for label in range(4)]
        assert median[1] == pytest.approx(look.lv_blood, rel=0.25)
        assert median[2] == pytest.approx(look.myocardium, rel=0.1)
        assert median[3] == pytest.approx(look.rv_blood, rel=0.35)


def test_papillary_muscles_are_dark_blood_pool(average_heart: BeatingHeart) -> None:
    points = dense_grid(average_heart, 1.5)
    signal, labels = average_heart.evaluate_heart(points, 0.0, edge_mm=0.1)
    dark = (labels == 1) & (signal < 0.4)
    share = float(dark.sum()) / float((labels == 1).sum())
    assert 0.005 < share < 0.10


def test_far_from_the_heart_only_the_chest_is_seen(average_heart: BeatingHeart) -> None:
    points = torch.tensor([[-120.0, 30.0, 10.0], [0.0, -150.0, 0.0], [170.0, 40.0, -20.0]])
    signal, labels = average_heart.evaluate_heart(points, 0.2)
    assert torch.equal(signal, average_heart.background(points))
    assert not bool(labels.any())


def test_soft_edges_are_local_means(average_heart: BeatingHeart) -> None:
    """Across the endocardium the signal with soft edges equals the sharp one, averaged."""
    x = torch.linspace(-34, -18, 1601)
    z = torch.full_like(x, 20.0)
    line = torch.stack([x, torch.zeros_like(x), z], dim=1)
    sharp = average_heart.heart_layer(line, 0.0, 0.01)[0]
    soft = average_heart.heart_layer(line, 0.0, 2.0)[0]
    window = torch.ones(1, 1, 201) / 201
    mean = torch.nn.functional.conv1d(sharp.view(1, 1, -1), window).view(-1)
    assert float((mean - soft[100:-100]).abs().max()) < 0.06
