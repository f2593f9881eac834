"""How a receive coil shades the images of one examination: a smooth gain in the scanner's space.

    g(p) = exp( sum_i b_i f_i(p / 100 mm) ),   f = x, y, z, x^2, xy, xz, y^2, yz, z^2

p is where a voxel was scanned, before any correction of motion: the coils stay while the heart
moves. There is no constant: that is what the slices' scales are for. Not in the paper; without it
shading is mistaken for tissue.
"""

import torch
from torch import Tensor

N_GAIN = 9
LENGTH_MM = 100.0


def gain_basis(position_mm: Tensor) -> Tensor:
    """f at points `(n, 3)`, `(n, N_GAIN)`."""
    x, y, z = (position_mm / LENGTH_MM).unbind(-1)
    return torch.stack([x, y, z, x * x, x * y, x * z, y * y, y * z, z * z], dim=-1)
