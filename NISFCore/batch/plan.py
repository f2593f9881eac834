"""What a batch does: its subjects, its settings, and where it keeps them.

    OUT_ROOT/batch.json               settings, and which subject stands for which input
             summary.csv, .json       one row per subject
             subject_0001/result/     as `nisf fit` (and `nisf motion fit`) writes it
                          export/     as `nisf export` writes it

Names of input folders may be names of patients: subjects are numbered, and `batch.json` knows
inputs again by a salted digest of their names. A user whose names identify nobody can keep them.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from NISFCore.config import from_json_object, to_json_object
from NISFCore.data.retelling import retold
from NISFCore.data.ukb_zips import is_field_folder, is_ukb_study, is_ukb_zip, ukb_zips
from NISFCore.errors import CohortError, ConfigError, OutputError
from NISFCore.export.settings import ExportFormat, ExportSettings
from NISFCore.files import write_text_atomically
from NISFCore.fitting import config as fit_configs
from NISFCore.fitting.config import FitConfig
from NISFCore.training.cohort import study_folder
from NISFCore.views import CARDIAC_VIEWS, View

BATCH_FILE = "batch.json"
LOCK_FILE = "batch.lock"
"""Held while a batch runs: two at once would take each other's half-written results away."""
BATCH_VERSION = 1


@dataclass(frozen=True)
class BatchSettings:
    """How every subject is treated.

    Attributes:
        prior: a prior file; None is the bundled one.
        views: the views to use.
        motion: whether the motion of the LV wall is estimated as well, from tagged series where a
            subject has any.
        formats: what is exported of every subject; empty for nothing.
        spacing_mm, phases: see `ExportSettings`.
        n_workers: subjects at once, each in a process of its own.
        keep_names: call subjects as their input folders are called, instead of numbering them.
    """

    prior: Path | None = None
    config: FitConfig = fit_configs.DEFAULT
    device: str = "auto"
    views: tuple[View, ...] = CARDIAC_VIEWS
    motion: bool = False
    formats: tuple[ExportFormat, ...] = (ExportFormat.TABLES,)
    spacing_mm: float = ExportSettings.spacing_mm
    phases: str = ExportSettings.phases
    n_workers: int = 1
    keep_names: bool = False

    def __post_init__(self) -> None:
        if self.n_workers < 1:
            raise ConfigError(f"workers: got {self.n_workers}, allowed: 1 or more")
        if self.formats:
            self.export  # noqa: B018 - refuses a wrong spacing or phase before anything runs

    @property
    def export(self) -> ExportSettings:
        """Settings of every subject's export."""
        return ExportSettings(self.spacing_mm, self.phases, self.formats, overwrite=True)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that results depend on, as plain JSON: results of different ones are not mixed."""
        values = to_json_object(replace(self, prior=None))
        for name in ("device", "n_workers"):
            del values[name]
        digest = None if self.prior is None else hashlib.sha256(self.prior.read_bytes()).hexdigest()
        return values | {"prior": digest}


@dataclass(frozen=True)
class Subject:
    """One subject of a batch.

    Attributes:
        name: as it is called in all that comes out.
        study: folder or zip of its images.
        folder: where its results go.
        said: parts of the input's path that messages and results must not repeat.
    """

    name: str
    study: Path
    folder: Path
    said: tuple[str, ...] = ()

    def anonymous(self, message: str) -> str:
        """A message without the input's path and name."""
        return retold(message, self.said, self.name)


@dataclass(frozen=True)
class _StoredBatch:
    """The content of `batch.json`."""

    version: int
    settings: dict[str, Any]
    salt: str
    names: dict[str, str] = field(default_factory=dict)

    def digest(self, name: str) -> str:
        return hashlib.sha256(f"{self.salt}/{name}".encode()).hexdigest()[:16]


def check_batch(input_root: Path, out_root: Path, settings: BatchSettings) -> None:
    """Refuse what `plan_batch` refuses; nothing is written."""
    subject_inputs(input_root, out_root)
    _stored_batch(out_root, settings)


