"""Labels that somebody gave for some slices and phases, as the solver's pixels.

Pixels near the border between labels say where it is and are drawn more often than those in the
middle of something.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor

from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.data.study import CineStudy
from NISFCore.errors import StudyError
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine
from NISFCore.model.config import HeartRegion
from NISFCore.model.voxels import VoxelBatch, inside_region


@dataclass(frozen=True)
class LabelEvidence:
    """Labelled pixels of one study.

    Attributes:
        position_mm: `(n, 3)` canonical, as scanned.
        slice_index, cycle_fraction: `(n,)`.
        target: `(n, N_LABELS)` given probabilities.
        border: indices of the pixels near a border between labels.
        n_frames: labelled frames.
    """

    position_mm: Tensor
    slice_index: Tensor
    cycle_fraction: Tensor
    target: Tensor
    border: Tensor
    n_frames: int

    def to(self, device: torch.device | str) -> "LabelEvidence":
        tensors = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return LabelEvidence(**tensors, n_frames=self.n_frames)

    def sample(
        self, n: int, border_share: float, generator: torch.Generator
    ) -> tuple[VoxelBatch, Tensor]:
        """`n` labelled pixels and their targets; `border_share` of them near borders."""
        device = self.position_mm.device
        size = (n,)
        pixel = torch.randint(len(self.position_mm), size, generator=generator, device=device)
        if len(self.border):
            n_border = round(n * border_share)
            size = (n_border,)
            which = torch.randint(len(self.border), size, generator=generator, device=device)
            pixel[:n_border] = self.border[which]
        target = self.target[pixel]
        batch = VoxelBatch(
            position_mm=self.position_mm[pixel],
            slice_index=self.slice_index[pixel],
            cycle_fraction=self.cycle_fraction[pixel],
            intensity=torch.zeros_like(self.cycle_fraction[pixel]),
            possible=torch.ones_like(target, dtype=torch.bool),
        )
        return batch, target


def label_evidence(
    guidance: Guidance,
    study: CineStudy,
    fitted: CineStudy,
    frame: CanonicalFrame,
    region: HeartRegion,
    border_mm: float,
) -> LabelEvidence:
    """What a fit uses of the labels given for a study.

    Args:
        study: the study that `guidance` was placed on.
        fitted: the same cropped to the region; slices outside it are missing.

    Raises:
        StudyError: if no labelled pixel lies in the heart region.
    """
    guidance.check(study)
    index_of = {s.name: k for k, s in enumerate(fitted.slices)}
    parts = [
        _frame_evidence(entry, study, index_of[entry.slice_name], frame, region, border_mm)
        for entry in guidance.entries
        if entry.slice_name in index_of
    ]
    parts = [part for part in parts if len(part.target)]
    if not parts:
        raise StudyError(
            "no labelled pixel lies in the heart region: check that the labels belong to this study"
        )
    starts = np.cumsum([0, *(len(part.target) for part in parts)])
    return LabelEvidence(
        position_mm=torch.cat([part.position_mm for part in parts]),
        slice_index=torch.cat([part.slice_index for part in parts]),
        cycle_fraction=torch.cat([part.cycle_fraction for part in parts]),
        target=torch.cat([part.target for part in parts]),
        border=torch.cat([p.border + int(o) for p, o in zip(parts, starts, strict=False)]),
        n_frames=len(parts),
    )


def _frame_evidence(
    entry: SliceGuidance,
    study: CineStudy,
    slice_index: int,
    frame: CanonicalFrame,
    region: HeartRegion,
    border_mm: float,
) -> LabelEvidence:
    cine = next(s for s in study.slices if s.name == entry.slice_name)
    points = apply_affine(
        frame.canonical_from_ras, pixel_centres_ras(cine.ras_from_ijk, cine.shape)
    )
    used = entry.known & inside_region(points, region)
    near = _near_border(entry.probabilities, entry.known, cine.spacing_mm, border_mm)
    n = int(used.sum())
    t = float(cine.cycle_fractions[entry.phase])
    return LabelEvidence(
        position_mm=torch.tensor(points[used], dtype=torch.float32),
        slice_index=torch.full((n,), slice_index),
        cycle_fraction=torch.full((n,), t),
        target=torch.tensor(entry.probabilities[used], dtype=torch.float32),
        border=torch.from_numpy(np.flatnonzero(near[used])),
        n_frames=1,
    )


def _near_border(
    probabilities: npt.NDArray[np.float32],
    known: npt.NDArray[np.bool_],
    spacing_mm: tuple[float, float],
    border_mm: float,
) -> npt.NDArray[np.bool_]:
    """Known pixels within about `border_mm` of a known pixel of another label."""
    labels = np.where(known, probabilities.argmax(-1), -1)
    pixels = max(1, round(border_mm / float(np.mean(spacing_mm))))
    near = np.zeros(known.shape, dtype=np.bool_)
    for label in np.unique(labels[known]):
        own, other = labels == label, known & (labels != label)
        near |= own & binary_dilation(other, iterations=pixels)
    return near
