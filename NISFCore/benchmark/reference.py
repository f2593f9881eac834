"""What a real study is compared with: labels on its slices, from surfaces or from label maps.

From surfaces: LV over RV over the wall between both and the epicardium. That wall holds the RV's
free wall too, which is no label here: a pixel of the wall is LV myocardium unless the straight line
from it to the LV pool's centroid (in its plane) crosses the RV pool. Phase k of the surfaces is
phase k of every slice with as many phases, else the slice's phase nearest to k / n of the cycle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from NISFCore.data.guidance import Guidance, SliceGuidance, read_guidance
from NISFCore.data.label_files import SUFFIXES, LabelFile
from NISFCore.data.nifti_labels import ACDC_NUMBERS, OUR_NUMBERS, RV_IS_4_NUMBERS
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.data.surface_files import (
    PhaseSurfaces,
    Structure,
    SurfaceSpace,
    holds_surfaces,
    read_surfaces,
)
from NISFCore.errors import StudyError
from NISFCore.geometry.sections import section_mask
from NISFCore.geometry.spaces import Affine
from NISFCore.labels import FOREGROUND, N_LABELS, Label
from NISFCore.progress import CancelToken
from NISFCore.views import View

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

NUMBERINGS = {"lv-myo-rv": OUR_NUMBERS, "acdc": ACDC_NUMBERS, "rv-4": RV_IS_4_NUMBERS}
N_RAY_POINTS = 40


@dataclass(frozen=True)
class ReferenceFrame:
    """What the reference shows in one slice at one phase of it.

    Attributes:
        slice_name, phase: of the study.
        moment: phase of the reference; the same for all slices at one time.
        labels: `(rows, cols)`.
        known: `(rows, cols)`; False says nothing.
    """

    slice_name: str
    phase: int
    moment: int
    labels: Labels
    known: Mask

    @property
    def key(self) -> tuple[str, int]:
        return self.slice_name, self.phase

    def as_guidance(self) -> SliceGuidance:
        """The frame as labels that somebody gave."""
        hard = np.eye(N_LABELS, dtype=np.float32)[self.labels] * self.known[..., None]
        return SliceGuidance(self.slice_name, self.phase, hard.astype(np.float32), self.known)


@dataclass(frozen=True)
class Reference:
    """Labels on the slices of a study.

    Attributes:
        frames: at most one per slice and phase.
        labels: those that the reference knows.
        kind: "surfaces" or "label maps".
        surfaces: of every moment, if it came from surfaces.
        warnings: what was assumed.
    """

    frames: tuple[ReferenceFrame, ...]
    labels: frozenset[Label]
    kind: str
    surfaces: tuple[PhaseSurfaces, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def moments(self) -> tuple[int, ...]:
        return tuple(sorted({f.moment for f in self.frames}))

    def at(self, moment: int) -> tuple[ReferenceFrame, ...]:
        return tuple(f for f in self.frames if f.moment == moment)

    def lv_size(self, study: CineStudy, moment: int) -> float:
        """What ED and ES are found by: ml enclosed, or mean area in the SA slices (all slices
        without any) that are labelled at this moment."""
        if self.surfaces:
            return self.surfaces[moment][Structure.LV].volume_ml
        stack = {s.name for s in study.of_view(View.SA)}
        frames = self.at(moment)
        shown = [f for f in frames if f.slice_name in stack] or frames
        return float(np.mean([(f.labels == Label.LV_BLOOD_POOL).sum() for f in shown]))

    def ed(self, study: CineStudy) -> int:
        """The moment with the largest LV."""
        return max(self.moments, key=lambda m: self.lv_size(study, m))

    def es(self, study: CineStudy) -> int | None:
        """The moment with the smallest LV; None if there is but one."""
        if len(self.moments) < 2:
            return None
        return min(self.moments, key=lambda m: self.lv_size(study, m))


def read_reference(
    study: CineStudy,
    path: Path,
    numbers: str = "lv-myo-rv",
    space: SurfaceSpace = "lps",
    cancel: CancelToken | None = None,
) -> Reference:
    """Surfaces, or label maps, on the slices of a study.

    Args:
        path: a folder or zip of surfaces (see `surface_files`), or a file or folder of label maps
            (see `label_files`) that are complete: what is not painted is background.
        numbers: numbering of label maps, see `NUMBERINGS`.
        space: coordinates of surfaces.

    Raises:
        StudyError: if nothing of it can be read or lies on a slice.
    """
    if holds_surfaces(path):
        return from_surfaces(study, read_surfaces(path, space), cancel)
    files = tuple(LabelFile(file, keeps_background=True) for file in label_files(path))
    return from_guidance(read_guidance(study, files, NUMBERINGS[numbers]))


def label_files(path: Path) -> tuple[Path, ...]:
    """The label maps at a place: the file itself; in a folder those that are named as labels
    (`seg_…`, `…_gt`, `…_label`, …), or all that there are.

    Raises:
        StudyError: if there are none.
    """
    if path.is_file():
        return (path,)
    found = sorted(p for p in path.rglob("*") if p.name.lower().endswith(SUFFIXES))
    named = [p for p in found if LabelFile(p).stem != _plain_stem(p) or _begins_as_label(p)]
    if not found:
        raise StudyError(f"{path.name}: neither surfaces nor label maps are in it")
    return tuple(named or found)


def _plain_stem(path: Path) -> str:
    return next(path.name[: -len(s)] for s in SUFFIXES if path.name.lower().endswith(s))


def _begins_as_label(path: Path) -> bool:
    return path.name.lower().startswith(("seg_", "seg-", "gt_", "label_", "labels_", "mask_"))


def from_guidance(guidance: Guidance) -> Reference:
    """Label maps that were placed on a study."""
    frames = tuple(
        ReferenceFrame(
            e.slice_name,
            e.phase,
            e.phase,
            np.where(e.known, e.probabilities.argmax(axis=-1), 0).astype(np.uint8),
            e.known,
        )
        for e in guidance.entries
    )
    seen = {label for f in frames for label in FOREGROUND if (f.labels == label).any()}
    return Reference(frames, frozenset(seen), "label maps", warnings=guidance.warnings)


def from_surfaces(
    study: CineStudy, surfaces: Sequence[PhaseSurfaces], cancel: CancelToken | None = None
) -> Reference:
    """Surfaces of every phase, cut by the slices as scanned."""
    frames = []
    for moment, found in enumerate(surfaces):
        if cancel is not None:
            cancel.check()
        for cine in study.slices:
            labels = without_rv_wall(section_labels(found, cine.ras_from_ijk, cine.shape))
            phase = phase_at(cine, moment, len(surfaces))
            known = np.ones(cine.shape, dtype=np.bool_)
            frames.append(ReferenceFrame(cine.name, phase, moment, labels, known))
    unique = {f.key: f for f in frames}
    return Reference(tuple(unique.values()), known_labels(surfaces[0]), "surfaces", tuple(surfaces))


def known_labels(surfaces: PhaseSurfaces) -> frozenset[Label]:
    """The LV pool always, the RV pool with its surface, the myocardium with all three."""
    labels = {Label.LV_BLOOD_POOL}
    if Structure.RV in surfaces:
        labels.add(Label.RV_BLOOD_POOL)
        if Structure.EPI in surfaces:
            labels.add(Label.LV_MYOCARDIUM)
    return frozenset(labels)


def phase_at(cine: CineSlice, moment: int, n_moments: int) -> int:
    """The slice's phase of a moment."""
    if cine.n_phases == n_moments:
        return moment
    gap = np.abs(cine.cycle_fractions - moment / n_moments)
    return int(np.argmin(np.minimum(gap, 1 - gap)))


