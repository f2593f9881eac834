"""Where a heart lay in the breath-hold of a tagged plane: the shift that makes the heart's tissues
tell the images apart best.

Tags stay in muscle, wash out of blood and are absent from lung, and muscle is not as bright as
blood. So two images of each frame, how strong the tags are and the frame without its tags, are
about constant within wall, blood of either ventricle and surroundings of the heart at that time,
once it is where it was. For shifts s within the plane, m_k the mean image of tissue k, y the image,
P_k(s) the tissue's part of each place, as blurred as the image,

    cost(s) = n / 2 log sum (y - sum_k m_k P_k(s))^2 + s^T C^-1 s / 2

with C the prior's covariance within the plane. How far the heart lay off the plane images hardly
tell (the LV is nearly a tube); it is what the prior expects at the shift that was found: breathing
moves the heart mostly along the body, which is neither along a short-axis plane nor across it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from NISFCore.data.study import CineSlice
from NISFCore.geometry.field import HeartField
from NISFCore.geometry.spaces import Points, apply_affine, invert_affine
from NISFCore.labels import N_LABELS, Label
from NISFCore.motion.harp import Mask, TagWave, demodulated
from NISFCore.motion.images import around, mask_points_ras

STEP_MM, N_STEPS = 2.0, 6
"""Shifts are looked for up to so many steps along each axis of the plane."""
PRIOR_SD_RAS_MM = (2.0, 2.5, 4.0)
"""Of breath-holds along right, anterior, superior."""
AROUND_MM = 10.0
"""How far from the LV images are looked at."""
FIRST, LAST, N_FRAMES = 0.1, 0.5, 6
"""Cycle fractions of the frames that are looked at: blood has lost its tags, the wall has not."""
N_INDEPENDENT = 15.0
"""Half the number of an image's independent places around the LV, as blurred as they are."""
BAND_WIDTH = 0.3
"""Of the tags' strength, as `config.StartConfig.band_width`."""
TAGLESS_SD = 2.8
"""Of the blur that takes tags away, in radians of their phase: 2 % of them are left."""
MIN_GAIN = 2.0
"""Least gain in cost over no shift."""
RIDGE = 1e-6

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _PlaneGrid:
    """Regular places of a plane about `centre_ras`, `n` of them STEP_MM apart along both axes.

    Attributes:
        axes: `(3, 3)`, rows are unit vectors along columns, along rows, and across.
    """

    cine: CineSlice
    centre_ras: Points
    axes: Points
    n: int

    def points(self, margin: int = 0) -> Points:
        """RAS `(n + 2 margin, n + 2 margin, 3)`: row, column."""
        n = self.n + 2 * margin
        side = STEP_MM * (np.arange(n) - (n - 1) / 2)
        j, i = np.meshgrid(side, side, indexing="ij")
        return np.asarray(self.centre_ras + np.stack([i, j], axis=-1) @ self.axes[:2])

    def sampled(self, image: npt.NDArray[np.floating]) -> Array:
        """An image of the plane `(rows, cols)` at the places `(n, n)`."""
        ijk = apply_affine(invert_affine(self.cine.ras_from_ijk), self.points())
        return np.asarray(map_coordinates(image, [ijk[..., 1], ijk[..., 0]], order=1))

    def tissues(self, heart: HeartField, time: float, margin: int = 0) -> Array:
        """Parts `(N_LABELS, n + 2 margin, n + 2 margin)` of each tissue."""
        points = self.points(margin)
        parts = heart.evaluate(points.reshape(-1, 3), time).label_probabilities
        return np.moveaxis(parts.astype(np.float64).reshape(*points.shape[:2], N_LABELS), -1, 0)


def heart_shift(
    cine: CineSlice, mask: Mask, waves: tuple[TagWave, ...], heart: HeartField
) -> Points | None:
    """The shift `(3,)` in RAS mm that takes a tagged slice to where the heart was; None if the
    images do not tell.

    Args:
        mask: `(rows, cols)` the wall as the slice's header has it.
        waves: the tags.
    """
    near, _ = around(cine, mask)
    grid = _grid_around(near, mask_points_ras(cine, mask))
    lv = grid.tissues(heart, 0.0)[[Label.LV_BLOOD_POOL, Label.LV_MYOCARDIUM]].sum(axis=0) > 0.5
    region = distance_transform_edt(~lv, STEP_MM) < AROUND_MM
    covariance = grid.axes @ np.diag(np.square(PRIOR_SD_RAS_MM)) @ grid.axes.T
    precision = np.linalg.inv(covariance[:2, :2])
    s = STEP_MM * np.stack(np.meshgrid(*[np.arange(-N_STEPS, N_STEPS + 1)] * 2), axis=-1)
    cost = np.einsum("rca,ab,rcb->rc", s, precision, s) / 2 + _misfit(grid, waves, heart, region)
    found = _lowest(cost)
    if found is None:
        return None
    across = covariance[2, :2] @ precision @ found
    return np.asarray(np.array([*found, across]) @ grid.axes)


