"""Cohorts of simulated subjects on disk.

    OUT/subject_0001/dicom/...        the study as DICOM, or
    OUT/subject_0001/images/...       as NIfTI with labels and a manifest
    OUT/subject_0001/truth/truth.json
    OUT/subject_0001/truth-tagged/...  of tagged slices that lie beside a cine's in dicom

Every subject's seed is made from the cohort's seed and the subject's number alone, so that a cohort
can be resumed, extended and made by several processes. A folder exists only when it is complete.
"""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from enum import Enum
from multiprocessing import get_context
from pathlib import Path
from time import monotonic

import numpy as np

from NISFCore.data.nifti_manifest import write_nifti_study
from NISFCore.errors import Cancelled, ConfigError, OutputError
from NISFCore.files import new_folder
from NISFCore.phantom.dicom_writer import write_dicom
from NISFCore.phantom.examination import simulate_examination
from NISFCore.phantom.parameters import Mode
from NISFCore.phantom.population import sample_heart
from NISFCore.phantom.protocol import TAGGED_PRESETS, preset, sample_protocol
from NISFCore.phantom.scanner import SimulatedStudy, simulate_study
from NISFCore.phantom.tag_pattern import TagKind, sample_tag_pattern
from NISFCore.phantom.tagging import simulate_tagged_study
from NISFCore.phantom.truth import TRUTH_FILE, PhantomTruth
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress

STAGE = "simulate"
TRUTH_FOLDER, TAGGED_TRUTH_FOLDER = "truth", "truth-tagged"


class StudyFormat(str, Enum):
    """How images are written."""

    DICOM = "dicom"
    """As a scanner exports them; without labels."""
    NIFTI = "nifti"
    """With labels, for training."""


IMAGE_FOLDERS = {StudyFormat.DICOM: "dicom", StudyFormat.NIFTI: "images"}


@dataclass(frozen=True)
class CohortSettings:
    """What is simulated.

    Attributes:
        n_subjects, seed: subject k of a seed is the same in every cohort that holds it.
        preset: acquisition protocol, see `protocol.PRESETS`.
        format: of the images.
        mode: kind of heart; None draws it for every subject.
        n_workers: processes; 1 works in this one.
        tags: kind of tags where the preset is a tagged one, or tagged slices are added.
        tagged: preset of tagged slices of the same heart beside the others; None for none.
    """

    n_subjects: int
    seed: int
    preset: str = "clinical"
    format: StudyFormat = StudyFormat.DICOM
    mode: Mode | None = None
    n_workers: int = 1
    tags: TagKind = TagKind.GRID
    tagged: str | None = None

    def __post_init__(self) -> None:
        preset(self.preset)
        if (self.is_tagged or self.tagged) and self.format is not StudyFormat.DICOM:
            raise ConfigError(
                f"CohortSettings: tagged slices (preset {self.tagged or self.preset}) with format "
                f"{self.format.value}; tagged studies are written as DICOM only"
            )
        if self.tagged is not None and (self.is_tagged or self.tagged not in TAGGED_PRESETS):
            raise ConfigError(
                f"CohortSettings: tagged slices {self.tagged} beside preset {self.preset}; "
                f"allowed: one of {', '.join(TAGGED_PRESETS)} beside an untagged preset"
            )
        if self.n_subjects < 1 or self.n_workers < 1 or self.seed < 0:
            raise ConfigError(
                f"CohortSettings: got n_subjects {self.n_subjects}, n_workers {self.n_workers}, "
                f"seed {self.seed}; allowed: 1 or more, 1 or more, 0 or more"
            )

    @property
    def is_tagged(self) -> bool:
        return self.preset in TAGGED_PRESETS


