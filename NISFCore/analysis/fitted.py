"""What analysis and export need to know of a fitted study, and of the truth it is compared with.

Both are structural: `FitResult` and the phantom's truth satisfy them, and so do small analytic
hearts in tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from NISFCore.analysis.rendering import POINTS_PER_CHUNK, inside_box
from NISFCore.data.study import CineStudy
from NISFCore.fitting.quality import QualityReport
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.spaces import Affine, Points
from NISFCore.progress import CancelToken


class HistoryStep(Protocol):
    """One step of a fit."""

    @property
    def stage(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def psnr_db(self) -> float: ...
    @property
    def seconds(self) -> float: ...


class FittedField(HeartField, Protocol):
    """A heart that was fitted inside a region smaller than its box."""

    def contains(self, points_ras: Points) -> npt.NDArray[np.bool_]:
        """True for the points `(..., 3)` inside the fitted region, `(...)`."""
        ...


class MotionUncertainty(Protocol):
    """Standard errors of slice motions."""

    @property
    def translation_sd_mm(self) -> npt.NDArray[np.float64]:
        """Along R, A, S, `(n_slices, 3)`."""
        ...

    @property
    def rotation_sd_deg(self) -> npt.NDArray[np.float64]:
        """About R, A, S, `(n_slices, 3)`."""
        ...


class FittedStudy(Protocol):
    """A study and the heart, slice motions and scales that were fitted to it."""

    @property
    def study(self) -> CineStudy:
        """The study as scanned."""
        ...

    @property
    def field(self) -> FittedField:
        """The fitted heart, in scanner space after alignment."""
        ...

    @property
    def slice_motions(self) -> Sequence[Affine]:
        """corrected_from_scanned of every slice, rigid in RAS, in study order."""
        ...

    @property
    def intensity_scale(self) -> npt.NDArray[np.float64]:
        """`(n_slices,)`, as part of `image_gain`."""
        ...

    def image_gain(self, index: int) -> npt.NDArray[np.float32]:
        """`(rows, cols)` of a slice: normalised frame = gain × intensity of the field."""
        ...

    @property
    def intensity_reference(self) -> npt.NDArray[np.float64]:
        """`(n_slices,)`: the image intensity that stands for 1."""
        ...

    @property
    def uncertainty(self) -> MotionUncertainty | None:
        """None if the fit does not tell."""
        ...

    def volume_covariance_ml2(
        self, cycle_fractions: Sequence[float]
    ) -> npt.NDArray[np.float64] | None:
        """Covariance of all labels' volumes at some times, `(n_times, 4, n_times, 4)`; None if
        the fit does not tell."""
        ...

    def label_confidence(
        self, points_ras: Points, cycle_fraction: float
    ) -> npt.NDArray[np.float32] | None:
        """Probability `(n,)` of the most probable label at points `(n, 3)` of the fitted region;
        None if the fit does not tell."""
        ...

    @property
    def history(self) -> Sequence[HistoryStep]:
        """The steps of the fit, in order."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """How the fit was run, as plain JSON types."""
        ...

    @property
    def quality(self) -> QualityReport | None:
        """What checks of the result found; None if none were made."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """Duration of every stage so far (read, fit, ...)."""
        ...


class HeartTruth(HeartField, Protocol):
    """A simulated heart, and where the simulated scanner really was when it took each slice."""

    def labels(self, points_ras: Points, cycle_fraction: float) -> npt.NDArray[np.uint8]:
        """Labels `(n,)` at points `(n, 3)`; cheaper than `evaluate`."""
        ...

    def true_from_scanned_ras(self, name: str) -> Affine:
        """Rigid map of the slice of this name, from where its header says to where it was."""
        ...


def true_labels(
    truth: HeartTruth,
    points_ras: Points,
    cycle_fraction: float,
    cancel: CancelToken | None = None,
) -> npt.NDArray[np.uint8]:
    """True labels `(n,)` at any number of points `(n, 3)`, in chunks; background outside the box.

    Raises:
        Cancelled: if the job was asked to stop.
    """
    labels = np.zeros(len(points_ras), dtype=np.uint8)
    for start in range(0, len(points_ras), POINTS_PER_CHUNK):
        if cancel is not None:
            cancel.check()
        chunk = points_ras[start : start + POINTS_PER_CHUNK]
        index = start + np.flatnonzero(inside_box(truth.box, chunk))
        if index.size:
            labels[index] = truth.labels(points_ras[index], cycle_fraction)
    return labels


def corrected_ras_from_ijk(fitted: FittedStudy, index: int) -> Affine:
    """Geometry of a slice where the fit found it to be."""
    return fitted.slice_motions[index] @ fitted.study.slices[index].ras_from_ijk


def normalised_frames(fitted: FittedStudy, index: int) -> npt.NDArray[np.float32]:
    """Frames `(n_phases, rows, cols)` of a slice as the fit saw them: clipped at the reference
    intensity and divided by it (paper section 3.1)."""
    reference = np.float32(fitted.intensity_reference[index])
    return np.clip(fitted.study.slices[index].frames / reference, 0, 1)


def n_cycle_phases(study: CineStudy) -> int:
    """Number of phases in which a study's heart is rendered: the median over its slices."""
    return int(np.median([cine.n_phases for cine in study.slices]))
