"""`PhantomTruth`: everything that is known of a simulated study.

It is a `geometry.field.HeartField`, so whatever measures a fitted heart measures this one too.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from NISFCore.config import from_json_object, to_json_object
from NISFCore.errors import ResultError
from NISFCore.files import write_text_atomically
from NISFCore.geometry.field import FieldSamples, HeartBox
from NISFCore.geometry.rigid import invert_rigid, rigid_about
from NISFCore.geometry.spaces import Affine, Points, apply_affine, apply_direction
from NISFCore.labels import N_LABELS
from NISFCore.phantom.heart import BeatingHeart
from NISFCore.phantom.parameters import HeartParameters
from NISFCore.phantom.protocol import AcquisitionProtocol
from NISFCore.phantom.tag_pattern import TagPattern

SCHEMA_VERSION = 1
TRUTH_FILE = "truth.json"


@dataclass(frozen=True)
class SliceTruth:
    """What happened while one slice was imaged.

    The pixel at nominal `x_ras` shows the heart at `corrected_from_scanned_ras @ x_ras`, the
    rigid motion (`rotvec_rad`, `translation_mm`) about the slice's own centre: exactly what a fit
    should find. `intensity_scale` multiplies the signal.
    """

    name: str
    centre_ras: tuple[float, float, float]
    rotvec_rad: tuple[float, float, float]
    translation_mm: tuple[float, float, float]
    intensity_scale: float

    @property
    def corrected_from_scanned_ras(self) -> Affine:
        """The motion as a 4x4 matrix in RAS."""
        return rigid_about(self.centre_ras, self.rotvec_rad, self.translation_mm)


@dataclass(frozen=True)
class PhantomVolumes:
    """Figures of merit of the heart, exact (LV) or by fine quadrature (RV)."""

    edv_ml: float
    esv_ml: float
    ef_percent: float
    mass_g: float
    rv_edv_ml: float
    rv_esv_ml: float
    rv_ef_percent: float


@dataclass(frozen=True)
class PhantomTruth:
    """The truth of one simulated study.

    Attributes:
        parameters: of the heart.
        ras_from_heart: rigid `(4, 4)`, rows as tuples; heart coordinates are canonical space.
        slices: in the order of the study's slices.
        volumes: of the heart.
        protocol: of the scanner.
        seed: that the study was made from.
        tags: laid down before imaging; None for a cine.
    """

    parameters: HeartParameters
    ras_from_heart_rows: tuple[tuple[float, ...], ...]
    slices: tuple[SliceTruth, ...]
    volumes: PhantomVolumes
    protocol: AcquisitionProtocol
    seed: int
    tags: TagPattern | None = None

    @cached_property
    def heart(self) -> BeatingHeart:
        return BeatingHeart(self.parameters)

    @cached_property
    def ras_from_heart(self) -> Affine:
        return np.array(self.ras_from_heart_rows, dtype=np.float64)

    @cached_property
    def heart_from_ras(self) -> Affine:
        return invert_rigid(self.ras_from_heart)

    @property
    def box(self) -> HeartBox:
        low, high = self.heart.box_mm()
        return HeartBox(self.ras_from_heart, low, high)

    def slice_truth(self, name: str) -> SliceTruth:
        """The truth of the slice of this name.

        Raises:
            ResultError: if there is none.
        """
        for entry in self.slices:
            if entry.name == name:
                return entry
        have = ", ".join(s.name for s in self.slices)
        raise ResultError(f"the truth has no slice {name!r}; it has {have}")

    def true_from_scanned_ras(self, name: str) -> Affine:
        """Rigid map of the slice of this name, from where its header says to where it was.

        Raises:
            ResultError: if there is none.
        """
        return self.slice_truth(name).corrected_from_scanned_ras

    def evaluate(self, points_ras: Points, cycle_fraction: float) -> FieldSamples:
        """Intensity and labels (as probabilities 0 or 1) at `points_ras` `(n, 3)`."""
        points = self._heart_points(points_ras, torch.float32)
        intensity, labels = self.heart.evaluate_heart(points, cycle_fraction)
        one_hot = np.eye(N_LABELS, dtype=np.float32)[labels.numpy()]
        return FieldSamples(intensity.numpy(), one_hot)

    def labels(self, points_ras: Points, cycle_fraction: float) -> np.ndarray:
        """Labels `(n,)` uint8 at `points_ras` `(n, 3)`: cheaper than `evaluate`."""
        return self.heart.labels(
            self._heart_points(points_ras, torch.float32), cycle_fraction
        ).numpy()

    def displacement(self, points_ras: Points, cycle_fraction: float) -> Points:
        """Movement in mm (RAS) since ED of the tissue that is at `points_ras` `(n, 3)` at ED."""
        points = self._heart_points(points_ras, torch.float64)
        moved = self.heart.displacement(points, cycle_fraction).numpy()
        return apply_direction(self.ras_from_heart, moved)

    def _heart_points(self, points_ras: Points, dtype: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(apply_affine(self.heart_from_ras, points_ras)).to(dtype)

    def save(self, folder: Path) -> Path:
        """Write `truth.json` into `folder` (made if absent), atomically; returns its path.

        Raises:
            OutputError: if it cannot be written.
        """
        path = folder / TRUTH_FILE
        content = {"schema_version": SCHEMA_VERSION, **to_json_object(self)}
        write_text_atomically(path, json.dumps(content, indent=1) + "\n")
        return path

    @staticmethod
    def load(folder: Path) -> "PhantomTruth":
        """Read what `save` wrote; `folder` may also be the file itself.

        Raises:
            ResultError: if it is missing, unreadable or of another version.
        """
        path = folder / TRUTH_FILE if folder.is_dir() else folder
        values = _read_json(path)
        version = values.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise ResultError(
                f"{path.name}: schema version {version}, this software reads {SCHEMA_VERSION}; "
                "simulate the study again"
            )
        return from_json_object(PhantomTruth, values)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"cannot read {path.name}: {error.strerror}") from error
    except ValueError as error:
        raise ResultError(f"{path.name} is not a JSON file: {error}") from error
    if not isinstance(values, dict):
        raise ResultError(f"{path.name}: expected a JSON object")
    return values
