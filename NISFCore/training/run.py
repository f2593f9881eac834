"""`train_prior`: a cohort folder in, a prior file out, with checkpoints and a CSV log beside it."""

import csv
import io
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from NISFCore.config import to_json_object
from NISFCore.errors import CohortError, ConfigError, OutputError
from NISFCore.files import write_bytes_atomically
from NISFCore.model.device import resolve_device
from NISFCore.model.prior import Prior
from NISFCore.model.voxels import VoxelTable, concatenate
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress
from NISFCore.training.cohort import read_cohort
from NISFCore.training.config import TrainingConfig
from NISFCore.training.loop import TrainingState, new_state, train, trained_prior
from NISFCore.training.parallel import process_group, process_rank, world_size

LOG_COLUMNS = (
    "step",
    "seconds",
    "loss",
    "psnr_db",
    "validation_psnr_db",
    "validation_dice_lv_blood_pool",
    "validation_dice_lv_myocardium",
    "validation_dice_rv_blood_pool",
    "n_processes",
)


@dataclass(frozen=True)
class TrainingFiles:
    """The prior and what lies beside it while and after it is trained."""

    prior: Path

    @property
    def checkpoint(self) -> Path:
        return self.prior.with_suffix(".checkpoint.pt")

    @property
    def log(self) -> Path:
        return self.prior.with_suffix(".log.csv")


def train_prior(
    cohort: Path,
    out: Path,
    config: TrainingConfig,
    *,
    name: str | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> Prior:
    """Train a prior on all subjects of a cohort folder and write it to `out`.

    A killed training loses at most `config.checkpoint_every` steps: run it again with `resume`.

    Raises:
        CohortError: if the cohort cannot be used.
        OutputError: if a checkpoint exists and `resume` is not given, or nothing can be written.
        ConfigError: if the checkpoint was made with another configuration or cohort.
        Cancelled: after a last checkpoint.
    """
    progress, cancel = progress or SilentProgress(), cancel or CancelToken()
    device = resolve_device(device)
    files = TrainingFiles(out)
    if files.checkpoint.exists() and not resume:
        raise OutputError(f"{files.checkpoint} exists: resume it (--resume) or delete it")
    began = time.monotonic()
    tables = _read_tables(cohort, config, progress, cancel, began)
    training, validation = split_cohort(tables, config.n_validation_subjects)
    with process_group(device):
        table = concatenate(training).to(device)
        state = new_state(table, config, device)
        if resume and files.checkpoint.exists():
            load_checkpoint(state, config, files.checkpoint, device)
        train(
            table,
            state,
            config,
            validation_table=concatenate(validation).to(device) if validation else None,
            on_checkpoint=lambda s: save_checkpoint(s, config, files.checkpoint),
            on_log=lambda figures: _append_log(files.log, figures),
            progress=progress,
            cancel=cancel,
        )
        provenance = _provenance(cohort, len(training), len(validation), began)
    prior = trained_prior(state, config, name or out.stem, provenance)
    if process_rank() == 0:
        prior.save(out)
        files.checkpoint.unlink(missing_ok=True)
    return prior


def split_cohort(
    tables: list[VoxelTable], n_validation: int
) -> tuple[list[VoxelTable], list[VoxelTable]]:
    """Training and validation subjects: the last `n_validation` are kept out of training.

    Raises:
        CohortError: if nothing would be left to train on.
    """
    if n_validation < 0 or n_validation >= len(tables):
        raise CohortError(
            f"{len(tables)} usable subjects, {n_validation} of them for validation: at least one "
            "must be left to train on; lower n_validation_subjects or give more subjects"
        )
    n = len(tables) - n_validation
    return tables[:n], tables[n:]


def save_checkpoint(state: TrainingState, config: TrainingConfig, path: Path) -> None:
    """Write the state atomically (first process only)."""
    if process_rank() != 0:
        return
    buffer = io.BytesIO()
    torch.save({"config": to_json_object(config), "state": state.state_dict()}, buffer)
    write_bytes_atomically(path, buffer.getvalue())


def load_checkpoint(state: TrainingState, config: TrainingConfig, path: Path, device: str) -> None:
    """Continue exactly where the checkpoint was written.

    Raises:
        ConfigError: if it was made with another configuration or cohort.
    """
    saved: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    ours = to_json_object(config)
    differing = [key for key in ours if saved["config"].get(key) != ours[key]]
    if differing:
        raise ConfigError(
            f"{path.name} was made with another configuration: {', '.join(differing)}"
        )
    try:
        state.load_state_dict(saved["state"])
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{path.name} does not belong to this cohort: {error}") from error


def _read_tables(
    cohort: Path,
    config: TrainingConfig,
    progress: ProgressReporter,
    cancel: CancelToken,
    began: float,
) -> list[VoxelTable]:
    def on_subject(index: int, total: int, message: str) -> None:
        cancel.check()
        seconds = time.monotonic() - began
        progress.report(ProgressEvent("read", index, total, seconds, message=message or None))

    return read_cohort(cohort, config.decoder.region, on_subject)


def _append_log(path: Path, figures: dict[str, float]) -> None:
    is_new = not path.exists()
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, LOG_COLUMNS, restval="", extrasaction="ignore")
            if is_new:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" for k, v in figures.items()})
    except OSError as error:
        raise OutputError(f"cannot write the log {path}: {error.strerror}") from error


def _provenance(cohort: Path, n_training: int, n_validation: int, began: float) -> dict[str, Any]:
    return {
        "cohort": cohort.name,
        "n_training_subjects": n_training,
        "n_validation_subjects": n_validation,
        "seconds": round(time.monotonic() - began, 1),
        "n_processes": world_size(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
