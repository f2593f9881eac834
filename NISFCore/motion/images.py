"""Images of one plane as functions of local coordinates: cropping, refining, sampling."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import zoom
from torch import Tensor
from torch.nn.functional import grid_sample

from NISFCore.data.study import CineSlice
from NISFCore.errors import StudyError
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.spaces import Affine, Points, invert_affine
from NISFCore.motion.field import Placement

MARGIN_MM = 24.0
"""Around the tissue: farther than it moves, and than a band-pass reaches."""
REFINEMENT = 2
"""Images are interpolated by cubic splines to this many samples per pixel, once; bilinear
interpolation of tags of few pixels would flatten them."""


@dataclass(frozen=True)
class ImageStack:
    """Channels of all frames of a plane, `(n_frames, n_channels, rows, cols)`.

    Attributes:
        values: float32.
        pixel_from_local: `(2, n_dims + 1)`, column and row of a local point, the last column
            being the offset; what lies off the plane is projected onto it.
    """

    values: Tensor
    pixel_from_local: Tensor

    def sample(self, points: Tensor) -> Tensor:
        """Values `(n_frames, n_channels, n)` at local points `(n_frames, n, n_dims)`: each frame at
        its own; outside of the image the border's value.

        Raises:
            StudyError: for points that are no numbers: a solver has failed.
        """
        A = self.pixel_from_local
        rows, cols = self.values.shape[-2:]
        size = torch.tensor([cols - 1, rows - 1], dtype=A.dtype, device=A.device)
        pixels = points @ A[:, :-1].T + A[:, -1]
        # clamped here: what is far outside, or no number, would be read from anywhere in memory
        grid = (2 * pixels / size - 1).clamp(-1.0, 1.0)[:, None]
        if bool(grid.isnan().any()):
            raise StudyError(
                "the motion could not be estimated: the solver diverged; check labels and images, "
                "or fit with fewer steps or a lower rate"
            )
        return grid_sample(self.values, grid, align_corners=True, padding_mode="border")[:, :, 0]


def pixel_from_local(ras_from_ijk: Affine, placement: Placement) -> Tensor:
    """`(2, n_dims + 1)` float32, see `ImageStack`."""
    ijk_from_ras = invert_affine(ras_from_ijk)
    linear = ijk_from_ras[:2, :3] @ placement.axes.T
    offset = ijk_from_ras[:2, :3] @ placement.centre_ras + ijk_from_ras[:2, 3]
    return torch.tensor(np.column_stack([linear, offset]), dtype=torch.float32)


def image_stack(
    channels: npt.NDArray[np.floating],
    ras_from_ijk: Affine,
    placement: Placement,
    refinement: int = 1,
) -> ImageStack:
    """The stack of `channels` `(n_frames, n_channels, rows, cols)`, `refinement` samples per
    pixel along both axes; corners keep their place."""
    rows, cols = channels.shape[-2:]
    down, across = _spline_matrix(rows, refinement), _spline_matrix(cols, refinement)
    fine = (down @ channels @ across.T).astype(np.float32)
    scale = torch.tensor([(len(across) - 1) / (cols - 1), (len(down) - 1) / (rows - 1)])
    A = pixel_from_local(ras_from_ijk, placement) * scale[:, None]
    return ImageStack(torch.from_numpy(np.ascontiguousarray(fine)), A)


def _spline_matrix(n: int, refinement: int) -> npt.NDArray[np.float64]:
    """`(refinement * n, n)`: cubic spline interpolation of n samples is linear in them."""
    return np.asarray(zoom(np.eye(n), (refinement, 1), order=3, grid_mode=False))


def around(cine: CineSlice, mask: npt.NDArray[np.bool_]) -> tuple[CineSlice, npt.NDArray[np.bool_]]:
    """The slice and the mask `(rows, cols)`, cropped to the mask and a margin.

    Raises:
        StudyError: if the mask does not belong to the slice, or is empty.
    """
    if mask.shape != cine.shape:
        raise StudyError(
            f"slice {cine.name!r}: the mask of its myocardium is {mask.shape}, "
            f"its frames are {cine.shape}"
        )
    if not mask.any():
        raise StudyError(
            f"slice {cine.name!r}: no pixel is labelled as LV myocardium at ED; motion needs the "
            "labels of the tissue: fit the study, or give a label map"
        )
    spacing_i, spacing_j = cine.spacing_mm
    low, high = [], []
    for axis, spacing in ((0, spacing_j), (1, spacing_i)):
        where = np.flatnonzero(mask.any(axis=1 - axis))
        margin = int(np.ceil(MARGIN_MM / spacing))
        low.append(max(0, int(where[0]) - margin))
        high.append(min(mask.shape[axis], int(where[-1]) + margin + 1))
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    shape = (high[0] - low[0], high[1] - low[1])
    return cine.cropped((low[0], low[1]), shape), mask[window]


def mask_points_ras(cine: CineSlice, mask: npt.NDArray[np.bool_]) -> Points:
    """Centres `(n, 3)` of the pixels of a mask `(rows, cols)`."""
    return pixel_centres_ras(cine.ras_from_ijk, cine.shape)[mask]
