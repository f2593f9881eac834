"""Volumes over the cardiac cycle and the figures of ventricular function.

A label's volume is the number of grid voxels whose most probable label it is, times the voxel
volume. Each voxel is sampled at a random point inside it (see `rendering.slab_samples_ras`), so a
curve is more exact than counting an exported label map.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.lattice import LABELS_ONLY, SampledCycle, sample_cycle
from NISFCore.analysis.rendering import jittered_labels
from NISFCore.analysis.steps import Steps
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.grids import Grid
from NISFCore.labels import FOREGROUND, LABEL_INFO, N_LABELS, Label
from NISFCore.progress import CancelToken, ProgressReporter

MYOCARDIUM_DENSITY_G_PER_ML = 1.05


@dataclass(frozen=True)
class VolumeCurve:
    """Volume-time curves of all labels.

    Attributes:
        cycle_fractions: `(n_phases,)` in [0, 1).
        volumes_ml: `(n_phases, 4)`; the column of the background is zero.
    """

    cycle_fractions: npt.NDArray[np.float64]
    volumes_ml: npt.NDArray[np.float64]

    def of(self, label: Label) -> npt.NDArray[np.float64]:
        """`(n_phases,)` volume of one label in ml."""
        return self.volumes_ml[:, label]

    @property
    def ed_index(self) -> int:
        """End-diastole: the phase with the largest LV blood pool."""
        return int(np.argmax(self.of(Label.LV_BLOOD_POOL)))

    @property
    def es_index(self) -> int:
        """End-systole: the phase with the smallest LV blood pool."""
        return int(np.argmin(self.of(Label.LV_BLOOD_POOL)))

    def rows(self) -> list[dict[str, float]]:
        """One row per phase, ready for a CSV file."""
        return [
            {"phase": i, "cycle_fraction": float(t)}
            | {f"{LABEL_INFO[label].key}_ml": float(self.of(label)[i]) for label in FOREGROUND}
            for i, t in enumerate(self.cycle_fractions)
        ]


@dataclass(frozen=True)
class VentricularFunction:
    """The clinical figures. EF is 100 (EDV - ESV) / EDV; mass is that of the LV myocardium at ED.

    ED and ES are the LV's for the LV, and the RV's own largest and smallest volume for the RV,
    since the two ventricles do not reach them at quite the same time.
    """

    edv_ml: float
    esv_ml: float
    sv_ml: float
    ef_percent: float
    mass_g: float
    rv_edv_ml: float
    rv_esv_ml: float
    rv_sv_ml: float
    rv_ef_percent: float

    @classmethod
    def from_curve(cls, curve: VolumeCurve) -> "VentricularFunction":
        """The figures of a volume-time curve."""
        lv, rv = curve.of(Label.LV_BLOOD_POOL), curve.of(Label.RV_BLOOD_POOL)
        mass_g = MYOCARDIUM_DENSITY_G_PER_ML * curve.of(Label.LV_MYOCARDIUM)[curve.ed_index]
        return cls(*_stroke(lv), float(mass_g), *_stroke(rv))

    def to_dict(self) -> dict[str, float]:
        """Figure name → value, ready for JSON."""
        return asdict(self)


def _stroke(volume_ml: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """EDV, ESV, SV (ml) and EF (%) of one ventricle; EF is 0 for a ventricle without volume."""
    edv, esv = float(volume_ml.max()), float(volume_ml.min())
    return edv, esv, edv - esv, 100 * (edv - esv) / edv if edv > 0 else 0.0


def label_volumes_ml(labels: npt.NDArray[np.uint8], grid: Grid) -> npt.NDArray[np.float64]:
    """Volume of every label `(4,)` in a label map on `grid`; zero for the background."""
    counts = np.bincount(labels.ravel(), minlength=N_LABELS).astype(np.float64)
    counts[Label.BACKGROUND] = 0
    return counts * grid.voxel_volume_ml


def volume_curve(
    field: HeartField,
    grid: Grid,
    cycle_fractions: Sequence[float] | npt.NDArray[np.float64],
    progress: ProgressReporter | None = None,
    cancel: CancelToken | None = None,
) -> VolumeCurve:
    """Volume-time curves of a heart on a grid, at ascending times in [0, 1).

    Raises:
        Cancelled: if the job was asked to stop.
    """
    t = np.asarray(cycle_fractions, dtype=np.float64)
    steps = Steps("volume curve", 2 * len(t), progress, cancel)
    return volume_curve_of(sample_cycle(field, grid, t, LABELS_ONLY, steps), grid, steps)


def volume_curve_of(cycle: SampledCycle, grid: Grid, steps: Steps) -> VolumeCurve:
    """The same of a heart that is sampled already, with one step per phase.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    volumes = []
    for index in range(len(cycle.cycle_fractions)):
        steps.tick()
        labels = jittered_labels(cycle, index, grid, steps.cancel)
        volumes.append(label_volumes_ml(labels, grid))
    return VolumeCurve(cycle.cycle_fractions, np.stack(volumes))