def plan_batch(input_root: Path, out_root: Path, settings: BatchSettings) -> list[Subject]:
    """The subjects of a batch, in order; `batch.json` is written.

    Raises:
        CohortError: if there is no subject.
        ConfigError: if `out_root` holds a batch of other settings.
        OutputError: if `out_root` cannot be written, or holds something else.
    """
    inputs = subject_inputs(input_root, out_root)
    stored = _stored_batch(out_root, settings)
    stored = replace(stored, names=_names(inputs, stored, settings))
    write_text_atomically(out_root / BATCH_FILE, json.dumps(to_json_object(stored), indent=2))
    return [
        _subject(path, out_root, stored.names[stored.digest(path.name)], settings)
        for path in inputs
    ]


def subject_inputs(input_root: Path, out_root: Path) -> list[Path]:
    """Folders and zips of subjects, in order of name; never the batch's own output. Of the two zips
    of a UK Biobank examination one, with which the other is read.

    Raises:
        CohortError: if there is none.
    """
    if not input_root.is_dir():
        raise CohortError(
            f"no folder {input_root}; give a folder that holds one folder (or zip) per subject"
        )
    found = [p for p in sorted(input_root.iterdir()) if _is_subject(p)]
    found = _joined([p for p in found if p.resolve() != out_root.resolve()])
    if not found:
        raise CohortError(
            f"{input_root} holds no subjects; a batch takes a folder with one folder (or zip) per "
            "subject. For one study use `nisf fit`"
        )
    return found


def _is_subject(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    try:
        if path.is_dir():
            return not (path / BATCH_FILE).exists() and any(path.iterdir())
    except OSError:  # cannot be opened: it fails alone
        return True
    return path.suffix.lower() == ".zip"


def _joined(found: list[Path]) -> list[Path]:
    """One path for the two zips of a UK Biobank examination, which lie beside each other or in a
    folder for each field."""
    zips = [p for p in found if is_ukb_zip(p)]
    folders = [p for p in found if is_field_folder(p) and is_ukb_study(p) and p.is_dir()]
    parts = {*zips, *folders}
    zips += [p for folder in folders for p in folder.iterdir() if is_ukb_zip(p)]
    joined = [examination.path for examination in ukb_zips(zips)]
    return sorted([*(p for p in found if p not in parts), *joined], key=lambda p: p.name)


def _names(inputs: list[Path], stored: _StoredBatch, settings: BatchSettings) -> dict[str, str]:
    """The names by digest, new ones after those that are taken."""
    names = dict(stored.names)
    taken = [] if settings.keep_names else [int(n.rpartition("_")[2]) for n in names.values()]
    numbers = count(max(taken, default=0) + 1)
    for path in inputs:
        digest = stored.digest(path.name)
        if digest not in names:
            names[digest] = path.name if settings.keep_names else f"subject_{next(numbers):04d}"
    return names


def _subject(path: Path, out_root: Path, name: str, settings: BatchSettings) -> Subject:
    study = study_folder(path) if path.is_dir() else path
    said = () if settings.keep_names else (str(study), str(path), path.name, path.stem)
    return Subject(name, study, out_root / name, said)


def _stored_batch(out_root: Path, settings: BatchSettings) -> _StoredBatch:
    path = out_root / BATCH_FILE
    if not path.exists():
        _check_empty(out_root)
        return _StoredBatch(BATCH_VERSION, settings.fingerprint, secrets.token_hex(16))
    try:
        stored = from_json_object(_StoredBatch, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ConfigError) as error:
        raise OutputError(f"{path} is damaged; choose another output folder") from error
    if stored.version != BATCH_VERSION or stored.settings != settings.fingerprint:
        changed = sorted(
            name
            for name in {*stored.settings, *settings.fingerprint}
            if stored.settings.get(name) != settings.fingerprint.get(name)
        )
        raise ConfigError(
            f"{out_root} holds a batch made with other settings ({', '.join(changed) or 'version'})"
            "; use the same ones to go on with it, or choose another output folder"
        )
    return stored


def _check_empty(out_root: Path) -> None:
    try:
        is_folder = out_root.is_dir()
        holds_more = is_folder and any(p.name != LOCK_FILE for p in out_root.iterdir())
        if holds_more or (out_root.exists() and not is_folder):
            raise OutputError(
                f"{out_root} is not empty and no batch was made there; choose another folder"
            )
    except OSError as error:
        raise OutputError(f"cannot read {out_root}: {error.strerror or error}") from error
