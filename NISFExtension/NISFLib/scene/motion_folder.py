"""The folder that `nisf motion fit` wrote, as far as the scene needs it (docs/motion.md, "Files").

Everything is read at once, so that a damaged file changes nothing in the scene. No MRML here.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import vtk

from NISFLib.scene.folders import check_version, read_json
from NISFLib.scene.nodes import SceneError

MOTION_FILE, MOTION_VERSION = "motion.json", 1
BULLSEYE_FILE = "bullseye.png"
N_SEGMENTS = 17
DISPLACEMENT_ARRAY = "displacement_mm"
AGAIN = "fit the motion again"

Row = Mapping[str, float]


class Strain(str, Enum):
    """A direction of strain in the LV wall; values are those of the files."""

    CIRCUMFERENTIAL = "circumferential"
    RADIAL = "radial"
    LONGITUDINAL = "longitudinal"

    @property
    def array(self) -> str:
        """The models' point array."""
        return f"{self.value}_strain"

    @property
    def whole(self) -> str:
        """The column of the whole wall's strain."""
        return f"g{self.value[0]}s_percent"


@dataclass(frozen=True)
class MotionFolder:
    """What was read.

    Attributes:
        warnings: what to know before trusting it.
        directions: those whose strain is known.
        cycle_fractions: `(n_times,)`.
        whole: rows of `strain.csv`, one per time; NaN where something is not known.
        peaks: rows of `segments.csv`, one per AHA segment.
        names: of the segments.
        segments: rows of `segment_curves.csv`, one per time and segment.
        walls: the wall's surface at each time, vtkPolyData in RAS.
        bullseye: the picture's bytes, PNG.
    """

    warnings: tuple[str, ...]
    directions: tuple[Strain, ...]
    cycle_fractions: npt.NDArray[np.float64]
    whole: tuple[Row, ...]
    peaks: tuple[Row, ...]
    names: tuple[str, ...]
    segments: tuple[Row, ...]
    walls: tuple[Any, ...]
    bullseye: bytes

    @classmethod
    def read(cls, folder: Path) -> "MotionFolder":
        """Read a motion folder.

        Raises:
            SceneError: if a file is missing, damaged, or of another version.
        """
        values = read_json(folder / MOTION_FILE)
        try:
            check_version(folder / MOTION_FILE, values, "schema_version", MOTION_VERSION)
            found = cls._of(folder, values)
        except (KeyError, TypeError, ValueError) as error:
            raise SceneError(f"{folder} is damaged: {error}; {AGAIN}") from error
        found._check(folder)
        return found

    @classmethod
    def _of(cls, folder: Path, values: Mapping[str, Any]) -> "MotionFolder":
        whole = _rows(folder / "strain.csv")
        peaks = _rows(folder / "segments.csv")
        has_longitudinal = bool(values["has_longitudinal"])
        paths = [folder / "models" / f"phase_{j:03d}.vtp" for j in range(len(whole))]
        return cls(
            warnings=tuple(str(flag["text"]) for flag in values["flags"]),
            directions=tuple(s for s in Strain if has_longitudinal or s is not Strain.LONGITUDINAL),
            cycle_fractions=np.array([float(row["cycle_fraction"]) for row in whole]),
            whole=tuple(_numbers(row) for row in whole),
            peaks=tuple(_numbers(row, "name") for row in peaks),
            names=tuple(row["name"] for row in peaks),
            segments=tuple(_numbers(row) for row in _rows(folder / "segment_curves.csv")),
            walls=tuple(read_wall(path) for path in paths),
            bullseye=_bytes(folder / BULLSEYE_FILE),
        )

    def _check(self, folder: Path) -> None:
        """The tables tell of the same times and segments, the models have the same vertices."""
        n_times = len(self.whole)
        is_whole = (
            n_times > 1
            and len(self.peaks) == N_SEGMENTS
            and len(self.segments) == n_times * N_SEGMENTS
            and len({wall.GetNumberOfPoints() for wall in self.walls}) == 1
        )
        if not is_whole:
            raise SceneError(f"{folder} is damaged: its files do not belong together; {AGAIN}")

    def peak(self, direction: Strain) -> float:
        """The whole wall's strain farthest from 0, in percent; NaN if it is not known."""
        values = [row[direction.whole] for row in self.whole]
        known = [value for value in values if not math.isnan(value)]
        return max(known, key=abs, default=math.nan)

    def segment_curve(self, segment: int, direction: Strain) -> list[float]:
        """The strain of an AHA segment (from 1) at each time, in percent."""
        key = f"{direction.value}_percent"
        return [row[key] for row in self.segments if row["segment"] == segment]


def read_wall(path: Path) -> Any:
    """Read a model of the wall as vtkPolyData in RAS, as it is in the file.

    Raises:
        SceneError: if it is missing, damaged, in another space, or lacks an array.
    """
    reader = vtk.vtkXMLPolyDataReader()
    reader.ReadFromInputStringOn()  # read by Python: paths of any script work on every platform
    reader.SetInputString(_bytes(path).decode("utf-8", errors="replace"))
    reader.Update()
    wall = vtk.vtkPolyData()
    wall.ShallowCopy(reader.GetOutput())
    space = wall.GetFieldData().GetAbstractArray("SPACE")
    if wall.GetNumberOfPoints() == 0 or space is None or space.GetValue(0) != "RAS":
        raise SceneError(f"{path} is damaged or no surface in RAS; {AGAIN}")
    needed = [DISPLACEMENT_ARRAY, *(direction.array for direction in Strain)]
    missing = [name for name in needed if not wall.GetPointData().HasArray(name)]
    if missing:
        raise SceneError(f"{path} has no {', '.join(missing)}; {AGAIN}")
    return wall


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(_bytes(path).decode("utf-8").splitlines()))


def _numbers(row: Mapping[str, str], *texts: str) -> Row:
    """The numbers of a row; what is empty is not known."""
    items = [(key, text) for key, text in row.items() if key not in texts]
    return {key: float(text) if text else math.nan for key, text in items}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SceneError(f"{path.name} is missing in {path.parent}; {AGAIN}") from error
