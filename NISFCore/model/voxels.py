"""Voxels of one or many studies as flat tensors in canonical space, and random batches of them.

Only voxels inside the decoder's `HeartRegion` are kept. Each slice's intensities are clipped at
the 99th percentile of that region and divided by it (paper section 3.1).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from NISFCore.data.label_sets import possible_labels
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import StudyError
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import apply_affine, apply_direction
from NISFCore.labels import N_LABELS, UNKNOWN
from NISFCore.model.config import HeartRegion
from NISFCore.model.psf import SIGMA_PER_FWHM

MIN_REGION_PIXELS = 50
"""A slice with fewer pixels inside the heart region says nothing about the heart."""
POSSIBLE = torch.from_numpy(possible_labels())


@dataclass(frozen=True)
class SliceTable:
    """What the forward model knows of each slice; `(n_slices, ...)` tensors, canonical mm."""

    centre_mm: Tensor
    axes: Tensor
    """`(n_slices, 3, 3)`: unit vectors of i, j, normal as columns."""
    sigma_mm: Tensor
    subject: Tensor

    def to(self, device: torch.device | str) -> "SliceTable":
        return SliceTable(**{name: value.to(device) for name, value in vars(self).items()})

    def __len__(self) -> int:
        return int(self.subject.shape[0])


@dataclass(frozen=True)
class VoxelBatch:
    """n voxels: canonical nominal position, slice, time, observed intensity, and which labels they
    may have, `(n, N_LABELS)`: all where nobody said."""

    position_mm: Tensor
    slice_index: Tensor
    cycle_fraction: Tensor
    intensity: Tensor
    possible: Tensor

    def __len__(self) -> int:
        return int(self.slice_index.shape[0])

    def split(self, n: int) -> Iterator["VoxelBatch"]:
        """Parts of at most `n` voxels, in order: bounds memory and the time between two checks
        for a cancel."""
        parts = {name: value.split(n) for name, value in vars(self).items()}
        for values in zip(*parts.values(), strict=True):
            yield VoxelBatch(**dict(zip(parts, values, strict=True)))


@dataclass(frozen=True)
class VoxelTable:
    """All voxels of one or many studies.

    Pixels are stored once, `(n_pixels, ...)`; their values over the cycle lie in `values` from
    `first_value`, `value_stride` apart. `intensity_reference` is the 99th percentile per slice.
    """

    slices: SliceTable
    position_mm: Tensor
    slice_index: Tensor
    first_value: Tensor
    value_stride: Tensor
    n_phases: Tensor
    first_phase: Tensor
    values: Tensor
    labels: Tensor
    cycle_fraction: Tensor
    has_label: Tensor
    intensity_reference: Tensor

    @property
    def n_pixels(self) -> int:
        return int(self.position_mm.shape[0])

    def to(self, device: torch.device | str) -> "VoxelTable":
        """The same on a device; batches are then drawn there, with a generator of that device."""
        return VoxelTable(**{name: value.to(device) for name, value in vars(self).items()})

    def heart_pixels(self) -> Tensor:
        """Indices of the pixels that are heart in at least one annotated phase."""
        is_heart = torch.zeros(self.n_pixels, dtype=torch.bool, device=self.labels.device)
        for phase in range(int(self.n_phases.max())):
            pixel = torch.nonzero(self.n_phases > phase)[:, 0]
            value = self.first_value[pixel] + phase * self.value_stride[pixel]
            is_heart[pixel] |= (self.labels[value] > 0) & (self.labels[value] < N_LABELS)
        return torch.nonzero(is_heart)[:, 0]

    def sample(
        self,
        n: int,
        generator: torch.Generator,
        preferred: Tensor | None = None,
        preferred_share: float = 0.0,
    ) -> VoxelBatch:
        """`n` voxels, uniform over the pixels, then over their slice's phases.

        Args:
            preferred: indices of pixels that `preferred_share` of the voxels are drawn from.
        """
        device = self.position_mm.device
        pixel = torch.randint(self.n_pixels, (n,), generator=generator, device=device)
        if preferred is not None and len(preferred):
            n_preferred = round(n * preferred_share)
            which = torch.randint(
                len(preferred), (n_preferred,), generator=generator, device=device
            )
            pixel[:n_preferred] = preferred[which]
        return self.at_pixels(pixel, generator)

    def at_pixels(self, pixel: Tensor, generator: torch.Generator) -> VoxelBatch:
        """The voxels of these pixels `(n,)` at random phases of their slices."""
        device, n_phases = self.position_mm.device, self.n_phases[pixel]
        phase = (torch.rand(len(pixel), generator=generator, device=device) * n_phases).long()
        phase = torch.minimum(phase, n_phases - 1)
        value = self.first_value[pixel] + phase * self.value_stride[pixel]
        row = self.first_phase[pixel] + phase
        number = torch.where(self.has_label[row], self.labels[value], UNKNOWN).long()
        return VoxelBatch(
            position_mm=self.position_mm[pixel],
            slice_index=self.slice_index[pixel],
            cycle_fraction=self.cycle_fraction[row],
            intensity=self.values[value].to(self.position_mm),
            possible=POSSIBLE.to(device)[number],
        )


def voxel_table(study: CineStudy, frame: CanonicalFrame, region: HeartRegion) -> VoxelTable:
    """The voxels of one study.

    Raises:
        StudyError: if a slice has (almost) no pixel inside the heart region.
    """
    return concatenate([_slice_voxels(s, frame, region) for s in study.slices], one_subject=True)


def concatenate(tables: Sequence[VoxelTable], one_subject: bool = False) -> VoxelTable:
    """Join tables; each is another subject unless `one_subject`."""
    n_slices = _starts([len(t.slices) for t in tables])
    n_values = _starts([len(t.values) for t in tables])
    n_rows = _starts([len(t.cycle_fraction) for t in tables])
    subjects = [t.slices.subject + (0 if one_subject else i) for i, t in enumerate(tables)]
    slices = SliceTable(
        torch.cat([t.slices.centre_mm for t in tables]),
        torch.cat([t.slices.axes for t in tables]),
        torch.cat([t.slices.sigma_mm for t in tables]),
        torch.cat(subjects),
    )
    return VoxelTable(
        slices=slices,
        position_mm=torch.cat([t.position_mm for t in tables]),
        slice_index=torch.cat([t.slice_index + o for t, o in zip(tables, n_slices, strict=True)]),
        first_value=torch.cat([t.first_value + o for t, o in zip(tables, n_values, strict=True)]),
        value_stride=torch.cat([t.value_stride for t in tables]),
        n_phases=torch.cat([t.n_phases for t in tables]),
        first_phase=torch.cat([t.first_phase + o for t, o in zip(tables, n_rows, strict=True)]),
        values=torch.cat([t.values for t in tables]),
        labels=torch.cat([t.labels for t in tables]),
        cycle_fraction=torch.cat([t.cycle_fraction for t in tables]),
        has_label=torch.cat([t.has_label for t in tables]),
        intensity_reference=torch.cat([t.intensity_reference for t in tables]),
    )


def inside_region(
    points_canonical: npt.NDArray[np.float64], region: HeartRegion
) -> npt.NDArray[np.bool_]:
    """Which canonical points `(..., 3)` lie in the modelled ellipsoid."""
    scaled = (points_canonical - np.array(region.centre_mm)) / np.array(region.semi_axes_mm)
    return np.asarray((scaled**2).sum(axis=-1) <= 1.0)


def _slice_voxels(s: CineSlice, frame: CanonicalFrame, region: HeartRegion) -> VoxelTable:
    canonical_from_ras = frame.canonical_from_ras
    points = apply_affine(canonical_from_ras, pixel_centres_ras(s.ras_from_ijk, s.shape))
    inside = inside_region(points, region)
    n = int(inside.sum())
    if n < MIN_REGION_PIXELS:
        raise StudyError(
            f"slice {s.name!r} has {n} pixels within the heart region, at least "
            f"{MIN_REGION_PIXELS} are needed; exclude it or check its position and orientation"
        )
    frames = s.frames[:, inside]
    reference = _intensity_reference(s.name, frames)
    values = np.clip(frames / reference, 0.0, 1.0).astype(np.float16)
    labels = np.zeros_like(values, dtype=np.uint8)
    has_label = np.zeros(s.n_phases, dtype=bool)
    if s.labels is not None:
        labels, has_label = s.labels.values[:, inside], s.labels.annotated
    constant = torch.zeros(n, dtype=torch.int64)
    return VoxelTable(
        slices=_slice_geometry(s, canonical_from_ras),
        position_mm=torch.tensor(points[inside], dtype=torch.float32),
        slice_index=constant,
        first_value=torch.arange(n),
        value_stride=constant + n,
        n_phases=constant + s.n_phases,
        first_phase=constant,
        values=torch.from_numpy(values.reshape(-1)),
        labels=torch.from_numpy(np.ascontiguousarray(labels).reshape(-1)),
        cycle_fraction=torch.tensor(s.cycle_fractions, dtype=torch.float32),
        has_label=torch.tensor(has_label),
        intensity_reference=torch.tensor([reference], dtype=torch.float32),
    )


def _intensity_reference(name: str, frames: npt.NDArray[np.float32]) -> float:
    reference = float(np.percentile(frames, 99))
    if reference <= 0:
        raise StudyError(f"slice {name!r} is dark within the heart region; exclude it")
    return reference


def _slice_geometry(s: CineSlice, canonical_from_ras: npt.NDArray[np.float64]) -> SliceTable:
    lengths = np.linalg.norm(s.ras_from_ijk[:3, :3], axis=0)
    axes = apply_direction(canonical_from_ras, (s.ras_from_ijk[:3, :3] / lengths).T).T
    fwhm_mm = [*s.spacing_mm, s.thickness_mm]
    centre = apply_affine(canonical_from_ras, s.centre_ras)
    return SliceTable(
        centre_mm=torch.tensor(centre, dtype=torch.float32)[None],
        axes=torch.tensor(axes, dtype=torch.float32)[None],
        sigma_mm=torch.tensor(fwhm_mm, dtype=torch.float32)[None] * SIGMA_PER_FWHM,
        subject=torch.zeros(1, dtype=torch.int64),
    )


def _starts(sizes: list[int]) -> list[int]:
    return [0, *np.cumsum(sizes[:-1]).tolist()]
