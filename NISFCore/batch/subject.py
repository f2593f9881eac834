"""One subject of a batch: what is complete, what is redone, and the process that does it."""

import csv
import json
import os
import shutil
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from NISFCore import workflows
from NISFCore.batch.plan import BatchSettings, Subject
from NISFCore.errors import Cancelled, NISFError, NoSeriesError, ResultError
from NISFCore.export.motion_files import MOTION_FOLDER, STRAIN_FILE
from NISFCore.export.writer import MANIFEST_FILE
from NISFCore.fitting.quality import Verdict as QualityVerdict
from NISFCore.fitting.storage import RESULT_FILE, load_result
from NISFCore.motion.storage import MOTION_FILE
from NISFCore.motion_workflow import fit_motion
from NISFCore.progress import CancelToken

RESULT_FOLDER, EXPORT_FOLDER = "result", "export"
FUNCTION_FILE = "function.json"
RESULT_FIGURES = ("psnr_db", "intersection_ncc_before", "intersection_ncc_after")
FUNCTION_FIGURES = ("edv_ml", "esv_ml", "sv_ml", "ef_percent", "mass_g")
QUALITY_FIGURES = ("quality", "quality_flags")
STRAIN_FIGURES = ("gcs_percent", "grs_percent", "gls_percent")
MOTION_FLAGS = "motion_flags"
FIGURES = (
    "n_slices",
    *QUALITY_FIGURES,
    *RESULT_FIGURES,
    *FUNCTION_FIGURES,
    *STRAIN_FIGURES,
    MOTION_FLAGS,
)
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"


@dataclass(frozen=True)
class Verdict:
    """How a subject ended, and one sentence for the user if it is not done."""

    status: str
    message: str = ""


def is_complete(subject: Subject, settings: BatchSettings) -> bool:
    """Whether nothing is left to do: the result can be read, and what is wanted of it is there."""
    has_export = not settings.formats or _has_export(subject)
    return _has_result(subject) and has_export and (not settings.motion or _has_motion(subject))


def treat_subject(
    subject: Subject, settings: BatchSettings, cancel: CancelToken | None = None
) -> None:
    """Fit, follow and export what is not there yet; what a killed batch left half done is removed.
    A result whose motion cannot be followed is exported all the same.

    Raises:
        NISFError: any of its kinds; a complete result stays where it is.
    """
    remove_leftovers(subject)
    if not _has_result(subject):
        shutil.rmtree(subject.folder / RESULT_FOLDER, ignore_errors=True)
        workflows.fit_input(
            _study_input(subject, settings),
            subject.folder / RESULT_FOLDER,
            prior=settings.prior,
            config=settings.config,
            device=settings.device,
            cancel=cancel,
        )
    problem = None
    if settings.motion and not _has_motion(subject):
        problem = _motion_problem(subject, cancel)
        if problem is None:  # an export from before lacks it
            shutil.rmtree(subject.folder / EXPORT_FOLDER, ignore_errors=True)
    if settings.formats and not _has_export(subject):
        result, out = subject.folder / RESULT_FOLDER, subject.folder / EXPORT_FOLDER
        workflows.export_folder(result, out, settings.export, cancel=cancel)
    if problem is not None:
        raise problem


def _study_input(subject: Subject, settings: BatchSettings) -> workflows.StudyInput:
    name = subject.name if subject.said else None
    return workflows.StudyInput(
        subject.study, views=settings.views, subject=name, hidden=subject.said
    )


def _motion_problem(subject: Subject, cancel: CancelToken | None) -> NISFError | None:
    """Follow the LV wall, by tagged series where there are any; why it cannot be, or None."""
    shutil.rmtree(_motion_folder(subject), ignore_errors=True)
    result = subject.folder / RESULT_FOLDER
    try:
        try:
            fit_motion(result, tagged=subject.study, cancel=cancel)
        except NoSeriesError:
            fit_motion(result, cancel=cancel)
    except Cancelled:
        raise
    except NISFError as error:
        return error
    return None


def remove_leftovers(subject: Subject) -> None:
    """Remove what a killed process left half written; a folder without a result says nothing."""
    for leftover in subject.folder.glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with suppress(OSError):
        subject.folder.rmdir()  # only if it is empty


def figures_of(subject: Subject) -> dict[str, Any]:
    """The figures of a subject's row; None for what there is not."""
    result = _json(subject.folder / RESULT_FOLDER / RESULT_FILE)
    values = {"n_slices": result.get("input", {}).get("n_slices"), **result.get("figures", {})}
    values |= _json(subject.folder / EXPORT_FOLDER / FUNCTION_FILE)
    values |= _quality(result.get("quality") or {}) | _strain(_motion_folder(subject))
    return {name: values.get(name) for name in FIGURES}


def _quality(stored: dict[str, Any]) -> dict[str, str | None]:
    """The verdict, and the names of the checks that raised a flag."""
    raised = [
        c["name"] for c in stored.get("checks", ()) if c["level"] != QualityVerdict.RELIABLE.value
    ]
    return {"quality": stored.get("verdict"), "quality_flags": "; ".join(raised) or None}


def _strain(folder: Path) -> dict[str, Any]:
    """Peak strains of the whole wall, and the names of the motion's flags."""
    try:
        with (folder / STRAIN_FILE).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError:
        return {}
    flags = [flag["code"] for flag in _json(folder / MOTION_FILE).get("flags", ())]
    peaks: dict[str, Any] = {}
    for name in STRAIN_FIGURES:
        values = [float(row[name]) for row in rows if row[name]]
        peaks[name] = max(values, key=abs, default=None)
    return peaks | {MOTION_FLAGS: "; ".join(flags) or None}


def worker_process(
    settings: BatchSettings, cancel_file: Path, n_threads: int, channel: Connection
) -> None:
    """The main function of a process that treats one subject after the other: it receives
    `Subject`s and sends a `Verdict` for each, until the channel is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    _end_with_parent()
    import torch

    torch.set_num_threads(min(n_threads, torch.get_num_threads()))
    with suppress(EOFError):
        while True:
            subject = channel.recv()
            channel.send(_verdict(subject, settings, CancelToken(cancel_file)))


def _verdict(subject: Subject, settings: BatchSettings, cancel: CancelToken) -> Verdict:
    try:
        treat_subject(subject, settings, cancel)
    except Cancelled:
        return Verdict(CANCELLED)
    except NISFError as error:
        return Verdict(FAILED, subject.anonymous(str(error)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other subjects go on
        text = f"unexpected {type(error).__name__}: {error}"
        return Verdict(FAILED, subject.anonymous(text))
    return Verdict(DONE)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however that came about."""
    parent = parent_process()
    if parent is None:
        return

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def _has_result(subject: Subject) -> bool:
    try:
        load_result(subject.folder / RESULT_FOLDER)
    except ResultError:
        return False
    return True


def _motion_folder(subject: Subject) -> Path:
    return subject.folder / RESULT_FOLDER / MOTION_FOLDER


def _has_motion(subject: Subject) -> bool:
    return bool(_json(_motion_folder(subject) / MOTION_FILE))


def _has_export(subject: Subject) -> bool:
    return bool(_json(subject.folder / EXPORT_FOLDER / MANIFEST_FILE))


def _json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