def section_labels(surfaces: PhaseSurfaces, ras_from_ijk: Affine, shape: tuple[int, int]) -> Labels:
    """Labels `(rows, cols)` where a plane cuts the surfaces; the whole wall is LV myocardium."""
    labels = np.zeros(shape, dtype=np.uint8)
    order = (
        (Structure.EPI, Label.LV_MYOCARDIUM),
        (Structure.RV, Label.RV_BLOOD_POOL),
        (Structure.LV, Label.LV_BLOOD_POOL),
    )
    known = known_labels(surfaces)
    for structure, label in order:
        if label in known:
            surface = surfaces[structure]
            mask = section_mask(surface.points_ras, surface.triangles, ras_from_ijk, shape)
            labels[mask] = label
    return labels


def without_rv_wall(labels: Labels) -> Labels:
    """Labels `(rows, cols)` of a plane with the RV's free wall as background (see the module)."""
    lv = labels == Label.LV_BLOOD_POOL
    wall = np.argwhere(labels == Label.LV_MYOCARDIUM)
    if not lv.any() or not len(wall):
        return labels
    centre = np.argwhere(lv).mean(axis=0)
    share = np.linspace(0, 1, N_RAY_POINTS)[:, None, None]
    rows, cols = np.rint(wall + share * (centre - wall)).astype(int).transpose(2, 0, 1)
    crosses = (labels[rows, cols] == Label.RV_BLOOD_POOL).any(axis=0)
    cleared = labels.copy()
    cleared[tuple(wall[crosses].T)] = Label.BACKGROUND
    return cleared
