"""`CineSlice` and `CineStudy`: what every other layer knows of a cardiac MR study.

Shapes: frames `(n_phases, rows, cols)`. `ras_from_ijk` maps (column, row, 0) to RAS mm; its third
column is the unit normal times `thickness_mm`. Both classes are valid once constructed.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from NISFCore.data.label_sets import possible_labels
from NISFCore.errors import StudyError
from NISFCore.geometry.planes import centre_ras, normal_ras
from NISFCore.geometry.spaces import Affine, Points, apply_affine
from NISFCore.labels import EITHER, N_LABELS, UNKNOWN
from NISFCore.views import View

MAX_ABS_POSITION_MM = 5000.0
MIN_FRAME_PIXELS = 8
"""Rows and columns that a frame has at least."""


@dataclass(frozen=True)
class Provenance:
    """Where a slice came from. Never holds a patient's name, ID or dates.

    Attributes:
        source: file, or folder and series, relative to the input.
        series: series number or file stem, as the user knows it.
        notes: what was assumed or repaired while reading.
    """

    source: str = ""
    series: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SliceLabels:
    """Reference labels of a slice, for training and evaluation only.

    Attributes:
        values: `(n_phases, rows, cols)` uint8, see `NISFCore.labels`; `UNKNOWN` says nothing,
            and sets of labels (`either`) a part.
        annotated: `(n_phases,)` bool; phases that are False carry no information.
    """

    values: npt.NDArray[np.uint8]
    annotated: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TagLines:
    """One family of parallel tag lines, as laid down in the tissue at ED.

    Attributes:
        normal_ras: unit vector across the lines, in the slice's plane (either sign).
        spacing_mm: distance of neighbouring lines.
    """

    normal_ras: tuple[float, float, float]
    spacing_mm: float


@dataclass(frozen=True)
class CineSlice:
    """One plane, imaged over the cardiac cycle in one breath-hold.

    Attributes:
        name: unique within its study, e.g. "SA_03" or "LA_4CH".
        view: kind of plane.
        frames: `(n_phases, rows, cols)` float32 intensities, finite.
        ras_from_ijk: `(4, 4)`, see the module.
        thickness_mm: slice thickness (never the distance between slices).
        trigger_times_ms: `(n_phases,)`, increasing, time since the R wave.
        rr_interval_ms: duration of this slice's cardiac cycle.
        labels: reference labels, where there are any.
        provenance: where the slice came from.
        tags: what tags the slice shows: none (a plain cine), one family of lines, two for a grid.
    """

    name: str
    view: View
    frames: npt.NDArray[np.float32]
    ras_from_ijk: Affine
    thickness_mm: float
    trigger_times_ms: npt.NDArray[np.float64]
    rr_interval_ms: float
    labels: SliceLabels | None = None
    provenance: Provenance = field(default_factory=Provenance)
    tags: tuple[TagLines, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise StudyError("CineSlice.name: empty; every slice needs a name")
        self._check_frames()
        self._check_geometry()
        self._check_timing()
        if self.labels is not None:
            self._check_labels(self.labels)

    @property
    def n_phases(self) -> int:
        return int(self.frames.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return int(self.frames.shape[1]), int(self.frames.shape[2])

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """In-plane pixel size along i (columns) and j (rows)."""
        i, j = np.linalg.norm(self.ras_from_ijk[:3, :2], axis=0)
        return float(i), float(j)

    @property
    def centre_ras(self) -> Points:
        return centre_ras(self.ras_from_ijk, self.shape)

    @property
    def normal_ras(self) -> Points:
        return normal_ras(self.ras_from_ijk)

    @property
    def cycle_fractions(self) -> npt.NDArray[np.float64]:
        """`(n_phases,)` in [0, 1): trigger time over this slice's own RR interval."""
        return np.mod(self.trigger_times_ms / self.rr_interval_ms, 1.0)

    def renamed(self, name: str, view: View | None = None) -> "CineSlice":
        """A copy under another name (and view)."""
        return replace(self, name=name, view=self.view if view is None else view)

    def cropped(self, first: tuple[int, int], shape: tuple[int, int]) -> "CineSlice":
        """The part of `shape` (rows, cols) that begins at pixel `first` (row, column)."""
        (row, column), (rows, cols) = first, shape
        window = (slice(None), slice(row, row + rows), slice(column, column + cols))
        ras_from_ijk = self.ras_from_ijk.copy()
        ras_from_ijk[:3, 3] = apply_affine(self.ras_from_ijk, [column, row, 0])
        labels = self.labels
        if labels is not None:
            labels = SliceLabels(np.ascontiguousarray(labels.values[window]), labels.annotated)
        frames = np.ascontiguousarray(self.frames[window])
        return replace(self, frames=frames, ras_from_ijk=ras_from_ijk, labels=labels)

    def window_of(self, part: "CineSlice") -> tuple[slice, slice]:
        """Rows and columns of this slice that `part`, which was `cropped` from it, shows."""
        first = np.linalg.solve(self.ras_from_ijk, part.ras_from_ijk[:, 3])
        column, row = (round(float(v)) for v in first[:2])
        return slice(row, row + part.shape[0]), slice(column, column + part.shape[1])

    def _fail(self, name: str, text: str) -> StudyError:
        return StudyError(f"slice {self.name!r}, {name}: {text}")

    def _check_frames(self) -> None:
        f = self.frames
        if f.ndim != 3 or min(f.shape) < 1:
            raise self._fail("frames", f"got shape {f.shape}, expected (n_phases, rows, cols)")
        if min(f.shape[1:]) < MIN_FRAME_PIXELS:
            n = MIN_FRAME_PIXELS
            raise self._fail(
                "frames", f"got {f.shape[1]} x {f.shape[2]} pixels, need at least {n} x {n}"
            )
        if f.dtype != np.float32:
            raise self._fail("frames", f"got {f.dtype}, expected float32")
        if not np.isfinite(f).all():
            raise self._fail("frames", "contain NaN or infinite values")

    def _check_geometry(self) -> None:
        A = self.ras_from_ijk
        if A.shape != (4, 4) or A.dtype != np.float64 or not np.isfinite(A).all():
            raise self._fail("ras_from_ijk", "expected a finite 4 x 4 float64 matrix")
        if not np.array_equal(A[3], [0, 0, 0, 1]):
            raise self._fail("ras_from_ijk", f"bottom row is {A[3]}, expected 0 0 0 1")
        lengths = np.linalg.norm(A[:3, :3], axis=0)
        if not ((lengths[:2] > 0.05) & (lengths[:2] < 20)).all():
            raise self._fail("spacing_mm", f"got {lengths[:2]}, allowed: 0.05 to 20 mm")
        if not 0.1 < self.thickness_mm < 50:
            raise self._fail("thickness_mm", f"got {self.thickness_mm}, allowed: 0.1 to 50 mm")
        D = A[:3, :3] / lengths
        if not np.allclose(D.T @ D, np.eye(3), atol=1e-3):
            raise self._fail("ras_from_ijk", "its axes are not perpendicular to each other")
        if not np.isclose(lengths[2], self.thickness_mm, rtol=1e-3):
            raise self._fail(
                "ras_from_ijk", f"third column is {lengths[2]:.3f} mm long, not the thickness"
            )
        if np.abs(A[:3, 3]).max() > MAX_ABS_POSITION_MM:
            raise self._fail("position", f"{A[:3, 3]} mm is farther than any scanner reaches")

    def _check_timing(self) -> None:
        t = self.trigger_times_ms
        if t.shape != (self.n_phases,) or not np.isfinite(t).all():
            raise self._fail("trigger_times_ms", f"expected {self.n_phases} finite values")
        if np.any(np.diff(t) <= 0):
            raise self._fail("trigger_times_ms", "must increase from phase to phase")
        if not 200 <= self.rr_interval_ms <= 3000:
            raise self._fail(
                "rr_interval_ms", f"got {self.rr_interval_ms}, allowed: 200 to 3000 ms"
            )

    def _check_labels(self, labels: SliceLabels) -> None:
        if labels.values.shape != self.frames.shape or labels.values.dtype != np.uint8:
            raise self._fail("labels", f"expected uint8 of shape {self.frames.shape}")
        if labels.annotated.shape != (self.n_phases,) or labels.annotated.dtype != np.bool_:
            raise self._fail("labels.annotated", f"expected {self.n_phases} bool values")
        means_something = np.asarray(possible_labels().any(axis=1))
        strange = labels.values[~means_something[labels.values]]
        if strange.size:
            allowed = f"0..{N_LABELS - 1}, {UNKNOWN} for unknown, and sets ({EITHER} + 2^k + ...)"
            raise self._fail("labels", f"got label {strange.max()}, allowed: {allowed}")


