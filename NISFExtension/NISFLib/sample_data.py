"""A study for first steps: simulated on this computer, so that nothing is downloaded.

Slicer's Sample Data module shows it in the category "NISF"; a click simulates it (once), reads it
and shows its slices.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from NISFCore.errors import NISFError
from NISFLib.job import Job, JobState
from NISFLib.worker_python import nisf_command

CATEGORY, NAME = "NISF", "Simulated cine study"
SEED = 7_700_016
"""A heart that no bundled prior has seen."""

POLL_SECONDS = 0.05


def register_sample_data(icon: str) -> None:
    """Register the study once Slicer has started: Sample Data may not be there before."""
    slicer.app.connect("startupCompleted()", lambda: _register(icon))


def _register(icon: str) -> None:
    import SampleData  # type: ignore[import-not-found,unused-ignore]

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,  # the text of its button
        uris="",  # there is nothing to download, but a source without any cannot be made
        fileNames=NAME,
        nodeNames=NAME,
        thumbnailFileName=icon,
        customDownloader=_open_in_module,
    )


def _open_in_module(source: Any) -> list[Any]:
    """What a click on the sample does."""
    folder = Path(slicer.app.cachePath) / "NISF"
    with slicer.util.tryWithErrorDisplay("The sample study could not be made.", waitCursor=True):
        slicer.util.selectModule("NISF")
        panel = slicer.modules.NISFWidget.panel
        if reason := panel.missing_packages():  # for many it is the first thing that they try
            raise NISFError(reason)
        panel.open_study(sample_study(folder, slicer.app.processEvents))
    return []


def sample_study(folder: Path, breathe: Callable[[], None]) -> Path:
    """The study's DICOM folder; simulated if it is not there yet (about half a minute).

    Args:
        breathe: called while the worker runs.

    Raises:
        NISFError: if it cannot be made.
    """
    command = nisf_command("simulate", folder, "--subjects", "1", "--seed", str(SEED))
    job = Job(command)
    try:
        while job.outcome is None:
            job.poll()
            breathe()
            time.sleep(POLL_SECONDS)
    finally:
        job.close()
    if job.outcome.state is not JobState.DONE:
        raise NISFError(job.outcome.message)
    return folder / "subject_0001" / "dicom"