def simulate_cohort(
    out: Path,
    settings: CohortSettings,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> list[Path]:
    """Make the subjects that are not there yet; returns all subject folders.

    Raises:
        OutputError: if `out` cannot be written, or holds another cohort's subject.
        Cancelled: if asked through `cancel`; complete subjects stay.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    start, total = monotonic(), settings.n_subjects
    numbers = range(1, total + 1)
    missing = [k for k in numbers if not _is_complete(out, k, settings)]
    steps = _in_processes if settings.n_workers > 1 else _in_this_process
    done = total - len(missing)
    try:
        for number in steps(out, missing, settings, cancel):
            done += 1
            seconds = monotonic() - start
            progress.report(ProgressEvent(STAGE, done, total, seconds, message=_name(number)))
    except Cancelled as error:
        raise Cancelled(
            f"cancelled by the user; {done} of {total} subjects are complete: run it again to go on"
        ) from error
    return [out / _name(k) for k in numbers]


def simulate_subject(
    number: int, settings: CohortSettings, cancel: CancelToken | None = None
) -> SimulatedStudy:
    """Subject `number` (from 1) of a cohort, in memory."""
    heart, protocol, study, tags = np.random.SeedSequence([settings.seed, number]).spawn(4)
    parameters = sample_heart(np.random.default_rng(heart), settings.mode)
    scan = sample_protocol(np.random.default_rng(protocol), settings.preset)
    tags_rng = np.random.default_rng(tags)
    pattern = sample_tag_pattern(tags_rng, settings.tags)
    if settings.tagged is not None:
        beside = sample_protocol(tags_rng, settings.tagged)
        return simulate_examination(parameters, scan, beside, pattern, subject_seed(study), cancel)
    if not settings.is_tagged:
        return simulate_study(parameters, scan, subject_seed(study), cancel)
    tagged = simulate_tagged_study(parameters, pattern, scan, subject_seed(study), cancel)
    return SimulatedStudy(tagged.study, tagged.truth.phantom)


def subject_seed(sequence: np.random.SeedSequence) -> int:
    """A seed that fits every integer type."""
    return int(sequence.generate_state(1, np.uint32)[0] >> 1)


def write_subject(folder: Path, simulated: SimulatedStudy, study_format: StudyFormat) -> None:
    """Write one subject into a new folder.

    Raises:
        OutputError: if the folder is not empty or cannot be written.
    """
    with new_folder(folder) as temporary:
        images = temporary / IMAGE_FOLDERS[study_format]
        if study_format is StudyFormat.DICOM:
            write_dicom(simulated.study, images, simulated.truth.seed)
        else:
            write_nifti_study(simulated.study, images)
        simulated.truth.save(temporary / TRUTH_FOLDER)
        if simulated.tagged_truth is not None:
            simulated.tagged_truth.save(temporary / TAGGED_TRUTH_FOLDER)


def _name(number: int) -> str:
    return f"subject_{number:04d}"


def _is_complete(out: Path, number: int, settings: CohortSettings) -> bool:
    """Whether the subject is there; another cohort's subject is an error, not a result."""
    folder = out / _name(number)
    if not (folder / TRUTH_FOLDER / TRUTH_FILE).is_file():
        return False
    if not (folder / IMAGE_FOLDERS[settings.format]).is_dir():
        raise OutputError(
            f"{folder.name} holds images in another format than {settings.format.value}; choose "
            "another output folder"
        )
    expected = subject_seed(np.random.SeedSequence([settings.seed, number]).spawn(3)[2])
    truth = PhantomTruth.load(folder / TRUTH_FOLDER)
    has_tagged = (folder / TAGGED_TRUTH_FOLDER).is_dir()
    is_same = truth.protocol.name == settings.preset and has_tagged == bool(settings.tagged)
    if truth.seed != expected or not is_same:
        raise OutputError(
            f"{folder.name} was made from another seed or preset; choose another output folder"
        )
    return True


def _make(
    out: Path, number: int, settings: CohortSettings, cancel: CancelToken | None = None
) -> int:
    simulated = simulate_subject(number, settings, cancel)
    write_subject(out / _name(number), simulated, settings.format)
    return number


def _in_this_process(
    out: Path, numbers: list[int], settings: CohortSettings, cancel: CancelToken
) -> Iterator[int]:
    for number in numbers:
        cancel.check()
        yield _make(out, number, settings, cancel)


def _in_processes(
    out: Path, numbers: list[int], settings: CohortSettings, cancel: CancelToken
) -> Iterator[int]:
    """Spawned processes, which work alike on every platform."""
    with ProcessPoolExecutor(
        settings.n_workers, mp_context=get_context("spawn"), initializer=_use_one_thread
    ) as pool:
        waiting: set[Future[int]] = {pool.submit(_make, out, k, settings) for k in numbers}
        try:
            while waiting:
                cancel.check()
                finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        finally:
            for future in waiting:
                future.cancel()


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)