@dataclass(frozen=True)
class ExcludedSlice:
    """A slice that was read but is not used, and why."""

    slice: CineSlice
    reason: str


@dataclass(frozen=True)
class CineStudy:
    """All cine slices of one heart that a fit may use.

    Attributes:
        slices: used slices (never `View.OTHER`): the SA stack from base to apex, then LA views.
        subject: a pseudonym, chosen by the user or from the input's place, never an identity.
        excluded: slices left out, with reasons.
        warnings: what was assumed, repaired or is missing, for the user.
        has_patient_orientation: False where the file format lost it (some NIfTI conversions), so
            that left and right of the patient are unknown.
    """

    slices: tuple[CineSlice, ...]
    subject: str = "subject"
    excluded: tuple[ExcludedSlice, ...] = ()
    warnings: tuple[str, ...] = ()
    has_patient_orientation: bool = True

    def __post_init__(self) -> None:
        if not self.slices:
            raise StudyError(
                "the study has no usable cine slice; see `nisf inspect` for what was read"
            )
        names = [s.name for s in self.slices]
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise StudyError(f"CineStudy.slices: names occur more than once: {', '.join(repeated)}")
        if any(s.view is View.OTHER for s in self.slices):
            raise StudyError("CineStudy.slices: a slice with view OTHER belongs into `excluded`")

    def of_view(self, *views: View) -> tuple[CineSlice, ...]:
        """The slices of these views, in order."""
        return tuple(s for s in self.slices if s.view in views)

    def restricted_to(self, views: tuple[View, ...]) -> "CineStudy":
        """The study with only these views.

        Raises:
            StudyError: if none is left.
        """
        kept = self.of_view(*views)
        if not kept:
            have = ", ".join(sorted({s.view.value for s in self.slices}))
            asked = ", ".join(v.value for v in views)
            raise StudyError(f"no slice has view {asked}; this study has {have}")
        return replace(self, slices=kept)

    def without(self, names: Collection[str]) -> "CineStudy":
        """The study with these slices moved to `excluded`.

        Raises:
            StudyError: if a name is no slice's, or none is left.
        """
        known = [s.name for s in (*self.slices, *(e.slice for e in self.excluded))]
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise StudyError(
                f"leave out: no slice {', '.join(unknown)}; this study has {', '.join(known)}"
            )
        dropped = tuple(
            ExcludedSlice(s, "left out by the user") for s in self.slices if s.name in names
        )
        kept = tuple(s for s in self.slices if s.name not in names)
        if not kept:
            raise StudyError("every slice is left out; include at least one")
        return replace(self, slices=kept, excluded=(*self.excluded, *dropped))


def kept_phases(n_all: int, n_kept: int) -> npt.NDArray[np.intp]:
    """Indices of at most `n_kept` of `n_all` phases, equally spread over the cycle."""
    n = min(n_all, n_kept)
    return (np.arange(n) * n_all) // n
