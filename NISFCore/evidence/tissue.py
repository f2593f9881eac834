"""Tissue classes of the simulated heart, from which contrast and labels of training slices follow.

The phantom's painter lays signals over each other with soft edges. Painted with one code per tissue
and hard edges, its image is a map of tissues, and everything that it knows (papillary muscles,
atria, outflow tracts, grooves of fat, valves) becomes a class whose signal can be drawn at random.
"""

from dataclasses import replace
from enum import IntEnum

import torch
from torch import Tensor

from NISFCore.labels import Label
from NISFCore.phantom import BeatingHeart, HeartParameters
from NISFCore.phantom.anatomy import PERICARDIUM_SIGNAL, VALVE_SIGNAL
from NISFCore.phantom.parameters import AppearanceParameters

HARD_EDGE_MM = 1e-3
CODE_TOLERANCE = 1e-3


class Tissue(IntEnum):
    """Classes of one pixel; each has one label (`LABEL_OF_TISSUE`)."""

    SURROUNDINGS = 0
    LV_BLOOD = 1
    PAPILLARY = 2
    MYOCARDIUM = 3
    RV_BLOOD = 4
    ATRIAL_BLOOD = 5
    AORTIC_BLOOD = 6
    PULMONARY_BLOOD = 7
    OTHER_WALL = 8
    FAT = 9
    PERICARDIUM = 10
    VALVE = 11
    LV_VALVE = 12
    RV_VALVE = 13
    RV_TRABECULA = 14


N_TISSUES = len(Tissue)

LABEL_OF_TISSUE: dict[Tissue, Label] = {
    Tissue.LV_BLOOD: Label.LV_BLOOD_POOL,
    Tissue.PAPILLARY: Label.LV_BLOOD_POOL,
    Tissue.LV_VALVE: Label.LV_BLOOD_POOL,
    Tissue.MYOCARDIUM: Label.LV_MYOCARDIUM,
    Tissue.RV_BLOOD: Label.RV_BLOOD_POOL,
    Tissue.RV_VALVE: Label.RV_BLOOD_POOL,
    Tissue.RV_TRABECULA: Label.RV_BLOOD_POOL,
}
"""Every other tissue is background, also blood above the valves."""

_CODES = {
    "lv_blood": 1.0,
    "rv_blood": 0.9,
    "atrial_blood": 0.8,
    "fat": 0.6,
    "myocardium": 0.3,
    "pericardium": PERICARDIUM_SIGNAL,
    "valve": VALVE_SIGNAL,
}
_CODE_VALUES = tuple(_CODES.values())
_OUTSIDE, _VALVE = len(_CODES), list(_CODES).index("valve")

# Rows: codes in the order of _CODES, then what is outside the heart; columns: labels.
_TISSUE_OF_CODE_AND_LABEL = (
    (Tissue.AORTIC_BLOOD, Tissue.LV_BLOOD, Tissue.MYOCARDIUM, Tissue.RV_BLOOD),
    (Tissue.PULMONARY_BLOOD, Tissue.LV_BLOOD, Tissue.MYOCARDIUM, Tissue.RV_BLOOD),
    (Tissue.ATRIAL_BLOOD, Tissue.LV_BLOOD, Tissue.MYOCARDIUM, Tissue.RV_BLOOD),
    (Tissue.FAT, Tissue.LV_BLOOD, Tissue.MYOCARDIUM, Tissue.RV_BLOOD),
    (Tissue.OTHER_WALL, Tissue.PAPILLARY, Tissue.MYOCARDIUM, Tissue.RV_TRABECULA),
    (Tissue.PERICARDIUM, Tissue.LV_BLOOD, Tissue.MYOCARDIUM, Tissue.RV_BLOOD),
    (Tissue.VALVE, Tissue.LV_VALVE, Tissue.MYOCARDIUM, Tissue.RV_VALVE),
    (Tissue.SURROUNDINGS, Tissue.LV_BLOOD, Tissue.MYOCARDIUM, Tissue.RV_BLOOD),
)


def label_table() -> Tensor:
    """Label of every tissue, `(N_TISSUES,)` int64."""
    labels = [int(LABEL_OF_TISSUE.get(tissue, Label.BACKGROUND)) for tissue in Tissue]
    return torch.tensor(labels)


class TissueHeart:
    """A beating heart that is asked for tissues instead of signal.

    Raises:
        ConfigError: if the parameters contradict each other.
    """

    def __init__(self, parameters: HeartParameters) -> None:
        self.heart = BeatingHeart(_coded(parameters))
        self._table = torch.tensor(_TISSUE_OF_CODE_AND_LABEL, dtype=torch.uint8)
        self._codes = torch.tensor(_CODE_VALUES)

    def tissues(self, points: Tensor, cycle_fraction: float) -> Tensor:
        """`Tissue` `(n,)` uint8 at `points` `(n, 3)` float32 in heart coordinates."""
        signal, cover, labels = self.heart.heart_layer(points, cycle_fraction, HARD_EDGE_MM)
        gap, code = (signal[:, None] - self._codes).abs().min(dim=1)
        # A valve that is opening is painted half transparent: no code, and yet a valve.
        code = torch.where(gap > CODE_TOLERANCE, _VALVE, code)
        code = torch.where(cover > 0.5, code, _OUTSIDE)
        return self._table[code, labels.long()]

    def surroundings(self, points: Tensor) -> Tensor:
        """Signal `(n,)` of the static chest at `points`."""
        return self.heart.background(points)


def _coded(parameters: HeartParameters) -> HeartParameters:
    """The same heart, its appearance replaced by codes; the chest keeps its own signals."""
    look = parameters.appearance
    coded = AppearanceParameters(
        lv_blood=_CODES["lv_blood"],
        rv_blood=_CODES["rv_blood"],
        atrial_blood=_CODES["atrial_blood"],
        myocardium=_CODES["myocardium"],
        fat=_CODES["fat"],
        lung=look.lung,
        liver=look.liver,
        stomach=look.stomach,
        muscle=look.muscle,
        spine=look.spine,
        texture=0.0,
        texture_phases_rad=look.texture_phases_rad,
    )
    detail = replace(parameters.detail, trabecular_darkness=0.0)
    return replace(parameters, appearance=coded, detail=detail)
