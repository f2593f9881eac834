"""`Guidance`: what annotators or networks said of a study, on its slices and phases.

Every known pixel has probabilities; an unknown pixel says nothing, which is not background. Files
are placed by their geometry (`label_placing`), whatever their axes, pixel size and part of the
image; by pixel only where a file knows no geometry and a slice is named for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NISFCore.data.label_files import LabelFile, read_label_file
from NISFCore.data.label_placing import (
    MAX_TILT_DEG,
    Miss,
    Placement,
    Planes,
    foreground_planes,
    place_by_geometry,
    place_by_index,
    planes_of,
    sampled,
)
from NISFCore.data.label_timing import matched_frames
from NISFCore.data.label_volume import LabelVolume, Probabilities
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.data.valve_placing import placed_valves
from NISFCore.data.valve_points import is_valve_file
from NISFCore.errors import StudyError
from NISFCore.labels import N_LABELS

MAX_SUM_ERROR = 1e-3
"""Of a known pixel's float32 probabilities."""

MAX_DISAGREEMENT = 0.5
"""Two files contradict each other where they differ by more probability than this."""


@dataclass(frozen=True)
class SliceGuidance:
    """What an annotator or another network said of one slice at one phase.

    Attributes:
        slice_name: of the study.
        phase: of that slice, from 0.
        probabilities: `(rows, cols, N_LABELS)` float32, each known pixel's sum 1 (hard labels are
            0 and 1), 0 where nothing is known.
        known: `(rows, cols)` bool; False says nothing (not background).
    """

    slice_name: str
    phase: int
    probabilities: Probabilities
    known: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        p, known = self.probabilities, self.known
        if p.shape != (*known.shape, N_LABELS) or p.dtype != np.float32:
            raise self._fail(f"probabilities are {p.dtype} of shape {p.shape}")
        if known.ndim != 2 or known.dtype != np.bool_:
            raise self._fail(f"known is {known.dtype} of shape {known.shape}")
        if self.phase < 0:
            raise self._fail(f"phase {self.phase}; phases count from 0")
        if not np.isfinite(p).all() or p.min(initial=0) < 0:
            raise self._fail("probabilities that are negative or not finite")
        if np.abs(p.sum(axis=-1) - known).max(initial=0) > MAX_SUM_ERROR:
            raise self._fail("probabilities do not sum to 1 where known and 0 elsewhere")

    def _fail(self, text: str) -> StudyError:
        expected = f"(rows, cols, {N_LABELS}) float32 and (rows, cols) bool"
        return StudyError(f"guidance of {self.slice_name!r}: got {text}; expected {expected}")


@dataclass(frozen=True)
class Guidance:
    """Attributes:
    entries: at most one per slice and phase.
    sources: names of the files, without folders.
    warnings: what was assumed or left out, for the user.
    """

    entries: tuple[SliceGuidance, ...]
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        keys = [(e.slice_name, e.phase) for e in self.entries]
        if len(set(keys)) < len(keys):
            repeated = sorted({k for k in keys if keys.count(k) > 1})
            raise StudyError(f"guidance: more than one entry for (slice, phase) {repeated}")

    def check(self, study: CineStudy) -> None:
        """Raise a StudyError unless every entry belongs to a slice and phase of the study."""
        for entry in self.entries:
            cine = _slice_named(study, entry.slice_name, "guidance")
            if entry.phase >= cine.n_phases:
                raise StudyError(
                    f"guidance: got phase {entry.phase} of {cine.name}, allowed: 0 to "
                    f"{cine.n_phases - 1}"
                )
            if entry.known.shape != cine.shape:
                raise StudyError(
                    f"guidance: got {entry.known.shape} pixels for {cine.name}, which has "
                    f"{cine.shape}; read the labels again for this study"
                )


@dataclass(frozen=True)
class _Said:
    """What one file says of one slice and phase."""

    source: str
    probabilities: Probabilities
    known: npt.NDArray[np.bool_]


_Key = tuple[str, int]


