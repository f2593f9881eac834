"""The panel's settings as one value, read from the parameter node when an action begins."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from NISFCore.views import View
from NISFLib.choices import FIT_VIEWS, Device, Phases, Quality
from NISFLib.study_table import NONE, Corrections

DEFAULT_SPACING_MM = 1.5
SPACING_RANGE_MM = (0.5, 5.0)


class Source(Enum):
    """Where the study is."""

    FOLDER = "folder"
    DATABASE = "database"
    SCENE = "scene"

    def label(self) -> str:
        return {
            "folder": "Folder or zip (DICOM, NIfTI)",
            "database": "DICOM database",
            "scene": "Sequences in the scene",
        }[self.value]


@dataclass(frozen=True)
class Settings:
    """What the user has chosen.

    Attributes:
        source, input_path: the study; the path counts for `Source.FOLDER`, and may be a result.
        examination: which one, where the input holds several.
        prior_path: a prior; empty for the bundled one.
        config_path: a JSON file of fit settings in place of `quality`.
        result_folder: where results are kept; empty for a temporary place.
        spacing_mm, phases: of the export.
        with_labels, with_models: label maps and models besides the segmentation.
        annotate_from_fit: an annotation begins with the fit's labels, else with nothing.
        annotate_partial: what is not painted in a new annotation is unknown, else background.
        tagged_path: folder or zip with tagged series, for the motion; empty for the cine alone.
        export_folder: where files go.
        formats: names of `scene.SceneFormat` to be written.
        bundle: also write the scene as `.mrb`.
    """

    source: Source = Source.FOLDER
    input_path: str = ""
    examination: str = ""
    device: Device = Device.AUTO
    quality: Quality = Quality.STANDARD
    prior_path: str = ""
    config_path: str = ""
    views: frozenset[View] = frozenset(FIT_VIEWS)
    corrections: Corrections = NONE
    result_folder: str = ""
    spacing_mm: float = DEFAULT_SPACING_MM
    phases: Phases = Phases.ALL
    with_labels: bool = False
    with_models: bool = False
    annotate_from_fit: bool = True
    annotate_partial: bool = False
    tagged_path: str = ""
    export_folder: str = ""
    formats: tuple[str, ...] = ()
    bundle: bool = False

    def why_not_fit(self) -> str:
        """What must be changed before a fit; empty if nothing."""
        if not self.views:
            return "Choose at least one view to use."
        for what, path in (("prior", self.prior_path), ("settings file", self.config_path)):
            if path and not Path(path).is_file():
                return f"There is no {what} at {path}; choose another one, or clear the field."
        return ""
