"""From the click to the labels, with real workers: read, cancel, fit, scrub, export, restore."""

import time
from pathlib import Path

import pytest

from NISFCore.views import View
from NISFLib.choices import Quality
from Testing.Core.teacher_files import ENDLESS_FIT, write_json
from Testing.Extension.panel.conftest import COARSE_MM, Driver, Files

BUSY_MACHINE_SECONDS = 10.0
"""A worker that ignored its cancellation would run for hours; what kills it waits 0.7 seconds, and
on a quiet machine a cancel is over within one, which a test on a busy one cannot measure."""


def test_from_click_to_labels(driver: Driver, files: Files, tmp_path: Path) -> None:
    ui, heart = driver.ui, driver.heart
    assert not ui.readButton.enabled and not ui.fitButton.enabled and not ui.exportButton.enabled
    driver.set(inputPath=str(files.study))
    assert ui.readButton.enabled and not ui.fitButton.enabled
    ui.readButton.click()
    assert driver.is_busy and ui.cancelButton.enabled and not ui.readButton.enabled
    driver.wait()
    assert heart.has_study and not heart.has_result, driver.status
    assert ui.studyTable.rowCount == 9
    assert ui.fitButton.enabled and not ui.exportButton.enabled

    # a fit without end is cancelled within a second, and leaves nothing
    endless = write_json(tmp_path / "endless ä.json", ENDLESS_FIT)
    driver.set(configPath=str(endless), priorPath=str(files.prior))
    ui.fitButton.click()
    driver.wait(lambda: "PSNR" in driver.status)
    assert not ui.fitButton.enabled and ui.cancelButton.enabled
    worker = driver.jobs[-1].process_id
    began = time.monotonic()
    ui.cancelButton.click()
    driver.wait()
    assert time.monotonic() - began < BUSY_MACHINE_SECONDS
    assert driver.status == "Cancelled."
    assert not Path(f"/proc/{worker}").exists()
    assert not heart.has_result and ui.fitButton.enabled

    # fit again
    driver.set(configPath=str(files.config), spacing=float(COARSE_MM))
    driver.fit()
    assert heart.has_result, driver.status
    assert ui.motionTable.rowCount == 9
    assert ui.exportButton.enabled and ui.phaseSlider.enabled
    assert ui.figuresTable.rowCount == 5

    # scrub
    for phase in range(heart.n_phases):
        ui.phaseSlider.value = phase + 1.0
        assert heart.phase == heart.browser.GetSelectedItemNumber() == phase
        assert ui.phaseLabel.text.startswith(f"Phase {phase + 1} of {heart.n_phases}")
    ui.esButton.click()
    assert heart.phase == heart.es_phase and "end-systole" in ui.phaseLabel.text
    heart.browser.SetSelectedItemNumber(heart.ed_phase)  # as Slicer's own browser toolbar does
    assert ui.phaseSlider.value == heart.ed_phase + 1

    # align
    ui.beforeButton.click()
    assert heart.alignment == 0.0 and ui.alignmentSlider.value == 0.0
    ui.alignmentSlider.value = 0.5
    assert heart.alignment == 0.5 and not ui.afterButton.checked
    ui.afterButton.click()
    assert heart.alignment == 1.0 and ui.afterButton.checked

    # export two phases, with files
    out = tmp_path / "export ä"
    driver.set(exportFolder=str(out), saveNifti=True)
    driver.ui.phasesCombo.currentIndex = 1
    ui.exportButton.click()
    driver.wait()
    assert heart.n_phases == 2, driver.status
    written = {p.name for p in out.rglob("*") if p.is_file()}
    assert any(name.endswith(".seg.nrrd") for name in written)
    assert any(name.endswith(".seq.mrb") for name in written)
    assert any(".nii" in name for name in written)
    assert heart.segmentation.GetSegmentation().GetNumberOfSegments() == 3


@pytest.mark.slow
@pytest.mark.real_study
def test_a_real_study_from_click_to_saved_scene(
    driver: Driver, real_study_folder: Path, tmp_path: Path
) -> None:
    """With the bundled prior; the scene is saved, closed and read again, the browser intact."""
    heart, ui = driver.heart, driver.ui
    driver.set(quality=Quality.PREVIEW)
    driver.read(real_study_folder / "dicom.zip")
    assert heart.has_study, driver.status
    views = {driver.panel.controller.table.rows[k].view for k in range(ui.studyTable.rowCount)}
    assert views >= {View.SA, View.LA_2CH, View.LA_4CH}
    driver.fit()
    assert heart.has_result, driver.status
    n_phases, names = heart.n_phases, [s.name for s in heart.slices]
    bundle = str(tmp_path / "real ä.mrb")
    scene = driver.slicer.mrmlScene
    assert scene.WriteToMRB(bundle)
    scene.Clear(0)
    assert not heart.has_result
    assert scene.ReadFromMRB(bundle, False)
    assert heart.n_phases == n_phases and [s.name for s in heart.slices] == names
    ui.phaseSlider.value = float(n_phases)
    assert heart.phase == heart.browser.GetSelectedItemNumber() == n_phases - 1
    assert heart.segmentation.GetSegmentation().GetNumberOfSegments() == 3