def read_guidance(
    study: CineStudy,
    files: Sequence[LabelFile],
    label_values: Mapping[int, int] | None = None,
) -> Guidance:
    """Read files of labels and place them on the slices of a study.

    Args:
        label_values: number in label maps -> label or 255 for unknown; None is our numbering
            (`nifti_labels.ACDC_NUMBERS` is that of ACDC).

    Raises:
        StudyError: if a file cannot be read (see `read_label_file`), placed (no slice lies where
            it lies), timed (see `label_timing`), or if two files contradict each other.
    """
    if not files:
        raise StudyError("labels: no file was given")
    said: dict[_Key, _Said] = {}
    warnings: list[str] = []
    for file in (file for file in files if not is_valve_file(file.path)):
        volume = read_label_file(file, label_values)
        placements, notes = _placements(study, file, volume)
        found, more = _said_by(study, file, volume, placements)
        warnings += [*volume.warnings, *notes, *more]
        for key, new in found.items():
            said[key] = _merged(key, said[key], new) if key in said else new
    for valve in placed_valves(study, [file for file in files if is_valve_file(file.path)]):
        key = valve.slice_name, valve.phase
        new = _Said(valve.source, valve.probabilities, valve.known)
        said[key] = _filled(said[key], new) if key in said else new
        warnings += [valve.note] if valve.note else []
    order = [cine.name for cine in study.slices]
    entries = tuple(
        SliceGuidance(name, phase, said[name, phase].probabilities, said[name, phase].known)
        for name, phase in sorted(said, key=lambda key: (order.index(key[0]), key[1]))
    )
    sources = tuple(file.path.name for file in files)
    return Guidance(entries, sources, tuple(dict.fromkeys(warnings)))


# ---------------------------------------------------------------- where


def _slice_named(study: CineStudy, name: str, what: str) -> CineSlice:
    for cine in study.slices:
        if cine.name == name:
            return cine
    names = ", ".join(cine.name for cine in study.slices)
    raise StudyError(f"{what}: got slice {name!r}, this study has {names}")


def _placements(
    study: CineStudy, file: LabelFile, volume: LabelVolume
) -> tuple[list[Placement], list[str]]:
    """Where the file's labels fall on the study's slices, and what was assumed."""
    candidates: tuple[CineSlice, ...] = study.slices
    if file.slice_name is not None:
        candidates = (_slice_named(study, file.slice_name, volume.name),)
    if not volume.has_place:
        named = _named_by(file, study)
        if named is not None:
            return [_in_image_space(volume, named)], [
                f"{volume.name}: it does not say where it lies; taken as the pixels of {named.name}"
            ]
        if study.has_patient_orientation:
            raise StudyError(
                f"{volume.name}: it does not say where in the patient it lies; give its slice as "
                f"{volume.name}@SLICE:PHASE, name it after its slice, or save it with its geometry"
            )
    return _by_geometry(volume, candidates)


def _named_by(file: LabelFile, study: CineStudy) -> CineSlice | None:
    """The slice that the user or the file's name says."""
    wanted = file.named_slice if file.slice_name is None else file.slice_name
    same = [c for c in study.slices if c.name.casefold() == wanted.casefold()]
    return same[0] if len(same) == 1 else None


def _in_image_space(volume: LabelVolume, cine: CineSlice) -> Placement:
    placement = place_by_index(volume, cine)
    if placement is None:
        rows, cols = cine.shape
        raise StudyError(
            f"{volume.name}: it has no geometry and {volume.sizes} voxels along (i, j, k), the "
            f"frames of {cine.name} have {(cols, rows, 1)}; labels without geometry must have "
            "exactly the pixels of their slice"
        )
    return placement


def _by_geometry(
    volume: LabelVolume, candidates: Sequence[CineSlice]
) -> tuple[list[Placement], list[str]]:
    planes = planes_of(volume)
    tried = [(cine, place_by_geometry(volume, planes, cine)) for cine in candidates]
    found = [p for _, p in tried if isinstance(p, Placement) and p.inside.any()]
    if not found:
        raise StudyError(f"{volume.name}: {_nothing_placed(tried)}")
    return found, _planes_left_out(volume, planes, found)


