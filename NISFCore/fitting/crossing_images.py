"""The images of a study prepared for `crossing_slices`: common times, blurs, and which slices
cross."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from NISFCore.data.cycle import interpolate_cycle
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.geometry.frame import CanonicalFrame
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.model.config import HeartRegion

N_PHASES = 8
MIN_ANGLE_DEG = 10.0


@dataclass(frozen=True)
class CrossingImages:
    """Images of one study and the pairs of slices that cross; canonical mm.

    Attributes:
        blurred: for each blur `(n_slices, rows, cols, N_PHASES)`, padded to one size; intensities
            as in the voxel table.
        pixel_from_canonical: `(n_slices, 2, 4)`: column and row of a point, slices as scanned.
        size: `(n_slices, 2)`: columns and rows of each slice before padding.
        normal, centre_mm: `(n_slices, 3)` of the slices as scanned.
        pairs: `(n_pairs, 2)` indices of slices at least `MIN_ANGLE_DEG` apart.
        region_centre_mm, region_semi_axes_mm: of the ellipsoid that counts.
    """

    blurred: tuple[Tensor, ...]
    pixel_from_canonical: Tensor
    size: Tensor
    normal: Tensor
    centre_mm: Tensor
    pairs: Tensor
    region_centre_mm: Tensor
    region_semi_axes_mm: Tensor

    def to(self, device: torch.device | str) -> "CrossingImages":
        tensors = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, blurred=tuple(v.to(device) for v in self.blurred), **tensors)


def crossing_images(
    study: CineStudy,
    frame: CanonicalFrame,
    region: HeartRegion,
    intensity_reference: Tensor,
    blur_mm: tuple[float, ...],
) -> CrossingImages:
    """Prepare a study's images.

    Args:
        intensity_reference: `(n_slices,)` what intensities are divided by, as in the voxel table.
        blur_mm: standard deviations of the Gaussians, in plane.
    """
    times = np.arange(N_PHASES) / N_PHASES
    references = intensity_reference.cpu().numpy()
    images = [_normalised(s, r, times) for s, r in zip(study.slices, references, strict=True)]
    planes = [frame.canonical_from_ras @ s.ras_from_ijk for s in study.slices]
    normals = np.stack([_unit_normal(plane) for plane in planes])
    centres = [apply_affine(frame.canonical_from_ras, s.centre_ras) for s in study.slices]
    pixel_from_canonical = np.stack([np.linalg.inv(plane)[:2] for plane in planes])
    sizes = torch.tensor([[s.shape[1], s.shape[0]] for s in study.slices])
    spacings = [s.spacing_mm for s in study.slices]
    return CrossingImages(
        blurred=tuple(_stacked(images, spacings, blur) for blur in blur_mm),
        pixel_from_canonical=torch.tensor(pixel_from_canonical, dtype=torch.float32),
        size=sizes,
        normal=torch.tensor(normals, dtype=torch.float32),
        centre_mm=torch.tensor(np.stack(centres), dtype=torch.float32),
        pairs=torch.tensor(_crossing_pairs(normals), dtype=torch.int64).view(-1, 2),
        region_centre_mm=torch.tensor(region.centre_mm),
        region_semi_axes_mm=torch.tensor(region.semi_axes_mm),
    )


def _unit_normal(plane: Affine) -> npt.NDArray[np.float64]:
    normal = np.cross(plane[:3, 0], plane[:3, 1])
    return np.asarray(normal / np.linalg.norm(normal))


def _crossing_pairs(normals: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    cross = np.abs(normals @ normals.T) < np.cos(np.deg2rad(MIN_ANGLE_DEG))
    return [(int(a), int(b)) for a, b in zip(*np.nonzero(np.triu(cross, 1)), strict=True)]


def _normalised(
    s: CineSlice, reference: float, times: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """`(n_times, rows, cols)`: at these times of the cycle, clipped and divided as in the voxel
    table."""
    values = s.frames.reshape(s.n_phases, -1).astype(np.float64)
    flat = interpolate_cycle(values, s.cycle_fractions, times)
    return np.clip(flat / reference, 0, 1).reshape(-1, *s.shape).astype(np.float32)


def _stacked(
    images: list[npt.NDArray[np.float32]], spacings: list[tuple[float, float]], blur_mm: float
) -> Tensor:
    rows, cols = (max(image.shape[axis] for image in images) for axis in (1, 2))
    stack = np.zeros((len(images), rows, cols, N_PHASES), dtype=np.float32)
    for k, (image, (i_mm, j_mm)) in enumerate(zip(images, spacings, strict=True)):
        blurred = gaussian_filter(image, sigma=(0.0, blur_mm / j_mm, blur_mm / i_mm))
        stack[k, : image.shape[1], : image.shape[2]] = np.moveaxis(blurred, 0, -1)
    return torch.from_numpy(stack)
