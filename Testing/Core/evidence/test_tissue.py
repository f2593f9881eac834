"""Tissue maps say the same as the phantom's own labels, and more."""

import torch

from NISFCore.evidence.tissue import LABEL_OF_TISSUE, Tissue, TissueHeart, label_table
from NISFCore.labels import Label
from NISFCore.phantom import BeatingHeart, sample_heart


def points_about_the_heart(n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, 3, generator=generator) - 0.5) * 170.0


def test_labels_are_those_of_the_phantom() -> None:
    for seed in range(4):
        parameters = sample_heart(seed)
        points = points_about_the_heart(20_000, seed)
        for time in (0.0, 0.2, 0.37, 0.7):
            tissues = TissueHeart(parameters).tissues(points, time)
            truth = BeatingHeart(parameters).labels(points, time)
            assert torch.equal(label_table()[tissues.long()].to(torch.uint8), truth)


def test_every_tissue_occurs() -> None:
    found: set[int] = set()
    for seed in range(6):
        tissues = TissueHeart(sample_heart(seed)).tissues(points_about_the_heart(60_000, seed), 0.1)
        found |= set(tissues.unique().tolist())
    # valves are thin and trabeculae of the RV are painted later
    optional = {Tissue.LV_VALVE, Tissue.RV_VALVE, Tissue.VALVE, Tissue.RV_TRABECULA}
    assert found >= {int(t) for t in Tissue} - {int(t) for t in optional}


def test_blood_above_the_valves_is_background() -> None:
    for tissue in (Tissue.ATRIAL_BLOOD, Tissue.AORTIC_BLOOD, Tissue.PULMONARY_BLOOD):
        assert LABEL_OF_TISSUE.get(tissue, Label.BACKGROUND) is Label.BACKGROUND
    heart = TissueHeart(sample_heart(3))
    top = heart.heart.shape.z_base_mm
    points = points_about_the_heart(40_000, 1)
    above = points[points[:, 2] > top + 25]
    tissues = heart.tissues(above, 0.0)
    assert (tissues == int(Tissue.ATRIAL_BLOOD)).any()
    assert label_table()[tissues.long()].max() == Label.BACKGROUND


def test_papillary_muscles_count_as_blood() -> None:
    assert LABEL_OF_TISSUE[Tissue.PAPILLARY] is Label.LV_BLOOD_POOL
    tissues = TissueHeart(sample_heart(5)).tissues(points_about_the_heart(60_000, 2), 0.0)
    n_papillary = int((tissues == int(Tissue.PAPILLARY)).sum())
    assert 0 < n_papillary < 0.3 * int((tissues == int(Tissue.LV_BLOOD)).sum())
