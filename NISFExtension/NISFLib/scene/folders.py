"""The folders that `nisf` wrote, as far as the scene needs them. JSON and paths; no MRML here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from NISFCore.labels import LABEL_INFO, Label
from NISFCore.views import View
from NISFLib.scene.nodes import SceneError

SLICES_FILE, SLICES_VERSION = "slices.json", 1
MANIFEST_FILE, MANIFEST_VERSION = "manifest.json", 1
COPLANAR_MM = 1e-3
"""Two descriptions of one slice's plane differ by less than this."""


@dataclass(frozen=True)
class ScannedSlice:
    """A slice of `slices.json`, as `NISFCore.export.scanned_slices` writes it.

    Attributes:
        path: its `.seq.nrrd`.
        shape: (n_phases, rows, cols).
        ras_from_ijk: `(4, 4)`, see docs/conventions.md.
    """

    name: str
    view: View
    path: Path
    shape: tuple[int, int, int]
    ras_from_ijk: npt.NDArray[np.float64]
    cycle_fractions: npt.NDArray[np.float64]
    is_included: bool = True

    @property
    def n_phases(self) -> int:
        return self.shape[0]

    def is_in_plane_of(self, other: "ScannedSlice") -> bool:
        """Whether both are images of the same plane with the same pixel axes (one may be a part
        of the other)."""
        A, B = self.ras_from_ijk, other.ras_from_ijk
        if np.abs(A[:3, :3] - B[:3, :3]).max() > COPLANAR_MM:
            return False
        normal = A[:3, 2] / np.linalg.norm(A[:3, 2])
        return bool(abs(normal @ (B[:3, 3] - A[:3, 3])) < COPLANAR_MM)


@dataclass(frozen=True)
class SliceFolder:
    """A folder with `slices.json`."""

    subject: str
    warnings: tuple[str, ...]
    slices: tuple[ScannedSlice, ...]

    @classmethod
    def read(cls, folder: Path) -> "SliceFolder":
        """Read `slices.json`; excluded slices are left out.

        Raises:
            SceneError: if it is missing, damaged, of another version, or holds no slice.
        """
        values = read_json(folder / SLICES_FILE)
        try:
            check_version(folder / SLICES_FILE, values, "slices_version", SLICES_VERSION)
            found = tuple(_scanned_slice(folder, record) for record in values["slices"])
            slices = tuple(s for s in found if s.is_included)
            result = cls(values["subject"], tuple(values["warnings"]), slices)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(folder / SLICES_FILE, error) from error
        if not result.slices:
            raise SceneError(f"{folder} holds no slice that is included")
        return result


@dataclass(frozen=True)
class ResultFolder:
    """A folder that `nisf export` wrote.

    Attributes:
        phases: indices of the exported phases in the heart's cycle.
        cycle_fractions: `(n_phases,)` of the exported phases.
        ed_phase, es_phase: among the exported phases; None where it was not exported.
        ras_from_ijk, shape_kji: grid of the volumes.
        motions: records of `slices/motion.json`, by slice.
        volumes: rows of the volume-time curve over the whole cycle.
        figures: EDV and so on, by key.
        figure_errors: their standard errors, as far as the fit gives them.
        profiles: content of `profiles.json`; None for a quick rendering, which has none.
    """

    folder: Path
    phases: tuple[int, ...]
    cycle_fractions: npt.NDArray[np.float64]
    ed_phase: int | None
    es_phase: int | None
    ras_from_ijk: npt.NDArray[np.float64]
    shape_kji: tuple[int, int, int]
    motions: Mapping[str, Mapping[str, Any]]
    volumes: tuple[Mapping[str, float], ...]
    figures: Mapping[str, float]
    figure_errors: Mapping[str, float]
    profiles: Mapping[str, Any] | None

    @classmethod
    def read(cls, folder: Path) -> "ResultFolder":
        """Read everything but images and surfaces.

        Raises:
            SceneError: if it is no export folder, or lacks slices or tables.
        """
        manifest = read_json(folder / MANIFEST_FILE)
        try:
            check_version(folder / MANIFEST_FILE, manifest, "manifest_version", MANIFEST_VERSION)
            return cls._of(folder, manifest)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(folder, error) from error

    @classmethod
    def _of(cls, folder: Path, manifest: Mapping[str, Any]) -> "ResultFolder":
        phases = tuple(int(k) for k in manifest["phases"])
        where = {phase: k for k, phase in enumerate(phases)}
        motions = read_json(folder / "slices" / "motion.json")["slices"]
        function = read_json(folder / "function.json")
        n_k, n_j, n_i = manifest["shape_kji"]
        profiles = folder / "profiles.json"
        return cls(
            folder=folder,
            phases=phases,
            cycle_fractions=np.array(manifest["cycle_fractions"], dtype=np.float64),
            ed_phase=where.get(manifest["ed_phase"]),
            es_phase=where.get(manifest["es_phase"]),
            ras_from_ijk=np.array(manifest["ras_from_ijk"], dtype=np.float64),
            shape_kji=(n_k, n_j, n_i),
            motions={record["name"]: record for record in motions},
            volumes=_csv_rows(folder / "volumes.csv"),
            figures=_numbers(function),
            figure_errors=_numbers(function.get("standard_errors", {})),
            profiles=read_json(profiles) if profiles.is_file() else None,
        )

    @property
    def intensity_path(self) -> Path:
        return self.folder / "sequences" / "intensity.seq.nrrd"

    @property
    def label_path(self) -> Path:
        return self.folder / "sequences" / "labels.seq.nrrd"

    def surface_path(self, label: Label, k: int) -> Path:
        """The surface of a label in the k-th exported phase."""
        name = f"{LABEL_INFO[label].key}_{self.phases[k]:03d}.vtp"
        return self.folder / "surfaces" / name

    @property
    def has_surfaces(self) -> bool:
        return self.surface_path(Label.LV_BLOOD_POOL, 0).is_file()


def read_json(path: Path) -> Any:
    """Read a JSON object.

    Raises:
        SceneError: if it is missing or no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SceneError(
            f"{path.parent} has no {path.name}: it is no folder for the scene, or not whole"
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(values, dict):
        raise SceneError(f"{path} is damaged: it holds no JSON object")
    return values


def check_version(path: Path, values: Mapping[str, Any], key: str, known: int) -> None:
    """Refuse files of another version.

    Raises:
        SceneError: if `values[key]` is not `known`.
    """
    if values.get(key) != known:
        raise SceneError(f"{path}: {key} is {values.get(key)}, this extension reads {known}")


def _damaged(path: Path, error: Exception) -> SceneError:
    problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return SceneError(f"{path} is damaged: {problem}")


def _scanned_slice(folder: Path, record: Mapping[str, Any]) -> ScannedSlice:
    n_phases, rows, cols = record["shape"]
    return ScannedSlice(
        name=record["name"],
        view=View(record["view"]),
        path=folder / record["file"],
        shape=(n_phases, rows, cols),
        ras_from_ijk=np.array(record["ras_from_ijk"], dtype=np.float64),
        cycle_fractions=np.array(record["cycle_fractions"], dtype=np.float64),
        is_included=bool(record["included"]),
    )


def _csv_rows(path: Path) -> tuple[Mapping[str, float], ...]:
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SceneError(f"{path} is missing or damaged; export the result again") from error
    names = head.split(",")
    return tuple(
        dict(zip(names, map(float, line.split(",")), strict=True)) for line in lines if line
    )


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The figures among the values: all numbers but indices of phases."""
    return {key: value for key, value in values.items() if isinstance(value, float)}