def _grid_around(cine: CineSlice, wall_ras: Points) -> _PlaneGrid:
    axes = np.stack([*(cine.ras_from_ijk[:3, :2] / cine.spacing_mm).T, cine.normal_ras])
    centre = (wall_ras.min(axis=0) + wall_ras.max(axis=0)) / 2
    reach_mm = np.abs((wall_ras - centre) @ axes[:2].T).max() + AROUND_MM
    return _PlaneGrid(cine, centre, axes, 2 * int(np.ceil(reach_mm / STEP_MM)) + 1)


def _misfit(grid: _PlaneGrid, waves: tuple[TagWave, ...], heart: HeartField, region: Mask) -> Array:
    """First part of the cost, for shifts `(rows, columns)`: both images, mean over frames."""
    k = min(float(np.linalg.norm(w.vector_ras)) for w in waves)
    times = grid.cine.cycle_fractions
    frames = {int(np.abs(times - t).argmin()) for t in np.linspace(FIRST, LAST, N_FRAMES)}
    total = np.zeros((2 * N_STEPS + 1, 2 * N_STEPS + 1))
    for frame in frames:
        tissues = grid.tissues(heart, float(times[frame]), N_STEPS)
        for image, sd_mm in (
            (_tag_strength(grid.cine, frame, waves), 1 / (BAND_WIDTH * k)),
            (_without_tags(grid.cine, frame, k), TAGLESS_SD / k),
        ):
            sd = sd_mm / STEP_MM
            blurred = gaussian_filter(tissues, (0.0, sd, sd))
            total += np.log(_unexplained(grid.sampled(image), blurred, region))
    return N_INDEPENDENT / len(frames) * total


def _tag_strength(cine: CineSlice, frame: int, waves: tuple[TagWave, ...]) -> Array:
    image = cine.frames[frame : frame + 1]
    parts = [np.abs(demodulated(image, cine, w, BAND_WIDTH)[0]) for w in waves]
    return np.asarray(np.sum(parts, axis=0))


def _without_tags(cine: CineSlice, frame: int, k: float) -> Array:
    sd = [TAGLESS_SD / k / spacing for spacing in cine.spacing_mm[::-1]]
    return np.asarray(gaussian_filter(cine.frames[frame], sd), dtype=np.float64)


def _unexplained(image: Array, tissues: Array, region: Mask) -> Array:
    """Share of the image's variance in the region that the tissues do not explain, for all shifts
    `(rows, columns)` of the tissues by whole steps."""
    y = image[region] - image[region].mean()
    # the heart at x + s is seen at x
    X = sliding_window_view(tissues, image.shape, axis=(1, 2))[..., region]
    X = np.moveaxis(X, 0, -2)  # (rows, columns, tissue, place)
    G = X @ X.swapaxes(-1, -2) + RIDGE * len(y) * np.eye(N_LABELS)
    b = X @ y
    means = np.linalg.solve(G, b[..., None])[..., 0]
    return np.asarray(1 - (b * means).sum(axis=-1) / (y @ y))


def _lowest(cost: Array) -> Array | None:
    """Shift in mm (along columns, along rows) of least cost, between the steps; None at the end of
    the range or without a clear gain."""
    row, column = np.unravel_index(cost.argmin(), cost.shape)
    is_inside = 0 < row < 2 * N_STEPS and 0 < column < 2 * N_STEPS
    if not is_inside or cost[N_STEPS, N_STEPS] - cost.min() < MIN_GAIN:
        return None
    lines = cost[row, column - 1 : column + 2], cost[row - 1 : row + 2, column]
    found = np.array([column, row]) - N_STEPS + [_vertex(*line) for line in lines]
    return np.asarray(STEP_MM * found)


def _vertex(low: float, middle: float, high: float) -> float:
    """Of the parabola through values at -1, 0, 1, whose least one is in the middle."""
    return 0.5 * (low - high) / max(low - 2 * middle + high, RIDGE)
