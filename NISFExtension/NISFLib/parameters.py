"""The parameter node: settings that persist with the scene."""

from typing import Annotated

from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from NISFCore.views import View
from NISFLib.choices import Device, Phases, Quality
from NISFLib.settings import DEFAULT_SPACING_MM, SPACING_RANGE_MM, Settings, Source
from NISFLib.study_table import Corrections

VIEW_PARAMETERS = {
    "useSA": View.SA,
    "use2CH": View.LA_2CH,
    "use3CH": View.LA_3CH,
    "use4CH": View.LA_4CH,
}
FORMAT_PARAMETERS = {
    "saveSegNrrd": "SEG_NRRD",
    "saveSeqNrrd": "SEQ_NRRD",
    "saveSeqMrb": "SEQ_MRB",
    "saveNifti": "NIFTI",
    "saveModels": "MODELS",
}
PATH_PARAMETERS = (
    "inputPath",
    "priorPath",
    "configPath",
    "resultFolder",
    "taggedPath",
    "exportFolder",
)
"""Connected by the panel: an empty path must stay empty."""


@parameterNodeWrapper
class NISFParameters:
    """Names are those of the widgets' SlicerParameterName in NISF.ui."""

    source: Source = Source.FOLDER
    inputPath: str = ""
    examination: str = ""
    corrections: str = ""
    device: Device = Device.AUTO
    quality: Quality = Quality.STANDARD
    priorPath: str = ""
    configPath: str = ""
    resultFolder: str = ""
    useSA: bool = True
    use2CH: bool = True
    use3CH: bool = True
    use4CH: bool = True
    spacing: Annotated[float, WithinRange(*SPACING_RANGE_MM)] = DEFAULT_SPACING_MM
    phases: Phases = Phases.ALL
    withLabels: bool = False
    withModels: bool = False
    annotateFromFit: bool = True
    annotatePartial: bool = False
    taggedPath: str = ""
    exportFolder: str = ""
    saveSegNrrd: bool = True
    saveSeqNrrd: bool = False
    saveSeqMrb: bool = True
    saveNifti: bool = False
    saveModels: bool = False
    saveBundle: bool = False


def settings_of(p: NISFParameters) -> Settings:
    """The parameter node's values as the controller takes them."""
    return Settings(
        source=p.source,
        input_path=p.inputPath,
        examination=p.examination.strip(),
        device=p.device,
        quality=p.quality,
        prior_path=p.priorPath,
        config_path=p.configPath,
        views=frozenset(view for name, view in VIEW_PARAMETERS.items() if getattr(p, name)),
        corrections=Corrections.from_json(p.corrections),
        result_folder=p.resultFolder,
        spacing_mm=p.spacing,
        phases=p.phases,
        with_labels=p.withLabels,
        with_models=p.withModels,
        annotate_from_fit=p.annotateFromFit,
        annotate_partial=p.annotatePartial,
        tagged_path=p.taggedPath,
        export_folder=p.exportFolder,
        formats=tuple(f for name, f in FORMAT_PARAMETERS.items() if getattr(p, name)),
        bundle=p.saveBundle,
    )
