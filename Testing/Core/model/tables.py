"""Small random voxel tables for tests of the model and the solvers."""

import torch

from NISFCore.model.voxels import SliceTable, VoxelTable


def random_table(
    n_slices: int,
    n_pixels: int = 60,
    n_phases: int = 4,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> VoxelTable:
    """Slices of one subject at random orientations within 40 mm of the origin."""
    g = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(n_slices, 3, 3, generator=g, dtype=dtype))[0]
    centre = torch.randn(n_slices, 3, generator=g, dtype=dtype) * 10
    in_plane = (torch.rand(n_slices, n_pixels, 2, generator=g, dtype=dtype) - 0.5) * 80
    position = centre[:, None] + torch.einsum("jab,jpb->jpa", axes[:, :, :2], in_plane)
    slice_index = torch.arange(n_slices).repeat_interleave(n_pixels)
    local = torch.arange(n_pixels).repeat(n_slices)
    constant = torch.zeros(n_slices * n_pixels, dtype=torch.int64)
    sigma = torch.tensor([0.7, 0.7, 3.0], dtype=dtype).expand(n_slices, 3).contiguous()
    return VoxelTable(
        slices=SliceTable(centre, axes, sigma, torch.zeros(n_slices, dtype=torch.int64)),
        position_mm=position.reshape(-1, 3),
        slice_index=slice_index,
        first_value=slice_index * n_pixels * n_phases + local,
        value_stride=constant + n_pixels,
        n_phases=constant + n_phases,
        first_phase=slice_index * n_phases,
        values=torch.rand(n_slices * n_pixels * n_phases, generator=g, dtype=dtype),
        labels=torch.randint(4, (n_slices * n_pixels * n_phases,), generator=g).to(torch.uint8),
        cycle_fraction=(torch.arange(n_phases, dtype=dtype) / n_phases).repeat(n_slices),
        has_label=torch.ones(n_slices * n_phases, dtype=torch.bool),
        intensity_reference=torch.ones(n_slices, dtype=dtype),
    )
