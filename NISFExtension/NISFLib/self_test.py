"""The module's self test inside a real Slicer: what no stand-in can prove.

Signal signatures and overloads of PythonQt, the `.ui` file in Qt's own loader, layouts and views,
the parameter node's connectors, saving and reading a scene through Slicer's dialogless I/O.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import slicer

from NISFLib import dependencies
from NISFLib.choices import Quality
from NISFLib.sample_data import sample_study

PATIENCE_SECONDS = 600.0


def run_self_test(test: Any) -> None:
    """Simulate, read, fit, scrub, save and restore through the panel.

    Args:
        test: the ScriptedLoadableModuleTest that runs it.

    Raises:
        unittest.SkipTest: if packages are missing, as where extensions are built: in testing mode
            Slicer installs none.
    """
    if missing := dependencies.missing_requirements():
        test.skipTest(dependencies.missing_text(missing))
    with tempfile.TemporaryDirectory(prefix="NISF-test-") as folder:
        test.delayDisplay("Simulate a study")
        study = sample_study(Path(folder) / "sample", slicer.app.processEvents)
        slicer.util.selectModule("NISF")
        panel = slicer.modules.NISFWidget.panel
        test.delayDisplay("Read it")
        panel.open_study(study)
        _wait(panel)
        assert panel.heart.has_study, panel.ui.statusLabel.text
        test.delayDisplay("Fit it")
        panel.parameters.quality = Quality.PREVIEW
        panel.ui.fitButton.click()
        _wait(panel)
        assert panel.heart.has_result, panel.ui.statusLabel.text
        test.delayDisplay("Scrub")
        for phase in range(panel.heart.n_phases):
            panel.ui.phaseSlider.value = phase + 1.0
            assert panel.heart.phase == phase
        panel.ui.beforeButton.click()
        panel.ui.afterButton.click()
        panel.ui.arrangeButton.click()
        test.delayDisplay("Annotate a slice and refit")
        _annotate_and_refit(panel)
        slicer.util.selectModule("NISF")
        test.delayDisplay("Save and restore the scene")
        scene = str(Path(folder) / "heart.mrb")
        n_phases = panel.heart.n_phases
        assert slicer.util.saveScene(scene)
        slicer.mrmlScene.Clear()
        assert not panel.heart.has_result
        slicer.util.loadScene(scene)
        assert panel.heart.has_result and panel.heart.n_phases == n_phases
        assert len(panel.heart.annotations) == 1
        test.delayDisplay("Test passed")


def _annotate_and_refit(panel: Any) -> None:
    """The Segment Editor opens on the annotation; the heart follows it, and it stays."""
    panel.ui.annotateSliceButton.click()
    (item,) = panel.heart.annotations
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert editor.GetSegmentationNode().GetID() == item.node_id
    assert slicer.util.selectedModule() == "SegmentEditor"
    panel.ui.refitButton.click()
    _wait(panel)
    assert "Refitted" in panel.ui.statusLabel.text, panel.ui.statusLabel.text
    assert panel.heart.annotations == (item,)


def _wait(panel: Any) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while panel.controller.runner.is_busy:
        assert time.monotonic() < until, "the worker takes too long"
        slicer.app.processEvents()
        time.sleep(0.01)