def _nothing_placed(tried: Sequence[tuple[CineSlice, Placement | Miss]]) -> str:
    """Why no slice lies where a file lies, and what comes nearest to it."""
    text = "no slice of the study lies where these labels lie"
    advice = "are they of this patient and examination, and saved with the images' geometry?"
    misses = [(miss, cine.name) for cine, miss in tried if isinstance(miss, Miss)]
    beside = [p for _, p in tried if isinstance(p, Placement) and p.plane is not None]
    if beside:
        return f"they lie in the plane of {beside[0].cine.name}, but beside its image; {advice}"
    if not misses:
        return f"{text}; {advice}"
    miss, name = min(misses, key=lambda m: m[0].tilt_deg)
    parallel = [m for m in misses if m[0].tilt_deg <= MAX_TILT_DEG]
    where = f"tilted by {miss.tilt_deg:.0f} degrees"
    if parallel:
        miss, name = min(parallel, key=lambda m: m[0].distance_mm)
        where = f"{miss.distance_mm:.1f} mm off"
    return (
        f"{text}; the nearest is {name}, {where} (allowed: less than half a slice thickness and "
        f"half the distance of the planes, {MAX_TILT_DEG:g} degrees); {advice}"
    )


def _planes_left_out(
    volume: LabelVolume, planes: Planes | None, found: Sequence[Placement]
) -> list[str]:
    if planes is None:
        return []
    drawn = {int(k) for k in foreground_planes(volume, planes.axis)}
    missing = drawn - {p.plane[1] for p in found if p.plane is not None}
    if not missing:
        return []
    n = f"{len(missing)} of {len(drawn)}"
    return [f"{volume.name}: {n} annotated planes lie on no slice of the study and are not used"]


# ---------------------------------------------------------------- what


def _said_by(
    study: CineStudy, file: LabelFile, volume: LabelVolume, placements: Sequence[Placement]
) -> tuple[dict[_Key, _Said], list[str]]:
    """What one file says of each slice and phase, and what was assumed.

    Raises:
        StudyError: if nothing of it, or none of its labels but background, falls on a slice.
    """
    said: dict[_Key, _Said] = {}
    notes = []
    for placement in placements:
        pairs, note = matched_frames(file, volume, study, placement.cine)
        notes += [note] if note else []
        for frame, phase in pairs:
            p, known = sampled(volume, frame, placement)
            if known.any():
                said[placement.cine.name, phase] = _Said(volume.name, p, known)
    if not said:
        raise StudyError(
            f"{volume.name}: nothing that is painted in it falls on a pixel of the study's slices "
            "and phases; is it of this study?"
        )
    has_labels = len(foreground_planes(volume, 2)) > 0
    if has_labels and not any(s.probabilities[..., 1:].any() for s in said.values()):
        raise StudyError(
            f"{volume.name}: only background of it falls on the study's slices, its labels lie "
            "beside them; is it of this study?"
        )
    return said, notes


def _filled(drawn: _Said, valve: _Said) -> _Said:
    """What was drawn, and what a valve's points say where nothing was."""
    more = valve.known & ~drawn.known
    p = np.where(more[..., None], valve.probabilities, drawn.probabilities)
    return _Said(f"{drawn.source}, {valve.source}", p, drawn.known | more)


def _merged(key: _Key, a: _Said, b: _Said) -> _Said:
    """Both together; the mean where both speak.

    Raises:
        StudyError: where they contradict each other.
    """
    both = a.known & b.known
    apart = np.abs(a.probabilities - b.probabilities).sum(axis=-1) / 2
    n_apart = int((both & (apart > MAX_DISAGREEMENT)).sum())
    if n_apart:
        name, phase = key
        raise StudyError(
            f"{a.source} and {b.source} contradict each other in {n_apart} pixel(s) of {name} at "
            f"phase {phase}; a pixel has one label: remove it from one of them"
        )
    share = np.where(both, 0.5, 1).astype(np.float32)[..., None]
    p = share * (a.probabilities + b.probabilities)
    source = a.source if a.source == b.source else f"{a.source}, {b.source}"
    return _Said(source, p, a.known | b.known)
