"""The label set: numbers, names, colours and terminology codes, in one place."""

from dataclasses import dataclass
from enum import IntEnum


class Label(IntEnum):
    """Tissue labels as they stand in every label map of this project."""

    BACKGROUND = 0
    LV_BLOOD_POOL = 1
    LV_MYOCARDIUM = 2
    RV_BLOOD_POOL = 3


EITHER = 0xF0
"""Added to 2^k for each label k that a pixel may have, it gives the number of that set."""
UNKNOWN = 0xFF
"""In reference labels: nobody said what this pixel is, which is not background."""


def either(*labels: Label) -> int:
    """The number in reference labels of a pixel that has one of these labels, unknown which;
    `UNKNOWN` if it may have any."""
    return EITHER | sum(1 << label for label in {*labels})


@dataclass(frozen=True)
class LabelInfo:
    """What is shown and exported for one label.

    `rgb` is in 0..255. `snomed_code` and `snomed_meaning` are a SNOMED CT anatomic structure.
    """

    label: Label
    key: str
    name: str
    rgb: tuple[int, int, int]
    snomed_code: str
    snomed_meaning: str

    @property
    def terminology_entry(self) -> str:
        """The tag by which 3D Slicer knows the kind of a segment."""
        return (
            "Segmentation category and type - 3D Slicer General Anatomy list"
            f"~SCT^123037004^Anatomical Structure~SCT^{self.snomed_code}^{self.snomed_meaning}~^^"
            "~Anatomic codes - DICOM master list~^^~^^"
        )


LABEL_INFO: dict[Label, LabelInfo] = {
    info.label: info
    for info in (
        LabelInfo(
            Label.LV_BLOOD_POOL,
            "lv_blood_pool",
            "LV blood pool",
            (216, 60, 64),
            "87878005",
            "Left ventricle",
        ),
        LabelInfo(
            Label.LV_MYOCARDIUM,
            "lv_myocardium",
            "LV myocardium",
            (80, 174, 96),
            "74281007",
            "Myocardium",
        ),
        LabelInfo(
            Label.RV_BLOOD_POOL,
            "rv_blood_pool",
            "RV blood pool",
            (66, 122, 214),
            "53085002",
            "Right ventricle",
        ),
    )
}

FOREGROUND: tuple[Label, ...] = tuple(LABEL_INFO)
N_LABELS = len(Label)
