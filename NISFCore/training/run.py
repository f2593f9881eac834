"""`train_prior`: a cohort folder in, a prior file out, with checkpoints and a CSV log beside it."""

import csv
import io
import platform
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from NISFCore.config import to_json_object
from NISFCore.errors import Cancelled, CohortError, ConfigError, OutputError
from NISFCore.files import check_new_file, write_bytes_atomically, write_text_atomically
from NISFCore.labels import LABEL_INFO
from NISFCore.model.device import resolve_device
from NISFCore.model.prior import Prior
from NISFCore.model.voxels import VoxelTable, concatenate
from NISFCore.progress import CancelToken, ProgressEvent, ProgressReporter, SilentProgress
from NISFCore.training.cohort import read_cohort
from NISFCore.training.config import TrainingConfig
from NISFCore.training.loop import TrainingState, new_state, train, trained_prior
from NISFCore.training.parallel import (
    any_process,
    gathered,
    launched_as_first,
    process_group,
    process_rank,
    world_size,
)

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
COUNTS = ("step", "n_processes")
PRIOR_SUFFIX = ".safetensors"


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

    def check(self, resume: bool, overwrite: bool) -> None:
        """Refuse early what would be refused, or lost, after a long training.

        Raises:
            ConfigError: if the prior has another suffix: it would share its other files.
            OutputError: if a checkpoint is there and not to be resumed, the prior is there and not
                to be replaced, or nothing can be written.
        """
        if self.prior.suffix != PRIOR_SUFFIX:
            raise ConfigError(f"out: got {self.prior.name!r}, must end with {PRIOR_SUFFIX}")
        if self.checkpoint.exists() and not resume:
            raise OutputError(f"{self.checkpoint} exists: resume it (--resume) or delete it")
        check_new_file(self.prior, overwrite or self.checkpoint.exists())


def train_prior(
    cohort: Path,
    out: Path,
    config: TrainingConfig,
    *,
    name: str | None = None,
    start: Prior | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> Prior:
    """Train a prior on all subjects of a cohort folder and write it to `out`.

    A killed training loses at most `config.checkpoint_every` steps: run it again with `resume`.

    Args:
        out: `<name>.safetensors`; checkpoint and log lie beside it.
        start: a prior to begin with, whose decoder takes the place of the configuration's.
        resume: go on from the checkpoint, if there is one.
        overwrite: whether a prior at `out` may be replaced.

    Raises:
        CohortError: if the cohort cannot be used.
        OutputError: see `TrainingFiles.check`.
        ConfigError: if the checkpoint was made with another configuration or cohort.
        Cancelled: after a last checkpoint.
    """
    progress = progress if progress and launched_as_first() else SilentProgress()
    cancel = cancel or CancelToken()
    if start is not None:
        config = replace(config, decoder=start.info.decoder)
    device = resolve_device(device)
    files = TrainingFiles(out)
    files.check(resume, overwrite)
    began = time.monotonic()
    tables = _read_tables(cohort, config, progress, cancel, began)
    training, validation = split_cohort(tables, config.n_validation_subjects)
    with process_group(device):
        table = concatenate(training).to(device)
        if start is None:
            check_all_labels(table)
        state = new_state(table, config, device, start)
        # decided together: a process that begins alone would wait for the others for ever
        if any_process(files.checkpoint.exists(), state.device):
            load_checkpoint(state, config, files.checkpoint, device)
        if process_rank() == 0:
            start_log(files.log, state.step)
        try:
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
        except Cancelled as error:
            raise Cancelled(f"{error}; its checkpoint is kept: continue with --resume") from error
        provenance = _provenance(cohort, len(training), len(validation), began)
        if start is not None:
            provenance["start"] = start.info.name
        prior = trained_prior(state, config, name or out.stem, provenance, start)
        if process_rank() == 0:
            prior.save(out)
            files.checkpoint.unlink(missing_ok=True)
    return prior


def check_all_labels(table: VoxelTable) -> None:
    """Refuse a cohort from which a label cannot be learned.

    Raises:
        CohortError: if nobody drew it.
    """
    missing = [info.name for label, info in LABEL_INFO.items() if not (table.labels == label).any()]
    if missing:
        raise CohortError(
            f"no subject has a labelled {' or '.join(missing)}: begin with a prior that knows it "
            "(--start bundled), or add subjects that have it"
        )


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
    """Write the state atomically; a call of all processes, the first one writes."""
    # each process draws its own voxels: with one generator for all, a resumed training would
    # average equal gradients
    generators = gathered(state.generator.get_state(), state.device)
    if process_rank() != 0:
        return
    content = {
        "config": to_json_object(config),
        "state": state.state_dict(),
        "generators": generators,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes_atomically(path, buffer.getvalue())


def load_checkpoint(state: TrainingState, config: TrainingConfig, path: Path, device: str) -> None:
    """Continue exactly where the checkpoint was written, on as many processes.

    Raises:
        ConfigError: if it is damaged, or was made with another configuration or cohort.
    """
    saved = _read_checkpoint(path, device)
    ours = to_json_object(config)
    differing = [key for key in ours if saved["config"].get(key) != ours[key]]
    if differing:
        raise ConfigError(
            f"{path.name} was made with another configuration: {', '.join(differing)}"
        )
    try:
        state.load_state_dict(saved["state"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ConfigError(f"{path.name} does not belong to this cohort: {error}") from error
    rank, generators = process_rank(), saved.get("generators", [])
    if rank < len(generators):
        state.generator.set_state(generators[rank].cpu())
    elif rank > 0:  # more processes than before
        state.generator.manual_seed(config.seed + 1 + rank + state.step)


def _read_checkpoint(path: Path, device: str) -> dict[str, Any]:
    """The checkpoint's content; only tensors and plain values are read, nothing is executed."""
    problem = "it is no checkpoint"
    if zipfile.is_zipfile(path):
        try:
            saved = torch.load(path, map_location=device, weights_only=True)
        except RuntimeError as error:
            problem = str(error).splitlines()[0]
        else:
            if isinstance(saved, dict) and {"config", "state"} <= set(saved):
                return saved
    raise ConfigError(f"{path.name} cannot be resumed, {problem}; delete it and train again")


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


def start_log(path: Path, n_steps_done: int) -> None:
    """Begin the CSV log; of a resumed training keep the steps before the checkpoint, because the
    later ones are done again.

    Raises:
        OutputError: if it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, LOG_COLUMNS, lineterminator="\n")
    writer.writeheader()
    if n_steps_done > 0 and path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            writer.writerows(row for row in csv.DictReader(file) if _is_done(row, n_steps_done))
    write_text_atomically(path, text.getvalue())


def _is_done(row: dict[str, str], n_steps_done: int) -> bool:
    """Whether a row of the log is whole and of a step before the checkpoint."""
    is_whole = set(row) == set(LOG_COLUMNS) and None not in row.values()
    return is_whole and row["step"].isdigit() and int(row["step"]) <= n_steps_done


def _append_log(path: Path, figures: dict[str, float]) -> None:
    row = {k: str(int(v)) if k in COUNTS else f"{v:.6g}" for k, v in figures.items()}
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, LOG_COLUMNS, restval="", extrasaction="ignore", lineterminator="\n"
            )
            writer.writerow(row)
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
