"""What the user chooses from, and what a choice means for `nisf`. No slicer, qt or torch here.

The enumerations are types of the parameter node: their names are stored with the scene, their
`label` is what a combo box shows.
"""

from enum import Enum
from typing import Any

from NISFCore.views import CARDIAC_VIEWS, View


class Device(Enum):
    """Where the fit computes."""

    AUTO = "auto"
    GPU = "cuda"
    CPU = "cpu"

    def label(self) -> str:
        return {"auto": "Automatic", "cuda": "GPU (CUDA)", "cpu": "CPU"}[self.value]


class Quality(Enum):
    """How long a fit may take."""

    PREVIEW = "preview"
    STANDARD = "standard"
    PAPER = "paper"

    def label(self) -> str:
        return {
            "preview": "Quick preview",
            "standard": "Standard (Gauss-Newton)",
            "paper": "As in the paper (Adam; many minutes)",
        }[self.value]

    @property
    def config(self) -> str | dict[str, Any]:
        """The fit's `--config`: a name, or settings to be written into a file."""
        if self is Quality.PREVIEW:
            return {"gauss_newton": {"voxels": [1024] * 16, "tempered_steps": 8}}
        return "default" if self is Quality.STANDARD else "paper"


class Phases(Enum):
    """Which phases are exported."""

    ALL = "all"
    ED_ES = "ED,ES"
    CURRENT = "current"

    def label(self) -> str:
        return {"all": "All", "ED,ES": "ED and ES", "current": "The current one"}[self.value]

    def words(self, current: int) -> str:
        """The export's `--phases`; `current` is the phase that the scene shows."""
        return str(current) if self is Phases.CURRENT else self.value

    def count(self, n_cycle_phases: int) -> int:
        """How many these are of a whole cycle's."""
        return {Phases.ALL: n_cycle_phases, Phases.ED_ES: 2, Phases.CURRENT: 1}[self]


VIEW_LABELS = {
    View.SA: "Short axis",
    View.LA_2CH: "2-chamber",
    View.LA_3CH: "3-chamber",
    View.LA_4CH: "4-chamber",
    View.OTHER: "Other (not used)",
}
FIT_VIEWS = CARDIAC_VIEWS
SCENE_FORMATS = "seq.nrrd,slices,vtp,tables"
"""What the scene is loaded from."""

PREVIEW_FORMATS = "seq.nrrd,slices,tables"
"""For a first look: without surfaces, which Slicer then makes of the labels."""

PREVIEW_MM = 3.0
"""Spacing of the first look."""
